//! e^x of numbers that are not positive, and SELU with it, which needs it there alone.
//!
//! Written once for one number and for sixteen, in additions, multiplications and one shift of bits,
//! so that every target has the same bits (docs/NUMERICS.md, section 19). In f32 throughout: small
//! targets have no f64.
//!
//! With n = x / ln 2 rounded and r = x − n·ln 2, e^x = 2^n·e^r where |r| ≤ ln 2 / 2.

use super::lanes::Single;

/// λ of SELU.
pub(crate) const LAMBDA: f32 = 1.050_701;
/// λ·α.
pub(crate) const LAMBDA_ALPHA: f32 = 1.758_099_3;

const LOG2_E: f32 = core::f32::consts::LOG2_E;
/// ln 2 in one part. It ends with three zero bits, so that its products with |n| ≤ 8 are exact; what
/// they lack with a larger n, e^x makes too small to matter beside 1.
const LN_2: f32 = core::f32::consts::LN_2;
/// ln 2 in two parts: nine zero bits at the end of the first make its products with |n| < 512 exact.
const LN_2_HIGH: f32 = 0.693_145_75;
const LN_2_LOW: f32 = 1.428_606_8e-6;

/// (e^r − 1 − r) / r², of degree 4. By the Remez algorithm with weight r² / (e^r − 1), for
/// |r| ≤ (1 + 2^-12)·ln 2 / 2, in 60 digits; coefficients were rounded to f32 one by one, the lowest
/// first, and those that were left fitted anew each time. That gives e^r − 1 with a relative error
/// of at most 0.24·2^-24. Degree 3 would be off by 7·2^-24.
const Q: [f32; 5] = [0.499_999_97, 0.166_665_39, 0.041_667_752, 0.008_367_106, 0.001_383_673_6];

/// From here on down, 1 − e^x rounds to 1.
const EXPM1_IS_MINUS_ONE: f32 = -18.0;
/// From here on down, e^x is less than a quarter of the smallest f32 above zero.
const EXP_IS_ZERO: f32 = -105.0;

/// A number of this size ends with its integer: what is added to it is rounded to one.
const INTEGER: f32 = 12_582_912.0;
/// What the exponent of 1 looks like in the bits.
const BIAS: f32 = 127.0;
/// e^x is formed 2^64 times as large. The last multiplication then is the only one that may give a
/// subnormal number, so that it is rounded once.
const SCALE: f32 = 64.0;
const UNSCALE: f32 = 1.0 / 18_446_744_073_709_551_616.0;

/// e^r − 1 for |r| ≤ ln 2 / 2.
///
/// The halves of the polynomial do not wait for each other.
#[inline(always)]
fn expm1_reduced<V: Single>(r: V) -> V {
    let [q0, q1, q2, q3, q4] = Q;
    let square = r * r;
    let low = r.all(q0) + r * r.all(q1);
    let high = (r.all(q2) + r * r.all(q3)) + square * r.all(q4);
    r + square * (low + square * high)
}

/// n, and 2^(n + scale).
#[inline(always)]
fn power<V: Single>(x: V, scale: f32) -> (V, V) {
    // A constant: the sum is exact.
    let shift = x.all(INTEGER + BIAS + scale);
    let t = x * x.all(LOG2_E) + shift;
    (t - shift, t.exponent())
}

/// e^x − 1 for x < 0. (Of −0.0 it gives +0.0; of positive numbers and NaN something that machines do
/// not agree on. A selection in the place of `larger` would cost a tenth of SELU's time.)
#[inline(always)]
pub(crate) fn expm1<V: Single>(x: V) -> V {
    let x = x.all(EXPM1_IS_MINUS_ONE).larger(x);
    let (n, power) = power(x, 0.0);
    let p = expm1_reduced(x - n * x.all(LN_2));
    power * p + (power - x.all(1.0))
}

/// c·e^x for x ≤ 0 or NaN, with a c from 1 to 2.
#[inline(always)]
pub(crate) fn exp_times<V: Single>(c: f32, x: V) -> V {
    let c = x.all(c);
    // A selection keeps NaN.
    let limit = x.all(EXP_IS_ZERO);
    let x = V::select(limit.greater(x), limit, x);
    let (n, power) = power(x, SCALE);
    let p = expm1_reduced((x - n * x.all(LN_2_HIGH)) - n * x.all(LN_2_LOW));
    ((c + c * p) * power) * x.all(UNSCALE)
}

/// SELU. Zeros keep their sign and NaN stays: they are not below zero.
#[inline(always)]
pub(crate) fn selu<V: Single>(x: V) -> V {
    let below = x.all(LAMBDA_ALPHA) * expm1(x);
    V::select(x.all(0.0).greater(x), below, x.all(LAMBDA) * x)
}

/// The derivative of SELU; at zero that from below.
#[inline(always)]
pub(crate) fn selu_slope<V: Single>(x: V) -> V {
    let below = exp_times(LAMBDA_ALPHA, x);
    V::select(x.greater(x.all(0.0)), x.all(LAMBDA), below)
}
