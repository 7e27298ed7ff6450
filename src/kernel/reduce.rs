//! The one walk over the blocks of reductions: statistic, rescue, tree.

use super::block::{Block, each};
use super::columns::{BLOCK_ROWS, Band, MANY_STRIPS};
use super::lanes::{F32, F64, LANES, Lanes as _, One, Sixteen, Unit, Value, Wide};
use super::rows::{Abreast, BLOCK, RowBlock, Segments, part};
use super::sets::Tile;
use super::statistic::Statistic;
use super::tree::{BLOCK_LEVELS, FEW_BLOCKS, FEW_LEVELS, MANY_LEVELS, Tree};
use crate::moments::Weights;
use fearless_simd::{Simd, SimdMask as _, f32x16, mask32x16};

/// What a reduction, or sixteen of them, came to.
#[derive(Clone, Copy)]
pub(crate) struct Found<U: Unit, const PARTS: usize, const TOTALS: usize> {
    /// The number of elements of each.
    pub(crate) count: usize,
    /// In f32, if it is one block. (Not what was rescued.)
    pub(crate) block: Option<[U::Narrow; PARTS]>,
    /// In f64.
    pub(crate) totals: [U::Wide; TOTALS],
    /// What had a block for which f32 was not enough.
    pub(crate) rescued: U::Mask,
    /// Which lanes are reductions.
    pub(crate) live: U::Mask,
}

/// Computes one block.
#[inline(always)]
fn find<S, U, T, B, const INPUTS: usize, const PARTS: usize, const TOTALS: usize>(
    simd: S,
    statistic: T,
    block: B,
    inputs: [&[f32]; INPUTS],
) -> Found<U, PARTS, TOTALS>
where
    S: Simd,
    U: Unit,
    T: Statistic<U, INPUTS, PARTS, TOTALS>,
    B: Block<S, Unit = U>,
{
    let parts = statistic.block::<S, F32, B>(simd, block, inputs);
    let live = block.live(simd);
    let rescued = statistic.is_lost(simd, block, inputs, parts) & live;
    let mut totals = T::totals(each(
        parts,
        block.zero(simd),
        #[inline(always)]
        |part| U::widen(part),
    ));
    if U::Narrow::any(rescued) {
        let wide = rescue(simd, statistic, block, inputs);
        for (total, wide) in totals.iter_mut().zip(&wide) {
            *total = Value::select(U::wide_mask(rescued), *wide, *total);
        }
    }
    Found { count: block.count(), block: Some(parts), totals, rescued, live }
}

/// Computes a block in f64. Out of line: few need it.
#[cold]
#[inline(never)]
fn rescue<S, U, T, B, const INPUTS: usize, const PARTS: usize, const TOTALS: usize>(
    simd: S,
    statistic: T,
    block: B,
    inputs: [&[f32]; INPUTS],
) -> [U::Wide; TOTALS]
where
    S: Simd,
    U: Unit,
    T: Statistic<U, INPUTS, PARTS, TOTALS>,
    B: Block<S, Unit = U>,
{
    simd.vectorize(
        #[inline(always)]
        || T::totals(statistic.block::<S, F64, B>(simd, block, inputs)),
    )
}

/// The blocks of a reduction, or of sixteen, merged as they come.
#[derive(Clone, Copy)]
pub(crate) struct Merger<U: Unit, const PARTS: usize, const TOTALS: usize, const DEPTH: usize> {
    /// The last block; where it is the only one, it is the result.
    last: Found<U, PARTS, TOTALS>,
    tree: Tree<(usize, [U::Wide; TOTALS]), DEPTH>,
    rescued: U::Mask,
}

impl<U: Unit, const PARTS: usize, const TOTALS: usize, const DEPTH: usize>
    Merger<U, PARTS, TOTALS, DEPTH>
{
    #[inline(always)]
    pub(crate) fn new(nothing: Found<U, PARTS, TOTALS>) -> Self {
        let tree = Tree::new((0, nothing.totals));
        Self { last: nothing, tree, rescued: nothing.rescued }
    }

    #[inline(always)]
    pub(crate) fn push<T, const INPUTS: usize>(&mut self, block: Found<U, PARTS, TOTALS>)
    where
        T: Statistic<U, INPUTS, PARTS, TOTALS>,
    {
        self.last = block;
        self.rescued = self.rescued | block.rescued;
        self.tree.push(
            (block.count, block.totals),
            #[inline(always)]
            |a, b| merged::<U, T, INPUTS, PARTS, TOTALS>(a, b),
        );
    }

    #[inline(always)]
    pub(crate) fn finish<T, const INPUTS: usize>(&self) -> Found<U, PARTS, TOTALS>
    where
        T: Statistic<U, INPUTS, PARTS, TOTALS>,
    {
        let result = self.tree.finish(
            #[inline(always)]
            |a, b| merged::<U, T, INPUTS, PARTS, TOTALS>(a, b),
        );
        match result {
            Some((count, totals)) if count != self.last.count => {
                Found { count, block: None, totals, rescued: self.rescued, ..self.last }
            }
            _ => self.last,
        }
    }
}

impl<U: Unit> Found<U, 2, 2> {
    /// Two sums in f32: as they were formed, or rounded where they were merged or rescued.
    #[inline(always)]
    pub(crate) fn narrow(&self) -> [U::Narrow; 2] {
        let [a, b] = self.totals;
        let mut sums = [U::round(a), U::round(b)];
        if let Some(block) = self.block {
            for (sum, block) in sums.iter_mut().zip(block) {
                *sum = Value::select(self.rescued, *sum, block);
            }
        }
        sums
    }
}

/// Two neighbours in one: count and totals.
#[inline(always)]
pub(crate) fn merged<U, T, const INPUTS: usize, const PARTS: usize, const TOTALS: usize>(
    (a_count, a): (usize, [U::Wide; TOTALS]),
    (b_count, b): (usize, [U::Wide; TOTALS]),
) -> (usize, [U::Wide; TOTALS])
where
    U: Unit,
    T: Statistic<U, INPUTS, PARTS, TOTALS>,
{
    let weights = Weights::of_counts(a_count, b_count);
    (a_count.wrapping_add(b_count), T::merged(weights, a, b))
}

impl<const PARTS: usize, const TOTALS: usize> Found<One, PARTS, TOTALS> {
    /// A reduction of nothing.
    pub(crate) const NOTHING: Self = Self {
        count: 0,
        block: Some([0.0; PARTS]),
        totals: [0.0; TOTALS],
        rescued: false,
        live: false,
    };

    /// A reduction that was merged from others.
    pub(crate) const fn merged((count, totals): (usize, [f64; TOTALS]), rescued: bool) -> Self {
        Self { count, block: None, totals, rescued, live: true }
    }
}

impl<S: Simd, const PARTS: usize, const TOTALS: usize> Found<Sixteen<S>, PARTS, TOTALS> {
    /// Reductions that there are none of.
    #[inline(always)]
    pub(crate) fn nothing(simd: S) -> Self {
        let (zero, nobody) = (f32x16::filled(simd, 0.0), mask32x16::splat(simd, false));
        let totals = [Wide::filled(simd, 0.0); TOTALS];
        Self { count: 0, block: Some([zero; PARTS]), totals, rescued: nobody, live: nobody }
    }

    /// Up to sixteen reductions side by side, that are all of one block or all of more.
    #[inline(always)]
    pub(crate) fn side_by_side(simd: S, all: &[Found<One, PARTS, TOTALS>]) -> Self {
        let mut parts = [[0.0; LANES]; PARTS];
        let mut totals = [[0.0; LANES]; TOTALS];
        let (mut count, mut is_block, mut rescued, mut live) = (0, false, 0, 0);
        for (lane, found) in all.iter().enumerate().take(LANES) {
            count = found.count;
            if let Some(block) = found.block {
                is_block = true;
                put(&mut parts, lane, block);
            }
            put(&mut totals, lane, found.totals);
            rescued |= u64::from(found.rescued) << lane;
            live |= 1 << lane;
        }
        let parts = each(
            parts,
            f32x16::filled(simd, 0.0),
            #[inline(always)]
            |values| f32x16::from_array(simd, values),
        );
        let totals = each(
            totals,
            Wide::filled(simd, 0.0),
            #[inline(always)]
            |values| Wide::from_array(simd, values),
        );
        Self {
            count,
            block: is_block.then_some(parts),
            totals,
            rescued: mask32x16::from_bitmask(simd, rescued),
            live: mask32x16::from_bitmask(simd, live),
        }
    }
}

/// Puts one number into each of some arrays.
#[inline(always)]
fn put<V: Copy, const N: usize>(arrays: &mut [[V; LANES]; N], lane: usize, values: [V; N]) {
    for (array, value) in arrays.iter_mut().zip(values) {
        if let Some(slot) = array.get_mut(lane) {
            *slot = value;
        }
    }
}

/// [`find`], out of line, so that there is one copy of it for every statistic and kind of block.
#[inline(never)]
pub(crate) fn find_apart<S, U, T, B, const INPUTS: usize, const PARTS: usize, const TOTALS: usize>(
    simd: S,
    statistic: T,
    block: B,
    inputs: [&[f32]; INPUTS],
) -> Found<U, PARTS, TOTALS>
where
    S: Simd,
    U: Unit,
    T: Statistic<U, INPUTS, PARTS, TOTALS>,
    B: Block<S, Unit = U>,
{
    simd.vectorize(
        #[inline(always)]
        || find(simd, statistic, block, inputs),
    )
}

/// Reduces up to sixteen contiguous rows of one block each.
#[inline(always)]
pub(crate) fn reduce_rows<S, T, const INPUTS: usize, const PARTS: usize, const TOTALS: usize>(
    simd: S,
    statistic: T,
    rows: Abreast<RowBlock>,
    inputs: [&[f32]; INPUTS],
) -> Found<Sixteen<S>, PARTS, TOTALS>
where
    S: Simd,
    T: Statistic<Sixteen<S>, INPUTS, PARTS, TOTALS>,
{
    if INPUTS > 1 && are_far(inputs) {
        touch(inputs, rows.first.start, rows.stride * rows.count);
    }
    find_apart(simd, statistic, rows, inputs)
}

/// Neighbouring reductions that are walked together.
pub(crate) const NEIGHBOURS: usize = 4;

/// Reduces a tile: reductions whose elements lie together. Each has its statistic.
#[inline(always)]
pub(crate) fn reduce_tile<S, T, const INPUTS: usize, const PARTS: usize, const TOTALS: usize>(
    simd: S,
    statistics: &[T],
    tile: &Tile,
    inputs: [&[f32]; INPUTS],
) -> Found<Sixteen<S>, PARTS, TOTALS>
where
    S: Simd,
    T: Statistic<One, INPUTS, PARTS, TOTALS>,
{
    let nothing = Found::<One, PARTS, TOTALS>::NOTHING;
    let mut all = [nothing; LANES];
    // Only those who need many levels pay for their stack, and only who joins segments for the stage.
    let few = tile.first.block_count() <= FEW_BLOCKS;
    let is_joined = tile.first.count.min(tile.first.together()) > 1;
    let mut stage = is_joined.then_some([[0.0; BLOCK]; INPUTS]);
    for (i, results) in all.as_chunks_mut::<NEIGHBOURS>().0.iter_mut().enumerate() {
        let Some(statistics @ [_, ..]) = statistics.get(i * NEIGHBOURS..) else { break };
        let tile = tile.from(i * NEIGHBOURS);
        let stage = stage.as_mut();
        let found = if few {
            merge_tile::<S, T, INPUTS, PARTS, TOTALS, FEW_LEVELS>(
                simd, statistics, &tile, inputs, stage,
            )
        } else {
            merge_tile::<S, T, INPUTS, PARTS, TOTALS, BLOCK_LEVELS>(
                simd, statistics, &tile, inputs, stage,
            )
        };
        for (result, found) in results.iter_mut().zip(&found) {
            *result = *found;
        }
    }
    let all = all.get(..statistics.len()).unwrap_or(&all);
    Found::side_by_side(simd, all)
}

/// Reduces the first reductions of a tile. Out of line, so that all operations share one copy of it.
#[inline(never)]
fn merge_tile<
    S,
    T,
    const INPUTS: usize,
    const PARTS: usize,
    const TOTALS: usize,
    const DEPTH: usize,
>(
    simd: S,
    statistics: &[T],
    tile: &Tile,
    inputs: [&[f32]; INPUTS],
    mut stage: Option<&mut [[f32; BLOCK]; INPUTS]>,
) -> [Found<One, PARTS, TOTALS>; NEIGHBOURS]
where
    S: Simd,
    T: Statistic<One, INPUTS, PARTS, TOTALS>,
{
    simd.vectorize(
        #[inline(always)]
        || {
            let nothing = Found::<One, PARTS, TOTALS>::NOTHING;
            let mut mergers = [Merger::<One, PARTS, TOTALS, DEPTH>::new(nothing); NEIGHBOURS];
            let far = INPUTS > 1 && are_far(inputs);
            // What lies side by side in memory comes one after the other.
            for group in tile.first.groups() {
                for (i, (merger, statistic)) in mergers.iter_mut().zip(statistics).enumerate() {
                    let group = group.moved(i * tile.step);
                    for block in group.blocks() {
                        if far && block.count == 1 {
                            touch(inputs, block.start, block.len);
                        }
                        let offset = block.start - group.start;
                        let (block, inputs) = joined(block, offset, inputs, stage.as_deref_mut());
                        merger.push::<T, INPUTS>(find(simd, *statistic, block, inputs));
                    }
                }
            }
            let mut results = [nothing; NEIGHBOURS];
            for (result, merger) in results.iter_mut().zip(&mergers) {
                *result = merger.finish::<T, INPUTS>();
            }
            results
        },
    )
}

/// The elements of a block side by side: in their place if they lie so, otherwise copied to the
/// stage, which has room for a block of each input. `offset` is the block's place in its row.
#[inline(always)]
fn joined<'a, const INPUTS: usize>(
    block: Segments,
    offset: usize,
    inputs: [&'a [f32]; INPUTS],
    stage: Option<&'a mut [[f32; BLOCK]; INPUTS]>,
) -> (RowBlock, [&'a [f32]; INPUTS]) {
    let len = block.elements();
    let Some(stage) = stage.filter(|_| block.count > 1) else {
        return (RowBlock { start: block.start, len, offset }, inputs);
    };
    for (copy, input) in stage.iter_mut().zip(inputs) {
        let mut slots = copy.as_mut_slice();
        for start in block.starts() {
            let Some((slot, rest)) = slots.split_at_mut_checked(block.len) else { break };
            copy_plane(slot, part(input, start, block.len));
            slots = rest;
        }
    }
    let mut copies = [[].as_slice(); INPUTS];
    for (slot, copy) in copies.iter_mut().zip(stage) {
        *slot = copy;
    }
    (RowBlock { start: 0, len, offset: 0 }, copies)
}

/// Copies a plane of so many elements as another. A short one by sixteen at a time, of which the last overlap
/// those before: the compiler's own loop, which is faster for longer ones, goes on element by element behind
/// the last 32.
#[inline(always)]
fn copy_plane(to: &mut [f32], from: &[f32]) {
    if !(LANES..4 * LANES).contains(&to.len()) || from.len() != to.len() {
        to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
        return;
    }
    for (to, from) in to.as_chunks_mut::<LANES>().0.iter_mut().zip(from.as_chunks::<LANES>().0) {
        *to = *from;
    }
    if let (Some(to), Some(from)) = (to.last_chunk_mut::<LANES>(), from.last_chunk::<LANES>()) {
        *to = *from;
    }
}

/// Whether tensors are likely to come from memory.
#[inline(always)]
pub(crate) fn are_far<const INPUTS: usize>(inputs: [&[f32]; INPUTS]) -> bool {
    const CACHE: usize = (8 << 20) / size_of::<f32>();
    inputs.iter().fold(0, |sum: usize, x| sum.saturating_add(x.len())) > CACHE
}

/// Reads something of every cache line of a piece of each input that has it, in the order of memory: what
/// is then walked in another order, the machine would not see coming. From memory that took twice as
/// long.
#[inline(always)]
fn touch<const INPUTS: usize>(inputs: [&[f32]; INPUTS], start: usize, len: usize) {
    let mut bits: u32 = 0;
    for input in inputs {
        let piece = input.get(start..).and_then(|x| x.get(..len)).unwrap_or(&[]);
        for line in piece.as_chunks::<LANES>().0 {
            // Such that each waits for the one before: the compiler would else change the order.
            bits = bits.rotate_left(1) ^ line[0].to_bits();
        }
    }
    // Otherwise the compiler leaves the reading out.
    core::hint::black_box(bits);
}

/// Reduces the channels of a band; each strip has its statistic.
#[inline(always)]
pub(crate) fn reduce_band<
    S,
    T,
    const STRIPS: usize,
    const INPUTS: usize,
    const PARTS: usize,
    const TOTALS: usize,
>(
    simd: S,
    statistics: &[T; STRIPS],
    band: Band,
    inputs: [&[f32]; INPUTS],
) -> [Found<Sixteen<S>, PARTS, TOTALS>; STRIPS]
where
    S: Simd,
    T: Statistic<Sixteen<S>, INPUTS, PARTS, TOTALS>,
{
    let far = are_far(inputs) && band.stride == band.channels;
    let before = |tile: Band| {
        if far {
            touch(inputs, tile.start, tile.rows * tile.stride);
        }
    };
    if band.rows <= BLOCK_ROWS {
        let mut results = [Found::nothing(simd); STRIPS];
        for ((result, statistic), strip) in results.iter_mut().zip(statistics).zip(band.strips()) {
            *result = find_apart(simd, *statistic, strip, inputs);
        }
        results
    } else if STRIPS == MANY_STRIPS {
        merge_band::<S, T, STRIPS, INPUTS, PARTS, TOTALS, MANY_LEVELS>(
            simd, statistics, band, inputs, before,
        )
    } else if STRIPS > MANY_STRIPS || band.rows <= BLOCK_ROWS * FEW_BLOCKS {
        merge_band::<S, T, STRIPS, INPUTS, PARTS, TOTALS, FEW_LEVELS>(
            simd, statistics, band, inputs, before,
        )
    } else {
        merge_band::<S, T, STRIPS, INPUTS, PARTS, TOTALS, BLOCK_LEVELS>(
            simd, statistics, band, inputs, before,
        )
    }
}

/// Reduces a band of more than one block of rows, as many as trees of `DEPTH` levels hold; each is handed to
/// `before` first. Out of line, so that all operations share one copy of it.
#[inline(never)]
pub(crate) fn merge_band<
    S,
    T,
    const STRIPS: usize,
    const INPUTS: usize,
    const PARTS: usize,
    const TOTALS: usize,
    const DEPTH: usize,
>(
    simd: S,
    statistics: &[T; STRIPS],
    band: Band,
    inputs: [&[f32]; INPUTS],
    mut before: impl FnMut(Band),
) -> [Found<Sixteen<S>, PARTS, TOTALS>; STRIPS]
where
    S: Simd,
    T: Statistic<Sixteen<S>, INPUTS, PARTS, TOTALS>,
{
    simd.vectorize(
        #[inline(always)]
        || {
            let nothing = Found::nothing(simd);
            let mut mergers = [Merger::<Sixteen<S>, PARTS, TOTALS, DEPTH>::new(nothing); STRIPS];
            for tile in band.tiles(BLOCK_ROWS) {
                before(tile);
                let strips = tile.strips();
                for ((merger, statistic), strip) in mergers.iter_mut().zip(statistics).zip(strips) {
                    merger.push::<T, INPUTS>(find_apart(simd, *statistic, strip, inputs));
                }
            }
            let mut results = [nothing; STRIPS];
            for (result, merger) in results.iter_mut().zip(&mergers) {
                *result = merger.finish::<T, INPUTS>();
            }
            results
        },
    )
}
