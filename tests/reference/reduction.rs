//! Sections 2, 3 and 10: which elements a reduction takes, in which order, and how it adds them.

use std::ops::Range;

use evenkeel::Layout;

use super::real::Real;

/// One element (or none, past a block's end) for every lane.
pub type Group = Vec<Option<usize>>;

/// One set of accumulators, one a lane, and the groups that are added to it in turn.
pub type Chain = Vec<Group>;

/// Up to 64 groups, dealt out to four chains.
pub struct Block {
    lanes: usize,
    chains: [Chain; 4],
}

/// All blocks of one mean and variance. The numbers in it are places in the data.
pub struct Reduction {
    pub blocks: Vec<Block>,
}

const LANES: usize = 16;

/// Elements that fill a block.
const BLOCK: usize = 1024;

impl Block {
    /// Group g is added to chain g mod 4.
    fn new(groups: Vec<Group>) -> Self {
        let lanes = groups[0].len();
        let mut chains = [const { Vec::new() }; 4];
        for (g, group) in groups.into_iter().enumerate() {
            chains[g % 4].push(group);
        }
        Self { lanes, chains }
    }

    pub fn elements(&self) -> impl Iterator<Item = usize> {
        self.chains.iter().flatten().flatten().flatten().copied()
    }

    pub fn count(&self) -> u64 {
        self.elements().count() as u64
    }

    /// Σ term(i) over the block.
    pub fn sum<F: Real>(&self, term: impl Fn(usize) -> F) -> F {
        let lanes = self.lanes;
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
pub fn along(segments: &[Range<usize>]) -> Reduction {
    let length = segments[0].len();
    let mut in_block = 1;
    while 2 * in_block * length <= BLOCK {
        in_block *= 2;
    }
    // Whole segments one behind the other; a long one alone, and then cut.
    let pieces = segments.chunks(in_block).map(|whole| whole.iter().cloned().flatten().collect());
    let block = |places: &[usize]| Block::new(groups(places));
    let blocks =
        pieces.flat_map(|piece: Vec<usize>| piece.chunks(BLOCK).map(block).collect::<Vec<_>>());
    Reduction { blocks: blocks.collect() }
}

/// Section 2: 16 elements at a time.
fn groups(places: &[usize]) -> Vec<Group> {
    let group = |sixteen: &[usize]| (0..LANES).map(|lane| sixteen.get(lane).copied()).collect();
    places.chunks(LANES).map(group).collect()
}

/// Section 10: a reduction down one column, given the places of its values row by row. A group is a
/// row, and has one lane.
pub fn column(values: &[usize]) -> Reduction {
    let block = |rows: &[usize]| Block::new(rows.iter().map(|&i| vec![Some(i)]).collect());
    Reduction { blocks: values.chunks(64).map(block).collect() }
}

/// The place of one value in memory.
pub fn place(layout: &Layout, sample: usize, channel: usize, position: usize) -> usize {
    if layout.is_channels_last() {
        (sample * layout.spatial() + position) * layout.channels() + channel
    } else {
        (sample * layout.channels() + channel) * layout.spatial() + position
    }
}

/// The places of a channel's values, in the order in which they lie in memory.
pub fn channel_places(layout: &Layout, channel: usize) -> Vec<usize> {
    (0..layout.batch())
        .flat_map(|sample| {
            (0..layout.spatial()).map(move |position| place(layout, sample, channel, position))
        })
        .collect()
}

/// Section 10, first table.
pub fn of_channel(layout: &Layout, channel: usize) -> Reduction {
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
pub fn tree<T: Clone>(parts: &[T], merge: &impl Fn(T, T) -> T) -> T {
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
