//! What a block is to the algorithms above it: something that can be summed.

use super::lanes::{Lanes, Value};
use fearless_simd::Simd;

/// A block of elements, for which sums of any expression can be formed (docs/NUMERICS.md,
/// sections 3 and 10).
///
/// A block of rows sums to one number, a block of columns to one number a lane. `INPUTS` tensors of
/// the same layout are read together, `SUMS` sums are formed in one pass.
pub(crate) trait Block<S: Simd>: Copy {
    /// What a sum is: a number, or sixteen.
    type Sum<V: Lanes<S>>: Value<Scalar = V::Scalar>;

    /// The number of elements that go into each sum.
    fn count(&self) -> usize;

    /// Forms Σ f(inputs).
    fn sums<V: Lanes<S>, const INPUTS: usize, const SUMS: usize>(
        &self,
        simd: S,
        inputs: [&[f32]; INPUTS],
        f: impl Fn([V; INPUTS]) -> [V; SUMS] + Copy,
    ) -> [Self::Sum<V>; SUMS];

    /// Brings a sum (or what was computed from one) back to the lanes of the elements.
    fn spread<V: Lanes<S>>(simd: S, sum: Self::Sum<V>) -> V;
}

/// Applies a function to every item of an array. `[T; N]::map` is not inlined reliably, and what is
/// not inlined loses its instruction set.
#[inline(always)]
pub(crate) fn each<T: Copy, U: Copy, const N: usize>(
    items: [T; N],
    blank: U,
    f: impl Fn(T) -> U,
) -> [U; N] {
    let mut results = [blank; N];
    for (result, item) in results.iter_mut().zip(&items) {
        *result = f(*item);
    }
    results
}

/// Adds lane by lane, for each of the sums.
#[inline(always)]
pub(crate) fn add<T: Copy + core::ops::Add<Output = T>, const SUMS: usize>(
    a: [T; SUMS],
    b: [T; SUMS],
) -> [T; SUMS] {
    let mut sum = a;
    for (sum, b) in sum.iter_mut().zip(&b) {
        *sum = *sum + *b;
    }
    sum
}

/// The lanes of a block: its four chains, added in pairs.
#[inline(always)]
pub(crate) fn add_chains<T: Copy + core::ops::Add<Output = T>, const SUMS: usize>(
    [c0, c1, c2, c3]: [[T; SUMS]; 4],
) -> [T; SUMS] {
    add(add(c0, c1), add(c2, c3))
}
