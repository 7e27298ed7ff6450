//! What is computed of the elements of a reduction: of a block, and how blocks merge.

pub(crate) mod gradient;
pub(crate) mod moments;
pub(crate) mod squares;

use super::block::Block;
use super::lanes::{Precision, Unit};
use crate::moments::Weights;
use fearless_simd::Simd;

/// 2^-100: sums of squares below this have lost bits to underflow.
pub(crate) const SMALLEST_SQUARES: f32 = f32::from_bits((127 - 100) << 23);

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
