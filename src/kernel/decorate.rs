//! What is done around an operation, over the whole tensor.

use super::lanes::{Lanes as _, Value};
use super::map::Tensor;
use crate::Backend;
use crate::backend::dispatch;
use fearless_simd::f32x16;

/// Adds x to a residual.
pub(crate) fn accumulate(backend: Backend, x: &[f32], residual: &mut [f32]) {
    dispatch!(backend, simd => Tensor::InPlace(residual).map(
        simd,
        [x],
        #[inline(always)]
        |residual, [x]| x + residual,
    ));
}

/// Sets what is not above zero to zero; NaN stays.
pub(crate) fn rectify(backend: Backend, y: &mut [f32]) {
    dispatch!(backend, simd => Tensor::InPlace(y).map(
        simd,
        [],
        #[inline(always)]
        |y, []| {
            let zero = <f32x16<_>>::filled(simd, 0.0);
            Value::select(zero.greater(y) | y.equal(zero), zero, y)
        },
    ));
}
