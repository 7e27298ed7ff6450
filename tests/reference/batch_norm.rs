//! Sections 6 to 8, and 11 where it concerns channels: BatchNorm forward.

use evenkeel::{Layout, Momentum, RunningVariance};

use super::moments::{Reduced, Triple, outside_f32, reduce};
use super::real::{reciprocal_root, saturate};
use super::reduction::{channel_places, of_channel};

/// Section 6: what a channel's (or a group's) elements are normalized with.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Constants {
    Narrow { mean_hi: f32, mean_lo: f32, deviation: Deviation },
    Wide(Wide),
}

/// Everything in f64.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wide {
    mean: f64,
    rstd: f64,
}

/// In which form the deviation of a reduction that is not wide is known.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Deviation {
    /// var + eps is exactly zero.
    Zero,
    /// sqrt(var + eps32): one block in f32.
    Root(f32),
    /// rstd64: var is in f64.
    Reciprocal(f64),
}

impl Deviation {
    /// g of section 7, and whether the channel can be applied with it.
    fn times(self, gamma: f32) -> (f32, bool) {
        let g = match self {
            Self::Zero => return (0.0, true),
            _ if gamma == 0.0 => return (0.0, true),
            Self::Root(root) => gamma / root,
            Self::Reciprocal(rstd) => (f64::from(gamma) * rstd) as f32,
        };
        (g, g.is_normal())
    }

    /// rstd in f32, where γ has to stay out of it; and whether elements can be applied with it.
    fn reciprocal(self) -> (f32, bool) {
        let rstd = match self {
            Self::Zero => return (0.0, true),
            Self::Root(root) => 1.0 / root,
            Self::Reciprocal(rstd) => rstd as f32,
        };
        (rstd, rstd.is_normal())
    }

    /// rstd64 of a channel that is applied as a wide one.
    fn widened(self) -> f64 {
        match self {
            Self::Zero => 0.0,
            Self::Root(root) => 1.0 / f64::from(root),
            Self::Reciprocal(rstd) => rstd,
        }
    }
}

impl Wide {
    /// Section 7, second formula.
    fn apply(self, x: f32, gamma: f32, beta: f32) -> f32 {
        let (x, gamma, beta) = (f64::from(x), f64::from(gamma), f64::from(beta));
        (((x - self.mean) * self.rstd) * gamma + beta) as f32
    }
}

impl Constants {
    pub(crate) fn of(reduced: Reduced, eps: f64) -> Self {
        match reduced {
            Reduced::OneBlock { n, m, c, m2 } => Self::in_f32(m, c, m2 / n as f32, eps),
            Reduced::Merged { triple, wide } => Self::merged(triple, wide, eps),
        }
    }

    /// One block in f32.
    fn in_f32(m: f32, c: f32, variance: f32, eps: f64) -> Self {
        let sum = variance + eps as f32;
        let root = sum.sqrt();
        let exactly_zero = f64::from(variance) + eps == 0.0;
        let usable = sum.is_normal() && sum > 0.0;
        if (!usable && !exactly_zero) || could_overflow(m) {
            let mean = f64::from(m) + f64::from(c);
            return Self::Wide(Wide { mean, rstd: reciprocal_root(variance.into(), eps) });
        }
        let deviation = if exactly_zero { Deviation::Zero } else { Deviation::Root(root) };
        Self::Narrow { mean_hi: m, mean_lo: c, deviation }
    }

    /// The variance is in f64.
    fn merged(triple: Triple, wide: bool, eps: f64) -> Self {
        let rstd = reciprocal_root(triple.variance(), eps);
        let mean_hi = triple.mean as f32;
        if wide || could_overflow(mean_hi) {
            return Self::Wide(Wide { mean: triple.mean, rstd });
        }
        let mean_lo = (triple.mean - f64::from(mean_hi)) as f32;
        let exactly_zero = triple.variance() + eps == 0.0;
        let deviation = if exactly_zero { Deviation::Zero } else { Deviation::Reciprocal(rstd) };
        Self::Narrow { mean_hi, mean_lo, deviation }
    }

    /// Given statistics (inference) are one block in f32.
    pub(crate) fn given(mean: f32, variance: f32, eps: f64) -> Self {
        Self::in_f32(mean, 0.0, variance, eps)
    }

    /// Given moments are more blocks.
    pub(crate) fn population(triple: Triple, eps: f64) -> Self {
        let wide = outside_f32(triple.variance());
        Self::merged(triple, wide, eps)
    }

    /// rstd as section 6 saves it.
    pub(crate) fn saved_rstd(self) -> f32 {
        match self {
            Self::Narrow { deviation: Deviation::Zero, .. } => 0.0,
            Self::Narrow { deviation: Deviation::Root(root), .. } => 1.0 / root,
            Self::Narrow { deviation: Deviation::Reciprocal(rstd), .. }
            | Self::Wide(Wide { rstd, .. }) => {
                if rstd.is_finite() {
                    saturate(rstd as f32)
                } else {
                    rstd as f32
                }
            }
        }
    }

    /// Section 7.
    pub(crate) fn apply(self, x: f32, gamma: f32, beta: f32) -> f32 {
        match self {
            Self::Wide(wide) => wide.apply(x, gamma, beta),
            Self::Narrow { mean_hi, mean_lo, deviation } => match deviation.times(gamma) {
                (g, true) => ((x - mean_hi) - mean_lo) * g + beta,
                (_, false) => widened(mean_hi, mean_lo, deviation).apply(x, gamma, beta),
            },
        }
    }

    /// Section 7, where γ differs from element to element.
    pub(crate) fn apply_each(self, x: f32, gamma: f32, beta: f32) -> f32 {
        match self {
            Self::Wide(wide) => wide.apply(x, gamma, beta),
            Self::Narrow { mean_hi, mean_lo, deviation } => match deviation.reciprocal() {
                (rstd, true) => (((x - mean_hi) - mean_lo) * rstd) * gamma + beta,
                (_, false) => widened(mean_hi, mean_lo, deviation).apply(x, gamma, beta),
            },
        }
    }
}

/// Section 6: whether |mean_hi| is not below 2^102. A NaN is not.
fn could_overflow(mean_hi: f32) -> bool {
    let below = mean_hi.abs() < 2.0_f32.powi(102);
    !below
}

/// "Applied as a wide one": from the constants of a channel that is not.
fn widened(mean_hi: f32, mean_lo: f32, deviation: Deviation) -> Wide {
    Wide { mean: f64::from(mean_hi) + f64::from(mean_lo), rstd: deviation.widened() }
}

/// Saved statistics (section 6).
pub(crate) fn saved(reduced: Reduced, eps: f64) -> (f32, f32) {
    let mean = match reduced {
        Reduced::OneBlock { m, c, .. } => m + c,
        Reduced::Merged { triple, .. } => triple.mean as f32,
    };
    (mean, Constants::of(reduced, eps).saved_rstd())
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
