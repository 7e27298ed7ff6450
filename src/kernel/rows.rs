//! Blocks of contiguous segments: planes, rows, groups.

use super::block::{Block, add, add_chains, each};
use super::lanes::{LANES, Lanes, Real as _, first_lanes, padded};
use fearless_simd::{Simd, SimdBase as _, mask32x16};

/// Elements in a chain: 16 additions a lane.
pub(crate) const CHAIN: usize = 256;
/// Elements in a block: four chains.
pub(crate) const BLOCK: usize = 4 * CHAIN;

/// The segments of one reduction: `count` pieces of `len` elements, the first at `start`, each
/// `stride` after the one before.
#[derive(Clone, Copy)]
pub(crate) struct Segments {
    pub(crate) start: usize,
    pub(crate) stride: usize,
    pub(crate) len: usize,
    pub(crate) count: usize,
}

impl Segments {
    /// One contiguous segment.
    pub(crate) const fn one(start: usize, len: usize) -> Self {
        Self { start, stride: len, len, count: 1 }
    }

    /// Where each segment starts.
    #[inline(always)]
    pub(crate) fn starts(self) -> impl Iterator<Item = usize> {
        (0..self.count).map(move |i| self.start + i * self.stride)
    }

    /// The blocks in their order.
    #[inline(always)]
    pub(crate) fn blocks(self) -> impl Iterator<Item = RowBlock> {
        // Short segments: as many whole ones as fit make a chain. Long ones are cut.
        let short = self.len < CHAIN;
        let per_chain = CHAIN.checked_div(self.len).unwrap_or(1);
        let segments_per_block = if short { 4 * per_chain } else { 1 };
        steps(self.count, segments_per_block).flat_map(move |first| {
            let start = self.start + first * self.stride;
            let pieces = segments_per_block.min(self.count - first);
            (0..self.len).step_by(BLOCK).map(move |offset| {
                if short {
                    let (stride, len) = (self.stride, self.len);
                    RowBlock { start, stride, len, pieces, last: len, per_chain }
                } else {
                    RowBlock::cut(start + offset, (self.len - offset).min(BLOCK))
                }
            })
        })
    }
}

/// 0, `step`, 2·`step`, … below `end`. (`step_by` has a panic path for a step that is not a
/// constant.)
#[inline(always)]
fn steps(end: usize, step: usize) -> impl Iterator<Item = usize> {
    core::iter::successors(Some(0_usize), move |i| i.checked_add(step))
        .take_while(move |i| *i < end)
}

/// Up to four chains of pieces: whole short segments, or a long segment's pieces of [`CHAIN`].
#[derive(Clone, Copy)]
pub(crate) struct RowBlock {
    start: usize,
    /// From one piece to the next.
    stride: usize,
    /// Elements in a piece.
    len: usize,
    /// The number of pieces.
    pieces: usize,
    /// Elements in the last piece.
    last: usize,
    /// Pieces in a chain.
    per_chain: usize,
}

impl RowBlock {
    /// A contiguous block of up to [`BLOCK`] elements, one piece a chain.
    #[inline(always)]
    const fn cut(start: usize, len: usize) -> Self {
        let pieces = len.div_ceil(CHAIN);
        let last = len - (pieces - 1) * CHAIN;
        Self { start, stride: CHAIN, len: CHAIN, pieces, last, per_chain: 1 }
    }

    /// Whether this is a full contiguous block.
    #[inline(always)]
    const fn is_full(&self) -> bool {
        self.pieces == 4 && self.stride == CHAIN && self.last == CHAIN
    }

    /// The chains, one by one.
    #[inline(always)]
    fn chains<S: Simd, V: Lanes<S>, const INPUTS: usize, const SUMS: usize>(
        &self,
        simd: S,
        inputs: [&[f32]; INPUTS],
        f: impl Fn([V; INPUTS]) -> [V; SUMS] + Copy,
    ) -> [[V; SUMS]; 4] {
        let tail = first_lanes(simd, self.last % LANES);
        let mut chains = zeros(simd);
        let mut piece = 0;
        for chain in &mut chains {
            let end = (piece + self.per_chain).min(self.pieces);
            while piece < end {
                let len = if piece + 1 == self.pieces { self.last } else { self.len };
                let inputs = from(inputs, piece * self.stride);
                *chain = add_piece(simd, *chain, inputs, len, tail, f);
                piece += 1;
            }
        }
        chains
    }
}

impl<S: Simd> Block<S> for RowBlock {
    type Sum<V: Lanes<S>> = V::Scalar;

    #[inline(always)]
    fn count(&self) -> usize {
        (self.pieces - 1) * self.len + self.last
    }

    #[inline(always)]
    fn sums<V: Lanes<S>, const INPUTS: usize, const SUMS: usize>(
        &self,
        simd: S,
        inputs: [&[f32]; INPUTS],
        f: impl Fn([V; INPUTS]) -> [V; SUMS] + Copy,
    ) -> [V::Scalar; SUMS] {
        let inputs = from(inputs, self.start);
        let chains = match quarters(inputs) {
            Some(quarters) if self.is_full() => full_block(simd, quarters, f),
            _ => self.chains(simd, inputs, f),
        };
        each(
            add_chains(chains),
            V::Scalar::ZERO,
            #[inline(always)]
            |v| v.fold(),
        )
    }

    #[inline(always)]
    fn spread<V: Lanes<S>>(simd: S, sum: V::Scalar) -> V {
        V::filled(simd, sum)
    }
}

/// The inputs from an element on.
#[inline(always)]
fn from<const INPUTS: usize>(inputs: [&[f32]; INPUTS], start: usize) -> [&[f32]; INPUTS] {
    each(
        inputs,
        &[][..],
        #[inline(always)]
        |x| x.get(start..).unwrap_or(&[]),
    )
}

/// No vectors and no rest.
const NOTHING: (&[[f32; LANES]], &[f32]) = (&[], &[]);

/// Adds the first `len` elements of a piece to a chain. The inputs may go on beyond `len`, so that
/// the last vector can be read whole and masked; only at the very end of memory it is copied.
#[inline(always)]
fn add_piece<S: Simd, V: Lanes<S>, const INPUTS: usize, const SUMS: usize>(
    simd: S,
    mut chain: [V; SUMS],
    inputs: [&[f32]; INPUTS],
    len: usize,
    tail: mask32x16<S>,
    f: impl Fn([V; INPUTS]) -> [V; SUMS] + Copy,
) -> [V; SUMS] {
    let zero = V::filled(simd, V::Scalar::ZERO);
    let vectors = each(
        inputs,
        NOTHING,
        #[inline(always)]
        |x| x.as_chunks::<LANES>(),
    );
    let whole = len / LANES;
    for i in 0..whole {
        let loaded = each(
            vectors,
            zero,
            #[inline(always)]
            |(vectors, _)| vectors.get(i).map_or(zero, |vector| V::load(simd, vector)),
        );
        chain = add(chain, f(loaded));
    }
    if !len.is_multiple_of(LANES) {
        let loaded = each(
            vectors,
            zero,
            #[inline(always)]
            |(vectors, rest)| match vectors.get(whole) {
                Some(vector) => V::load(simd, vector),
                None => V::load(simd, &padded(rest)),
            },
        );
        let terms = each(
            f(loaded),
            zero,
            #[inline(always)]
            |v| v.keep(tail),
        );
        chain = add(chain, terms);
    }
    chain
}

/// The sixteen vectors of a chain that is contiguous.
type Chain = [[f32; LANES]; CHAIN / LANES];

/// Cuts the first block of each input into chains; `None` if an input is shorter than a block.
#[inline(always)]
fn quarters<'a, const INPUTS: usize>(
    inputs: [&'a [f32]; INPUTS],
) -> Option<[[&'a Chain; INPUTS]; 4]> {
    const NONE: &Chain = &[[0.0; LANES]; CHAIN / LANES];
    let mut cut: [[&'a Chain; INPUTS]; 4] = [[NONE; INPUTS]; 4];
    for (i, x) in inputs.into_iter().enumerate() {
        let (vectors, _) = x.as_chunks::<LANES>();
        let (chains, _) = vectors.as_chunks::<{ CHAIN / LANES }>();
        for (quarter, chain) in cut.iter_mut().zip(chains.first_chunk::<4>()?) {
            *quarter.get_mut(i)? = chain;
        }
    }
    Some(cut)
}

/// The chains of a full contiguous block.
///
/// Machines with wide vectors need several chains at a time to hide the latency of additions; with
/// narrow ones the registers hold one chain's sums only. The bits do not depend on it.
#[inline(always)]
fn full_block<S: Simd, V: Lanes<S>, const INPUTS: usize, const SUMS: usize>(
    simd: S,
    [q0, q1, q2, q3]: [[&Chain; INPUTS]; 4],
    f: impl Fn([V; INPUTS]) -> [V; SUMS] + Copy,
) -> [[V; SUMS]; 4] {
    if S::f32s::LEN >= 8 && SUMS == 1 {
        return full_chains(simd, [q0, q1, q2, q3], f);
    }
    let mut chains = zeros(simd);
    if S::f32s::LEN >= 8 {
        for (pair, quarters) in chains.as_chunks_mut::<2>().0.iter_mut().zip([[q0, q1], [q2, q3]]) {
            *pair = full_chains(simd, quarters, f);
        }
    } else {
        for (chain, quarter) in chains.iter_mut().zip([q0, q1, q2, q3]) {
            [*chain] = full_chains(simd, [quarter], f);
        }
    }
    chains
}

/// Sums `SIDE` full chains side by side.
#[inline(always)]
fn full_chains<S: Simd, V: Lanes<S>, const SIDE: usize, const INPUTS: usize, const SUMS: usize>(
    simd: S,
    quarters: [[&Chain; INPUTS]; SIDE],
    f: impl Fn([V; INPUTS]) -> [V; SUMS] + Copy,
) -> [[V; SUMS]; SIDE] {
    let zero = V::filled(simd, V::Scalar::ZERO);
    let mut chains = [[zero; SUMS]; SIDE];
    // Indices, because a zip of arrays keeps its length checks in this innermost loop.
    #[expect(clippy::indexing_slicing, reason = "the indices are below the arrays' lengths")]
    for i in 0..CHAIN / LANES {
        for side in 0..SIDE {
            let vectors = each(
                quarters[side],
                zero,
                #[inline(always)]
                |x| V::load(simd, &x[i]),
            );
            chains[side] = add(chains[side], f(vectors));
        }
    }
    chains
}

#[inline(always)]
fn zeros<S: Simd, V: Lanes<S>, const SUMS: usize, const SIDE: usize>(simd: S) -> [[V; SUMS]; SIDE] {
    [[V::filled(simd, V::Scalar::ZERO); SUMS]; SIDE]
}
