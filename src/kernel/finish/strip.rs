//! [`super::Constants`] of up to sixteen channels side by side.

use super::super::lanes::{LANES, Lanes, Real as _, Value as _, Wide, widened};
use super::super::moments::{TWO_TO_128, TwoPass};
use super::super::strip::{StripMoments, StripStats};
use super::{Centred, Deviation, at_most_max, is_normal, mean_fits, narrow, quotient};
use fearless_simd::{Select as _, Simd, SimdMask as _, f32x16, mask32x16};

/// What is known of up to sixteen channels before γ and β come in.
#[derive(Clone, Copy)]
pub(crate) struct StripConstants<S: Simd> {
    hi: f32x16<S>,
    lo: f32x16<S>,
    deviation: Deviation<f32x16<S>, Wide<S>>,
    wide: Option<WideLanes<S>>,
}

/// The channels of a strip that are applied in f64.
#[derive(Clone, Copy)]
pub(crate) struct WideLanes<S: Simd> {
    pub(crate) lanes: mask32x16<S>,
    pub(crate) mean: Wide<S>,
    pub(crate) rstd: Wide<S>,
}

/// What the centred apply needs of up to sixteen channels.
#[derive(Clone, Copy)]
pub(crate) struct CentredStrip<S: Simd> {
    pub(crate) hi: f32x16<S>,
    pub(crate) lo: f32x16<S>,
    pub(crate) factor: f32x16<S>,
    pub(crate) wide: Option<WideLanes<S>>,
}

impl<S: Simd> WideLanes<S> {
    /// Both, this one where both have a lane.
    #[inline(always)]
    fn or(self, other: Option<Self>) -> Self {
        let Some(other) = other else { return self };
        let mine = Wide::mask(self.lanes);
        Self {
            lanes: self.lanes | other.lanes,
            mean: Wide::select(mine, self.mean, other.mean),
            rstd: Wide::select(mine, self.rstd, other.rstd),
        }
    }
}

impl<S: Simd> CentredStrip<S> {
    /// From what was made channel by channel.
    #[inline(always)]
    pub(crate) fn from_lanes(simd: S, lanes: &[Centred; LANES]) -> Self {
        let (mut hi, mut lo, mut factor) = ([0.0; LANES], [0.0; LANES], [0.0; LANES]);
        let (mut mean, mut rstd, mut wide) = ([0.0; LANES], [0.0; LANES], 0);
        let narrow = hi.iter_mut().zip(&mut lo).zip(&mut factor);
        let slots = narrow.zip(mean.iter_mut().zip(&mut rstd));
        for (i, ((((hi, lo), factor), (mean, rstd)), lane)) in slots.zip(lanes).enumerate() {
            match *lane {
                Centred::Narrow { hi: h, lo: l, factor: f } => (*hi, *lo, *factor) = (h, l, f),
                Centred::Wide { mean: m, rstd: r } => {
                    (*mean, *rstd) = (m, r);
                    wide |= 1 << i;
                }
            }
        }
        Self {
            hi: Lanes::from_array(simd, hi),
            lo: Lanes::from_array(simd, lo),
            factor: Lanes::from_array(simd, factor),
            wide: (wide != 0).then(|| WideLanes {
                lanes: mask32x16::from_bitmask(simd, wide),
                mean: Lanes::from_array(simd, mean),
                rstd: Lanes::from_array(simd, rstd),
            }),
        }
    }
}

impl<S: Simd> StripConstants<S> {
    /// From statistics in f32.
    #[inline(always)]
    pub(crate) fn narrow(simd: S, hi: f32x16<S>, lo: f32x16<S>, var: f32x16<S>, eps: f64) -> Self {
        let narrow_sum = var + var.all(narrow(eps));
        let root = narrow_sum.root();
        let sum = widened(simd, var);
        let sum = sum + sum.all(eps);
        let is_zero = Wide::lane_mask(sum.equal(sum.all(0.0)));
        let fits = is_zero | (is_normal(narrow_sum) & is_normal(root));
        let lanes = !(fits & mean_fits(hi));
        let wide = lanes.any_true().then(|| WideLanes {
            lanes,
            mean: widened(simd, hi) + widened(simd, lo),
            rstd: quotient(sum.all(1.0), sum.root()),
        });
        Self { hi, lo, deviation: Deviation::Root(root), wide }
    }

    /// From statistics in f64; channels are wide as [`Stats::merged`](super::Stats::merged) says.
    #[inline(always)]
    pub(crate) fn merged(
        simd: S,
        mean: Wide<S>,
        var: Wide<S>,
        rescued: mask32x16<S>,
        eps: f64,
    ) -> Self {
        let rstd = quotient(var.all(1.0), (var + var.all(eps)).root());
        let hi = mean.narrow();
        let lo = (mean - widened(simd, hi)).narrow();
        let zero = Wide::lane_mask(var.equal(var.all(0.0)));
        let subnormal = Wide::lane_mask(var.all(f64::from(f32::MIN_POSITIVE)).greater(var));
        let in_range = Wide::lane_mask(var.all(TWO_TO_128).greater(var)) & !subnormal;
        let lanes = rescued | !((zero | in_range) & mean_fits(hi));
        let wide = lanes.any_true().then_some(WideLanes { lanes, mean, rstd });
        Self { hi, lo, deviation: Deviation::Reciprocal(rstd), wide }
    }

    /// [`with_gamma`](super::Constants::with_gamma), a channel a lane.
    #[inline(always)]
    pub(crate) fn with_gamma(&self, simd: S, gamma: f32x16<S>) -> CentredStrip<S> {
        let Self { hi, lo, deviation, wide } = *self;
        let zero = gamma.all(0.0);
        let (product, is_zero) = match deviation {
            Deviation::Root(root) => (gamma / root, root.equal(zero)),
            Deviation::Reciprocal(rstd) => {
                let is_zero = Wide::lane_mask(rstd.equal(rstd.all(0.0)));
                ((widened(simd, gamma) * rstd).narrow(), is_zero)
            }
        };
        let is_zero = is_zero | gamma.equal(zero);
        let factor = is_zero.select(zero, product);
        let lanes = !(is_zero | is_normal(factor));
        if !lanes.any_true() {
            return CentredStrip { hi, lo, factor, wide };
        }
        let rstd = match deviation {
            Deviation::Root(root) => {
                let root = widened(simd, root);
                quotient(root.all(1.0), root)
            }
            Deviation::Reciprocal(rstd) => rstd,
        };
        let unfit = WideLanes { lanes, mean: widened(simd, hi) + widened(simd, lo), rstd };
        CentredStrip { hi, lo, factor, wide: Some(wide.map_or(unfit, |wide| wide.or(Some(unfit)))) }
    }

    /// The reciprocal standard deviations that are saved for backward.
    #[inline(always)]
    pub(crate) fn saved_rstd(&self) -> f32x16<S> {
        let rstd = match self.deviation {
            Deviation::Root(root) => quotient(root.all(1.0), root),
            Deviation::Reciprocal(rstd) => at_most_max(rstd.narrow()),
        };
        match self.wide {
            None => rstd,
            Some(wide) => wide.lanes.select(at_most_max(wide.rstd.narrow()), rstd),
        }
    }
}

impl<S: Simd> StripStats<S> {
    #[inline(always)]
    pub(crate) fn constants(&self, simd: S, eps: f64) -> StripConstants<S> {
        match *self {
            Self::One { n, narrow: TwoPass { m, c, m2, .. }, rescued } => {
                let constants = StripConstants::narrow(simd, m, c, m2 / m2.all(f32::count(n)), eps);
                let Some((lanes, TwoPass { m, c, m2, .. })) = rescued else { return constants };
                let root = (m2 / m2.all(f64::count(n)) + m2.all(eps)).root();
                let rescued = WideLanes { lanes, mean: m + c, rstd: quotient(root.all(1.0), root) };
                StripConstants { wide: Some(rescued.or(constants.wide)), ..constants }
            }
            Self::Merged { moments: StripMoments { count, mean, m2 }, rescued } => {
                let var = m2 / m2.all(count_f64(count));
                StripConstants::merged(simd, mean, var, rescued, eps)
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

    /// M2 / (n − `ddof`), not above the largest finite number.
    #[inline(always)]
    pub(crate) fn variance(&self, ddof: u8) -> f32x16<S> {
        let ddof = u64::from(ddof);
        at_most_max(match *self {
            Self::One { n, narrow: TwoPass { m2, .. }, rescued } => {
                let divisor = count_f64((n as u64).saturating_sub(ddof));
                let var = m2 / m2.all(narrow(divisor));
                rescued.map_or(var, |(lanes, TwoPass { m2, .. })| {
                    lanes.select((m2 / m2.all(divisor)).narrow(), var)
                })
            }
            Self::Merged { moments: StripMoments { count, m2, .. }, .. } => {
                (m2 / m2.all(count_f64(count.saturating_sub(ddof)))).narrow()
            }
        })
    }
}

#[inline(always)]
#[expect(clippy::cast_precision_loss, reason = "a slice has fewer than 2^53 rows")]
const fn count_f64(count: u64) -> f64 {
    count as f64
}
