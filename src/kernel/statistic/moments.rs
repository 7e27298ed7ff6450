//! Mean and variance: of a block by two passes, of many blocks by Chan's formula.

use super::super::block::{Block, Terms};
use super::super::lanes::{Precision, Real as _, Unit, Value};
use super::{Statistic, squares_are_lost};
use crate::moments::Weights;
use fearless_simd::Simd;

/// Of a block: m, c, M2 and q, where the mean is m + c and q is the sum of squared deviations before
/// correction. Merged: the mean and M2.
#[derive(Clone, Copy)]
pub(crate) struct MeanAndSquares;

/// Σ x
#[derive(Clone, Copy)]
struct Elements;

impl Terms<1, 0, 1> for Elements {
    #[inline(always)]
    fn of<V: Value>(self, x: [V; 1], _: [V; 0]) -> [V; 1] {
        x
    }
}

/// Σ d and Σ d·d for d = x − m
#[derive(Clone, Copy)]
struct Deviations;

impl Terms<1, 1, 2> for Deviations {
    #[inline(always)]
    fn of<V: Value>(self, [x]: [V; 1], [mean]: [V; 1]) -> [V; 2] {
        let d = x - mean;
        [d, d * d]
    }
}

impl<U: Unit> Statistic<U, 1, 4, 2> for MeanAndSquares {
    /// Two passes over data that lies in the first-level cache.
    ///
    /// The first gives a provisional mean m. The second sums the deviations from it, d = x − m, and
    /// their squares. Σd would be 0 if m were the mean; what it is instead corrects both the mean
    /// and the squares. If the correction makes up more than half of the squares, m was too far off
    /// (a constant or nearly constant block), and the second pass is run once more around the better
    /// mean.
    #[inline(always)]
    fn block<S: Simd, P: Precision, B: Block<S, Unit = U>>(
        &self,
        simd: S,
        block: B,
        inputs: [&[f32]; 1],
    ) -> [P::Of<U>; 4] {
        let [sum] = block.sums::<P, _, 1, 0, 1>(simd, Elements, inputs, []);
        let n = sum.all(P::Scalar::count(block.count()));
        let mut m = sum / n;
        let [mut e, mut q] = block.sums::<P, _, 1, 1, 2>(simd, Deviations, inputs, [m]);
        let mut c = e / n;
        let far = (e * c).greater(q * q.all(P::Scalar::HALF));
        if <P::Of<U>>::any(far) {
            m = Value::select(far, m + c, m);
            [e, q] = block.sums::<P, _, 1, 1, 2>(simd, Deviations, inputs, [m]);
            c = e / n;
        }
        let m2 = q - e * c;
        let zero = m2.all(P::Scalar::ZERO);
        [m, c, Value::select(zero.greater(m2), zero, m2), q]
    }

    #[inline(always)]
    fn is_lost<S: Simd, B: Block<S, Unit = U>>(
        &self,
        simd: S,
        block: B,
        inputs: [&[f32]; 1],
        [m, _, _, q]: [U::Narrow; 4],
    ) -> U::Mask {
        squares_are_lost(simd, block, inputs, (m, q))
    }

    #[inline(always)]
    fn totals([m, c, m2, _]: [U::Wide; 4]) -> [U::Wide; 2] {
        [m + c, m2]
    }

    #[inline(always)]
    fn merged(
        weights: Weights,
        [mean, m2]: [U::Wide; 2],
        [other_mean, other_m2]: [U::Wide; 2],
    ) -> [U::Wide; 2] {
        let delta = other_mean - mean;
        let m2 = (m2 + other_m2) + (delta * delta) * delta.all(weights.product);
        [mean + delta * delta.all(weights.share), m2]
    }
}
