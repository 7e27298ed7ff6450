//! What a block is to the algorithms above it: something that sums.

use super::lanes::{LANES, Precision, Unit, Value};
use fearless_simd::Simd;

/// The terms of sums: functions of the elements at one place and of what is known of the reduction.
/// Written once for one number and for sixteen, f32 and f64.
pub(crate) trait Terms<const INPUTS: usize, const PARAMETERS: usize, const SUMS: usize>:
    Copy
{
    /// How many of the inputs, the last ones, are no tensors: they hold one value for each place along a
    /// reduction, the same for all reductions. (γ of rows; the statistics of rows, for columns.)
    const ALONG: usize = 0;

    fn of<V: Value>(self, inputs: [V; INPUTS], parameters: [V; PARAMETERS]) -> [V; SUMS];
}

/// A block of elements, for which sums of any terms can be formed (docs/NUMERICS.md, sections 3
/// and 10).
pub(crate) trait Block<S: Simd>: Copy {
    /// What it is a block of: one reduction, or sixteen with one a lane.
    type Unit: Unit;

    /// The number of elements of each reduction.
    fn count(&self) -> usize;

    /// Which reductions there are: lanes may be left over.
    fn live(&self, simd: S) -> <Self::Unit as Unit>::Mask;

    /// Zero for each of them.
    fn zero(&self, simd: S) -> <Self::Unit as Unit>::Wide;

    /// Forms sums over the elements of `inputs`, tensors of one layout, in one pass.
    fn sums<
        P: Precision,
        T: Terms<INPUTS, PARAMETERS, SUMS>,
        const INPUTS: usize,
        const PARAMETERS: usize,
        const SUMS: usize,
    >(
        &self,
        simd: S,
        terms: T,
        inputs: [&[f32]; INPUTS],
        parameters: [P::Of<Self::Unit>; PARAMETERS],
    ) -> [P::Of<Self::Unit>; SUMS];
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

/// The same of two arrays, for a function that is also told the place.
#[inline(always)]
pub(crate) fn each_pair<T: Copy, U: Copy, W: Copy, const N: usize>(
    items: [T; N],
    others: [U; N],
    blank: W,
    f: impl Fn(usize, T, U) -> W,
) -> [W; N] {
    let mut results = [blank; N];
    for (i, (result, (item, other))) in
        results.iter_mut().zip(items.iter().zip(&others)).enumerate()
    {
        *result = f(i, *item, *other);
    }
    results
}

/// Adds number by number.
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

/// The sum of a block's four chains, in pairs.
#[inline(always)]
pub(crate) fn add_chains<T: Copy + core::ops::Add<Output = T>, const SUMS: usize>(
    [c0, c1, c2, c3]: [[T; SUMS]; 4],
) -> [T; SUMS] {
    add(add(c0, c1), add(c2, c3))
}

/// The sum of all lanes, one number each: upper half onto lower half. It is then in the first. (Lanes that
/// are passed by value are copied, which small machines have no stack for.)
#[inline(always)]
pub(crate) fn fold_lanes<T: Copy + core::ops::Add<Output = T>, const SUMS: usize>(
    lanes: &mut [[T; SUMS]; LANES],
) {
    let mut half = LANES / 2;
    while half > 0 {
        let (low, high) = lanes.split_at_mut(half);
        for (low, high) in low.iter_mut().zip(high) {
            *low = add(*low, *high);
        }
        half /= 2;
    }
}

/// How many chains are summed side by side. Machines with wide vectors need several to hide the
/// latency of additions, unless several sums do that already; no more than their registers hold. Others
/// have room for one. The bits do not depend on it.
#[inline(always)]
pub(crate) const fn chains_at_once<S: Simd>(sums: usize) -> usize {
    match (<S::f32s as fearless_simd::SimdBase<S>>::LEN, sums) {
        (8.., 1) => 4,
        (8..16, 3..) => 1,
        (8.., _) => 2,
        _ => 1,
    }
}

/// The sums of a block, from an expression that sums some neighbouring chains, `$first` being the number of
/// the first, for as many of the four at a time as are summed side by side. (How many it sums follows from
/// where its value goes.) The memory is filled with a parameter, if there is one: with a constant, the compiler
/// would call another function for that, once a block.
macro_rules! sum_chains {
    ($simd:ty, $parameters:expr, $zero:expr, $sums:expr, $first:ident => $chains:expr) => {{
        let mut chains = [[$parameters.first().copied().unwrap_or($zero); $sums]; 4];
        match $crate::kernel::block::chains_at_once::<$simd>($sums) {
            4 => {
                let $first = 0;
                chains = $chains;
            }
            2 => {
                for (pair, $first) in chains.as_chunks_mut::<2>().0.iter_mut().zip([0, 2]) {
                    *pair = $chains;
                }
            }
            _ => {
                for ($first, chain) in chains.iter_mut().enumerate() {
                    [*chain] = $chains;
                }
            }
        }
        $crate::kernel::block::add_chains(chains)
    }};
}
pub(crate) use sum_chains;
