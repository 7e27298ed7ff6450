//! Formulas of one element, and the pass over a tensor that applies them.

use super::exponential;
use super::lanes::Single;
use super::map::{Tensor, element_of};
use crate::backend::Target;

/// What an output is of the element at the same place, and of others there: for one element or
/// sixteen. (A trait, since a closure is for one of the two.)
pub(crate) trait Pointwise<const OTHERS: usize> {
    fn of<V: Single>(x: V, others: [V; OTHERS]) -> V;
}

/// The sum of two tensors.
pub(crate) struct Sum;

impl Pointwise<1> for Sum {
    #[inline(always)]
    fn of<V: Single>(x: V, [other]: [V; 1]) -> V {
        other + x
    }
}

/// What is not above zero becomes zero; NaN stays.
pub(crate) struct Relu;

impl Pointwise<0> for Relu {
    #[inline(always)]
    fn of<V: Single>(x: V, []: [V; 0]) -> V {
        let zero = x.all(0.0);
        V::select(zero.greater(x) | x.equal(zero), zero, x)
    }
}

/// SELU.
pub(crate) struct Selu;

impl Pointwise<0> for Selu {
    #[inline(always)]
    fn of<V: Single>(x: V, []: [V; 0]) -> V {
        exponential::selu(x)
    }
}

/// dx of SELU, from dy and x.
pub(crate) struct SeluGradient;

impl Pointwise<1> for SeluGradient {
    #[inline(always)]
    fn of<V: Single>(dy: V, [x]: [V; 1]) -> V {
        dy * exponential::selu_slope(x)
    }
}

/// Applies a formula to every element. The others are as long as the tensor.
#[inline(always)]
pub(crate) fn apply<S: Target, P: Pointwise<OTHERS>, const OTHERS: usize>(
    simd: S,
    tensor: Tensor<'_>,
    others: [&[f32]; OTHERS],
    _: P,
) {
    if S::SCALAR {
        return one_by_one::<P, OTHERS>(tensor, others);
    }
    tensor.map(
        simd,
        others,
        #[inline(always)]
        |x, others| P::of(x, others),
    );
}

#[inline(always)]
fn one_by_one<P: Pointwise<OTHERS>, const OTHERS: usize>(
    tensor: Tensor<'_>,
    others: [&[f32]; OTHERS],
) {
    // Of the same length in the compiler's eyes too: no element is looked for in vain.
    let len = tensor.input().len();
    debug_assert!(others.iter().all(|other| other.len() == len));
    if others.iter().any(|other| other.len() < len) {
        return;
    }
    for (place, y) in tensor.copied().iter_mut().enumerate() {
        *y = P::of(*y, element_of(others, place));
    }
}
