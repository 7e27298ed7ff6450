//! The sums that gradients are made of.

use super::super::block::{Block, Terms, add};
use super::super::lanes::{Precision, Unit, Value};
use super::Statistic;
use crate::moments::Weights;
use fearless_simd::Simd;

/// Of a block and merged: Σ dy, Σ dy·x̃ and Σ x̃ of the tensors dy and x, with x̃ = (x − mean)·rstd.
#[derive(Clone, Copy)]
pub(crate) struct GradientSums<U: Unit> {
    pub(crate) mean: U::Narrow,
    pub(crate) rstd: U::Narrow,
}

#[derive(Clone, Copy)]
struct Products;

impl Terms<2, 2, 3> for Products {
    #[inline(always)]
    fn of<V: Value>(self, [dy, x]: [V; 2], [mean, rstd]: [V; 2]) -> [V; 3] {
        let x = (x - mean) * rstd;
        [dy, dy * x, x]
    }
}

impl<U: Unit> Statistic<U, 2, 3, 3> for GradientSums<U> {
    #[inline(always)]
    fn block<S: Simd, P: Precision, B: Block<S, Unit = U>>(
        &self,
        simd: S,
        block: B,
        inputs: [&[f32]; 2],
    ) -> [P::Of<U>; 3] {
        let parameters = [P::exactly::<U>(self.mean), P::exactly::<U>(self.rstd)];
        block.sums::<P, _, 2, 2, 3>(simd, Products, inputs, parameters)
    }

    #[inline(always)]
    fn is_lost<S: Simd, B: Block<S, Unit = U>>(
        &self,
        _: S,
        _: B,
        _: [&[f32]; 2],
        [dy, dy_x, x]: [U::Narrow; 3],
    ) -> U::Mask {
        !(is_finite::<U>(dy) & is_finite::<U>(dy_x) & is_finite::<U>(x))
    }

    #[inline(always)]
    fn totals(parts: [U::Wide; 3]) -> [U::Wide; 3] {
        parts
    }

    #[inline(always)]
    fn merged(_: Weights, a: [U::Wide; 3], b: [U::Wide; 3]) -> [U::Wide; 3] {
        add(a, b)
    }
}

#[inline(always)]
fn is_finite<U: Unit>(x: U::Narrow) -> U::Mask {
    x.all(f32::INFINITY).greater(x) & x.greater(x.all(f32::NEG_INFINITY))
}
