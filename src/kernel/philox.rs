//! Eight Philox blocks side by side, for masks and for numbers.
//!
//! They are held in 64-bit lanes, one word a lane. A product of two 32-bit words is then one
//! multiply instruction, its high word one shift, and the low word needs no operation at all: the
//! upper half of a lane may hold anything, since every use masks it (and the compiler sees that the
//! multiply instruction ignores it anyway). Words are packed only once, at the end.

use crate::philox::{Domain, Key, MULTIPLIERS, ROUNDS, WEYL};
use fearless_simd::{Bytes as _, Simd, SimdBase as _, SimdCombine as _, SimdFrom as _};
use fearless_simd::{SimdSplit as _, u8x64, u32x4, u32x16, u64x4, u64x8};

/// Blocks that are computed together.
pub(crate) const BLOCKS: usize = 8;

/// Which of eight blocks a lane holds, so that [`in_order`] is cheap.
pub(crate) const LANE_ORDER: [u64; BLOCKS] = [0, 2, 1, 3, 4, 6, 5, 7];

/// The lower half of a lane.
pub(crate) const WORD: u64 = 0xFFFF_FFFF;

/// The blocks of a key.
#[derive(Clone, Copy)]
pub(crate) struct Blocks<S: Simd> {
    stream: u64,
    keys: RoundKeys<S>,
}

/// The two words of the key in each round. Four times each: a quarter of a register is the least that
/// every machine loads into all quarters at no cost.
type RoundKeys<S> = [[u32x4<S>; 2]; ROUNDS];

/// Out of line, or the compiler computes the keys anew for every group.
#[inline(never)]
fn round_keys<S: Simd>(simd: S, key: Key) -> RoundKeys<S> {
    let [mut k0, mut k1] = key.seed_words();
    let mut keys = [[u32x4::simd_from(simd, 0); 2]; ROUNDS];
    for round in &mut keys {
        *round = [u32x4::simd_from(simd, k0), u32x4::simd_from(simd, k1)];
        k0 = k0.wrapping_add(WEYL[0]);
        k1 = k1.wrapping_add(WEYL[1]);
    }
    keys
}

impl<S: Simd> Blocks<S> {
    #[inline(always)]
    pub(crate) fn new(simd: S, key: Key) -> Self {
        Self { stream: key.stream(), keys: round_keys(simd, key) }
    }

    /// The blocks with these counters: each vector holds one of the four words, in the lower halves
    /// of its lanes.
    #[inline(always)]
    pub(crate) fn words(&self, simd: S, domain: Domain, counters: u64x8<S>) -> [u64x8<S>; 4] {
        let all = |x: u64| u64x8::simd_from(simd, x);
        let stream = self.stream | (domain as u64) << 62;
        let c = [counters, counters >> 32, all(stream), all(stream >> 32)];
        let consts = [all(WORD), all(u64::from(MULTIPLIERS[0])), all(u64::from(MULTIPLIERS[1]))];
        // Written out, since a loop here costs half as much again in moves between registers.
        let [k0, k1, k2, k3, k4, k5, k6, k7, k8, k9] = self.keys;
        let c = round(consts, round(consts, round(consts, c, k0), k1), k2);
        let c = round(consts, round(consts, round(consts, c, k3), k4), k5);
        let c = round(consts, round(consts, round(consts, c, k6), k7), k8);
        round(consts, c, k9)
    }
}

/// One round of Philox in every lane. The constants are a mask of the lower halves and the two
/// multipliers.
#[inline(always)]
fn round<S: Simd>(
    [low, m0, m1]: [u64x8<S>; 3],
    [c0, c1, c2, c3]: [u64x8<S>; 4],
    [k0, k1]: [u32x4<S>; 2],
) -> [u64x8<S>; 4] {
    let p0 = (c0 & low) * m0;
    let p1 = (c2 & low) * m1;
    // As 32-bit vectors: with 64-bit ones the compiler loses sight of which halves do not matter.
    let (k0, k1) = (u32x16::block_splat(k0), u32x16::block_splat(k1));
    let c0: u32x16<S> = ((p1 >> 32) ^ c1).bitcast();
    let c2: u32x16<S> = ((p0 >> 32) ^ c3).bitcast();
    [(c0 ^ k0).bitcast(), p1, (c2 ^ k1).bitcast(), p0]
}

/// The bytes of eight blocks that lie in [`LANE_ORDER`], block after block.
#[inline(always)]
pub(crate) fn in_order<S: Simd>([c0, c1, c2, c3]: [u64x8<S>; 4]) -> [u8x64<S>; 2] {
    let words = u64x8::simd_from(c0.simd, WORD);
    // Two words of a block, and the other two.
    let (low_a, low_b) = ((c0 & words) | (c1 << 32)).split();
    let (high_a, high_b) = ((c2 & words) | (c3 << 32)).split();
    [four_in_order(low_a, high_a).bitcast(), four_in_order(low_b, high_b).bitcast()]
}

/// Puts together the halves of the blocks 0, 2, 1, 3. In this order it is two instructions that do
/// not cross the halves of a 256-bit register.
#[inline(always)]
fn four_in_order<S: Simd>(low: u64x4<S>, high: u64x4<S>) -> u64x8<S> {
    let (first, second) = low.interleave(high);
    let ((block0, block2), (block1, block3)) = (first.split(), second.split());
    block0.combine(block1).combine(block2.combine(block3))
}
