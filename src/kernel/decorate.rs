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

/// The function of an activation.
#[inline]
pub(crate) const fn activation(activation: Activation) -> fn(Backend, &mut [f32]) {
    match activation {
        Activation::Relu => relu,
        Activation::Selu => selu,
    }
}

fn relu(backend: Backend, y: &mut [f32]) {
    let y = Tensor::InPlace(y);
    dispatch!(backend, simd => pointwise::apply(simd, y, [], Relu));
}

fn selu(backend: Backend, y: &mut [f32]) {
    let y = Tensor::InPlace(y);
    dispatch!(backend, simd => pointwise::apply(simd, y, [], Selu));
}
