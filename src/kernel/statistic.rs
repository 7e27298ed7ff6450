//! What is computed of the elements of a reduction: of a block, and how blocks merge.

pub(crate) mod gradient;
pub(crate) mod moments;
pub(crate) mod squares;

use super::block::{Block, Terms};
use super::lanes::{F32, Precision, Real as _, Unit, Value};
use crate::moments::Weights;
use fearless_simd::Simd;

/// A statistic of `INPUTS` tensors. A block of it is `PARTS` numbers; once they are in f64 they
/// become `TOTALS` that can be merged.
pub(crate) trait Statistic<U: Unit, const INPUTS: usize, const PARTS: usize, const TOTALS: usize>:
    Copy
{
    /// Computes a block.
    fn block<S: Simd, P: Precision, B: Block<S, Unit = U>>(
        &self,
        simd: S,
        block: B,
        inputs: [&[f32]; INPUTS],
    ) -> [P::Of<U>; PARTS];

    /// Whether f32 was not enough for a block, so that it has to be computed in f64.
    fn is_lost<S: Simd, B: Block<S, Unit = U>>(
        &self,
        simd: S,
        block: B,
        inputs: [&[f32]; INPUTS],
        parts: [U::Narrow; PARTS],
    ) -> U::Mask;

    /// What merges, of a block in f64.
    fn totals(parts: [U::Wide; PARTS]) -> [U::Wide; TOTALS];

    /// Merges two neighbours, of whose counts `weights` knows.
    fn merged(weights: Weights, a: [U::Wide; TOTALS], b: [U::Wide; TOTALS]) -> [U::Wide; TOTALS];
}

/// Whether q, the sum of squares of the differences from m, has overflown, or lost bits to underflow
/// though there are differences.
#[inline(always)]
fn squares_are_lost<S: Simd, U: Unit, B: Block<S, Unit = U>>(
    simd: S,
    block: B,
    inputs: [&[f32]; 1],
    (m, q): (U::Narrow, U::Narrow),
) -> U::Mask {
    /// 2^-100
    const SMALLEST: f32 = f32::from_bits((127 - 100) << 23);
    let overflown = !q.all(f32::INFINITY).greater(q);
    let tiny = q.all(SMALLEST).greater(q) & block.live(simd);
    if !U::Narrow::any(tiny) {
        return overflown;
    }
    let different = count_different(simd, block, inputs, m);
    overflown | (tiny & different.greater(q.all(0.0)))
}

/// The number of elements that differ from m. Out of line: only blocks without squares ask.
#[inline(never)]
fn count_different<S: Simd, B: Block<S>>(
    simd: S,
    block: B,
    inputs: [&[f32]; 1],
    m: <B::Unit as Unit>::Narrow,
) -> <B::Unit as Unit>::Narrow {
    simd.vectorize(
        #[inline(always)]
        || {
            let [count] = block.sums::<F32, _, 1, 1, 1>(simd, Different, inputs, [m]);
            count
        },
    )
}

/// 1 for an element that differs from m.
#[derive(Clone, Copy)]
struct Different;

impl Terms<1, 1, 1> for Different {
    #[inline(always)]
    fn of<V: Value>(self, [x]: [V; 1], [m]: [V; 1]) -> [V; 1] {
        let zero = x.all(V::Scalar::ZERO);
        [V::select((x - m).equal(zero), zero, x.all(V::Scalar::count(1)))]
    }
}
