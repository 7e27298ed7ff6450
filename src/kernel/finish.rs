//! From moments to the constants of the apply and to the statistics that callers keep.

use super::lanes::{LANES, Lanes, Real, Value, Wide};
use super::moments::{Stats, StripStats};
use crate::Moments;
use fearless_simd::{Select as _, Simd, SimdBase as _, SimdFloat as _, SimdMask as _};
use fearless_simd::{f32x16, mask32x16};

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
            Self::Wide { rstd, .. } => saturated(rstd),
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

    /// M2 / n, not above the largest finite number.
    #[inline(always)]
    pub(crate) fn variance(&self) -> f32 {
        at_most_max(match *self {
            Self::Narrow { n, m2, .. } => m2 / f32::count(n),
            Self::Merged { moments, .. } => narrow(moments.variance()),
        })
    }

    /// M2 / (n − 1), not above the largest finite number.
    #[inline(always)]
    pub(crate) fn sample_variance(&self) -> f32 {
        at_most_max(match *self {
            Self::Narrow { n, m2, .. } => m2 / f32::count(n.saturating_sub(1)),
            Self::Merged { moments, .. } => narrow(moments.sample_variance()),
        })
    }

    /// The number of elements reduced.
    #[inline(always)]
    pub(crate) fn count(&self) -> u64 {
        match *self {
            Self::Narrow { n, .. } => n as u64,
            Self::Merged { moments, .. } => moments.count(),
        }
    }
}

/// 1 / sqrt(var + eps), and 0 for a sum of zero: a constant input gives β.
#[inline(always)]
pub(crate) fn rstd<T: Real>(var: T, eps: T) -> T {
    let sum = var + eps;
    if sum == T::ZERO { T::ZERO } else { T::ONE / sum.sqrt() }
}

/// Rounds to f32.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "rounding is what is wanted")]
pub(crate) const fn narrow(value: f64) -> f32 {
    value as f32
}

/// Rounds to f32; a finite number stays finite.
#[inline(always)]
fn saturated(value: f64) -> f32 {
    let rounded = narrow(value);
    if rounded == f32::INFINITY && value < f64::INFINITY { f32::MAX } else { rounded }
}

/// The smaller of a number and the largest finite one; NaN stays NaN.
#[inline(always)]
pub(crate) fn at_most_max(value: f32) -> f32 {
    if value > f32::MAX { f32::MAX } else { value }
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
    /// The reciprocal standard deviations that are saved for backward.
    #[inline(always)]
    pub(crate) fn saved_rstd(&self) -> [f32; LANES] {
        let mut saved = self.rstd.values();
        if let Some(wide) = self.wide {
            for (lane, (slot, rstd)) in saved.iter_mut().zip(wide.rstd.values()).enumerate() {
                if wide.lanes.to_bitmask() >> lane & 1 == 1 {
                    *slot = saturated(rstd);
                }
            }
        }
        saved
    }

    /// Puts the constants of sixteen channels side by side.
    #[inline(always)]
    pub(crate) fn gather(simd: S, constants: &[Constants; LANES]) -> Self {
        let (mut hi, mut lo, mut narrow_rstd) = ([0.0; LANES], [0.0; LANES], [0.0; LANES]);
        let (mut mean, mut wide_rstd) = ([0.0; LANES], [0.0; LANES]);
        let mut wide = 0_u64;
        let narrow_slots = hi.iter_mut().zip(&mut lo).zip(&mut narrow_rstd);
        let slots = narrow_slots.zip(mean.iter_mut().zip(&mut wide_rstd)).zip(constants);
        for (lane, ((((h, l), r), (m, w)), constants)) in slots.enumerate() {
            match *constants {
                Constants::Narrow { hi, lo, rstd } => (*h, *l, *r) = (hi, lo, rstd),
                Constants::Wide { mean, rstd } => {
                    (*m, *w) = (mean, rstd);
                    wide |= 1 << lane;
                }
            }
        }
        Self {
            hi: Lanes::from_array(simd, hi),
            lo: Lanes::from_array(simd, lo),
            rstd: Lanes::from_array(simd, narrow_rstd),
            wide: (wide != 0).then(|| WideLanes {
                lanes: mask32x16::from_bitmask(simd, wide),
                mean: Lanes::from_array(simd, mean),
                rstd: Lanes::from_array(simd, wide_rstd),
            }),
        }
    }
}

impl<S: Simd> StripStats<S> {
    #[inline(always)]
    pub(crate) fn constants(&self, simd: S, eps: f64) -> StripConstants<S> {
        match *self {
            Self::Narrow { n, m, c, m2 } => {
                let sum = m2 / f32::count(n) + narrow(eps);
                let zero = <f32x16<S>>::filled(simd, 0.0);
                let rstd = sum.simd_eq(zero).select(zero, zero.all(1.0) / sum.sqrt());
                StripConstants { hi: m, lo: c, rstd, wide: None }
            }
            Self::Mixed(stats) => {
                StripConstants::gather(simd, &stats.map(|stats| stats.constants(eps)))
            }
        }
    }
}
