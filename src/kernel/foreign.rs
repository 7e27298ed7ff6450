//! Dropout decisions of other systems.

use super::lanes::{LANES, Single};
use super::map::Tensor;
use super::mask::Fate;
use super::philox::{BLOCKS, Blocks, WORD};
use crate::Key;
use crate::backend::Target;
use crate::philox::Domain;
use fearless_simd::{Bytes as _, Select as _, Simd, SimdBase as _, SimdFrom as _};
use fearless_simd::{f32x16, u32x16, u64x8};

/// The decisions of a system with a key.
pub(crate) trait Decide: Copy {
    /// Whether an element is kept.
    fn keeps(&self, index: u64) -> bool;

    /// The same as one word an element, if it is the first one of the Philox block whose number is the
    /// element's.
    fn first_words(&self) -> Option<FirstWords>;
}

/// The first word of block i of a key decides about element i.
#[derive(Clone, Copy)]
pub(crate) struct FirstWords {
    pub(crate) key: Key,
    /// What words are shifted to the left by.
    pub(crate) shift: u32,
    /// The first word that keeps, after the shift, and how many behind it do too.
    pub(crate) first: u32,
    pub(crate) more: u32,
}

/// Kept elements are divided, dropped ones are +0.0.
#[derive(Clone, Copy)]
pub(crate) struct Divided(pub(crate) f32);

impl Fate<0> for Divided {
    #[inline(always)]
    fn kept<V: Single>(self, x: V, []: [V; 0]) -> V {
        x / x.all(self.0)
    }

    #[inline(always)]
    fn dropped(self) -> f32 {
        0.0
    }
}

/// Gives every element its fate. Element 0 of the call has number `offset`.
#[inline(always)]
pub(crate) fn apply<S: Target>(
    simd: S,
    (decisions, offset): (impl Decide, u64),
    fate: impl Fate<0>,
    mut tensor: Tensor<'_>,
) {
    let len = tensor.input().len();
    let mut done = 0;
    if !S::SCALAR
        && let Some(words) = decisions.first_words()
    {
        done = len - len % LANES;
        by_sixteen(simd, (words, offset), fate, tensor.piece(0, done));
    }
    for position in done..len {
        let keep = decisions.keeps(offset.wrapping_add(position as u64));
        tensor.set(
            position,
            #[inline(always)]
            |x| if keep { fate.kept(x, []) } else { fate.dropped() },
        );
    }
}

/// The same for whole groups of sixteen elements.
///
/// Two times eight blocks are computed, those of the elements with even and with odd numbers: each
/// pair of words is then where it belongs once one of them is moved to the upper half of its lane.
#[inline(always)]
fn by_sixteen<S: Simd>(
    simd: S,
    (words, offset): (FirstWords, u64),
    fate: impl Fate<0>,
    mut tensor: Tensor<'_>,
) {
    let FirstWords { key, shift, first, more } = words;
    let blocks = Blocks::new(simd, key);
    let all = |x: u32| u32x16::simd_from(simd, x);
    let mut lanes = [0; BLOCKS];
    for (lane, number) in lanes.iter_mut().zip((0..).step_by(2)) {
        *lane = number;
    }
    let lanes = u64x8::load_array(simd, lanes);
    for start in (0..tensor.input().len()).step_by(LANES) {
        let number = offset.wrapping_add(start as u64);
        let even = u64x8::simd_from(simd, number) + lanes;
        let odd = u64x8::simd_from(simd, number.wrapping_add(1)) + lanes;
        let [even, ..] = blocks.words(simd, Domain::Words, even);
        let [odd, ..] = blocks.words(simd, Domain::Words, odd);
        let words: u32x16<S> = ((even & u64x8::simd_from(simd, WORD)) | (odd << 32)).bitcast();
        let keep = ((words << shift) - all(first)).simd_le(all(more));
        tensor.piece(start, LANES).map(
            simd,
            [],
            #[inline(always)]
            |x, []| keep.select(fate.kept(x, []), f32x16::simd_from(simd, fate.dropped())),
        );
    }
}
