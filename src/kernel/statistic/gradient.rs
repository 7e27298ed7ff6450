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

/// With dy·γ in the place of dy.
impl Terms<3, 2, 3> for Products {
    const ALONG: usize = 1;

    #[inline(always)]
    fn of<V: Value>(self, [dy, x, gamma]: [V; 3], parameters: [V; 2]) -> [V; 3] {
        Terms::<2, 2, 3>::of(self, [dy * gamma, x], parameters)
    }
}

impl<U: Unit, const INPUTS: usize> Statistic<U, INPUTS, 3, 3> for GradientSums<U>
where
    Products: Terms<INPUTS, 2, 3>,
{
    #[inline(always)]
    fn block<S: Simd, P: Precision, B: Block<S, Unit = U>>(
        &self,
        simd: S,
        block: B,
        inputs: [&[f32]; INPUTS],
    ) -> [P::Of<U>; 3] {
        let parameters = [P::exactly::<U>(self.mean), P::exactly::<U>(self.rstd)];
        block.sums::<P, _, INPUTS, 2, 3>(simd, Products, inputs, parameters)
    }

    #[inline(always)]
    fn is_lost<S: Simd, B: Block<S, Unit = U>>(
        &self,
        _: S,
        _: B,
        _: [&[f32]; INPUTS],
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

/// Of a block and merged: Σ dy and Σ dy·x̃ of the tensors dy and x, where every row has statistics of
/// its own: a mean and an rstd, or an rstd alone.
#[derive(Clone, Copy)]
pub(crate) struct ParameterSums;

impl Terms<4, 0, 2> for ParameterSums {
    const ALONG: usize = 2;

    #[inline(always)]
    fn of<V: Value>(self, [dy, x, mean, rstd]: [V; 4], _: [V; 0]) -> [V; 2] {
        [dy, dy * ((x - mean) * rstd)]
    }
}

impl Terms<3, 0, 2> for ParameterSums {
    const ALONG: usize = 1;

    #[inline(always)]
    fn of<V: Value>(self, [dy, x, rstd]: [V; 3], _: [V; 0]) -> [V; 2] {
        [dy, dy * (x * rstd)]
    }
}

impl<U: Unit, const INPUTS: usize> Statistic<U, INPUTS, 2, 2> for ParameterSums
where
    Self: Terms<INPUTS, 0, 2>,
{
    #[inline(always)]
    fn block<S: Simd, P: Precision, B: Block<S, Unit = U>>(
        &self,
        simd: S,
        block: B,
        inputs: [&[f32]; INPUTS],
    ) -> [P::Of<U>; 2] {
        block.sums::<P, _, INPUTS, 0, 2>(simd, *self, inputs, [])
    }

    #[inline(always)]
    fn is_lost<S: Simd, B: Block<S, Unit = U>>(
        &self,
        _: S,
        _: B,
        _: [&[f32]; INPUTS],
        [dy, dy_x]: [U::Narrow; 2],
    ) -> U::Mask {
        !(is_finite::<U>(dy) & is_finite::<U>(dy_x))
    }

    #[inline(always)]
    fn totals(parts: [U::Wide; 2]) -> [U::Wide; 2] {
        parts
    }

    #[inline(always)]
    fn merged(_: Weights, a: [U::Wide; 2], b: [U::Wide; 2]) -> [U::Wide; 2] {
        add(a, b)
    }
}

#[inline(always)]
fn is_finite<U: Unit>(x: U::Narrow) -> U::Mask {
    x.all(f32::INFINITY).greater(x) & x.greater(x.all(f32::NEG_INFINITY))
}
