//! Dropout decisions, 128 at a time.
//!
//! One byte of Philox decides an element; where it ties with the threshold (1 in 256), a word of
//! another domain refines it (docs/NUMERICS.md, section 13). One Philox block of four words serves
//! sixteen elements, so eight blocks side by side serve a group of 128.
//!
//! The eight blocks are held in 64-bit lanes, one word a lane. A product of two 32-bit words is then
//! one multiply instruction, its high word one shift, and the low word needs no operation at all:
//! the upper half of a lane may hold anything, since every use masks it (and the compiler sees that
//! the multiply instruction ignores it anyway). Words are packed only once, at the end.
//!
//! Decisions go through a buffer of 1024 bytes. So its four ties or so are refined together, eight
//! side by side, instead of one by one in the middle of the main loop.

use super::apply::Tensor;
use super::lanes::LANES;
use crate::philox::{Domain, Key, MULTIPLIERS, ROUNDS, WEYL};
use fearless_simd::{Bytes as _, Select as _, Simd, SimdBase as _, SimdFrom as _};
use fearless_simd::{
    MaskWiden as _, SimdMask as _, f32x16, i8x64, mask8x64, mask32x16, u8x64, u32x16, u64x8,
};

/// Elements decided together.
const GROUP: usize = 128;
/// Philox blocks that they take, one a lane.
const GROUP_BLOCKS: usize = 8;
/// Elements that one Philox block decides.
const PER_BLOCK: u64 = 16;
/// Groups in the buffer.
const GROUPS: usize = 8;
/// Elements in the buffer.
const BUFFER: usize = GROUPS * GROUP;

/// A drop probability as an integer threshold of 40 bits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Threshold {
    /// Bytes below this drop.
    byte: u8,
    /// Refinement words below this drop, where the byte ties.
    word: u32,
}

impl Threshold {
    /// The threshold for T = p·2^40, below 2^40.
    #[expect(clippy::cast_possible_truncation, reason = "cuts the number in two on purpose")]
    pub(crate) const fn new(t: u64) -> Self {
        Self { byte: (t >> 32) as u8, word: t as u32 }
    }

    /// Whether one element is kept.
    pub(crate) fn keeps(self, key: Key, index: u64) -> bool {
        let words = key.block(Domain::Words, index / PER_BLOCK);
        let [b0, b1, b2, b3] = pick(words, index / 4).to_le_bytes();
        let byte = match index % 4 {
            0 => b0,
            1 => b1,
            2 => b2,
            _ => b3,
        };
        byte > self.byte || (byte == self.byte && self.tie_keeps(key, index))
    }

    /// Whether an element whose byte ties is kept.
    fn tie_keeps(self, key: Key, index: u64) -> bool {
        self.word == 0 || pick(key.block(Domain::Refinement, index / 4), index) >= self.word
    }
}

/// Word `index` mod 4.
#[inline(always)]
fn pick([w0, w1, w2, w3]: [u32; 4], index: u64) -> u32 {
    match index % 4 {
        0 => w0,
        1 => w1,
        2 => w2,
        _ => w3,
    }
}

/// The two words of the key in each round, in all lanes, so that a round takes them from memory.
type RoundKeys<S> = [[u32x16<S>; 2]; ROUNDS];

/// Out of line, or the compiler computes the keys anew for every group.
#[inline(never)]
fn round_keys<S: Simd>(simd: S, key: Key) -> RoundKeys<S> {
    let [mut k0, mut k1] = key.seed_words();
    let mut keys = [[u32x16::simd_from(simd, 0); 2]; ROUNDS];
    for round in &mut keys {
        *round = [u32x16::simd_from(simd, k0), u32x16::simd_from(simd, k1)];
        k0 = k0.wrapping_add(WEYL[0]);
        k1 = k1.wrapping_add(WEYL[1]);
    }
    keys
}

/// Decides about consecutive elements, a buffer at a time.
#[derive(Clone, Copy)]
struct Decider<S: Simd> {
    threshold: Threshold,
    key: Key,
    keys: RoundKeys<S>,
}

/// Which elements of a buffer are kept: 255 for those, 0 for the others.
type Keep = [[u8; 64]; BUFFER / 64];

impl<S: Simd> Decider<S> {
    /// Decides about the elements of `groups` groups, from Philox block `block` on.
    #[inline(always)]
    fn decide(&self, simd: S, block: u64, groups: usize, keep: &mut Keep) {
        if is_scalar(simd) {
            return self.decide_one_by_one(block, groups, keep);
        }
        let mut ties = [[0; 2]; GROUPS];
        let (pairs, _) = keep.as_chunks_mut::<2>();
        for (group, (keep, ties)) in pairs.iter_mut().zip(&mut ties).take(groups).enumerate() {
            let block = block.wrapping_add((group * GROUP_BLOCKS) as u64);
            *ties = self.decide_group(simd, block, keep);
        }
        if self.threshold.word > 0 {
            self.refine_ties(simd, block.wrapping_mul(PER_BLOCK), ties.as_flattened(), keep);
        }
    }

    /// Decides about one group by its bytes, and says which of them tie. Ties are kept for now.
    #[inline(always)]
    fn decide_group(&self, simd: S, block: u64, keep: &mut [[u8; 64]; 2]) -> [u64; 2] {
        let mut counters = [0; GROUP_BLOCKS];
        for (i, counter) in counters.iter_mut().enumerate() {
            *counter = block.wrapping_add(i as u64);
        }
        let words = self.philox(simd, Domain::Words, counters);
        let threshold = u8x64::simd_from(simd, self.threshold.byte);
        let mut ties = [0; 2];
        for ((bytes, keep), ties) in in_order(simd, words).iter().zip(keep).zip(&mut ties) {
            let kept = bytes.simd_ge(threshold);
            kept.select(u8x64::simd_from(simd, 255), u8x64::simd_from(simd, 0)).store_array(keep);
            *ties = bytes.simd_eq(threshold).to_bitmask();
        }
        ties
    }

    /// Decides about all ties of a buffer, eight at a time.
    #[inline(always)]
    fn refine_ties(&self, simd: S, first: u64, ties: &[u64], keep: &mut Keep) {
        // First the words that have a tie at all: branches on every word would be unpredictable.
        let mut tied = 0_u32;
        for bits in ties.iter().rev() {
            tied = tied << 1 | u32::from(*bits != 0);
        }
        let mut batch = [0; GROUP_BLOCKS];
        let mut count = 0;
        while tied != 0 {
            let word = tied.trailing_zeros() as usize;
            tied &= tied - 1;
            let mut bits = ties.get(word).copied().unwrap_or(0);
            while bits != 0 {
                if let Some(slot) = batch.get_mut(count) {
                    *slot = word * 64 + bits.trailing_zeros() as usize;
                }
                count += 1;
                bits &= bits - 1;
                if count == GROUP_BLOCKS {
                    self.refine(simd, first, &batch, count, keep);
                    count = 0;
                }
            }
        }
        if count > 0 {
            self.refine(simd, first, &batch, count, keep);
        }
    }

    /// Drops those of the first `count` elements whose refinement word is below the threshold.
    #[inline(never)]
    fn refine(
        &self,
        simd: S,
        first: u64,
        positions: &[usize; GROUP_BLOCKS],
        count: usize,
        keep: &mut Keep,
    ) {
        let mut counters = [0; GROUP_BLOCKS];
        for (counter, position) in counters.iter_mut().zip(positions) {
            *counter = first.wrapping_add(*position as u64) / 4;
        }
        let words = simd.vectorize(
            #[inline(always)]
            || self.philox(simd, Domain::Refinement, counters),
        );
        let [w0, w1, w2, w3] = words;
        let [w0, w1, w2, w3] = [*w0, *w1, *w2, *w3];
        let lanes = w0.into_iter().zip(w1).zip(w2.into_iter().zip(w3)).zip(positions);
        for (((w0, w1), (w2, w3)), position) in lanes.take(count) {
            // `first` is a multiple of 16, so a position has the index's last bits.
            let word = match position % 4 {
                0 => w0,
                1 => w1,
                2 => w2,
                _ => w3,
            } & 0xFFFF_FFFF;
            if let Some(keep) = keep.as_flattened_mut().get_mut(*position) {
                *keep = if word < u64::from(self.threshold.word) { 0 } else { 255 };
            }
        }
    }

    /// Philox blocks, one a lane: each vector holds one of the four words, in the lower halves of
    /// its lanes.
    #[inline(always)]
    fn philox(&self, simd: S, domain: Domain, counters: [u64; GROUP_BLOCKS]) -> [u64x8<S>; 4] {
        let all = |x: u64| u64x8::simd_from(simd, x);
        let stream = self.key.stream() | (domain as u64) << 62;
        let low = all(0xFFFF_FFFF);
        let counters = u64x8::load_array(simd, counters);
        let c = [counters, counters >> 32, all(stream), all(stream >> 32)];
        let consts = [low, all(u64::from(MULTIPLIERS[0])), all(u64::from(MULTIPLIERS[1]))];
        // Written out, since a loop here costs half as much again in moves between registers.
        let [k0, k1, k2, k3, k4, k5, k6, k7, k8, k9] = self.keys;
        let c = round(consts, round(consts, round(consts, c, k0), k1), k2);
        let c = round(consts, round(consts, round(consts, c, k3), k4), k5);
        let c = round(consts, round(consts, round(consts, c, k6), k7), k8);
        round(consts, c, k9)
    }

    /// Without vectors, and on any byte order.
    fn decide_one_by_one(&self, block: u64, groups: usize, keep: &mut Keep) {
        let (blocks, _) = keep.as_flattened_mut().as_chunks_mut::<16>();
        for (i, keep) in blocks.iter_mut().take(groups * GROUP_BLOCKS).enumerate() {
            let block = block.wrapping_add(i as u64);
            let mut index = block.wrapping_mul(PER_BLOCK);
            let words = self.key.block(Domain::Words, block).map(u32::to_le_bytes);
            for (keep, byte) in keep.iter_mut().zip(words.as_flattened()) {
                let Threshold { byte: threshold, .. } = self.threshold;
                let kept = *byte > threshold
                    || (*byte == threshold && self.threshold.tie_keeps(self.key, index));
                *keep = if kept { 255 } else { 0 };
                index = index.wrapping_add(1);
            }
        }
    }

    /// Hands out the decisions about `len` elements from number `offset` on, piece by piece:
    /// `f(start, keep)`, with all pieces but the last of a whole number of 16 elements.
    #[inline(always)]
    fn for_each_piece(&self, simd: S, offset: u64, len: usize, mut f: impl FnMut(usize, &[u8])) {
        let mut keep = [[0; 64]; BUFFER / 64];
        // Where the first element lies within its Philox block. So does every piece's first: a piece
        // leaves room for it, in whole blocks.
        let skipped = (offset % PER_BLOCK) as usize;
        let step = if skipped == 0 { BUFFER } else { BUFFER - 16 };
        let mut block = offset / PER_BLOCK;
        let mut start = 0;
        while start < len {
            let count = step.min(len - start);
            self.decide(simd, block, (skipped + count).div_ceil(GROUP), &mut keep);
            let decided = keep.as_flattened();
            f(start, decided.get(skipped..).and_then(|keep| keep.get(..count)).unwrap_or(&[]));
            block = block.wrapping_add((step as u64) / PER_BLOCK);
            start += count;
        }
    }
}

/// One round of Philox in every lane. The constants are a mask of the lower halves and the two
/// multipliers.
#[inline(always)]
fn round<S: Simd>(
    [low, m0, m1]: [u64x8<S>; 3],
    [c0, c1, c2, c3]: [u64x8<S>; 4],
    [k0, k1]: [u32x16<S>; 2],
) -> [u64x8<S>; 4] {
    let p0 = (c0 & low) * m0;
    let p1 = (c2 & low) * m1;
    let c0: u32x16<S> = ((p1 >> 32) ^ c1).bitcast();
    let c2: u32x16<S> = ((p0 >> 32) ^ c3).bitcast();
    [(c0 ^ k0).bitcast(), p1, (c2 ^ k1).bitcast(), p0]
}

/// Whether decisions are made one by one: without vectors, or where the bytes of a word do not lie
/// in memory in the order in which they decide.
#[inline(always)]
fn is_scalar<S: Simd>(simd: S) -> bool {
    simd.level().is_fallback() || cfg!(target_endian = "big")
}

/// The bytes of eight Philox blocks, in the order of the elements they decide.
#[inline(always)]
fn in_order<S: Simd>(simd: S, [c0, c1, c2, c3]: [u64x8<S>; 4]) -> [u8x64<S>; 2] {
    let words = u64x8::simd_from(simd, 0xFFFF_FFFF);
    let low = (c0 & words) | (c1 << 32);
    let high = (c2 & words) | (c3 << 32);
    let (first, second) = low.interleave(high);
    [first.bitcast(), second.bitcast()]
}

/// Writes x·scale where element `offset` + i is kept, and +0.0 where it is dropped.
#[inline(always)]
pub(crate) fn apply<S: Simd>(
    simd: S,
    threshold: Threshold,
    key: Key,
    offset: u64,
    scale: f32,
    mut tensor: Tensor<'_>,
) {
    let decider = Decider { threshold, key, keys: round_keys(simd, key) };
    let len = tensor.input().len();
    decider.for_each_piece(
        simd,
        offset,
        len,
        #[inline(always)]
        |start, keep| apply_piece(simd, keep, scale, tensor.piece(start, keep.len())),
    );
}

/// Applies decisions to as many elements: 64 at a time, then one by one.
#[inline(always)]
fn apply_piece<S: Simd>(simd: S, keep: &[u8], scale: f32, tensor: Tensor<'_>) {
    let (groups, keep_rest) = keep.as_chunks::<64>();
    let scales = f32x16::simd_from(simd, scale);
    match tensor {
        Tensor::Apart(x, y) => {
            let (xs, x_rest) = x.as_chunks::<64>();
            let (ys, y_rest) = y.as_chunks_mut::<64>();
            for ((keep, x), y) in groups.iter().zip(xs).zip(ys) {
                let (xs, ys) = (x.as_chunks::<LANES>().0, y.as_chunks_mut::<LANES>().0);
                for (mask, (x, y)) in masks(simd, keep).iter().zip(xs.iter().zip(ys)) {
                    kept_lanes(*mask, f32x16::load_array_ref(simd, x), scales).store_array(y);
                }
            }
            for ((x, y), keep) in x_rest.iter().zip(y_rest).zip(keep_rest) {
                *y = kept(*keep, *x, scale);
            }
        }
        Tensor::InPlace(x) => {
            let (xs, rest) = x.as_chunks_mut::<64>();
            for (keep, x) in groups.iter().zip(xs) {
                let xs = x.as_chunks_mut::<LANES>().0;
                for (mask, x) in masks(simd, keep).iter().zip(xs) {
                    kept_lanes(*mask, f32x16::load_array_ref(simd, x), scales).store_array(x);
                }
            }
            for (x, keep) in rest.iter_mut().zip(keep_rest) {
                *x = kept(*keep, *x, scale);
            }
        }
    }
}

/// Decisions as masks of sixteen lanes.
#[inline(always)]
fn masks<S: Simd>(simd: S, keep: &[u8; 64]) -> [mask32x16<S>; 4] {
    // 255 and 0 are the two bytes of a mask already.
    let keep: i8x64<S> = u8x64::load_array_ref(simd, keep).bitcast();
    let (low, high) = mask8x64::from_vector(keep).widen();
    let ((a, b), (c, d)) = (low.widen(), high.widen());
    [a, b, c, d]
}

#[inline(always)]
fn kept_lanes<S: Simd>(mask: mask32x16<S>, x: f32x16<S>, scale: f32x16<S>) -> f32x16<S> {
    mask.select(x * scale, f32x16::simd_from(scale.simd, 0.0))
}

/// A select and not a multiplication: a dropped NaN is gone.
#[inline(always)]
fn kept(keep: u8, x: f32, scale: f32) -> f32 {
    if keep == 0 { 0.0 } else { x * scale }
}

/// Writes one bit an element, 1 for kept, the lowest bit of a byte first. The bits behind `len` are
/// 0.
#[inline(always)]
pub(crate) fn pack<S: Simd>(
    simd: S,
    threshold: Threshold,
    key: Key,
    offset: u64,
    len: usize,
    mask: &mut [u8],
) {
    let decider = Decider { threshold, key, keys: round_keys(simd, key) };
    decider.for_each_piece(
        simd,
        offset,
        len,
        #[inline(always)]
        |start, keep| {
            let mask = mask.get_mut(start / 8..).unwrap_or(&mut []);
            let (words, rest) = keep.as_chunks::<64>();
            let (whole, _) = mask.as_chunks_mut::<8>();
            for (keep, bits) in words.iter().zip(whole) {
                let keep = u8x64::load_array_ref(simd, keep);
                *bits = keep.simd_gt(u8x64::simd_from(simd, 0)).to_bitmask().to_le_bytes();
            }
            let mask = mask.get_mut(words.len() * 8..).unwrap_or(&mut []);
            for (keep, bits) in rest.chunks(8).zip(mask) {
                *bits = keep.iter().rev().fold(0, |bits, keep| bits << 1 | (keep & 1));
            }
        },
    );
}
