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

use super::apply::Tensor;
use super::lanes::{LANES, Lanes, Value as _};
use crate::philox::{Domain, Key, MULTIPLIERS, ROUNDS, WEYL};
use fearless_simd::{Bytes as _, MaskWiden as _, Select as _, Simd, SimdBase as _, SimdMask as _};
use fearless_simd::{SimdFrom as _, f32x16, mask8x64, mask32x16, u8x64, u64x8};

/// Elements decided together.
pub(crate) const GROUP: usize = 128;
/// Philox blocks that they take.
const GROUP_BLOCKS: u64 = 8;
/// Elements that one Philox block decides.
pub(crate) const PER_BLOCK: u64 = 16;

/// A drop probability as an integer threshold of 40 bits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Threshold {
    /// Bytes below this drop. 256 drops all.
    byte: u16,
    /// Refinement words below this drop, where the byte ties.
    word: u32,
}

impl Threshold {
    /// The threshold for T = p·2^40.
    #[expect(clippy::cast_possible_truncation, reason = "cuts the number in two on purpose")]
    pub(crate) const fn new(t: u64) -> Self {
        Self { byte: (t >> 32) as u16, word: t as u32 }
    }

    /// Whether one element is kept.
    pub(crate) fn keeps(self, key: Key, index: u64) -> bool {
        let [w0, w1, w2, w3] = key.block(Domain::Words, index / PER_BLOCK);
        let word = match index / 4 % 4 {
            0 => w0,
            1 => w1,
            2 => w2,
            _ => w3,
        };
        let byte = (word >> (8 * (index % 4)) & 255) as u16;
        byte > self.byte || (byte == self.byte && self.tie_keeps(key, index))
    }

    /// Whether an element whose byte ties is kept.
    fn tie_keeps(self, key: Key, index: u64) -> bool {
        if self.word == 0 {
            return true;
        }
        let [w0, w1, w2, w3] = key.block(Domain::Refinement, index / 4);
        let word = match index % 4 {
            0 => w0,
            1 => w1,
            2 => w2,
            _ => w3,
        };
        word >= self.word
    }

    /// Bit i of the result: whether element 16·block + i is kept.
    #[inline(never)]
    fn group_bits<S: Simd>(self, simd: S, key: Key, block: u64) -> u128 {
        if is_scalar(simd) {
            return self.group_bits_scalar(key, block);
        }
        simd.vectorize(
            #[inline(always)]
            || {
                let [low, high] = self.group_masks(simd, key, block);
                u128::from(low.to_bitmask()) | u128::from(high.to_bitmask()) << 64
            },
        )
    }

    /// Without vectors, and on any byte order.
    fn group_bits_scalar(self, key: Key, block: u64) -> u128 {
        let mut bits = 0_u128;
        for i in 0..GROUP_BLOCKS {
            let block = block.wrapping_add(i);
            let mut index = block.wrapping_mul(PER_BLOCK);
            let mut kept = 0_u128;
            for byte in key.block(Domain::Words, block).map(u32::to_le_bytes).into_iter().flatten()
            {
                let byte = u16::from(byte);
                let keep = byte > self.byte || (byte == self.byte && self.tie_keeps(key, index));
                kept = kept >> 1 | u128::from(keep) << 127;
                index = index.wrapping_add(1);
            }
            bits = bits >> 16 | kept;
        }
        bits
    }

    /// The same as masks of 64 elements each.
    #[inline(always)]
    fn group_masks<S: Simd>(self, simd: S, key: Key, block: u64) -> [mask8x64<S>; 2] {
        let [low, high] = philox_group(simd, key, block);
        let first = block.wrapping_mul(PER_BLOCK);
        [self.decide(simd, low, key, first), self.decide(simd, high, key, first.wrapping_add(64))]
    }

    /// Decides about 64 elements, the first of which is number `first`.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "256 is handled by the caller")]
    fn decide<S: Simd>(self, simd: S, bytes: u8x64<S>, key: Key, first: u64) -> mask8x64<S> {
        let threshold = u8x64::simd_from(simd, self.byte as u8);
        if self.word == 0 {
            return bytes.simd_ge(threshold);
        }
        let kept = bytes.simd_gt(threshold);
        let mut ties = bytes.simd_eq(threshold).to_bitmask();
        if ties == 0 {
            return kept;
        }
        let mut bits = kept.to_bitmask();
        while ties != 0 {
            let lane = ties.trailing_zeros();
            if self.tie_keeps(key, first.wrapping_add(u64::from(lane))) {
                bits |= 1 << lane;
            }
            ties &= ties - 1;
        }
        mask8x64::from_bitmask(simd, bits)
    }
}

#[inline(always)]
fn words64<S: Simd>(simd: S, x: u64) -> u64x8<S> {
    u64x8::simd_from(simd, x)
}

/// Whether decisions are made element by element: without vectors, or where the bytes of a word do
/// not lie in memory in the order in which they decide.
#[inline(always)]
fn is_scalar<S: Simd>(simd: S) -> bool {
    simd.level().is_fallback() || cfg!(target_endian = "big")
}

/// The bytes of eight Philox blocks, in the order of the elements they decide.
#[inline(always)]
fn philox_group<S: Simd>(simd: S, key: Key, block: u64) -> [u8x64<S>; 2] {
    let words = words64(simd, 0xFFFF_FFFF);
    let [m0, m1] = MULTIPLIERS;
    let (m0, m1) = (words64(simd, u64::from(m0)), words64(simd, u64::from(m1)));
    let mut c0 = words64(simd, block) + u64x8::load_array(simd, [0, 1, 2, 3, 4, 5, 6, 7]);
    let mut c1 = c0 >> 32;
    let mut c2 = words64(simd, key.stream());
    let mut c3 = words64(simd, key.stream() >> 32);
    let [mut k0, mut k1] = key.seed_words();
    for _ in 0..ROUNDS {
        let p0 = (c0 & words) * m0;
        let p1 = (c2 & words) * m1;
        c0 = (p1 >> 32) ^ c1 ^ words64(simd, u64::from(k0));
        c1 = p1;
        c2 = (p0 >> 32) ^ c3 ^ words64(simd, u64::from(k1));
        c3 = p0;
        k0 = k0.wrapping_add(WEYL[0]);
        k1 = k1.wrapping_add(WEYL[1]);
    }
    let low = (c0 & words) | (c1 << 32);
    let high = (c2 & words) | (c3 << 32);
    [low.zip_low(high).bitcast(), low.zip_high(high).bitcast()]
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
    let len = tensor.input().len();
    let mut block = offset / PER_BLOCK;
    let mut start = 0;
    // A group that begins before the first element.
    let skipped = (offset % PER_BLOCK) as usize;
    if skipped > 0 {
        start = len.min(GROUP - skipped);
        let bits = threshold.group_bits(simd, key, block) >> skipped;
        apply_bits(simd, bits, scale, tensor.piece(0, start));
        block = block.wrapping_add(GROUP_BLOCKS);
    }
    while len - start >= GROUP {
        let piece = tensor.piece(start, GROUP);
        if is_scalar(simd) {
            apply_bits(simd, threshold.group_bits(simd, key, block), scale, piece);
        } else {
            apply_masks(simd, threshold.group_masks(simd, key, block), scale, piece);
        }
        start += GROUP;
        block = block.wrapping_add(GROUP_BLOCKS);
    }
    if start < len {
        let bits = threshold.group_bits(simd, key, block);
        apply_bits(simd, bits, scale, tensor.piece(start, len - start));
    }
}

/// A whole group.
#[inline(always)]
fn apply_masks<S: Simd>(simd: S, masks: [mask8x64<S>; 2], scale: f32, tensor: Tensor<'_>) {
    let [low, high] = masks;
    let ([m0, m1, m2, m3], [m4, m5, m6, m7]) = (quarters(low), quarters(high));
    let masks = [m0, m1, m2, m3, m4, m5, m6, m7];
    match tensor {
        Tensor::Apart(x, y) => {
            let (xs, ys) = (x.as_chunks::<LANES>().0, y.as_chunks_mut::<LANES>().0);
            for (mask, (x, y)) in masks.iter().zip(xs.iter().zip(ys)) {
                kept(*mask, Lanes::load(simd, x), scale).store_array(y);
            }
        }
        Tensor::InPlace(x) => {
            for (mask, x) in masks.iter().zip(x.as_chunks_mut::<LANES>().0) {
                kept(*mask, Lanes::load(simd, x), scale).store_array(x);
            }
        }
    }
}

/// A mask of bytes as masks of elements.
#[inline(always)]
fn quarters<S: Simd>(mask: mask8x64<S>) -> [mask32x16<S>; 4] {
    let (low, high) = mask.widen();
    let ((a, b), (c, d)) = (low.widen(), high.widen());
    [a, b, c, d]
}

/// A part of a group, from its first element on.
#[inline(always)]
fn apply_bits<S: Simd>(simd: S, bits: u128, scale: f32, tensor: Tensor<'_>) {
    tensor.map(
        simd,
        #[inline(always)]
        |i, x| {
            #[expect(clippy::cast_possible_truncation, reason = "sixteen bits are used")]
            let mask = mask32x16::from_bitmask(simd, (bits >> (i % GROUP)) as u64 & 0xFFFF);
            kept(mask, x, scale)
        },
    );
}

#[inline(always)]
fn kept<S: Simd>(mask: mask32x16<S>, x: f32x16<S>, scale: f32) -> f32x16<S> {
    mask.select(x * scale, x.all(0.0))
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
    // Whole bytes of a group that begins up to 15 elements early.
    let skipped = offset % PER_BLOCK;
    let bytes = if skipped == 0 { GROUP / 8 } else { GROUP / 8 - 2 };
    let mut block = offset / PER_BLOCK;
    let mut rest = len;
    for chunk in mask.chunks_mut(bytes) {
        let mut bits = threshold.group_bits(simd, key, block) >> skipped;
        if rest < GROUP {
            bits &= (1 << rest) - 1;
        }
        for (byte, value) in chunk.iter_mut().zip(bits.to_le_bytes()) {
            *byte = value;
        }
        block = block.wrapping_add(bytes as u64 / 2);
        rest = rest.saturating_sub(bytes * 8);
    }
}
