//! The sum of squares, for root mean squares.

use super::super::block::{Block, Terms};
use super::super::lanes::{Precision, Unit, Value};
use super::{Statistic, squares_are_lost};
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
        squares_are_lost(simd, block, inputs, (q.all(0.0), q))
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
