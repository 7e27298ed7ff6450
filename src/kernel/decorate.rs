//! What is done around an operation, over the whole tensor.

use super::lanes::{Lanes as _, Value};
use super::map::Tensor;
use crate::Backend;
use crate::backend::{Target, dispatch};
use fearless_simd::f32x16;

/// Adds x to a residual.
pub(crate) fn accumulate(backend: Backend, x: &[f32], residual: &mut [f32]) {
    dispatch!(backend, simd => accumulate_on(simd, x, residual));
}

#[inline(always)]
fn accumulate_on<S: Target>(simd: S, x: &[f32], residual: &mut [f32]) {
    if S::SCALAR {
        return residual.iter_mut().zip(x).for_each(|(residual, x)| *residual += *x);
    }
    Tensor::InPlace(residual).map(
        simd,
        [x],
        #[inline(always)]
        |residual, [x]| x + residual,
    );
}

/// Sets what is not above zero to zero; NaN stays.
pub(crate) fn rectify(backend: Backend, y: &mut [f32]) {
    dispatch!(backend, simd => rectify_on(simd, y));
}

#[inline(always)]
fn rectify_on<S: Target>(simd: S, y: &mut [f32]) {
    if S::SCALAR {
        return y.iter_mut().for_each(|y| *y = rectified(*y, 0.0));
    }
    Tensor::InPlace(y).map(
        simd,
        [],
        #[inline(always)]
        |y, []| rectified(y, <f32x16<_>>::filled(simd, 0.0)),
    );
}

#[inline(always)]
fn rectified<V: Value>(y: V, zero: V) -> V {
    V::select(zero.greater(y) | y.equal(zero), zero, y)
}
