//! The sum of squares, for root mean squares.

use super::super::block::{Block, Terms};
use super::super::lanes::{F32, Precision, Real as _, Unit, Value};
use super::{SMALLEST_SQUARES, Statistic};
use crate::moments::Weights;
use fearless_simd::Simd;

/// Of a block and merged: Σ x².
#[derive(Clone, Copy)]
pub(crate) struct Squares;

impl Terms<1, 0, 1> for Squares {
    #[inline(always)]
    fn of<V: Value>(self, [x]: [V; 1], _: [V; 0]) -> [V; 1] {
        [x * x]
    }
}

/// The number of elements that are not zero.
#[derive(Clone, Copy)]
struct NotZero;

impl Terms<1, 0, 1> for NotZero {
    #[inline(always)]
    fn of<V: Value>(self, [x]: [V; 1], _: [V; 0]) -> [V; 1] {
        let zero = x.all(V::Scalar::ZERO);
        [V::select(x.equal(zero), zero, x.all(V::Scalar::count(1)))]
    }
}

impl<U: Unit> Statistic<U, 1, 1, 1> for Squares {
    #[inline(always)]
    fn block<S: Simd, P: Precision, B: Block<S, Unit = U>>(
        &self,
        simd: S,
        block: B,
        inputs: [&[f32]; 1],
    ) -> [P::Of<U>; 1] {
        block.sums::<P, _, 1, 0, 1>(simd, Self, inputs, [])
    }

    #[inline(always)]
    fn is_lost<S: Simd, B: Block<S, Unit = U>>(
        &self,
        simd: S,
        block: B,
        inputs: [&[f32]; 1],
        [q]: [U::Narrow; 1],
    ) -> U::Mask {
        let overflown = !q.all(f32::INFINITY).greater(q);
        let tiny = q.all(SMALLEST_SQUARES).greater(q) & block.live(simd);
        if !U::Narrow::any(tiny) {
            return overflown;
        }
        let count = count_not_zero(simd, block, inputs);
        overflown | (tiny & count.greater(q.all(0.0)))
    }

    #[inline(always)]
    fn totals(parts: [U::Wide; 1]) -> [U::Wide; 1] {
        parts
    }

    #[inline(always)]
    fn merged(_: Weights, [a]: [U::Wide; 1], [b]: [U::Wide; 1]) -> [U::Wide; 1] {
        [a + b]
    }
}

/// Out of line: only blocks without squares ask.
#[inline(never)]
fn count_not_zero<S: Simd, B: Block<S>>(
    simd: S,
    block: B,
    inputs: [&[f32]; 1],
) -> <B::Unit as Unit>::Narrow {
    simd.vectorize(
        #[inline(always)]
        || {
            let [count] = block.sums::<F32, _, 1, 0, 1>(simd, NotZero, inputs, []);
            count
        },
    )
}
