//! What is done around an operation, over the whole tensor.

use super::map::Tensor;
use super::pointwise::{self, Relu, Selu, Sum};
use crate::backend::dispatch;
use crate::{Activation, Backend};

/// Adds x to a residual.
pub(crate) fn accumulate(backend: Backend, x: &[f32], residual: &mut [f32]) {
    let residual = Tensor::InPlace(residual);
    dispatch!(backend, simd => pointwise::apply(simd, residual, [x], Sum));
}

/// Applies an activation.
pub(crate) fn activate(backend: Backend, activation: Activation, tensor: Tensor<'_>) {
    match activation {
        Activation::Relu => dispatch!(backend, simd => pointwise::apply(simd, tensor, [], Relu)),
        Activation::Selu => dispatch!(backend, simd => pointwise::apply(simd, tensor, [], Selu)),
    }
}
