//! Mean and variance of a reduction: of a block by two passes, of many blocks by merging.

use super::block::Block;
use super::columns::{BLOCK_ROWS, ColumnBlock, Strip};
use super::lanes::{LANES, Lanes, Real, Value, Wide};
use super::rows::{RowBlock, Segments};
use super::tree::{FEW_LEVELS, LEVELS, Tree};
use crate::Moments;
use crate::moments::Weights;
use fearless_simd::{Simd, SimdMask as _, f32x16};

/// 2^-100: sums of squares below this have lost bits to underflow.
const SMALLEST_SQUARES: f32 = f32::from_bits((127 - 100) << 23);

/// 2^128: the first number that is too large for f32.
const TWO_TO_128: f64 = f64::from_bits((1023 + 128) << 52);

/// A block's moments in the arithmetic `T`: the mean is m + c.
#[derive(Clone, Copy)]
struct TwoPass<T> {
    m: T,
    c: T,
    m2: T,
    /// The sum of squared deviations before correction.
    q: T,
}

/// Computes the moments of a block by two passes over data that lies in the first-level cache.
///
/// The first pass gives a provisional mean m. The second sums the deviations from it, d = x − m, and
/// their squares. Σd would be 0 if m were the mean; what it is instead corrects both the mean and
/// the squares. If the correction makes up more than half of the squares, m was too far off (a
/// constant or nearly constant block), and the second pass is run once more around the better mean.
#[inline(always)]
fn two_pass<S: Simd, V: Lanes<S>, B: Block<S>>(simd: S, block: B, x: &[f32]) -> TwoPass<B::Sum<V>> {
    let [s] = block.sums(
        simd,
        [x],
        #[inline(always)]
        |x: [V; 1]| x,
    );
    let n = s.all(V::Scalar::count(block.count()));
    let mut m = s / n;
    let mut first = true;
    loop {
        let (e, q) = deviations::<S, V, B>(simd, block, x, m);
        let c = e / n;
        let far = (e * c).greater(q * q.all(V::Scalar::HALF));
        if first && <B::Sum<V>>::any(far) {
            m = Value::select(far, m + c, m);
            first = false;
            continue;
        }
        let m2 = q - e * c;
        let zero = m2.all(V::Scalar::ZERO);
        return TwoPass { m, c, m2: Value::select(zero.greater(m2), zero, m2), q };
    }
}

/// Σ d and Σ d·d for d = x − m.
#[inline(always)]
fn deviations<S: Simd, V: Lanes<S>, B: Block<S>>(
    simd: S,
    block: B,
    x: &[f32],
    m: B::Sum<V>,
) -> (B::Sum<V>, B::Sum<V>) {
    let mean = B::spread::<V>(simd, m);
    let [e, q] = block.sums(
        simd,
        [x],
        #[inline(always)]
        |[x]: [V; 1]| {
            let d = x - mean;
            [d, d * d]
        },
    );
    (e, q)
}

/// The number of elements that differ from m. Out of line: only blocks without squares ask.
#[inline(never)]
fn count_deviating<S: Simd, B: Block<S>>(
    simd: S,
    block: B,
    x: &[f32],
    m: B::Sum<f32x16<S>>,
) -> B::Sum<f32x16<S>> {
    simd.vectorize(
        #[inline(always)]
        || {
            let mean = B::spread::<f32x16<S>>(simd, m);
            let [count] = block.sums(
                simd,
                [x],
                #[inline(always)]
                |[x]: [f32x16<S>; 1]| [(x - mean).nonzero()],
            );
            count
        },
    )
}

/// The same in f64, out of line: few blocks need it.
#[cold]
#[inline(never)]
fn rescue<S: Simd, B: Block<S>>(simd: S, block: B, x: &[f32]) -> TwoPass<B::Sum<Wide<S>>> {
    simd.vectorize(
        #[inline(always)]
        || two_pass::<S, Wide<S>, B>(simd, block, x),
    )
}

/// What a finished reduction knows of its elements.
#[derive(Clone, Copy)]
pub(crate) enum Stats {
    /// One block whose f32 sums can be trusted: everything stays in f32.
    Narrow { n: usize, m: f32, c: f32, m2: f32 },
    /// Moments in f64; `wide` if the apply has to be f64 as well.
    Merged { moments: Moments, wide: bool },
}

impl Stats {
    /// Wraps merged moments; they are applied in f64 if a block was rescued, or if the variance is
    /// neither zero nor a normal f32, since nothing computed from it would fit f32 either.
    #[inline(always)]
    pub(crate) fn merged(moments: Moments, rescued: bool) -> Self {
        let variance = moments.variance();
        let fits =
            variance == 0.0 || (variance >= f64::from(f32::MIN_POSITIVE) && variance < TWO_TO_128);
        Self::Merged { moments, wide: rescued || !fits }
    }

    /// The statistics as a mergeable triple.
    #[inline(always)]
    pub(crate) fn moments(&self) -> Moments {
        match *self {
            Self::Narrow { n, m, c, m2 } => {
                Moments::from_parts(n as u64, f64::from(m) + f64::from(c), f64::from(m2))
            }
            Self::Merged { moments, .. } => moments,
        }
    }

    #[inline(always)]
    pub(crate) fn is_wide(&self) -> bool {
        matches!(self, Self::Merged { wide: true, .. })
    }
}

/// Reduces segments of contiguous elements; `None` if there is no element.
#[inline(never)]
pub(crate) fn reduce_rows<S: Simd>(simd: S, x: &[f32], segments: Segments) -> Option<Stats> {
    let mut blocks = segments.blocks();
    let first = reduce_row_block(simd, x, blocks.next()?);
    let Some(second) = blocks.next() else {
        return Some(first);
    };
    let mut tree = Tree::<Moments, LEVELS>::new(Moments::new());
    let mut rescued = first.is_wide();
    tree.push(first.moments(), Moments::merged);
    for block in core::iter::once(second).chain(blocks) {
        let stats = reduce_row_block(simd, x, block);
        rescued |= stats.is_wide();
        tree.push(stats.moments(), Moments::merged);
    }
    tree.finish(Moments::merged).map(|moments| Stats::merged(moments, rescued))
}

/// Reduces one block. Out of line, so that all operations share one copy of it.
#[inline(never)]
fn reduce_row_block<S: Simd>(simd: S, x: &[f32], block: RowBlock) -> Stats {
    let TwoPass { m, c, m2, q } = simd.vectorize(
        #[inline(always)]
        || two_pass::<S, f32x16<S>, _>(simd, block, x),
    );
    let n = Block::<S>::count(&block);
    let lost = q < SMALLEST_SQUARES && count_deviating(simd, block, x, m) > 0.0;
    if q.is_finite() && !lost {
        return Stats::Narrow { n, m, c, m2 };
    }
    let TwoPass { m, c, m2, .. } = rescue(simd, block, x);
    Stats::Merged { moments: Moments::from_parts(n as u64, m + c, m2), wide: true }
}

/// What a finished reduction knows of up to sixteen channels.
#[derive(Clone, Copy)]
#[expect(
    clippy::large_enum_variant,
    reason = "one value on the stack, and nothing to allocate with"
)]
pub(crate) enum StripStats<S: Simd> {
    /// One block, and the f32 sums of every channel can be trusted.
    Narrow { n: usize, m: f32x16<S>, c: f32x16<S>, m2: f32x16<S> },
    /// Anything else, channel by channel.
    Mixed([Stats; LANES]),
}

impl<S: Simd> StripStats<S> {
    /// The channels one by one.
    #[inline(always)]
    pub(crate) fn lanes(&self) -> [Stats; LANES] {
        match *self {
            Self::Mixed(stats) => stats,
            Self::Narrow { n, m, c, m2 } => {
                let mut stats = [Stats::Narrow { n, m: 0.0, c: 0.0, m2: 0.0 }; LANES];
                let (m, c, m2) = (m.values(), c.values(), m2.values());
                for (slot, ((m, c), m2)) in stats.iter_mut().zip(m.into_iter().zip(c).zip(m2)) {
                    *slot = Stats::Narrow { n, m, c, m2 };
                }
                stats
            }
        }
    }
}

/// Mean and M2 of sixteen channels in f64, for merging.
#[derive(Clone, Copy)]
struct StripMoments {
    count: u64,
    mean: [f64; LANES],
    m2: [f64; LANES],
}

impl StripMoments {
    const BLANK: Self = Self { count: 0, mean: [0.0; LANES], m2: [0.0; LANES] };

    #[inline(always)]
    fn from_stats(stats: &[Stats; LANES]) -> Self {
        let mut strip = Self::BLANK;
        let slots = strip.mean.iter_mut().zip(&mut strip.m2);
        for ((mean, m2), stats) in slots.zip(stats) {
            let moments = stats.moments();
            (strip.count, *mean, *m2) = (moments.count(), moments.mean(), moments.m2());
        }
        strip
    }

    #[inline(always)]
    #[expect(clippy::cast_precision_loss, reason = "a slice has fewer than 2^53 rows")]
    fn merged(self, other: Self) -> Self {
        let weights = Weights::new(self.count as f64, other.count as f64);
        let mut merged = Self { count: self.count.wrapping_add(other.count), ..self };
        let slots = merged.mean.iter_mut().zip(&mut merged.m2);
        for ((mean, m2), other) in slots.zip(other.mean.into_iter().zip(other.m2)) {
            (*mean, *m2) = weights.merge((*mean, *m2), other);
        }
        merged
    }
}

/// Reduces the rows of up to sixteen channels; `None` if there is no row.
#[inline(always)]
pub(crate) fn reduce_strip<S: Simd>(simd: S, x: &[f32], strip: Strip) -> Option<StripStats<S>> {
    if strip.rows <= BLOCK_ROWS {
        return strip.blocks(simd).next().map(|block| reduce_column_block(simd, x, block));
    }
    // Out of line, so that only those who need many levels pay for their stack.
    let stats = if strip.rows < BLOCK_ROWS << FEW_LEVELS {
        merge_strip::<S, FEW_LEVELS>(simd, x, strip)
    } else {
        merge_strip::<S, LEVELS>(simd, x, strip)
    };
    stats.map(StripStats::Mixed)
}

/// Reduces a strip of more than one block.
#[inline(never)]
fn merge_strip<S: Simd, const N: usize>(
    simd: S,
    x: &[f32],
    strip: Strip,
) -> Option<[Stats; LANES]> {
    simd.vectorize(
        #[inline(always)]
        || {
            let mut tree = Tree::<StripMoments, N>::new(StripMoments::BLANK);
            let mut rescued = [false; LANES];
            for block in strip.blocks(simd) {
                let stats = reduce_column_block(simd, x, block).lanes();
                for (rescued, stats) in rescued.iter_mut().zip(&stats) {
                    *rescued |= stats.is_wide();
                }
                tree.push(StripMoments::from_stats(&stats), StripMoments::merged);
            }
            let merged = tree.finish(StripMoments::merged)?;
            let mut stats = [Stats::Narrow { n: 0, m: 0.0, c: 0.0, m2: 0.0 }; LANES];
            let lanes = merged.mean.into_iter().zip(merged.m2).zip(rescued);
            for (slot, ((mean, m2), rescued)) in stats.iter_mut().zip(lanes) {
                *slot = Stats::merged(Moments::from_parts(merged.count, mean, m2), rescued);
            }
            Some(stats)
        },
    )
}

/// Reduces one block. Out of line, so that all operations share one copy of it.
#[inline(never)]
fn reduce_column_block<S: Simd>(simd: S, x: &[f32], block: ColumnBlock<S>) -> StripStats<S> {
    simd.vectorize(
        #[inline(always)]
        || column_block_stats(simd, x, block),
    )
}

#[inline(always)]
fn column_block_stats<S: Simd>(simd: S, x: &[f32], block: ColumnBlock<S>) -> StripStats<S> {
    let n = block.count();
    let TwoPass { m, c, m2, q } = two_pass::<S, f32x16<S>, _>(simd, block, x);
    let mut doubtful = !q.all(f32::INFINITY).greater(q);
    let tiny = q.all(SMALLEST_SQUARES).greater(q);
    if tiny.any_true() {
        let deviating = count_deviating(simd, block, x, m);
        doubtful |= tiny & deviating.greater(q.all(0.0));
    }
    let narrow = StripStats::Narrow { n, m, c, m2 };
    let rescued = doubtful.to_bitmask();
    if rescued == 0 {
        return narrow;
    }
    let wide = rescue(simd, block, x);
    let lanes = (wide.m + wide.c).values().into_iter().zip(wide.m2.values());
    let mut stats = narrow.lanes();
    for (lane, (slot, (mean, m2))) in stats.iter_mut().zip(lanes).enumerate() {
        if rescued >> lane & 1 == 1 {
            let moments = Moments::from_parts(n as u64, mean, m2);
            *slot = Stats::Merged { moments, wide: true };
        }
    }
    StripStats::Mixed(stats)
}
