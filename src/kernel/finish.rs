//! From moments to the constants of the apply and to the statistics that callers keep.

use super::lanes::{Lanes, Real, Value, Wide, widened};
use super::moments::{Stats, TWO_TO_128, TwoPass};
use super::strip::{StripMoments, StripStats};
use crate::Moments;
use fearless_simd::{Select as _, Simd, SimdMask as _, f32x16, mask32x16};

/// What the centred apply needs of one reduction.
#[derive(Clone, Copy)]
pub(crate) enum Constants {
    /// (((x − hi) − lo)·a)·b + β in f32, with a and b from [`Constants::factors`].
    Narrow { hi: f32, lo: f32, rstd: f32, deviation: Deviation },
    /// ((x − mean)·rstd)·γ + β in f64, rounded once.
    Wide { mean: f64, rstd: f64 },
}

/// The most accurate form in which a standard deviation is known.
#[derive(Clone, Copy)]
pub(crate) enum Deviation {
    /// sqrt(var + eps) in f32.
    Root(f32),
    /// 1 / sqrt(var + eps) in f64.
    Reciprocal(f64),
}

impl Constants {
    /// For a mean in two parts and a variance in f32.
    #[inline(always)]
    pub(crate) fn narrow(hi: f32, lo: f32, var: f32, eps: f64) -> Self {
        let root = (var + narrow(eps)).root();
        Self::Narrow { hi, lo, rstd: quotient(1.0, root), deviation: Deviation::Root(root) }
    }

    /// For moments that were gathered before.
    #[inline(always)]
    pub(crate) fn from_moments(moments: &Moments, eps: f64) -> Self {
        Stats::merged(*moments, false).constants(eps)
    }

    /// The reciprocal standard deviation that is saved for backward.
    #[inline(always)]
    pub(crate) fn rstd(&self) -> f32 {
        match *self {
            Self::Narrow { rstd, .. } => rstd,
            Self::Wide { rstd, .. } => at_most_max(narrow(rstd)),
        }
    }

    /// What the apply multiplies by in f32, for a γ: γ·rstd and 1, so that one rounding is saved, or
    /// rstd and γ where their product does not fit. The second is γ for wide constants, too.
    #[inline(always)]
    pub(crate) fn factors(&self, gamma: f32) -> (f32, f32) {
        match *self {
            Self::Wide { .. } => (0.0, gamma),
            Self::Narrow { rstd, deviation, .. } => {
                let product = match deviation {
                    Deviation::Root(root) => quotient(gamma, root),
                    Deviation::Reciprocal(rstd) => narrow(f64::from(gamma) * rstd),
                };
                choose_factors(product, rstd, gamma)
            }
        }
    }
}

/// (product, 1) where the product is a normal number, otherwise (rstd, γ).
#[inline(always)]
fn choose_factors<V: Value<Scalar = f32>>(product: V, rstd: V, gamma: V) -> (V, V) {
    const LARGEST_SUBNORMAL: f32 = f32::from_bits(0x007F_FFFF);
    let magnitude =
        V::select(product.greater(product.all(0.0)), product, product.all(0.0) - product);
    let large = magnitude.greater(product.all(LARGEST_SUBNORMAL));
    let finite = product.all(f32::INFINITY).greater(magnitude);
    let pick = |product, other| V::select(large, V::select(finite, product, other), other);
    (pick(product, rstd), pick(product.all(1.0), gamma))
}

impl Stats {
    #[inline(always)]
    pub(crate) fn constants(&self, eps: f64) -> Constants {
        match *self {
            Self::Narrow { n, m, c, m2 } => Constants::narrow(m, c, m2 / f32::count(n), eps),
            Self::Merged { moments, wide } => {
                let rstd = quotient(1.0, (moments.variance() + eps).root());
                // A reciprocal that f32 cannot hold: a constant input and a tiny eps.
                if wide || rstd > f64::from(f32::MAX) {
                    return Constants::Wide { mean: moments.mean(), rstd };
                }
                let hi = narrow(moments.mean());
                let lo = narrow(moments.mean() - f64::from(hi));
                let deviation = Deviation::Reciprocal(rstd);
                Constants::Narrow { hi, lo, rstd: narrow(rstd), deviation }
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

    /// M2 / (n − `less`), not above the largest finite number.
    #[inline(always)]
    #[expect(clippy::cast_precision_loss, reason = "rounding beyond 2^53 does not matter")]
    pub(crate) fn variance(&self, less: u8) -> f32 {
        match *self {
            Self::Narrow { n, m2, .. } => {
                at_most_max(m2 / f32::count(n.saturating_sub(usize::from(less))))
            }
            Self::Merged { moments, .. } => {
                let divisor = moments.count().saturating_sub(u64::from(less));
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

/// What the centred apply needs of up to sixteen channels: [`Constants`] side by side.
#[derive(Clone, Copy)]
pub(crate) struct StripConstants<S: Simd> {
    pub(crate) hi: f32x16<S>,
    pub(crate) lo: f32x16<S>,
    rstd: f32x16<S>,
    deviation: StripDeviation<S>,
    pub(crate) wide: Option<WideLanes<S>>,
}

/// [`Deviation`] of sixteen channels.
#[derive(Clone, Copy)]
enum StripDeviation<S: Simd> {
    Root(f32x16<S>),
    Reciprocal(Wide<S>),
}

/// The channels of a strip that are applied in f64.
#[derive(Clone, Copy)]
pub(crate) struct WideLanes<S: Simd> {
    pub(crate) lanes: mask32x16<S>,
    pub(crate) mean: Wide<S>,
    pub(crate) rstd: Wide<S>,
}

impl<S: Simd> StripConstants<S> {
    /// The same constants in every lane.
    #[inline(always)]
    pub(crate) fn filled(simd: S, constants: Constants) -> Self {
        let zero = <f32x16<S>>::filled(simd, 0.0);
        match constants {
            Constants::Narrow { hi, lo, rstd, deviation } => Self {
                hi: zero.all(hi),
                lo: zero.all(lo),
                rstd: zero.all(rstd),
                deviation: match deviation {
                    Deviation::Root(root) => StripDeviation::Root(zero.all(root)),
                    Deviation::Reciprocal(rstd) => {
                        StripDeviation::Reciprocal(Wide::filled(simd, rstd))
                    }
                },
                wide: None,
            },
            Constants::Wide { mean, rstd } => Self {
                hi: zero,
                lo: zero,
                rstd: zero,
                deviation: StripDeviation::Root(zero),
                wide: Some(WideLanes {
                    lanes: mask32x16::splat(simd, true),
                    mean: Wide::filled(simd, mean),
                    rstd: Wide::filled(simd, rstd),
                }),
            },
        }
    }

    /// From statistics in f32.
    #[inline(always)]
    pub(crate) fn narrow(hi: f32x16<S>, lo: f32x16<S>, var: f32x16<S>, eps: f64) -> Self {
        let root = (var + var.all(narrow(eps))).root();
        let rstd = quotient(root.all(1.0), root);
        Self { hi, lo, rstd, deviation: StripDeviation::Root(root), wide: None }
    }

    /// From statistics in f64; channels are wide as [`Stats::merged`] says.
    #[inline(always)]
    pub(crate) fn wide(
        simd: S,
        mean: Wide<S>,
        var: Wide<S>,
        rescued: mask32x16<S>,
        eps: f64,
    ) -> Self {
        let root = (var + var.all(eps)).root();
        let rstd = quotient(root.all(1.0), root);
        let hi = mean.narrow();
        let lo = (mean - widened(simd, hi)).narrow();
        let zero = Wide::lane_mask(var.equal(var.all(0.0)));
        let smallest = f64::from(f32::MIN_POSITIVE);
        let small = Wide::lane_mask(var.all(smallest).greater(var));
        let below = Wide::lane_mask(var.all(TWO_TO_128).greater(var));
        let fits = zero | (below & !small);
        let steep = Wide::lane_mask(rstd.greater(rstd.all(f64::from(f32::MAX))));
        let lanes = rescued | !fits | steep;
        let wide = lanes.any_true().then_some(WideLanes { lanes, mean, rstd });
        let deviation = StripDeviation::Reciprocal(rstd);
        Self { hi, lo, rstd: rstd.narrow(), deviation, wide }
    }

    /// [`Constants::factors`], a channel a lane.
    #[inline(always)]
    pub(crate) fn factors(&self, simd: S, gamma: f32x16<S>) -> (f32x16<S>, f32x16<S>) {
        let product = match self.deviation {
            StripDeviation::Root(root) => quotient(gamma, root),
            StripDeviation::Reciprocal(rstd) => (widened(simd, gamma) * rstd).narrow(),
        };
        choose_factors(product, self.rstd, gamma)
    }

    /// The reciprocal standard deviations that are saved for backward.
    #[inline(always)]
    pub(crate) fn saved_rstd(&self) -> f32x16<S> {
        match self.wide {
            None => self.rstd,
            Some(wide) => wide.lanes.select(at_most_max(wide.rstd.narrow()), self.rstd),
        }
    }
}

impl<S: Simd> StripStats<S> {
    #[inline(always)]
    pub(crate) fn constants(&self, simd: S, eps: f64) -> StripConstants<S> {
        match *self {
            Self::One { n, narrow: TwoPass { m, c, m2, .. }, rescued } => {
                let constants = StripConstants::narrow(m, c, m2 / m2.all(f32::count(n)), eps);
                let wide = rescued.map(|(lanes, TwoPass { m, c, m2, .. })| {
                    let var = m2 / m2.all(f64::count(n));
                    let root = (var + var.all(eps)).root();
                    WideLanes { lanes, mean: m + c, rstd: quotient(root.all(1.0), root) }
                });
                StripConstants { wide, ..constants }
            }
            Self::Merged { moments: StripMoments { count, mean, m2 }, rescued } => {
                let var = m2 / m2.all(rows(count));
                StripConstants::wide(simd, mean, var, rescued, eps)
            }
        }
    }

    /// The means, as they are saved for backward.
    #[inline(always)]
    pub(crate) fn mean(&self) -> f32x16<S> {
        match *self {
            Self::One { narrow: TwoPass { m, c, .. }, rescued, .. } => match rescued {
                None => m + c,
                Some((lanes, wide)) => lanes.select((wide.m + wide.c).narrow(), m + c),
            },
            Self::Merged { moments, .. } => moments.mean.narrow(),
        }
    }

    /// M2 / (n − `less`), not above the largest finite number.
    #[inline(always)]
    pub(crate) fn variance(&self, less: u8) -> f32x16<S> {
        let less = u64::from(less);
        at_most_max(match *self {
            Self::One { n, narrow: TwoPass { m2, .. }, rescued } => {
                let divisor = rows((n as u64).saturating_sub(less));
                let var = m2 / m2.all(narrow(divisor));
                rescued.map_or(var, |(lanes, TwoPass { m2, .. })| {
                    lanes.select((m2 / m2.all(divisor)).narrow(), var)
                })
            }
            Self::Merged { moments: StripMoments { count, m2, .. }, .. } => {
                (m2 / m2.all(rows(count.saturating_sub(less)))).narrow()
            }
        })
    }
}

#[inline(always)]
#[expect(clippy::cast_precision_loss, reason = "a slice has fewer than 2^53 rows")]
const fn rows(count: u64) -> f64 {
    count as f64
}
