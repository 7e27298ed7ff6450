//! The formulas in f64, written for plainness and for accuracy only.
//!
//! Nothing here is shared with the crate: no type, no constant, no order of summation. Sums are
//! compensated, and a mean is kept as an unevaluated pair, so that a mean of 1e7 with deviation 1
//! leaves no error that an f32 could show.

#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "counts are far below 2^53, and rounding to f32 is what an ulp error is about"
)]

/// How the elements of a (batch, channels, spatial) tensor lie in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    pub batch: usize,
    pub channels: usize,
    pub spatial: usize,
    pub channels_last: bool,
}

impl Shape {
    /// (N, C, S).
    pub const fn first(batch: usize, channels: usize, spatial: usize) -> Self {
        Self { batch, channels, spatial, channels_last: false }
    }

    /// (N, S, C).
    pub const fn last(batch: usize, spatial: usize, channels: usize) -> Self {
        Self { batch, channels, spatial, channels_last: true }
    }

    /// (N, C).
    pub const fn dense(batch: usize, channels: usize) -> Self {
        Self::first(batch, channels, 1)
    }

    pub const fn len(self) -> usize {
        self.batch * self.channels * self.spatial
    }

    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Elements that one channel's statistics are made of.
    pub const fn reduction(self) -> usize {
        self.batch * self.spatial
    }

    pub const fn index(self, n: usize, c: usize, s: usize) -> usize {
        if self.channels_last {
            (n * self.spatial + s) * self.channels + c
        } else {
            (n * self.channels + c) * self.spatial + s
        }
    }

    /// The channel that element `i` of the slice belongs to.
    pub const fn channel_of(self, i: usize) -> usize {
        if self.channels_last { i % self.channels } else { i / self.spatial % self.channels }
    }

    /// The sample that element `i` of the slice belongs to.
    pub const fn sample_of(self, i: usize) -> usize {
        i / (self.channels * self.spatial)
    }

    /// Indices of one channel's elements, over batch and space.
    pub fn channel(self, c: usize) -> impl Iterator<Item = usize> + Clone {
        (0..self.batch).flat_map(move |n| (0..self.spatial).map(move |s| self.index(n, c, s)))
    }

    /// Indices of the elements of one group of channels in one sample.
    pub fn group(self, n: usize, g: usize, groups: usize) -> impl Iterator<Item = usize> + Clone {
        let width = self.channels / groups;
        (g * width..(g + 1) * width)
            .flat_map(move |c| (0..self.spatial).map(move |s| self.index(n, c, s)))
    }
}

/// A mean `mean + low` (not evaluated) and a biased variance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stats {
    pub count: usize,
    pub mean: f64,
    pub low: f64,
    pub var: f64,
}

impl Stats {
    /// Statistics that were given, not measured.
    pub const fn given(mean: f64, var: f64) -> Self {
        Self { count: 0, mean, low: 0.0, var }
    }

    pub fn centred(&self, x: f64) -> f64 {
        (x - self.mean) - self.low
    }

    /// 1/sqrt(var + eps), and 0 where that has no value.
    pub fn rstd(&self, eps: f64) -> f64 {
        let sum = self.var + eps;
        if sum == 0.0 { 0.0 } else { 1.0 / sum.sqrt() }
    }

    /// The unbiased variance; 0 for a single element.
    pub fn sample_var(&self) -> f64 {
        if self.count < 2 {
            return 0.0;
        }
        self.var * (self.count as f64) / ((self.count - 1) as f64)
    }

    pub fn std_dev(&self) -> f64 {
        self.var.sqrt()
    }
}

/// Output and statistics of a normalization.
#[derive(Clone, Debug)]
pub struct Normalized {
    pub y: Vec<f64>,
    /// One a channel (or, for groups, one a sample and group, samples outermost).
    pub stats: Vec<Stats>,
    pub mean: Vec<f64>,
    /// Biased.
    pub var: Vec<f64>,
    pub rstd: Vec<f64>,
}

#[derive(Clone, Debug)]
pub struct Gradients {
    pub dx: Vec<f64>,
    pub dgamma: Vec<f64>,
    pub dbeta: Vec<f64>,
    /// Sums of the absolute values of the terms of each result: what an error is measured by.
    pub dx_scale: Vec<f64>,
    pub dgamma_scale: Vec<f64>,
    pub dbeta_scale: Vec<f64>,
}

pub fn widen(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&v| f64::from(v)).collect()
}

/// Neumaier's compensated sum.
pub fn sum(terms: impl Iterator<Item = f64>) -> f64 {
    let (mut total, mut lost) = (0.0_f64, 0.0_f64);
    for term in terms {
        let next = total + term;
        lost +=
            if total.abs() >= term.abs() { (total - next) + term } else { (term - next) + total };
        total = next;
    }
    total + lost
}

/// A result as an f32 has it where it does not fit one: infinite.
pub fn within_f32(y: f64) -> f64 {
    if (y as f32).is_infinite() { f64::from(y as f32) } else { y }
}

/// Mean and biased variance, two passes and a correction between them.
pub fn moments(x: impl Iterator<Item = f64> + Clone) -> Stats {
    let count = x.clone().count();
    if count == 0 {
        return Stats::given(0.0, 0.0);
    }
    let n = count as f64;
    let mean = sum(x.clone()) / n;
    let low = sum(x.clone().map(|v| v - mean)) / n;
    let var = sum(x.map(|v| {
        let d = (v - mean) - low;
        d * d
    })) / n;
    Stats { count, mean, low, var }
}

/// Statistics of every channel.
pub fn channel_stats(shape: Shape, x: &[f64]) -> Vec<Stats> {
    (0..shape.channels).map(|c| moments(shape.channel(c).map(|i| x[i]))).collect()
}

fn parameter(values: Option<&[f64]>, c: usize, missing: f64) -> f64 {
    values.map_or(missing, |v| v[c])
}

fn normalized(y: Vec<f64>, stats: Vec<Stats>, eps: f64) -> Normalized {
    Normalized {
        y,
        mean: stats.iter().map(|s| s.mean + s.low).collect(),
        var: stats.iter().map(|s| s.var).collect(),
        rstd: stats.iter().map(|s| s.rstd(eps)).collect(),
        stats,
    }
}

/// y = (x − μ)·rstd·γ + β with the given statistics of each channel.
pub fn apply(
    shape: Shape,
    x: &[f64],
    gamma: Option<&[f64]>,
    beta: Option<&[f64]>,
    stats: &[Stats],
    eps: f64,
) -> Vec<f64> {
    let rstd: Vec<f64> = stats.iter().map(|s| s.rstd(eps)).collect();
    x.iter()
        .enumerate()
        .map(|(i, &v)| {
            let c = shape.channel_of(i);
            stats[c].centred(v) * rstd[c] * parameter(gamma, c, 1.0) + parameter(beta, c, 0.0)
        })
        .collect()
}

pub fn batch_norm_train(
    shape: Shape,
    x: &[f64],
    gamma: Option<&[f64]>,
    beta: Option<&[f64]>,
    eps: f64,
) -> Normalized {
    let stats = channel_stats(shape, x);
    let y = apply(shape, x, gamma, beta, &stats, eps);
    normalized(y, stats, eps)
}

fn given(mean: &[f64], var: &[f64]) -> Vec<Stats> {
    mean.iter().zip(var).map(|(&m, &v)| Stats::given(m, v)).collect()
}

pub fn infer(
    shape: Shape,
    x: &[f64],
    gamma: Option<&[f64]>,
    beta: Option<&[f64]>,
    (mean, var): (&[f64], &[f64]),
    eps: f64,
) -> Vec<f64> {
    apply(shape, x, gamma, beta, &given(mean, var), eps)
}

pub fn standardize(shape: Shape, x: &[f64], stats: &[Stats], eps: f64) -> Vec<f64> {
    apply(shape, x, None, None, stats, eps)
}

pub fn group_norm(
    shape: Shape,
    groups: usize,
    x: &[f64],
    gamma: Option<&[f64]>,
    beta: Option<&[f64]>,
    eps: f64,
) -> Normalized {
    let mut stats = Vec::new();
    for n in 0..shape.batch {
        for g in 0..groups {
            stats.push(moments(shape.group(n, g, groups).map(|i| x[i])));
        }
    }
    let rstd: Vec<f64> = stats.iter().map(|s| s.rstd(eps)).collect();
    let width = shape.channels / groups;
    let y = x
        .iter()
        .enumerate()
        .map(|(i, &v)| {
            let c = shape.channel_of(i);
            let row = shape.sample_of(i) * groups + c / width;
            stats[row].centred(v) * rstd[row] * parameter(gamma, c, 1.0) + parameter(beta, c, 0.0)
        })
        .collect();
    normalized(y, stats, eps)
}

/// Gradients through `batch_norm_train`: dx = rstd·(G − mean(G) − x̂·mean(G·x̂)), G = dy·γ.
pub fn backward(shape: Shape, dy: &[f64], x: &[f64], gamma: Option<&[f64]>, eps: f64) -> Gradients {
    let stats = channel_stats(shape, x);
    let mut out = empty_gradients(shape);
    for (c, stat) in stats.iter().enumerate() {
        let scale = parameter(gamma, c, 1.0) * stat.rstd(eps);
        parameter_gradients(shape, c, dy, x, stat, eps, &mut out);
        let n = shape.reduction() as f64;
        let (a, b) = (out.dbeta[c] / n, out.dgamma[c] / n);
        let (size_a, size_b) = (out.dbeta_scale[c] / n, out.dgamma_scale[c] / n);
        for i in shape.channel(c) {
            let xhat = stat.centred(x[i]) * stat.rstd(eps);
            out.dx[i] = scale * ((dy[i] - a) - xhat * b);
            out.dx_scale[i] = scale.abs() * (dy[i].abs() + size_a + xhat.abs() * size_b);
        }
    }
    out
}

/// Gradients through `infer`: the statistics are constants, dx = rstd·G.
pub fn backward_inference(
    shape: Shape,
    dy: &[f64],
    x: &[f64],
    gamma: Option<&[f64]>,
    (mean, var): (&[f64], &[f64]),
    eps: f64,
) -> Gradients {
    let mut out = empty_gradients(shape);
    for (c, stat) in given(mean, var).iter().enumerate() {
        let scale = parameter(gamma, c, 1.0) * stat.rstd(eps);
        parameter_gradients(shape, c, dy, x, stat, eps, &mut out);
        for i in shape.channel(c) {
            out.dx[i] = scale * dy[i];
            out.dx_scale[i] = out.dx[i].abs();
        }
    }
    out
}

fn empty_gradients(shape: Shape) -> Gradients {
    Gradients {
        dx: vec![0.0; shape.len()],
        dgamma: vec![0.0; shape.channels],
        dbeta: vec![0.0; shape.channels],
        dx_scale: vec![0.0; shape.len()],
        dgamma_scale: vec![0.0; shape.channels],
        dbeta_scale: vec![0.0; shape.channels],
    }
}

fn parameter_gradients(
    shape: Shape,
    c: usize,
    dy: &[f64],
    x: &[f64],
    stat: &Stats,
    eps: f64,
    out: &mut Gradients,
) {
    let rstd = stat.rstd(eps);
    let product = |i: usize| dy[i] * (stat.centred(x[i]) * rstd);
    out.dbeta[c] = sum(shape.channel(c).map(|i| dy[i]));
    out.dgamma[c] = sum(shape.channel(c).map(product));
    out.dbeta_scale[c] = shape.channel(c).map(|i| dy[i].abs()).sum();
    out.dgamma_scale[c] = shape.channel(c).map(|i| product(i).abs()).sum();
}

/// What is reduced together: the indices of its elements, and its statistics.
#[derive(Clone, Debug)]
pub struct Reduced {
    pub indices: Vec<usize>,
    pub stats: Stats,
    /// Whether the mean is that of the elements, and has a gradient of its own.
    pub centred: bool,
}

/// Gradients through any normalization by the data's own statistics. `parameter` says which γ an
/// element has, of `count`.
///
/// The saved mean was rounded, in the unit of max(|μ|, σ), and that counts in the unit of dγ.
pub fn backward_of(
    reductions: &[Reduced],
    (count, parameter_of): (usize, impl Fn(usize) -> usize),
    dy: &[f64],
    x: &[f64],
    gamma: Option<&[f64]>,
    eps: f64,
) -> Gradients {
    let dense = Shape::dense(1, count);
    let mut out = Gradients {
        dx: vec![0.0; x.len()],
        dx_scale: vec![0.0; x.len()],
        ..empty_gradients(dense)
    };
    let mut terms = vec![(Vec::new(), Vec::new()); count];
    for Reduced { indices, stats, centred } in reductions {
        let (n, rstd) = (indices.len() as f64, stats.rstd(eps));
        let xhat = |i: usize| stats.centred(x[i]) * rstd;
        let mean_unit = if *centred { stats.mean.abs().max(stats.std_dev()) * rstd } else { 0.0 };
        let weighted = |i: usize| dy[i] * parameter(gamma, parameter_of(i), 1.0);
        let over = |term: &dyn Fn(usize) -> f64| sum(indices.iter().map(|&i| term(i))) / n;
        let b = over(&|i| weighted(i) * xhat(i));
        let size_b = over(&|i| (weighted(i) * xhat(i)).abs());
        let a = if *centred { over(&weighted) } else { 0.0 };
        let size_a = if *centred { over(&|i| weighted(i).abs()) } else { 0.0 };
        for &i in indices {
            out.dx[i] = rstd * ((weighted(i) - a) - xhat(i) * b);
            out.dx_scale[i] = rstd * (weighted(i).abs() + size_a + xhat(i).abs() * size_b);
            let (dbeta, dgamma) = &mut terms[parameter_of(i)];
            dbeta.push(dy[i]);
            dgamma.push((dy[i] * xhat(i), dy[i].abs() * xhat(i).abs().max(mean_unit)));
        }
    }
    for (c, (dbeta, dgamma)) in terms.iter().enumerate() {
        out.dbeta[c] = sum(dbeta.iter().copied());
        out.dbeta_scale[c] = dbeta.iter().map(|v| v.abs()).sum();
        out.dgamma[c] = sum(dgamma.iter().map(|v| v.0));
        out.dgamma_scale[c] = dgamma.iter().map(|v| v.1).sum();
    }
    out
}

/// s = γ/sqrt(var + eps) of every channel: what folding multiplies the weights by.
fn fold_scale(gamma: Option<&[f64]>, var: &[f64], eps: f64) -> Vec<f64> {
    var.iter()
        .enumerate()
        .map(|(c, &v)| parameter(gamma, c, 1.0) * Stats::given(0.0, v).rstd(eps))
        .collect()
}

fn fold_bias(scale: &[f64], beta: Option<&[f64]>, mean: &[f64], bias: &[f64]) -> Vec<f64> {
    (0..bias.len()).map(|c| (bias[c] - mean[c]) * scale[c] + parameter(beta, c, 0.0)).collect()
}

/// Folds into weights whose first axis is the output channel; returns (weight, bias).
pub fn fold(
    gamma: Option<&[f64]>,
    beta: Option<&[f64]>,
    (mean, var): (&[f64], &[f64]),
    eps: f64,
    weight: &[f64],
    bias: &[f64],
) -> (Vec<f64>, Vec<f64>) {
    let scale = fold_scale(gamma, var, eps);
    let each = weight.len() / bias.len();
    let folded = weight.iter().enumerate().map(|(i, &w)| w * scale[i / each]).collect();
    (folded, fold_bias(&scale, beta, mean, bias))
}

/// Folds into the weights [in, out / groups, kernel] of a transposed convolution.
pub fn fold_transposed(
    (groups, kernel): (usize, usize),
    gamma: Option<&[f64]>,
    beta: Option<&[f64]>,
    (mean, var): (&[f64], &[f64]),
    eps: f64,
    weight: &[f64],
    bias: &[f64],
) -> (Vec<f64>, Vec<f64>) {
    let scale = fold_scale(gamma, var, eps);
    let outputs = bias.len() / groups;
    let inputs = weight.len() / (outputs * kernel * groups);
    let folded = weight
        .iter()
        .enumerate()
        .map(|(i, &w)| {
            let (input, output) = (i / kernel / outputs, i / kernel % outputs);
            w * scale[input / inputs * outputs + output]
        })
        .collect();
    (folded, fold_bias(&scale, beta, mean, bias))
}

/// The constants of SELU, as its authors print them.
const LAMBDA: f64 = 1.050_700_987_355_480_493_419_334_985_294_6;
const ALPHA: f64 = 1.673_263_242_354_377_284_817_042_991_671_7;

/// SELU: λ·x above zero, λ·α·(e^x − 1) elsewhere.
pub fn selu(x: f64) -> f64 {
    if x > 0.0 { LAMBDA * x } else { LAMBDA * ALPHA * x.exp_m1() }
}

/// Its derivative; at zero that from below.
pub fn selu_slope(x: f64) -> f64 {
    if x > 0.0 { LAMBDA } else { LAMBDA * ALPHA * x.exp() }
}

/// The distance of neighbouring f32 values at `scale` (of the subnormals at least).
pub fn ulp(scale: f64) -> f64 {
    let exponent = ((scale.abs().to_bits() >> 52) as i32 - 1023).clamp(-126, 127);
    2.0_f64.powi(exponent - 23)
}

/// The error of `got` in f32 ulps at `scale`. For outputs of a normalization the scale is
/// max(|y|, |γ| + |β|): the sum can cancel, so an error in ulps of y alone would say nothing.
pub fn ulp_error(got: f32, want: f64, scale: f64) -> f64 {
    if got.is_nan() && want.is_nan() {
        return 0.0;
    }
    let error = (f64::from(got) - want).abs();
    if error.is_finite() { error / ulp(scale) } else { f64::INFINITY }
}

/// max(|y|, |γ| + |β|), the scale for outputs.
pub fn output_scale(y: f64, gamma: f64, beta: f64) -> f64 {
    y.abs().max(gamma.abs() + beta.abs())
}

/// Φ(z), by the continued fraction of the tail (Abramowitz and Stegun 26.2.14) or the series of the
/// middle (26.2.11).
pub fn distribution(z: f64) -> f64 {
    let density = (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
    if z.abs() > 2.5 {
        let depth = 200;
        let fraction = (1..=depth).rev().fold(z.abs(), |rest, k| z.abs() + f64::from(k) / rest);
        let tail = density / fraction;
        return if z < 0.0 { tail } else { 1.0 - tail };
    }
    let (mut term, mut sum, mut k) = (z, z, 1.0);
    while term.abs() > 1e-18 {
        k += 2.0;
        term *= z * z / k;
        sum += term;
    }
    0.5 + density * sum
}

/// Φ⁻¹((word + 1/2)·2^-32), by bisection.
pub fn normal_quantile(word: u32) -> f64 {
    let place = (f64::from(word) + 0.5) / 2.0_f64.powi(32);
    let (mut low, mut high) = (-7.0, 7.0);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if distribution(middle) < place {
            low = middle;
        } else {
            high = middle;
        }
    }
    (low + high) / 2.0
}
