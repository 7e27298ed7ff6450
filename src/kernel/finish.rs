//! From moments to the constants of the apply and to the statistics that callers keep.
//!
//! Everything stays in f32 where that is safe. What is not safe becomes *wide*: the reduction, or one
//! channel of it, is applied in f64 (docs/NUMERICS.md, sections 6 and 7). [`strip`] has the same for
//! sixteen channels side by side.

mod strip;

use super::lanes::{Real, Value};
use super::moments::Stats;
use crate::Moments;
use core::ops::{BitAnd, BitOr, Not};

pub(crate) use strip::{CentredStrip, StripConstants};

/// What is known of one reduction before γ and β come in.
#[derive(Clone, Copy)]
pub(crate) enum Constants {
    Narrow { hi: f32, lo: f32, deviation: Deviation<f32, f64> },
    Wide { mean: f64, rstd: f64 },
}

/// The most accurate form in which a standard deviation is known: one number or sixteen.
#[derive(Clone, Copy)]
pub(crate) enum Deviation<N, W> {
    /// sqrt(var + eps) in f32; 0 for a deviation of exactly zero, otherwise normal.
    Root(N),
    /// 1 / sqrt(var + eps) in f64; 0 for a deviation of exactly zero.
    Reciprocal(W),
}

/// What the centred apply needs.
#[derive(Clone, Copy)]
pub(crate) enum Centred {
    /// ((x − hi) − lo)·factor in f32.
    Narrow { hi: f32, lo: f32, factor: f32 },
    /// (x − mean)·rstd, then γ and β, in f64, rounded once.
    Wide { mean: f64, rstd: f64 },
}

impl Constants {
    /// To fill memory with.
    pub(crate) const NOTHING: Self =
        Self::Narrow { hi: 0.0, lo: 0.0, deviation: Deviation::Root(0.0) };

    /// For a mean in two parts and a variance in f32.
    #[inline(always)]
    pub(crate) fn narrow(hi: f32, lo: f32, var: f32, eps: f64) -> Self {
        let narrow_sum = var + narrow(eps);
        let root = narrow_sum.root();
        let sum = f64::from(var) + eps;
        let fits = sum == 0.0 || (is_normal(narrow_sum) & is_normal(root));
        if fits && mean_fits(hi) {
            return Self::Narrow { hi, lo, deviation: Deviation::Root(root) };
        }
        Self::Wide { mean: f64::from(hi) + f64::from(lo), rstd: quotient(1.0, sum.root()) }
    }

    /// For moments that were gathered before.
    #[inline(always)]
    pub(crate) fn from_moments(moments: &Moments, eps: f64) -> Self {
        Stats::merged(*moments, false).constants(eps)
    }

    /// The reciprocal standard deviation that is saved for backward.
    #[inline(always)]
    pub(crate) fn saved_rstd(&self) -> f32 {
        match *self {
            Self::Narrow { deviation: Deviation::Root(root), .. } => quotient(1.0, root),
            Self::Narrow { deviation: Deviation::Reciprocal(rstd), .. }
            | Self::Wide { rstd, .. } => at_most_max(narrow(rstd)),
        }
    }

    /// For one γ: it and the deviation become one factor, so that a rounding is saved.
    #[inline(always)]
    pub(crate) fn with_gamma(&self, gamma: f32) -> Centred {
        let Self::Narrow { hi, lo, deviation } = *self else { return self.wide() };
        let (product, is_zero) = match deviation {
            Deviation::Root(root) => (gamma / root, root == 0.0),
            Deviation::Reciprocal(rstd) => (narrow(f64::from(gamma) * rstd), rstd == 0.0),
        };
        if gamma == 0.0 || is_zero {
            Centred::Narrow { hi, lo, factor: 0.0 }
        } else if is_normal(product) {
            Centred::Narrow { hi, lo, factor: product }
        } else {
            self.wide()
        }
    }

    /// For a γ that differs from element to element.
    #[inline(always)]
    pub(crate) fn without_gamma(&self) -> Centred {
        self.with_gamma(1.0)
    }

    /// The same in f64.
    #[inline(always)]
    fn wide(&self) -> Centred {
        match *self {
            Self::Wide { mean, rstd } => Centred::Wide { mean, rstd },
            Self::Narrow { hi, lo, deviation } => {
                let rstd = match deviation {
                    Deviation::Root(root) => quotient(1.0, f64::from(root)),
                    Deviation::Reciprocal(rstd) => rstd,
                };
                Centred::Wide { mean: f64::from(hi) + f64::from(lo), rstd }
            }
        }
    }
}

impl Stats {
    #[inline(always)]
    pub(crate) fn constants(&self, eps: f64) -> Constants {
        match *self {
            Self::Narrow { n, m, c, m2 } => Constants::narrow(m, c, m2 / f32::count(n), eps),
            Self::Merged { moments, wide } => {
                let (mean, rstd) =
                    (moments.mean(), quotient(1.0, (moments.variance() + eps).root()));
                let hi = narrow(mean);
                if wide || !mean_fits(hi) {
                    return Constants::Wide { mean, rstd };
                }
                let lo = narrow(mean - f64::from(hi));
                Constants::Narrow { hi, lo, deviation: Deviation::Reciprocal(rstd) }
            }
        }
    }

    /// The mean, as it is saved for backward.
    #[inline(always)]
    pub(crate) fn mean(&self) -> f32 {
        match *self {
            Self::Narrow { m, c, .. } => m + c,
            Self::Merged { moments, .. } => narrow(moments.mean()),
        }
    }

    /// M2 / (n − `ddof`), not above the largest finite number.
    #[inline(always)]
    #[expect(clippy::cast_precision_loss, reason = "rounding beyond 2^53 does not matter")]
    pub(crate) fn variance(&self, ddof: u8) -> f32 {
        match *self {
            Self::Narrow { n, m2, .. } => {
                at_most_max(m2 / f32::count(n.saturating_sub(usize::from(ddof))))
            }
            Self::Merged { moments, .. } => {
                let divisor = moments.count().saturating_sub(u64::from(ddof));
                at_most_max(narrow(moments.m2() / divisor as f64))
            }
        }
    }
}

/// number / root, and 0 for a root of zero: a constant input gives β.
#[inline(always)]
pub(crate) fn quotient<V: Value>(number: V, root: V) -> V {
    let zero = root.all(V::Scalar::ZERO);
    V::select(root.equal(zero), zero, number / root)
}

/// Rounds to f32.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "rounding is what is wanted")]
pub(crate) const fn narrow(value: f64) -> f32 {
    value as f32
}

/// The smaller of a number and the largest finite one; NaN stays NaN.
#[inline(always)]
pub(crate) fn at_most_max<T: Value<Scalar = f32>>(value: T) -> T {
    let max = value.all(f32::MAX);
    T::select(value.greater(max), max, value)
}

/// Decisions of numbers, one or sixteen.
pub(crate) trait Decisions:
    Copy + BitAnd<Output = Self> + BitOr<Output = Self> + Not<Output = Self>
{
}

impl<T: Copy + BitAnd<Output = T> + BitOr<Output = T> + Not<Output = T>> Decisions for T {}

/// Whether a number is neither zero nor subnormal, infinite or NaN.
#[inline(always)]
pub(crate) fn is_normal<V: Value<Scalar = f32, Mask: Decisions>>(value: V) -> V::Mask {
    is_between(value, f32::from_bits(0x007F_FFFF), f32::INFINITY)
}

/// Whether the magnitude of a number lies between two others.
#[inline(always)]
pub(crate) fn is_between<V: Value<Scalar = f32, Mask: Decisions>>(
    value: V,
    low: f32,
    high: f32,
) -> V::Mask {
    let zero = value.all(0.0);
    let magnitude = V::select(value.greater(zero), value, zero - value);
    magnitude.greater(value.all(low)) & value.all(high).greater(magnitude)
}

/// Whether a mean can be subtracted from any finite number without overflow.
#[inline(always)]
fn mean_fits<V: Value<Scalar = f32, Mask: Decisions>>(mean: V) -> V::Mask {
    /// 2^102
    const LIMIT: f32 = f32::from_bits((127 + 102) << 23);
    is_between(mean, -1.0, LIMIT)
}
