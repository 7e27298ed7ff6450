//! Which elements are kept.

use super::super::philox::{BLOCKS, Blocks, LANE_ORDER, WORD, in_order};
use super::Draw;
use crate::philox::{Domain, Key};
use crate::words::pick;
use core::ops::Range;
use fearless_simd::{Select as _, Simd, SimdBase as _, SimdFrom as _, SimdMask as _};
use fearless_simd::{mask8x64, u8x64, u64x8};

/// Elements that one Philox block decides.
pub(crate) const PER_BLOCK: u64 = 16;
/// Elements decided together.
pub(crate) const GROUP: usize = 16 * BLOCKS;
/// Groups after which ties are looked for.
const GROUPS: usize = 16;
/// Ties that are refined together: twice eight, neither of which waits for the other.
const TIES: usize = 2 * BLOCKS;

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
        self.byte_keeps(byte, key, (index, 0))
    }

    /// Whether an element with this byte is kept: the one number `first` + `i`.
    #[inline(always)]
    fn byte_keeps(self, byte: u8, key: Key, (first, i): (u64, usize)) -> bool {
        byte > self.byte || (byte == self.byte && self.tie_keeps(key, (first, i)))
    }

    /// Whether an element whose byte ties is kept. Few do.
    #[cold]
    #[inline(never)]
    fn tie_keeps(self, key: Key, (first, i): (u64, usize)) -> bool {
        let index = first.wrapping_add(i as u64);
        self.word == 0 || pick(key.block(Domain::Refinement, index / 4), index) >= self.word
    }
}

/// What is done with decisions. Positions count from the first element of the call.
pub(super) trait Sink<S: Simd> {
    /// Takes one element.
    fn one(&mut self, position: usize, keep: bool);
    /// Takes elements from `start` on, one for each byte; the function says of a place and a byte whether
    /// it is kept.
    fn some(&mut self, start: usize, bytes: &[u8], keeps: impl Fn(usize, u8) -> bool);
    /// Takes a group of elements from `start` on; the mask says which are kept.
    fn group(&mut self, simd: S, start: usize, keep: [mask8x64<S>; 2]);
    /// Drops an element of a group after all, if `keep` is 0. Otherwise all its bits are set.
    fn revise(&mut self, position: usize, keep: u32);
}

/// Decides about `len` elements. Elements before the first whole Philox
/// block, and all of them without vectors, are decided one by one.
#[inline(always)]
pub(super) fn decide<S: Simd>(simd: S, draw: Draw, len: usize, sink: &mut impl Sink<S>) {
    let before_block = within_block(draw.offset.wrapping_neg());
    let single = if is_scalar(simd) { len } else { before_block.min(len) };
    decide_one_by_one(draw, single, sink);
    if single < len {
        Decider::new(simd, draw).decide(simd, single..len, sink);
    }
}

/// Whether decisions are made one by one: without vectors, or where the bytes of a word do not lie
/// in memory in the order in which they decide.
#[inline(always)]
pub(super) fn is_scalar<S: Simd>(simd: S) -> bool {
    simd.level().is_fallback() || cfg!(target_endian = "big")
}

/// Where an element lies in its Philox block.
#[inline(always)]
const fn within_block(index: u64) -> usize {
    (index % PER_BLOCK) as usize
}

/// Decides with one Philox block at a time, ties included.
#[inline(always)]
pub(super) fn decide_one_by_one<S: Simd>(
    Draw { threshold, key, offset }: Draw,
    len: usize,
    sink: &mut impl Sink<S>,
) {
    let mut position = 0;
    while position < len {
        let index = offset.wrapping_add(position as u64);
        let [w0, w1, w2, w3] = key.block(Domain::Words, index / PER_BLOCK);
        let bytes = [w0.to_le_bytes(), w1.to_le_bytes(), w2.to_le_bytes(), w3.to_le_bytes()];
        let bytes = bytes.as_flattened().get(within_block(index)..).unwrap_or(&[]);
        let bytes = bytes.get(..len - position).unwrap_or(bytes);
        sink.some(
            position,
            bytes,
            #[inline(always)]
            |i, byte| threshold.byte_keeps(byte, key, (index, i)),
        );
        position += bytes.len();
    }
}

/// Decides about whole groups, and about ties when there are eight of them.
#[derive(Clone, Copy)]
pub(super) struct Decider<S: Simd> {
    threshold: Threshold,
    blocks: Blocks<S>,
    /// The number of the call's first element.
    offset: u64,
    /// [`LANE_ORDER`].
    lanes: u64x8<S>,
}

impl<S: Simd> Decider<S> {
    #[inline(always)]
    pub(super) fn new(simd: S, Draw { threshold, key, offset }: Draw) -> Self {
        let lanes = u64x8::load_array(simd, LANE_ORDER);
        Self { threshold, blocks: Blocks::new(simd, key), offset, lanes }
    }

    /// The same where a call's first element is another.
    #[inline(always)]
    pub(super) const fn at(self, offset: u64) -> Self {
        Self { offset, ..self }
    }

    /// Decides about a range of positions that starts with a Philox block.
    #[inline(always)]
    pub(super) fn decide(&self, simd: S, range: Range<usize>, sink: &mut impl Sink<S>) {
        let mut queue = Queue { positions: [0; TIES], count: 0 };
        let mut start = range.start;
        while start < range.end {
            let first = start;
            let mut ties = [[0; 2]; GROUPS];
            for ties in &mut ties {
                let rest = range.end.saturating_sub(start);
                *ties = if rest >= GROUP {
                    self.decide_group(simd, start, sink)
                } else {
                    self.decide_part(simd, start, rest, sink)
                };
                start = start.wrapping_add(GROUP);
            }
            if self.threshold.word > 0 {
                queue.push_all(
                    first,
                    ties.as_flattened(),
                    #[inline(always)]
                    |full| self.refine(simd, full, TIES, sink),
                );
            }
        }
        if queue.count > 0 {
            self.refine(simd, queue.positions, queue.count, sink);
        }
    }

    /// Decides about a group by its bytes, and says which elements tie. They are kept for now.
    #[inline(always)]
    fn decide_group(&self, simd: S, start: usize, sink: &mut impl Sink<S>) -> [u64; 2] {
        let [a, b] = self.bytes(simd, start);
        sink.group(simd, start, [self.keep(simd, a), self.keep(simd, b)]);
        [self.ties(simd, a), self.ties(simd, b)]
    }

    /// The same for the first `len` elements of a group.
    #[inline(always)]
    fn decide_part(&self, simd: S, start: usize, len: usize, sink: &mut impl Sink<S>) -> [u64; 2] {
        if len == 0 {
            return [0; 2];
        }
        let [a, b] = self.bytes(simd, start);
        let (low, high) = (self.keep(simd, a).to_bitmask(), self.keep(simd, b).to_bitmask());
        let mut keep = u128::from(low) | u128::from(high) << 64;
        for position in start..start + len {
            sink.one(position, keep & 1 == 1);
            keep >>= 1;
        }
        let first = |n: usize| if n < 64 { (1 << n) - 1 } else { u64::MAX };
        let (low, high) = (first(len), first(len.saturating_sub(64)));
        [self.ties(simd, a) & low, self.ties(simd, b) & high]
    }

    /// The bytes of a group.
    #[inline(always)]
    fn bytes(&self, simd: S, start: usize) -> [u8x64<S>; 2] {
        let block = self.offset.wrapping_add(start as u64) / PER_BLOCK;
        let counters = u64x8::simd_from(simd, block) + self.lanes;
        in_order(self.blocks.words(simd, Domain::Words, counters))
    }

    /// Which elements their bytes keep, ties included.
    #[inline(always)]
    fn keep(&self, simd: S, bytes: u8x64<S>) -> mask8x64<S> {
        bytes.simd_ge(u8x64::simd_from(simd, self.threshold.byte))
    }

    /// Which elements tie, one bit each.
    #[inline(always)]
    fn ties(&self, simd: S, bytes: u8x64<S>) -> u64 {
        bytes.simd_eq(u8x64::simd_from(simd, self.threshold.byte)).to_bitmask()
    }

    /// Decides about the first `count` of some elements that tie.
    #[inline(always)]
    fn refine(&self, simd: S, positions: [usize; TIES], count: usize, sink: &mut impl Sink<S>) {
        let keep = self.refined(simd, positions);
        for (position, keep) in positions.into_iter().zip(keep).take(count) {
            sink.revise(position, keep);
        }
    }

    /// What the refinement words of some elements say: 0 to drop, all bits to keep. Out of line,
    /// since few elements need it.
    #[inline(never)]
    #[expect(clippy::cast_possible_truncation, reason = "a mask: 0 or all bits")]
    fn refined(&self, simd: S, positions: [usize; TIES]) -> [u32; TIES] {
        let mut indices = [0; TIES];
        for (index, position) in indices.iter_mut().zip(positions) {
            *index = self.offset.wrapping_add(position as u64);
        }
        let mut keep = [0; TIES];
        simd.vectorize(
            #[inline(always)]
            || {
                let all = |x: u64| u64x8::simd_from(simd, x);
                let pieces = keep.as_chunks_mut::<BLOCKS>().0.iter_mut();
                for (keep, indices) in pieces.zip(indices.as_chunks().0) {
                    let indices = u64x8::load_array_ref(simd, indices);
                    let words = self.blocks.words(simd, Domain::Refinement, indices >> 2);
                    let [w0, w1, w2, w3] = words;
                    let odd = (indices & all(1)).simd_eq(all(1));
                    let upper = (indices & all(2)).simd_eq(all(2));
                    let word = upper.select(odd.select(w3, w2), odd.select(w1, w0)) & all(WORD);
                    let kept = word.simd_ge(all(u64::from(self.threshold.word)));
                    for (keep, lane) in keep.iter_mut().zip(*kept.select(all(WORD), all(0))) {
                        *keep = lane as u32;
                    }
                }
            },
        );
        keep
    }
}

/// Ties that wait until there are [`TIES`].
struct Queue {
    positions: [usize; TIES],
    count: usize,
}

impl Queue {
    /// Adds the position of every set bit, `first` for the first bit. Whenever the queue is full,
    /// it is handed out and starts anew.
    #[inline(always)]
    fn push_all(&mut self, first: usize, ties: &[u64], mut full: impl FnMut([usize; TIES])) {
        // First the words that have a tie at all: branches on every word would be unpredictable.
        let mut tied = 0_u32;
        for bits in ties.iter().rev() {
            tied = tied << 1 | u32::from(*bits != 0);
        }
        let mut count = self.count;
        while tied != 0 {
            let word = tied.trailing_zeros() as usize;
            tied &= tied - 1;
            let mut bits = ties.get(word).copied().unwrap_or(0);
            while bits != 0 {
                if let Some(slot) = self.positions.get_mut(count) {
                    *slot = first.wrapping_add(word * 64 + bits.trailing_zeros() as usize);
                }
                bits &= bits - 1;
                count += 1;
                if count == TIES {
                    full(self.positions);
                    count = 0;
                }
            }
        }
        self.count = count;
    }
}
