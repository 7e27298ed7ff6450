//! Dropout decisions, 128 at a time, and what is done with them.
//!
//! One byte of Philox decides an element; where it ties with the threshold (1 in 256), a word of
//! another domain refines it (docs/NUMERICS.md, section 13). One Philox block of four words serves
//! sixteen elements, so eight blocks side by side ([`philox`](super::philox)) serve a group of 128.
//!
//! A group goes to its [`Sink`] at once, with ties kept ([`decide`](mod@decide)). Ties are put into a
//! queue, refined when there are sixteen of them, and dropped after all where the word says so. So
//! the main loop neither branches nor waits for them, and no lane of a refinement is wasted.

mod decide;

use super::block::each;
use super::exponential::{selu, selu_slope};
use super::lanes::{LANES, Single};
use super::map::{Tensor, element_of, group_of};
use super::rows::part;
use crate::Key;
use decide::{Decider, Sink, decide, decide_one_by_one, is_scalar};
use fearless_simd::{Bytes as _, Select as _, Simd, SimdBase as _, SimdCombine as _};
use fearless_simd::{SimdFrom as _, SimdMask as _, SimdWiden as _};
use fearless_simd::{f32x16, i8x16, mask8x64, mask32x16, u8x16, u8x64, u32x16};

pub(crate) use decide::{GROUP, PER_BLOCK, Threshold};

/// Which decisions are asked for: element 0 of a call is number `offset`.
#[derive(Clone, Copy)]
pub(crate) struct Draw {
    pub(crate) threshold: Threshold,
    pub(crate) key: Key,
    pub(crate) offset: u64,
}

impl Draw {
    /// The same from an element on.
    pub(crate) const fn from(self, position: usize) -> Self {
        Self { offset: self.offset.wrapping_add(position as u64), ..self }
    }

    /// Whether an element is kept.
    pub(crate) fn keeps(self, position: usize) -> bool {
        let Self { threshold, key, offset } = self;
        threshold.keeps(key, offset.wrapping_add(position as u64))
    }
}

/// What becomes of an element. Written once for one and for sixteen.
pub(crate) trait Fate<const OTHERS: usize>: Copy {
    /// What it becomes where it is kept; also from others at the same place.
    fn kept<V: Single>(self, x: V, others: [V; OTHERS]) -> V;

    /// What it becomes where it is dropped, whatever it was.
    fn dropped(self) -> f32;
}

/// Kept elements are multiplied, dropped ones are +0.0.
#[derive(Clone, Copy)]
pub(crate) struct Scaled(pub(crate) f32);

impl Fate<0> for Scaled {
    #[inline(always)]
    fn kept<V: Single>(self, x: V, []: [V; 0]) -> V {
        x * x.all(self.0)
    }

    #[inline(always)]
    fn dropped(self) -> f32 {
        0.0
    }
}

/// Kept elements become x·factor + shift.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Shifted {
    pub(crate) factor: f32,
    pub(crate) shift: f32,
    pub(crate) dropped: f32,
}

impl Fate<0> for Shifted {
    #[inline(always)]
    fn kept<V: Single>(self, x: V, []: [V; 0]) -> V {
        x * x.all(self.factor) + x.all(self.shift)
    }

    #[inline(always)]
    fn dropped(self) -> f32 {
        self.dropped
    }
}

/// SELU, and then [`Shifted`].
#[derive(Clone, Copy)]
pub(crate) struct SeluShifted(pub(crate) Shifted);

impl Fate<0> for SeluShifted {
    #[inline(always)]
    fn kept<V: Single>(self, x: V, []: [V; 0]) -> V {
        self.0.kept(selu(x), [])
    }

    #[inline(always)]
    fn dropped(self) -> f32 {
        self.0.dropped
    }
}

/// The gradient of [`SeluShifted`] from dy and x: [`Scaled`], and then that of SELU.
#[derive(Clone, Copy)]
pub(crate) struct SeluScaled(pub(crate) f32);

impl Fate<1> for SeluScaled {
    #[inline(always)]
    fn kept<V: Single>(self, dy: V, [x]: [V; 1]) -> V {
        Scaled(self.0).kept(dy, []) * selu_slope(x)
    }

    #[inline(always)]
    fn dropped(self) -> f32 {
        0.0
    }
}

/// Gives every element its fate. The others are as long as the tensor.
#[inline(always)]
pub(crate) fn apply<S: Simd, F: Fate<OTHERS>, const OTHERS: usize>(
    simd: S,
    draw: Draw,
    (fate, others): (F, [&[f32]; OTHERS]),
    tensor: Tensor<'_>,
) {
    let len = tensor.input().len();
    decide(simd, draw, len, &mut Apply { tensor, others, fate });
}

/// Gives elements their fate.
struct Apply<'a, F, const OTHERS: usize> {
    tensor: Tensor<'a>,
    others: [&'a [f32]; OTHERS],
    fate: F,
}

/// A group of elements.
type Group = [[f32; LANES]; GROUP / LANES];

impl<S: Simd, F: Fate<OTHERS>, const OTHERS: usize> Sink<S> for Apply<'_, F, OTHERS> {
    #[inline(always)]
    fn group(&mut self, simd: S, start: usize, keep: [mask8x64<S>; 2]) {
        let Self { tensor, others, fate } = self;
        let keep = Keep::new(simd, keep);
        let dropped = f32x16::simd_from(simd, fate.dropped());
        let others = each(
            *others,
            [].as_slice(),
            #[inline(always)]
            |x| group(x, start).map_or([].as_slice(), |group| group.as_slice()),
        );
        match tensor {
            Tensor::Apart(x, y) => {
                let (Some(x), Some(y)) = (group(x, start), group_mut(y, start)) else { return };
                for (i, (x, y)) in x.iter().zip(y).enumerate() {
                    let Some(others) = group_of(simd, others, i) else { break };
                    let kept = fate.kept(f32x16::load_array_ref(simd, x), others);
                    keep.select(i, kept, dropped).store_array(y);
                }
            }
            Tensor::InPlace(x) => {
                let Some(x) = group_mut(x, start) else { return };
                for (i, x) in x.iter_mut().enumerate() {
                    let Some(others) = group_of(simd, others, i) else { break };
                    let kept = fate.kept(f32x16::load_array_ref(simd, x), others);
                    keep.select(i, kept, dropped).store_array(x);
                }
            }
        }
    }

    #[inline(always)]
    fn one(&mut self, position: usize, keep: bool) {
        let Self { tensor, others, fate } = self;
        let others = element_of(*others, position);
        tensor.set(
            position,
            #[inline(always)]
            |x| if keep { fate.kept(x, others) } else { fate.dropped() },
        );
    }

    #[inline(always)]
    fn some(&mut self, start: usize, bytes: &[u8], keeps: impl Fn(usize, u8) -> bool) {
        let Self { tensor, others, fate } = self;
        let others = each(
            *others,
            [].as_slice(),
            #[inline(always)]
            |x| part(x, start, bytes.len()),
        );
        // This is for small machines, and for few elements.
        let y = tensor.piece(start, bytes.len()).copied();
        for (i, (y, byte)) in y.iter_mut().zip(bytes).enumerate() {
            let others = element_of(others, i);
            *y = if keeps(i, *byte) { fate.kept(*y, others) } else { fate.dropped() };
        }
    }

    #[inline(always)]
    fn revise(&mut self, position: usize, keep: u32) {
        if let Some(y) = self.tensor.output().get_mut(position) {
            let dropped = self.fate.dropped().to_bits() & !keep;
            *y = f32::from_bits(y.to_bits() & keep | dropped);
        }
    }
}

/// The group that starts at an element.
#[inline(always)]
fn group(x: &[f32], start: usize) -> Option<&Group> {
    x.get(start..)?.as_chunks().0.first_chunk()
}

#[inline(always)]
fn group_mut(x: &mut [f32], start: usize) -> Option<&mut Group> {
    x.get_mut(start..)?.as_chunks_mut().0.first_chunk_mut()
}

/// The decisions about a group, ready to become masks of sixteen lanes.
struct Keep {
    /// One bit an element, for machines with mask registers.
    bits: [[u8; LANES / 8]; GROUP / LANES],
    /// One byte an element, 255 or 0, for the others.
    bytes: [[u8; LANES]; GROUP / LANES],
}

impl Keep {
    #[inline(always)]
    fn new<S: Simd>(simd: S, [low, high]: [mask8x64<S>; 2]) -> Self {
        let mut keep = Self { bits: [[0; 2]; 8], bytes: [[0; LANES]; 8] };
        if S::f32s::LEN == LANES {
            keep.bits = cut(low.to_bitmask().to_le_bytes(), high.to_bitmask().to_le_bytes());
        } else {
            let (yes, no) = (u8x64::simd_from(simd, 255), u8x64::simd_from(simd, 0));
            keep.bytes = cut(low.select(yes, no).to_array(), high.select(yes, no).to_array());
        }
        keep
    }

    /// x where kept, and what dropped elements become elsewhere. A select and not a multiplication: a
    /// dropped NaN is gone.
    #[inline(always)]
    fn select<S: Simd>(&self, lanes: usize, x: f32x16<S>, dropped: f32x16<S>) -> f32x16<S> {
        if S::f32s::LEN == LANES {
            let bits = self.bits.get(lanes).map_or(0, |bits| u16::from_le_bytes(*bits));
            let mask = mask32x16::from_bitmask(x.simd, u64::from(bits));
            return mask.select(x, dropped);
        }
        let bytes = self.bytes.get(lanes).unwrap_or(&[0; LANES]);
        // Sign extension makes a mask of 32 bits from one of 8.
        let bytes: i8x16<S> = u8x16::load_array_ref(x.simd, bytes).bitcast();
        let (low, high) = bytes.widen();
        let ((a, b), (c, d)) = (low.widen(), high.widen());
        let mask: u32x16<S> = a.combine(b).combine(c.combine(d)).bitcast();
        // Fewer operations than a select, and fewer still where what is dropped becomes zero.
        let (x, dropped): (u32x16<S>, u32x16<S>) = (x.bitcast(), dropped.bitcast());
        (((x ^ dropped) & mask) ^ dropped).bitcast()
    }
}

/// Cuts two halves into pieces.
#[inline(always)]
fn cut<const HALF: usize, const PIECE: usize, const PIECES: usize>(
    low: [u8; HALF],
    high: [u8; HALF],
) -> [[u8; PIECE]; PIECES] {
    let mut pieces = [[0; PIECE]; PIECES];
    let halves = [low, high];
    for (piece, half) in pieces.as_flattened_mut().iter_mut().zip(halves.as_flattened()) {
        *piece = *half;
    }
    pieces
}

/// Writes one bit an element, 1 for kept, the lowest bit of a byte first. The bits behind `len` are
/// 0.
#[inline(always)]
pub(crate) fn pack<S: Simd>(simd: S, draw: Draw, len: usize, mask: &mut [u8]) {
    mask.fill(0);
    decide(simd, draw, len, &mut Pack { mask });
}

/// Packs many pieces of the decisions of one key. What depends on the key alone is computed once.
#[derive(Clone, Copy)]
pub(crate) struct Packer<S: Simd> {
    draw: Draw,
    /// Nothing where decisions are made one by one.
    decider: Option<Decider<S>>,
}

impl<S: Simd> Packer<S> {
    #[inline(always)]
    pub(crate) fn new(simd: S, draw: Draw) -> Self {
        let decider = if is_scalar(simd) { None } else { Some(Decider::new(simd, draw)) };
        Self { draw, decider }
    }

    /// [`pack`] for the decisions from `number` on, with which a Philox block starts. Whole groups are
    /// the fastest.
    #[inline(always)]
    pub(crate) fn pack(&self, simd: S, number: u64, len: usize, mask: &mut [u8]) {
        mask.fill(0);
        match self.decider {
            // Asked again: then the compiler sees that a target without vectors has no use for this.
            Some(decider) if !is_scalar(simd) => {
                decider.at(number).decide(simd, 0..len, &mut Pack { mask });
            }
            _ => {
                let draw = Draw { offset: number, ..self.draw };
                decide_one_by_one::<S>(draw, len, &mut Pack { mask });
            }
        }
    }
}

/// Whether a packed decision is to keep.
#[inline(always)]
pub(crate) fn is_kept(mask: &[u8], position: usize) -> bool {
    mask.get(position / 8).is_some_and(|byte| byte >> (position % 8) & 1 == 1)
}

/// Packs a decision, where all were to drop.
#[inline(always)]
pub(crate) fn pack_one(mask: &mut [u8], position: usize, keep: bool) {
    if let Some(byte) = mask.get_mut(position / 8) {
        *byte |= u8::from(keep) << (position % 8);
    }
}

/// Sets the bits of what is kept; they were zero.
struct Pack<'a> {
    mask: &'a mut [u8],
}

impl<S: Simd> Sink<S> for Pack<'_> {
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "fewer than eight bits are left")]
    fn group(&mut self, _: S, start: usize, [low, high]: [mask8x64<S>; 2]) {
        let bits = u128::from(low.to_bitmask()) | u128::from(high.to_bitmask()) << 64;
        // A group starts with a Philox block, which need not start with a byte of the mask.
        let shift = start % 8;
        let Some(bytes) = self.mask.get_mut(start / 8..) else { return };
        let Some((whole, rest)) = bytes.split_first_chunk_mut::<{ GROUP / 8 }>() else { return };
        *whole = (u128::from_le_bytes(*whole) | bits << shift).to_le_bytes();
        if let (true, Some(last)) = (shift > 0, rest.first_mut()) {
            *last = (bits >> (GROUP - shift)) as u8;
        }
    }

    #[inline(always)]
    fn one(&mut self, position: usize, keep: bool) {
        pack_one(self.mask, position, keep);
    }

    #[inline(always)]
    fn some(&mut self, start: usize, bytes: &[u8], keeps: impl Fn(usize, u8) -> bool) {
        for (i, byte) in bytes.iter().enumerate() {
            pack_one(self.mask, start + i, keeps(i, *byte));
        }
    }

    #[inline(always)]
    fn revise(&mut self, position: usize, keep: u32) {
        if let Some(byte) = self.mask.get_mut(position / 8) {
            *byte &= !(u8::from(keep == 0) << (position % 8));
        }
    }
}
