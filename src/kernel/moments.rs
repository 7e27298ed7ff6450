//! Mean and variance of a reduction: of a block by two passes, of many blocks by merging.

use super::block::Block;
use super::lanes::{Lanes, Real, Value, Wide};
use super::rows::{BLOCK, RowBlock, Segments};
use super::tree::{FEW_LEVELS, LEVELS, Tree};
use crate::Moments;
use fearless_simd::{Simd, f32x16};

/// 2^-100: sums of squares below this have lost bits to underflow.
pub(crate) const SMALLEST_SQUARES: f32 = f32::from_bits((127 - 100) << 23);

/// 2^128: the first number that is too large for f32.
pub(crate) const TWO_TO_128: f64 = f64::from_bits((1023 + 128) << 52);

/// A block's moments in the arithmetic `T`: the mean is m + c.
#[derive(Clone, Copy)]
pub(crate) struct TwoPass<T> {
    pub(crate) m: T,
    pub(crate) c: T,
    pub(crate) m2: T,
    /// The sum of squared deviations before correction.
    pub(crate) q: T,
}

/// Computes the moments of a block by two passes over data that lies in the first-level cache.
///
/// The first pass gives a provisional mean m. The second sums the deviations from it, d = x − m, and
/// their squares. Σd would be 0 if m were the mean; what it is instead corrects both the mean and
/// the squares. If the correction makes up more than half of the squares, m was too far off (a
/// constant or nearly constant block), and the second pass is run once more around the better mean.
#[inline(always)]
pub(crate) fn two_pass<S: Simd, V: Lanes<S>, B: Block<S>>(
    simd: S,
    block: B,
    x: &[f32],
) -> TwoPass<B::Sum<V>> {
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
pub(crate) fn count_deviating<S: Simd, B: Block<S>>(
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
                |[x]: [f32x16<S>; 1]| {
                    let zero = x.all(0.0);
                    [Value::select((x - mean).equal(zero), zero, x.all(1.0))]
                },
            );
            count
        },
    )
}

/// The same in f64, out of line: few blocks need it.
#[cold]
#[inline(never)]
pub(crate) fn rescue<S: Simd, B: Block<S>>(
    simd: S,
    block: B,
    x: &[f32],
) -> TwoPass<B::Sum<Wide<S>>> {
    simd.vectorize(
        #[inline(always)]
        || two_pass::<S, Wide<S>, B>(simd, block, x),
    )
}

/// Whether a variance is zero or a normal f32.
#[inline(always)]
pub(crate) fn fits_f32(variance: f64) -> bool {
    variance == 0.0 || (variance >= f64::from(f32::MIN_POSITIVE) && variance < TWO_TO_128)
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
        let fits = fits_f32(moments.variance());
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
#[inline(always)]
pub(crate) fn reduce_rows<S: Simd>(simd: S, x: &[f32], segments: Segments) -> Option<Stats> {
    let most_blocks = segments.count.saturating_mul(segments.len / BLOCK + 1);
    if most_blocks < 1 << FEW_LEVELS {
        merge_rows::<S, FEW_LEVELS>(simd, x, segments)
    } else {
        merge_rows::<S, LEVELS>(simd, x, segments)
    }
}

/// Reduces all blocks of segments. Out of line, so that all operations share one copy of it.
#[inline(never)]
fn merge_rows<S: Simd, const N: usize>(simd: S, x: &[f32], segments: Segments) -> Option<Stats> {
    let mut blocks = segments.blocks();
    let first = reduce_row_block(simd, x, blocks.next()?);
    let Some(second) = blocks.next() else {
        return Some(first);
    };
    let mut tree = Tree::<Moments, N>::new(Moments::new());
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
