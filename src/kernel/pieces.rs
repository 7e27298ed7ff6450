//! Groups of channels whose rows are whole vectors: the channels of a group at one position are a segment,
//! and the segments of a block are summed where they lie, as if they lay side by side. Groups that are
//! neighbours are summed abreast, a lane each.

use super::block::{Block, Terms, add, each, sum_chains};
use super::columns::Band;
use super::lanes::{LANES, Lanes, One, Precision, Real as _, Sixteen};
use super::reduce::{Found, Merger, find_apart, reduce_tile};
use super::rows::{Abreast, Segments, Shifted, add_quads, fold_sums, part};
use super::sets::Tile;
use super::statistic::moments::MeanAndSquares;
use super::tree::{BLOCK_LEVELS, FEW_BLOCKS, FEW_LEVELS};
use fearless_simd::Simd;

/// What groups come to.
type Groups<S> = Found<Sixteen<S>, 4, 2>;

/// Reduces the groups of a run, at most sixteen.
#[inline(always)]
pub(crate) fn reduce_pieces<S: Simd>(
    simd: S,
    run: Band,
    group_channels: usize,
    x: &[f32],
) -> Groups<S> {
    let Band { start, stride, rows, channels, .. } = run;
    let first = Segments { start, stride, len: group_channels, count: rows };
    let count = channels.checked_div(group_channels).unwrap_or(0);
    let tile = Tile { number: 0, count, first, step: group_channels };
    match group_channels / LANES {
        1 => merge_pieces::<S, 1>(simd, tile, x),
        2 => merge_pieces::<S, 2>(simd, tile, x),
        4 => merge_pieces::<S, 4>(simd, tile, x),
        strips if strips.is_multiple_of(4) => merge_pieces::<S, 0>(simd, tile, x),
        _ => {
            let statistics = [MeanAndSquares; LANES];
            reduce_tile(simd, statistics.get(..count).unwrap_or(&statistics), &tile, [x])
        }
    }
}

/// Reduces a tile of pieces. Only those who need many levels pay for their stack.
#[inline(always)]
fn merge_pieces<S: Simd, const EACH: usize>(simd: S, tile: Tile, x: &[f32]) -> Groups<S> {
    if tile.first.block_count() <= FEW_BLOCKS {
        merge_blocks::<S, EACH, FEW_LEVELS>(simd, tile, x)
    } else {
        merge_blocks::<S, EACH, BLOCK_LEVELS>(simd, tile, x)
    }
}

/// [`merge_pieces`], out of line.
#[inline(never)]
fn merge_blocks<S: Simd, const EACH: usize, const DEPTH: usize>(
    simd: S,
    tile: Tile,
    x: &[f32],
) -> Groups<S> {
    simd.vectorize(
        #[inline(always)]
        || {
            let Tile { first, count, step: stride, .. } = tile;
            let mut merger = Merger::<Sixteen<S>, 4, 2, DEPTH>::new(Found::nothing(simd));
            for group in first.groups() {
                for segments in group.blocks() {
                    let block = Abreast { first: Pieces::<EACH> { segments }, stride, count };
                    merger.push::<MeanAndSquares, 1>(find_apart(simd, MeanAndSquares, block, [x]));
                }
            }
            merger.finish::<MeanAndSquares, 1>()
        },
    )
}

/// A block of segments whose elements go to lanes and chains as if the segments lay side by side: `EACH`
/// groups of a segment at a time, with as many of those behind it that there are four, one for each chain.
/// 4 if a segment has 64 elements, 2 if it has 32, 1 if it has 16; 0 stands for a multiple of 64.
#[derive(Clone, Copy)]
struct Pieces<const EACH: usize> {
    segments: Segments,
}

impl<const EACH: usize> Pieces<EACH> {
    /// Segments that have a group for each chain.
    const ROWS: usize = match EACH {
        1 => 4,
        2 => 2,
        _ => 1,
    };

    /// The sums of `SIDE` chains, the first of them number `first`.
    #[inline(always)]
    fn chains<
        S: Simd,
        V: Lanes<S>,
        T: Terms<INPUTS, PARAMETERS, SUMS>,
        const SIDE: usize,
        const INPUTS: usize,
        const PARAMETERS: usize,
        const SUMS: usize,
    >(
        &self,
        simd: S,
        terms: T,
        inputs: [&[f32]; INPUTS],
        parameters: [V; PARAMETERS],
        first: usize,
    ) -> [[V; SUMS]; SIDE] {
        let mut chains = [[V::filled(simd, V::Scalar::ZERO); SUMS]; SIDE];
        if EACH == 0 {
            for start in self.segments.starts() {
                let groups = each(
                    inputs,
                    [].as_slice(),
                    #[inline(always)]
                    |x| part(x, start, self.segments.len).as_chunks::<LANES>().0,
                );
                add_quads(simd, terms, (groups, first), parameters, &mut chains);
            }
            return chains;
        }
        let mut left = self.segments;
        // Groups that lie side by side: whether they are there is asked once.
        let together = SIDE.min(EACH).max(1);
        'quads: while left.count >= Self::ROWS {
            for (i, chains) in chains.chunks_mut(together).enumerate() {
                let groups =
                    left.side_by_side::<INPUTS, EACH>(inputs, first + i * together, together);
                // All are there. To leave the loop costs less than a zero in the place of one.
                let Some(groups) = groups else { break 'quads };
                add_each(simd, terms, groups, parameters, chains);
            }
            left = left.without(Self::ROWS);
        }
        for (side, chain) in chains.chunks_mut(1).enumerate() {
            if (first + side) * Self::ROWS / 4 < left.count
                && let Some(groups) = left.side_by_side::<INPUTS, EACH>(inputs, first + side, 1)
            {
                add_each(simd, terms, groups, parameters, chain);
            }
        }
        chains
    }
}

/// Adds a group of each input to each of some chains.
#[inline(always)]
fn add_each<
    S: Simd,
    V: Lanes<S>,
    T: Terms<INPUTS, PARAMETERS, SUMS>,
    const INPUTS: usize,
    const PARAMETERS: usize,
    const SUMS: usize,
>(
    simd: S,
    terms: T,
    groups: [&[[f32; LANES]]; INPUTS],
    parameters: [V; PARAMETERS],
    chains: &mut [[V; SUMS]],
) {
    let zero = V::filled(simd, V::Scalar::ZERO);
    for (i, chain) in chains.iter_mut().enumerate() {
        let vectors = each(
            groups,
            zero,
            #[inline(always)]
            |groups: &[[f32; LANES]]| groups.get(i).map_or(zero, |group| V::load(simd, group)),
        );
        *chain = add(*chain, terms.of(vectors, parameters));
    }
}

impl Segments {
    /// Some groups of each input, side by side: the first few segments have `EACH`, and the first of these is
    /// number `i` among theirs.
    #[inline(always)]
    fn side_by_side<const INPUTS: usize, const EACH: usize>(
        self,
        inputs: [&[f32]; INPUTS],
        i: usize,
        count: usize,
    ) -> Option<[&[[f32; LANES]]; INPUTS]> {
        let row = i * Pieces::<EACH>::ROWS / 4;
        let start = self.start + row * self.stride + (i - row * EACH) * LANES;
        let mut groups = [[].as_slice(); INPUTS];
        for (groups, x) in groups.iter_mut().zip(inputs) {
            *groups = x.get(start..)?.get(..count * LANES)?.as_chunks().0;
        }
        Some(groups)
    }
}

impl<const EACH: usize> Shifted for Pieces<EACH> {
    #[inline(always)]
    fn shifted(self, by: usize) -> Self {
        Self { segments: self.segments.moved(by) }
    }
}

impl<S: Simd, const EACH: usize> Block<S> for Pieces<EACH> {
    type Unit = One;

    #[inline(always)]
    fn count(&self) -> usize {
        self.segments.elements()
    }

    #[inline(always)]
    fn live(&self, _: S) -> bool {
        true
    }

    #[inline(always)]
    fn zero(&self, _: S) -> f64 {
        0.0
    }

    #[inline(always)]
    fn sums<
        P: Precision,
        T: Terms<INPUTS, PARAMETERS, SUMS>,
        const INPUTS: usize,
        const PARAMETERS: usize,
        const SUMS: usize,
    >(
        &self,
        simd: S,
        terms: T,
        inputs: [&[f32]; INPUTS],
        parameters: [P::Of<One>; PARAMETERS],
    ) -> [P::Of<One>; SUMS] {
        let zero = P::Lanes::<S>::filled(simd, P::Scalar::ZERO);
        let parameters = each(
            parameters,
            zero,
            #[inline(always)]
            |value| P::Lanes::<S>::filled(simd, P::one(value)),
        );
        fold_sums::<S, P, SUMS>(sum_chains!(S, parameters, zero, SUMS, first => {
            self.chains(simd, terms, inputs, parameters, first)
        }))
    }
}
