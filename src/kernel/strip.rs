//! Mean and variance of sixteen channels at once, and of bands of them: [`super::moments`] for
//! columns.

use super::columns::{BLOCK_ROWS, Band, ColumnBlock, STRIPS, Strip};
use super::lanes::{LANES, Lanes, Value as _, Wide, widened};
use super::moments::{SMALLEST_SQUARES, Stats, TwoPass, count_deviating, rescue, two_pass};
use super::tree::{FEW_BLOCKS, FEW_LEVELS, LEVELS, Tree};
use crate::Moments;
use crate::moments::Weights;
use fearless_simd::{Simd, SimdMask as _, f32x16, mask32x16};

/// What a finished reduction knows of up to sixteen channels.
#[derive(Clone, Copy)]
pub(crate) enum StripStats<S: Simd> {
    /// One block. The channels of the mask, if any, were rescued and have their moments in f64.
    One { n: usize, narrow: TwoPass<f32x16<S>>, rescued: Option<(mask32x16<S>, TwoPass<Wide<S>>)> },
    /// More blocks, merged in f64. The channels of the mask had a block that was rescued.
    Merged { moments: StripMoments<S>, rescued: mask32x16<S> },
}

/// Count, mean and M2 of sixteen channels.
#[derive(Clone, Copy)]
pub(crate) struct StripMoments<S: Simd> {
    pub(crate) count: u64,
    pub(crate) mean: Wide<S>,
    pub(crate) m2: Wide<S>,
}

impl<S: Simd> StripMoments<S> {
    /// Chan's formula, a channel a lane.
    #[inline(always)]
    #[expect(clippy::cast_precision_loss, reason = "a slice has fewer than 2^53 rows")]
    fn merged(self, other: Self) -> Self {
        let weights = Weights::new(self.count as f64, other.count as f64);
        let delta = other.mean - self.mean;
        let mean = self.mean + delta * delta.all(weights.share);
        let m2 = (self.m2 + other.m2) + (delta * delta) * delta.all(weights.product);
        Self { count: self.count.wrapping_add(other.count), mean, m2 }
    }
}

impl<S: Simd> StripStats<S> {
    /// The statistics of no rows.
    #[inline(always)]
    fn nothing(simd: S) -> Self {
        let zero = <f32x16<S>>::filled(simd, 0.0);
        Self::One { n: 0, narrow: TwoPass { m: zero, c: zero, m2: zero, q: zero }, rescued: None }
    }

    /// The channels that needed f64.
    #[inline(always)]
    fn rescued(&self, simd: S) -> mask32x16<S> {
        match *self {
            Self::Merged { rescued, .. } | Self::One { rescued: Some((rescued, _)), .. } => rescued,
            Self::One { rescued: None, .. } => mask32x16::splat(simd, false),
        }
    }

    /// The statistics as mergeable triples.
    #[inline(always)]
    pub(crate) fn moments(&self, simd: S) -> StripMoments<S> {
        match *self {
            Self::Merged { moments, .. } => moments,
            Self::One { n, narrow, rescued } => {
                let mut mean = widened(simd, narrow.m) + widened(simd, narrow.c);
                let mut m2 = widened(simd, narrow.m2);
                if let Some((lanes, wide)) = rescued {
                    let lanes = Wide::mask(lanes);
                    mean = Wide::select(lanes, wide.m + wide.c, mean);
                    m2 = Wide::select(lanes, wide.m2, m2);
                }
                StripMoments { count: n as u64, mean, m2 }
            }
        }
    }

    /// The statistics channel by channel.
    #[inline(always)]
    pub(crate) fn lanes(&self, simd: S) -> [Stats; LANES] {
        let StripMoments { count, mean, m2 } = self.moments(simd);
        let mut stats = [Stats::merged(Moments::new(), false); LANES];
        let lanes = mean.values().into_iter().zip(m2.values());
        match *self {
            Self::Merged { rescued, .. } => {
                let rescued = rescued.to_bitmask();
                for (lane, (slot, (mean, m2))) in stats.iter_mut().zip(lanes).enumerate() {
                    let moments = Moments::from_parts(count, mean, m2);
                    *slot = Stats::merged(moments, rescued >> lane & 1 == 1);
                }
            }
            Self::One { n, narrow, rescued } => {
                let rescued = rescued.map_or(0, |(lanes, _)| lanes.to_bitmask());
                let squares = narrow.m2.values();
                let narrow = narrow.m.values().into_iter().zip(narrow.c.values());
                let narrow = narrow.zip(squares);
                for (lane, (slot, (wide, ((m, c), m2)))) in
                    stats.iter_mut().zip(lanes.zip(narrow)).enumerate()
                {
                    *slot = if rescued >> lane & 1 == 1 {
                        let moments = Moments::from_parts(count, wide.0, wide.1);
                        Stats::Merged { moments, wide: true }
                    } else {
                        Stats::Narrow { n, m, c, m2 }
                    };
                }
            }
        }
        stats
    }
}

/// Reduces the strips of a band.
#[inline(always)]
pub(crate) fn reduce_band<S: Simd>(simd: S, x: &[f32], band: Band) -> [StripStats<S>; STRIPS] {
    if band.rows <= BLOCK_ROWS {
        reduce_low_band(simd, x, band)
    } else if band.rows <= BLOCK_ROWS * FEW_BLOCKS {
        // Only those who need many levels pay for their stack.
        merge_tiles::<S, FEW_LEVELS>(simd, x, band)
    } else {
        merge_tiles::<S, LEVELS>(simd, x, band)
    }
}

/// Reduces a band of one block a strip.
#[inline(always)]
fn reduce_low_band<S: Simd>(simd: S, x: &[f32], band: Band) -> [StripStats<S>; STRIPS] {
    let mut stats = [StripStats::nothing(simd); STRIPS];
    for (stats, (_, strip)) in stats.iter_mut().zip(band.strips()) {
        *stats = reduce_strip(simd, x, strip);
    }
    stats
}

/// Reduces a strip of one block.
#[inline(always)]
fn reduce_strip<S: Simd>(simd: S, x: &[f32], strip: Strip) -> StripStats<S> {
    let block = ColumnBlock::new(simd, strip);
    let (narrow, lanes) = reduce_block(simd, x, block);
    let rescued = lanes.any_true().then(|| (lanes, rescue(simd, block, x)));
    StripStats::One { n: strip.rows, narrow, rescued }
}

/// Reduces one block and says which of its channels need f64. Out of line, so that all operations
/// share one copy of it.
#[inline(never)]
fn reduce_block<S: Simd>(
    simd: S,
    x: &[f32],
    block: ColumnBlock<S>,
) -> (TwoPass<f32x16<S>>, mask32x16<S>) {
    simd.vectorize(
        #[inline(always)]
        || {
            let narrow = two_pass::<S, f32x16<S>, _>(simd, block, x);
            let q = narrow.q;
            let mut doubtful = !q.all(f32::INFINITY).greater(q);
            let tiny = q.all(SMALLEST_SQUARES).greater(q);
            if tiny.any_true() {
                let deviating = count_deviating(simd, block, x, narrow.m);
                doubtful |= tiny & deviating.greater(q.all(0.0));
            }
            (narrow, doubtful)
        },
    )
}

/// Reduces a band of more than one block a strip. Out of line, so that all operations share one copy
/// of it.
#[inline(never)]
fn merge_tiles<S: Simd, const N: usize>(simd: S, x: &[f32], band: Band) -> [StripStats<S>; STRIPS] {
    simd.vectorize(
        #[inline(always)]
        || {
            let zero = Wide::filled(simd, 0.0);
            let blank = StripMoments { count: 0, mean: zero, m2: zero };
            let nobody = mask32x16::splat(simd, false);
            let mut trees = [(Tree::<StripMoments<S>, N>::new(blank), nobody); STRIPS];
            for tile in band.tiles() {
                for ((tree, rescued), (_, strip)) in trees.iter_mut().zip(tile.strips()) {
                    let stats = reduce_strip(simd, x, strip);
                    *rescued |= stats.rescued(simd);
                    tree.push(stats.moments(simd), StripMoments::merged);
                }
            }
            let mut stats = [StripStats::nothing(simd); STRIPS];
            for (stats, (tree, rescued)) in stats.iter_mut().zip(&trees) {
                let moments = tree.finish(StripMoments::merged).unwrap_or(blank);
                *stats = StripStats::Merged { moments, rescued: *rescued };
            }
            stats
        },
    )
}
