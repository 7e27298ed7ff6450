//! From moments to the constants of the apply and to the statistics that callers keep.

use super::lanes::{Lanes, Real, Value, Wide, widened};
use super::moments::{Stats, TWO_TO_128, TwoPass};
use super::strip::{StripMoments, StripStats};
use crate::Moments;
use fearless_simd::{Select as _, Simd, SimdMask as _, f32x16, mask32x16};

/// What the centred apply needs of one reduction.
#[derive(Clone, Copy)]
pub(crate) enum Constants {
    /// (((x − hi) − lo)·rstd) in f32.
    Narrow { hi: f32, lo: f32, rstd: f32 },
    /// (x − mean)·rstd in f64, rounded once after γ and β.
    Wide { mean: f64, rstd: f64 },
}

impl Constants {
    /// For statistics that were given, not computed.
    #[inline(always)]
    pub(crate) fn given(mean: f32, var: f32, eps: f64) -> Self {
        Self::Narrow { hi: mean, lo: 0.0, rstd: rstd(var, narrow(eps)) }
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
            // 1 / 0 does not occur, so what is infinite here was finite in f64.
            Self::Wide { rstd, .. } => at_most_max(narrow(rstd)),
        }
    }
}

impl Stats {
    #[inline(always)]
    pub(crate) fn constants(&self, eps: f64) -> Constants {
        match *self {
            Self::Narrow { n, m, c, m2 } => {
                let rstd = rstd(m2 / f32::count(n), narrow(eps));
                Constants::Narrow { hi: m, lo: c, rstd }
            }
            Self::Merged { moments, wide } => {
                let rstd = rstd(moments.variance(), eps);
                if wide {
                    return Constants::Wide { mean: moments.mean(), rstd };
                }
                let hi = narrow(moments.mean());
                let lo = narrow(moments.mean() - f64::from(hi));
                Constants::Narrow { hi, lo, rstd: narrow(rstd) }
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

/// 1 / sqrt(var + eps), and 0 for a sum of zero: a constant input gives β.
#[inline(always)]
pub(crate) fn rstd<T: Value>(var: T, eps: T) -> T {
    let sum = var + eps;
    let (zero, one) = (sum.all(T::Scalar::ZERO), sum.all(T::Scalar::ONE));
    T::select(sum.equal(zero), zero, one / sum.root())
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

/// What the centred apply needs of up to sixteen channels.
#[derive(Clone, Copy)]
pub(crate) struct StripConstants<S: Simd> {
    pub(crate) hi: f32x16<S>,
    pub(crate) lo: f32x16<S>,
    pub(crate) rstd: f32x16<S>,
    pub(crate) wide: Option<WideLanes<S>>,
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
        let (mut narrow, mut wide) = ([0.0; 3], None);
        match constants {
            Constants::Narrow { hi, lo, rstd } => narrow = [hi, lo, rstd],
            Constants::Wide { mean, rstd } => {
                wide = Some(WideLanes {
                    lanes: mask32x16::splat(simd, true),
                    mean: Lanes::filled(simd, mean),
                    rstd: Lanes::filled(simd, rstd),
                });
            }
        }
        let [hi, lo, rstd] = narrow;
        let (hi, lo) = (Lanes::filled(simd, hi), Lanes::filled(simd, lo));
        Self { hi, lo, rstd: Lanes::filled(simd, rstd), wide }
    }

    /// From statistics in f32.
    #[inline(always)]
    pub(crate) fn narrow(hi: f32x16<S>, lo: f32x16<S>, var: f32x16<S>, eps: f64) -> Self {
        Self { hi, lo, rstd: rstd(var, var.all(narrow(eps))), wide: None }
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
        let rstd = rstd(var, var.all(eps));
        let hi = mean.narrow();
        let lo = (mean - widened(simd, hi)).narrow();
        let zero = Wide::lane_mask(var.equal(var.all(0.0)));
        let smallest = f64::from(f32::MIN_POSITIVE);
        let small = Wide::lane_mask(var.all(smallest).greater(var));
        let below = Wide::lane_mask(var.all(TWO_TO_128).greater(var));
        let fits = zero | (below & !small);
        let lanes = rescued | !fits;
        let wide = lanes.any_true().then_some(WideLanes { lanes, mean, rstd });
        Self { hi, lo, rstd: rstd.narrow(), wide }
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
                    WideLanes { lanes, mean: m + c, rstd: rstd(var, var.all(eps)) }
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
