//! Mean and variance of a reduction: of a block by two passes, of many blocks by merging.

use super::block::Block;
use super::lanes::{Lanes, Real, Value, Wide};
use super::rows::{RowBlock, Segments};
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
    let m = first_pass::<S, V, B>(simd, block, x);
    let sums = second_pass::<S, V, B>(simd, block, x, m);
    corrected::<S, V, B>(simd, block, x, m, sums)
}

/// The provisional mean.
#[inline(always)]
fn first_pass<S: Simd, V: Lanes<S>, B: Block<S>>(simd: S, block: B, x: &[f32]) -> B::Sum<V> {
    let [s] = block.sums(
        simd,
        [x],
        #[inline(always)]
        |x: [V; 1]| x,
    );
    s / s.all(V::Scalar::count(block.count()))
}

/// Σ d and Σ d·d for d = x − m.
#[inline(always)]
fn second_pass<S: Simd, V: Lanes<S>, B: Block<S>>(
    simd: S,
    block: B,
    x: &[f32],
    m: B::Sum<V>,
) -> [B::Sum<V>; 2] {
    let mean = B::spread::<V>(simd, m);
    block.sums(
        simd,
        [x],
        #[inline(always)]
        |[x]: [V; 1]| {
            let d = x - mean;
            [d, d * d]
        },
    )
}

/// The moments from the sums of the second pass, which is run once more if need be.
#[inline(always)]
fn corrected<S: Simd, V: Lanes<S>, B: Block<S>>(
    simd: S,
    block: B,
    x: &[f32],
    mut m: B::Sum<V>,
    [mut e, mut q]: [B::Sum<V>; 2],
) -> TwoPass<B::Sum<V>> {
    let n = m.all(V::Scalar::count(block.count()));
    let mut c = e / n;
    let far = (e * c).greater(q * q.all(V::Scalar::HALF));
    if <B::Sum<V>>::any(far) {
        m = Value::select(far, m + c, m);
        [e, q] = second_pass::<S, V, B>(simd, block, x, m);
        c = e / n;
    }
    let m2 = q - e * c;
    let zero = m2.all(V::Scalar::ZERO);
    TwoPass { m, c, m2: Value::select(zero.greater(m2), zero, m2), q }
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
    /// The statistics of no elements.
    pub(crate) const NOTHING: Self = Self::Merged { moments: Moments::new(), wide: false };

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

/// Reductions that may be done together. Fewer or more give the same bits.
pub(crate) const NEIGHBOURS: usize = if super::SMALL { 1 } else { 4 };

/// Reduces segments of contiguous elements. Where there is more than one, `copy` has room for a
/// block.
#[inline(always)]
pub(crate) fn reduce_rows<S: Simd>(
    simd: S,
    x: &[f32],
    segments: Segments,
    copy: &mut [f32],
) -> Stats {
    let [stats, ..] = reduce_neighbours(simd, x, segments, 1, copy);
    stats
}

/// The same for neighbouring reductions, whose segments lie behind each other: the planes of a few
/// channels.
#[inline(always)]
pub(crate) fn reduce_neighbours<S: Simd>(
    simd: S,
    x: &[f32],
    segments: Segments,
    reductions: usize,
    copy: &mut [f32],
) -> [Stats; NEIGHBOURS] {
    if segments.has_few_blocks() {
        merge_rows::<S, FEW_LEVELS>(simd, x, segments, reductions, copy)
    } else {
        merge_rows::<S, LEVELS>(simd, x, segments, reductions, copy)
    }
}

/// Reduces all blocks of segments. Out of line, so that all operations share one copy of it.
#[inline(never)]
fn merge_rows<S: Simd, const N: usize>(
    simd: S,
    x: &[f32],
    segments: Segments,
    reductions: usize,
    copy: &mut [f32],
) -> [Stats; NEIGHBOURS] {
    simd.vectorize(
        #[inline(always)]
        || {
            let mut results = [Stats::NOTHING; NEIGHBOURS];
            let mut trees = [Tree::<Moments, N>::new(Moments::new()); NEIGHBOURS];
            let mut blocks = segments.blocks(reductions);
            let mut next = blocks.next();
            let mut mean = None;
            while let Some((reduction, block)) = next {
                next = blocks.next();
                let elements = block.joined(x, copy);
                let block = RowBlock::of(block);
                let ahead = next.filter(|_| segments.are_near());
                let ahead = ahead.and_then(|(_, next)| next.full_in(x));
                let narrow;
                if super::SMALL {
                    narrow = two_pass_out_of_line(simd, elements, block);
                } else {
                    (narrow, mean) = two_pass_ahead(simd, elements, block, mean, ahead);
                }
                let stats = block_stats(simd, elements, block, narrow);
                let slots = results.iter_mut().zip(&mut trees);
                if let Some((result, tree)) = slots.into_iter().nth(reduction) {
                    // Until the end, a result only remembers whether there was a rescue.
                    *result = if result.is_wide() { *result } else { stats };
                    tree.push(stats.moments(), Moments::merged);
                }
            }
            if !segments.are_one_block() {
                for (result, tree) in results.iter_mut().zip(&trees) {
                    if let Some(moments) = tree.finish(Moments::merged) {
                        *result = Stats::merged(moments, result.is_wide());
                    }
                }
            }
            results
        },
    )
}

/// [`two_pass`] in a frame of its own.
#[inline(never)]
fn two_pass_out_of_line<S: Simd>(simd: S, x: &[f32], block: RowBlock) -> TwoPass<f32> {
    simd.vectorize(
        #[inline(always)]
        || two_pass::<S, f32x16<S>, _>(simd, block, x),
    )
}

/// [`two_pass`] over a block, whose provisional mean may be known, and the provisional mean of the
/// block ahead.
///
/// Where both are full, the first pass over the block ahead is done along with the second over this
/// one, in one loop: then nothing waits for a sum to be folded and divided. (Not where elements come
/// from memory: the loop reads them in an order that prefetchers do not see through.)
#[inline(always)]
fn two_pass_ahead<S: Simd>(
    simd: S,
    x: &[f32],
    block: RowBlock,
    mean: Option<f32>,
    ahead: Option<&[f32]>,
) -> (TwoPass<f32>, Option<f32>) {
    let Some(block) = block.full() else {
        return (two_pass::<S, f32x16<S>, _>(simd, block, x), None);
    };
    let m = match mean {
        Some(mean) => mean,
        None => first_pass::<S, f32x16<S>, _>(simd, block, x),
    };
    let Some(ahead) = ahead else {
        let sums = second_pass::<S, f32x16<S>, _>(simd, block, x, m);
        return (corrected::<S, f32x16<S>, _>(simd, block, x, m, sums), None);
    };
    let mean = <f32x16<S>>::filled(simd, m);
    let [e, q, s] = block.sums(
        simd,
        [x, ahead],
        #[inline(always)]
        |[x, ahead]: [f32x16<S>; 2]| {
            let d = x - mean;
            [d, d * d, ahead]
        },
    );
    let narrow = corrected::<S, f32x16<S>, _>(simd, block, x, m, [e, q]);
    (narrow, Some(s / f32::count(Block::<S>::count(&block))))
}

/// What a block contributes, computed once more in f64 if f32 was not enough.
#[inline(always)]
fn block_stats<S: Simd>(simd: S, x: &[f32], block: RowBlock, narrow: TwoPass<f32>) -> Stats {
    let TwoPass { m, c, m2, q } = narrow;
    let n = Block::<S>::count(&block);
    let lost = q < SMALLEST_SQUARES && count_deviating(simd, block, x, m) > 0.0;
    if q.is_finite() && !lost {
        return Stats::Narrow { n, m, c, m2 };
    }
    let TwoPass { m, c, m2, .. } = rescue(simd, block, x);
    Stats::Merged { moments: Moments::from_parts(n as u64, m + c, m2), wide: true }
}
