//! Sections 2, 3 and 10: which elements a reduction takes, in which order, and how it adds them.

use std::ops::Range;

use evenkeel::Layout;

use super::real::Real;

/// One element (or none, past a segment's end) for every lane.
pub(crate) type Group = Vec<Option<usize>>;

/// One set of accumulators, one a lane, and the groups that are added to it in turn.
pub(crate) type Chain = Vec<Group>;

/// Up to four chains.
pub(crate) struct Block {
    pub(crate) chains: Vec<Chain>,
}

/// All blocks of one mean and variance. The numbers in it are places in the data.
pub(crate) struct Reduction {
    pub(crate) blocks: Vec<Block>,
}

const LANES: usize = 16;

impl Block {
    pub(crate) fn elements(&self) -> impl Iterator<Item = usize> {
        self.chains.iter().flatten().flatten().flatten().copied()
    }

    pub(crate) fn count(&self) -> u64 {
        self.elements().count() as u64
    }

    /// Σ term(i) over the block.
    pub(crate) fn sum<F: Real>(&self, term: impl Fn(usize) -> F) -> F {
        let lanes = self.chains[0][0].len();
        let mut chain_sums = vec![vec![F::ZERO; lanes]; 4];
        for (sums, chain) in chain_sums.iter_mut().zip(&self.chains) {
            for group in chain {
                for (lane, element) in group.iter().enumerate() {
                    sums[lane] = sums[lane] + element.map_or(F::ZERO, &term);
                }
            }
        }
        let c = |chain: usize, lane: usize| chain_sums[chain][lane];
        let block_lanes: Vec<F> =
            (0..lanes).map(|l| (c(0, l) + c(1, l)) + (c(2, l) + c(3, l))).collect();
        fold(block_lanes)
    }
}

/// Upper half onto lower half, until one lane is left. A column has one lane from the start.
fn fold<F: Real>(mut lanes: Vec<F>) -> F {
    while lanes.len() > 1 {
        let half = lanes.len() / 2;
        lanes = (0..half).map(|i| lanes[i] + lanes[i + half]).collect();
    }
    lanes[0]
}

/// Section 3: a reduction over contiguous segments of equal length.
pub(crate) fn along(segments: &[Range<usize>]) -> Reduction {
    let length = segments[0].len();
    let blocks = if length >= 256 {
        segments.iter().flat_map(long_segment).collect()
    } else {
        short_segments(segments, 256 / length)
    };
    Reduction { blocks }
}

fn long_segment(segment: &Range<usize>) -> Vec<Block> {
    cut(segment, 1024)
        .iter()
        .map(|block| Block { chains: cut(block, 256).iter().map(groups).collect() })
        .collect()
}

fn short_segments(segments: &[Range<usize>], segments_per_chain: usize) -> Vec<Block> {
    let chains: Vec<Chain> = segments
        .chunks(segments_per_chain)
        .map(|whole| whole.iter().flat_map(groups).collect())
        .collect();
    chains.chunks(4).map(|four| Block { chains: four.to_vec() }).collect()
}

/// Pieces of `size` elements, the last one short.
fn cut(range: &Range<usize>, size: usize) -> Vec<Range<usize>> {
    range.clone().step_by(size).map(|start| start..range.end.min(start + size)).collect()
}

/// Section 2: 16 elements at a time, the first of the piece in lane 0.
fn groups(piece: &Range<usize>) -> Vec<Group> {
    piece
        .clone()
        .step_by(LANES)
        .map(|start| (start..start + LANES).map(|i| (i < piece.end).then_some(i)).collect())
        .collect()
}

/// Section 10: a reduction down one column, given the places of its values row by row.
pub(crate) fn column(values: &[usize]) -> Reduction {
    let chain = |rows: &[usize]| -> Chain { rows.iter().map(|&i| vec![Some(i)]).collect() };
    let block = |rows: &[usize]| Block { chains: rows.chunks(16).map(chain).collect() };
    Reduction { blocks: values.chunks(64).map(block).collect() }
}

/// The place of one value in memory.
pub(crate) fn place(layout: &Layout, sample: usize, channel: usize, position: usize) -> usize {
    if layout.is_channels_last() {
        (sample * layout.spatial() + position) * layout.channels() + channel
    } else {
        (sample * layout.channels() + channel) * layout.spatial() + position
    }
}

/// The places of a channel's values, in the order in which they lie in memory.
pub(crate) fn channel_places(layout: &Layout, channel: usize) -> Vec<usize> {
    (0..layout.batch())
        .flat_map(|sample| {
            (0..layout.spatial()).map(move |position| place(layout, sample, channel, position))
        })
        .collect()
}

/// Section 10, first table.
pub(crate) fn of_channel(layout: &Layout, channel: usize) -> Reduction {
    let spatial = layout.spatial();
    if layout.channels() == 1 {
        along(std::slice::from_ref(&(0..layout.batch() * spatial)))
    } else if spatial == 1 || layout.is_channels_last() {
        column(&channel_places(layout, channel))
    } else {
        let plane = |sample| {
            let start = place(layout, sample, channel, 0);
            start..start + spatial
        };
        along(&(0..layout.batch()).map(plane).collect::<Vec<_>>())
    }
}

/// Section 4 and 5's "fixed binary tree": the largest power of two below k, and the rest.
pub(crate) fn tree<T: Clone>(parts: &[T], merge: &impl Fn(T, T) -> T) -> T {
    if let [one] = parts {
        return one.clone();
    }
    let mut left = 1;
    while left * 2 < parts.len() {
        left *= 2;
    }
    let (first, rest) = parts.split_at(left);
    merge(tree(first, merge), tree(rest, merge))
}
