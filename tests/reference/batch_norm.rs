//! Sections 6 to 8, and 11 where it concerns channels: BatchNorm forward.

use evenkeel::{Layout, Momentum, RunningVariance};

use super::moments::{Reduced, Triple, outside_f32, reduce};
use super::real::{reciprocal_root, saturate};
use super::reduction::{channel_places, of_channel};

/// Section 6: what a channel's (or a group's) elements are normalized with.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Constants {
    Narrow { mean_hi: f32, mean_lo: f32, rstd: f32, deviation: Deviation },
    Wide { mean: f64, rstd: f64 },
}

/// Section 7: what γ is combined with.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Deviation {
    /// sqrt(var + eps32)
    Root(f32),
    /// rstd64
    Reciprocal(f64),
}

impl Deviation {
    /// g of section 7.
    fn times(self, gamma: f32) -> f32 {
        match self {
            Self::Root(0.0) => 0.0,
            Self::Root(root) => gamma / root,
            Self::Reciprocal(rstd) => (f64::from(gamma) * rstd) as f32,
        }
    }
}

impl Constants {
    pub(crate) fn of(reduced: Reduced, eps: f64) -> Self {
        match reduced {
            Reduced::OneBlock { n, m, c, m2 } => Self::in_f32(m, c, m2 / n as f32, eps),
            Reduced::Merged { triple, wide } => Self::merged(triple, wide, eps),
        }
    }

    fn in_f32(mean_hi: f32, mean_lo: f32, variance: f32, eps: f64) -> Self {
        let rstd = reciprocal_root(variance, eps as f32);
        let deviation = Deviation::Root((variance + eps as f32).sqrt());
        Self::Narrow { mean_hi, mean_lo, rstd, deviation }
    }

    fn merged(triple: Triple, wide: bool, eps: f64) -> Self {
        let rstd = reciprocal_root(triple.variance(), eps);
        if wide || rstd > f64::from(f32::MAX) {
            return Self::Wide { mean: triple.mean, rstd };
        }
        let mean_hi = triple.mean as f32;
        let mean_lo = (triple.mean - f64::from(mean_hi)) as f32;
        let deviation = Deviation::Reciprocal(rstd);
        Self::Narrow { mean_hi, mean_lo, rstd: rstd as f32, deviation }
    }

    /// Given statistics: inference.
    pub(crate) fn given(mean: f32, variance: f32, eps: f64) -> Self {
        Self::in_f32(mean, 0.0, variance, eps)
    }

    /// Given moments "go through this section as more blocks do".
    pub(crate) fn population(triple: Triple, eps: f64) -> Self {
        let wide = outside_f32(triple.variance());
        Self::merged(triple, wide, eps)
    }

    /// Section 7.
    pub(crate) fn apply(self, x: f32, gamma: f32, beta: f32) -> f32 {
        let Self::Narrow { rstd, deviation, .. } = self else {
            return self.apply_factors(x, f32::NAN, gamma, beta);
        };
        let g = deviation.times(gamma);
        if g.is_normal() {
            self.apply_factors(x, g, 1.0, beta)
        } else {
            self.apply_factors(x, rstd, gamma, beta)
        }
    }

    /// Section 7, where γ differs from element to element.
    pub(crate) fn apply_each(self, x: f32, gamma: f32, beta: f32) -> f32 {
        let rstd = if let Self::Narrow { rstd, .. } = self { rstd } else { f32::NAN };
        self.apply_factors(x, rstd, gamma, beta)
    }

    /// Section 7 with a and b; of a wide reduction, b is γ and a is not used.
    fn apply_factors(self, x: f32, a: f32, b: f32, beta: f32) -> f32 {
        match self {
            Self::Narrow { mean_hi, mean_lo, .. } => (((x - mean_hi) - mean_lo) * a) * b + beta,
            Self::Wide { mean, rstd } => {
                let (gamma, beta) = (f64::from(b), f64::from(beta));
                (((f64::from(x) - mean) * rstd) * gamma + beta) as f32
            }
        }
    }
}

/// Saved statistics (section 6).
pub(crate) fn saved(reduced: Reduced, eps: f64) -> (f32, f32) {
    let mean = match reduced {
        Reduced::OneBlock { m, c, .. } => m + c,
        Reduced::Merged { triple, .. } => triple.mean as f32,
    };
    let rstd = match Constants::of(reduced, eps) {
        Constants::Narrow { rstd, .. } => rstd,
        Constants::Wide { rstd, .. } if rstd.is_finite() => saturate(rstd as f32),
        Constants::Wide { rstd, .. } => rstd as f32,
    };
    (mean, rstd)
}

/// Section 8: the factor of the new value.
fn factor(momentum: Momentum) -> f32 {
    match momentum {
        Momentum::Exponential(a) => a as f32,
        Momentum::Cumulative { batches } => (1.0 / batches as f64) as f32,
    }
}

/// Section 8: the new variance, or none where n = 1.
fn new_variance(reduced: Reduced, form: RunningVariance) -> Option<f32> {
    let divisor = |n: u64| match form {
        RunningVariance::Unbiased => n - 1,
        RunningVariance::Biased => n,
    };
    match reduced {
        Reduced::OneBlock { n: 1, .. } | Reduced::Merged { triple: Triple { n: 1, .. }, .. } => {
            None
        }
        Reduced::OneBlock { n, m2, .. } => Some(saturate(m2 / divisor(n) as f32)),
        Reduced::Merged { triple, .. } => {
            Some(saturate((triple.m2 / divisor(triple.n) as f64) as f32))
        }
    }
}

/// r ← (1 − a)·r + a·v
fn updated(r: f32, a: f32, v: f32) -> f32 {
    saturate((1.0 - a) * r + a * v)
}

/// The options of a training step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    pub(crate) eps: f64,
    pub(crate) momentum: Momentum,
    pub(crate) running_variance: RunningVariance,
}

/// All that a training step writes.
#[derive(Clone, Debug)]
pub(crate) struct Trained {
    pub(crate) y: Vec<f32>,
    pub(crate) running_mean: Vec<f32>,
    pub(crate) running_var: Vec<f32>,
    pub(crate) saved_mean: Vec<f32>,
    pub(crate) saved_rstd: Vec<f32>,
}

/// A missing γ is 1, a missing β is 0.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Affine<'a> {
    pub(crate) gamma: Option<&'a [f32]>,
    pub(crate) beta: Option<&'a [f32]>,
}

impl Affine<'_> {
    pub(crate) fn gamma(&self, channel: usize) -> f32 {
        self.gamma.map_or(1.0, |values| values[channel])
    }

    pub(crate) fn beta(&self, channel: usize) -> f32 {
        self.beta.map_or(0.0, |values| values[channel])
    }
}

pub(crate) fn train(
    layout: &Layout,
    options: Options,
    x: &[f32],
    affine: Affine<'_>,
    running: (&[f32], &[f32]),
) -> Trained {
    let mut out = Trained {
        y: vec![0.0; x.len()],
        running_mean: running.0.to_vec(),
        running_var: running.1.to_vec(),
        saved_mean: vec![0.0; layout.channels()],
        saved_rstd: vec![0.0; layout.channels()],
    };
    if layout.is_empty() {
        return out;
    }
    let a = factor(options.momentum);
    for channel in 0..layout.channels() {
        let reduced = reduce(x, &of_channel(layout, channel));
        let (mean, rstd) = saved(reduced, options.eps);
        out.saved_mean[channel] = mean;
        out.saved_rstd[channel] = rstd;
        out.running_mean[channel] = updated(out.running_mean[channel], a, mean);
        if let Some(variance) = new_variance(reduced, options.running_variance) {
            out.running_var[channel] = updated(out.running_var[channel], a, variance);
        }
        apply_channel(layout, channel, Constants::of(reduced, options.eps), x, affine, &mut out.y);
    }
    out
}

fn apply_channel(
    layout: &Layout,
    channel: usize,
    constants: Constants,
    x: &[f32],
    affine: Affine<'_>,
    y: &mut [f32],
) {
    for i in channel_places(layout, channel) {
        y[i] = constants.apply(x[i], affine.gamma(channel), affine.beta(channel));
    }
}

pub(crate) fn infer(
    layout: &Layout,
    eps: f64,
    x: &[f32],
    affine: Affine<'_>,
    mean: &[f32],
    var: &[f32],
) -> Vec<f32> {
    let mut y = vec![0.0; x.len()];
    for channel in 0..layout.channels() {
        let constants = Constants::given(mean[channel], var[channel], eps);
        apply_channel(layout, channel, constants, x, affine, &mut y);
    }
    y
}

/// The old value before the new one (section 11).
pub(crate) fn collect(layout: &Layout, x: &[f32], moments: &mut [Triple]) {
    if layout.is_empty() {
        return;
    }
    for (channel, old) in moments.iter_mut().enumerate() {
        *old = old.merged(reduce(x, &of_channel(layout, channel)).triple());
    }
}

pub(crate) fn infer_population(
    layout: &Layout,
    eps: f64,
    x: &[f32],
    affine: Affine<'_>,
    moments: &[Triple],
) -> Vec<f32> {
    let mut y = vec![0.0; x.len()];
    for (channel, &triple) in moments.iter().enumerate() {
        let constants = Constants::population(triple, eps);
        apply_channel(layout, channel, constants, x, affine, &mut y);
    }
    y
}
