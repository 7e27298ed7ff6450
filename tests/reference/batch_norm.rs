//! Sections 6 to 8, and 11 where it concerns channels: BatchNorm forward.

use evenkeel::{Constant, Layout, Momentum, RunningVariance};

use super::group_norm;
use super::moments::{Reduced, Triple, outside_f32, reduce};
use super::real::{reciprocal_root, saturate};
use super::reduction::{channel_places, of_channel};

/// Section 6: what a channel's (or a group's) elements are normalized with.
#[derive(Clone, Copy, Debug)]
pub struct Constants {
    mean_hi: f32,
    mean_lo: f32,
    mean: f64,
    rstd: f64,
    wide: bool,
}

impl Constants {
    pub fn of(reduced: Reduced, eps: f64) -> Self {
        match reduced {
            Reduced::OneBlock { n, m, c, m2 } => Self::in_f32(m, c, f64::from(m2) / n as f64, eps),
            Reduced::Merged { triple, wide } => Self::merged(triple, wide, eps),
        }
    }

    /// The mean is in two parts in f32.
    fn in_f32(m: f32, c: f32, variance: f64, eps: f64) -> Self {
        let (mean, rstd) = (f64::from(m) + f64::from(c), reciprocal_root(variance, eps));
        Self { mean_hi: m, mean_lo: c, mean, rstd, wide: could_overflow(m) }
    }

    /// The mean is in f64.
    fn merged(triple: Triple, wide: bool, eps: f64) -> Self {
        let (mean, rstd) = (triple.mean, reciprocal_root(triple.variance(), eps));
        let mean_hi = mean as f32;
        let mean_lo = (mean - f64::from(mean_hi)) as f32;
        Self { mean_hi, mean_lo, mean, rstd, wide: wide || could_overflow(mean_hi) }
    }

    /// Section 14: a mean of 0, and the mean square in the place of the variance.
    pub fn of_mean_square(mean_square: f64, rescued: bool, eps: f64) -> Self {
        let rstd = reciprocal_root(mean_square, eps);
        Self { mean_hi: 0.0, mean_lo: 0.0, mean: 0.0, rstd, wide: rescued }
    }

    /// Given statistics (inference) are one block in f32.
    pub fn given(mean: f32, variance: f32, eps: f64) -> Self {
        Self::in_f32(mean, 0.0, variance.into(), eps)
    }

    /// Given moments are more blocks.
    pub fn population(triple: Triple, eps: f64) -> Self {
        Self::merged(triple, outside_f32(triple.variance()), eps)
    }

    /// The mean as section 6 saves it.
    fn saved_mean(self) -> f32 {
        self.mean as f32
    }

    /// Section 11: a constant feature that is only centred.
    fn centred(mean: f64) -> Self {
        let mean_hi = mean as f32;
        let mean_lo = (mean - f64::from(mean_hi)) as f32;
        Self { mean_hi, mean_lo, mean, rstd: 1.0, wide: could_overflow(mean_hi) }
    }

    /// rstd as section 6 saves it.
    pub fn saved_rstd(self) -> f32 {
        saturate(self.rstd as f32)
    }

    /// g and o of section 7, if the elements can be applied with them.
    fn factor_and_offset(self, gamma: f32, beta: f32) -> Option<(f32, f32)> {
        let g = self.factor(gamma)?;
        let o = beta - self.mean_lo * g;
        o.is_finite().then_some((g, o))
    }

    /// g of section 7, if it is one to apply elements with.
    fn factor(self, gamma: f32) -> Option<f32> {
        if gamma == 0.0 || self.rstd == 0.0 {
            return Some(0.0).filter(|_| !self.wide);
        }
        let g = (f64::from(gamma) * self.rstd) as f32;
        Some(g).filter(|g| !self.wide && g.is_normal())
    }

    /// Section 7.
    pub fn apply(self, x: f32, gamma: f32, beta: f32) -> f32 {
        match self.factor_and_offset(gamma, beta) {
            Some((g, o)) => (x - self.mean_hi) * g + o,
            None => self.apply_wide(x, gamma, beta),
        }
    }

    /// Section 7, where γ differs from element to element.
    pub fn apply_each(self, x: f32, gamma: f32, beta: f32) -> f32 {
        match self.factor_and_offset(1.0, 0.0) {
            Some((rstd, _)) => (((x - self.mean_hi) - self.mean_lo) * rstd) * gamma + beta,
            None => self.apply_wide(x, gamma, beta),
        }
    }

    /// Section 7, second formula.
    fn apply_wide(self, x: f32, gamma: f32, beta: f32) -> f32 {
        let (x, gamma, beta) = (f64::from(x), f64::from(gamma), f64::from(beta));
        (((x - self.mean) * self.rstd) * gamma + beta) as f32
    }
}

/// Section 6: whether |mean_hi| is not below 2^102. A NaN is not.
fn could_overflow(mean_hi: f32) -> bool {
    let below = mean_hi.abs() < 2.0_f32.powi(102);
    !below
}

/// Saved statistics (section 6).
pub fn saved(reduced: Reduced, eps: f64) -> (f32, f32) {
    let constants = Constants::of(reduced, eps);
    (constants.saved_mean(), constants.saved_rstd())
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
        Reduced::OneBlock { n, m2, .. } => {
            Some(saturate((f64::from(m2) / divisor(n) as f64) as f32))
        }
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
pub struct Options {
    pub eps: f64,
    pub momentum: Momentum,
    pub running_variance: RunningVariance,
}

/// All that a training step writes.
#[derive(Clone, Debug)]
pub struct Trained {
    pub y: Vec<f32>,
    pub running_mean: Vec<f32>,
    pub running_var: Vec<f32>,
    pub saved_mean: Vec<f32>,
    pub saved_rstd: Vec<f32>,
}

/// A missing γ is 1, a missing β is 0.
#[derive(Clone, Copy, Debug)]
pub struct Affine<'a> {
    pub gamma: Option<&'a [f32]>,
    pub beta: Option<&'a [f32]>,
}

impl Affine<'_> {
    pub fn gamma(&self, channel: usize) -> f32 {
        self.gamma.map_or(1.0, |values| values[channel])
    }

    pub fn beta(&self, channel: usize) -> f32 {
        self.beta.map_or(0.0, |values| values[channel])
    }
}

pub fn train(
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

/// Section 17: each channel of each sample is a group; running statistics follow the means of theirs.
pub fn instance_norm(
    layout: &Layout,
    options: Options,
    x: &[f32],
    affine: Affine<'_>,
    running: (&[f32], &[f32]),
) -> Trained {
    let channels = layout.channels();
    let out = group_norm::forward(layout, channels, options.eps, x, affine);
    let mut running_mean = running.0.to_vec();
    let mut running_var = running.1.to_vec();
    let a = factor(options.momentum);
    let mean_of = |values: &[f32]| {
        let sum = values.iter().fold(0.0, |sum, &value| sum + f64::from(value));
        (sum / values.len() as f64) as f32
    };
    for channel in 0..channels {
        let saved: Vec<f32> =
            out.saved_mean.iter().skip(channel).step_by(channels).copied().collect();
        running_mean[channel] = updated(running_mean[channel], a, mean_of(&saved));
        let reduced = (0..layout.batch())
            .map(|sample| group_norm::reduced(layout, (channels, sample, channel), x));
        let variances: Option<Vec<f32>> =
            reduced.map(|reduced| new_variance(reduced, options.running_variance)).collect();
        if let Some(variances) = variances {
            running_var[channel] = updated(running_var[channel], a, mean_of(&variances));
        }
    }
    let group_norm::Forward { y, saved_mean, saved_rstd } = out;
    Trained { y, running_mean, running_var, saved_mean, saved_rstd }
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

pub fn infer(
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
pub fn collect(layout: &Layout, x: &[f32], moments: &mut [Triple]) {
    if layout.is_empty() {
        return;
    }
    for (channel, old) in moments.iter_mut().enumerate() {
        *old = old.merged(reduce(x, &of_channel(layout, channel)).triple());
    }
}

pub fn infer_population(
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

/// Section 11: inference without γ and β, and a choice for constant features.
pub fn standardize(
    layout: &Layout,
    eps: f64,
    constant: Constant,
    x: &[f32],
    moments: &[Triple],
) -> Vec<f32> {
    let none = Affine { gamma: None, beta: None };
    let mut y = infer_population(layout, eps, x, none, moments);
    for (channel, triple) in moments.iter().enumerate() {
        let is_constant = triple.variance() == 0.0 && eps == 0.0;
        if is_constant && constant == Constant::Center {
            apply_channel(layout, channel, Constants::centred(triple.mean), x, none, &mut y);
        }
    }
    y
}
