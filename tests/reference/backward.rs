//! Section 9: backward of BatchNorm; 15: of rows; 16: of groups.

use evenkeel::Layout;

use super::batch_norm::Constants as Statistics;
use super::real::Real;
use super::reduction::{Block, Reduction, along, channel_places, column, of_channel, place, tree};

/// A = Σ dy, B = Σ dy·x̃, E = Σ x̃.
#[derive(Clone, Copy, Debug)]
struct Sums<F> {
    a: F,
    b: F,
    e: F,
}

impl Sums<f32> {
    fn widened(self) -> Sums<f64> {
        Sums { a: self.a.into(), b: self.b.into(), e: self.e.into() }
    }
}

/// The sums of a whole reduction.
enum Total {
    OneBlock(Sums<f32>),
    Merged { sums: Sums<f64>, wide: bool },
}

pub struct Gradients {
    pub x: Vec<f32>,
    pub gamma: Vec<f32>,
    pub beta: Vec<f32>,
}

/// One reduction's inputs.
#[derive(Clone, Copy)]
struct Inputs<'a> {
    dy: &'a [f32],
    x: &'a [f32],
    mean: f32,
    rstd: f32,
    /// What dy is multiplied by, in f32 or f64.
    weight: &'a dyn Fn(usize) -> f32,
}

/// No weight.
fn one(_: usize) -> f32 {
    1.0
}

impl Inputs<'_> {
    /// x̃ = (x − mean)·rstd
    fn normalized<F: Real>(&self, i: usize) -> F {
        (F::from_f32(self.x[i]) - F::from_f32(self.mean)) * F::from_f32(self.rstd)
    }

    fn dy<F: Real>(&self, i: usize) -> F {
        F::from_f32(self.dy[i]) * F::from_f32((self.weight)(i))
    }

    fn block_sums<F: Real>(&self, block: &Block) -> Sums<F> {
        let dy = |i: usize| self.dy::<F>(i);
        Sums {
            a: block.sum(dy),
            b: block.sum(|i| dy(i) * self.normalized(i)),
            e: block.sum(|i| self.normalized(i)),
        }
    }

    fn total(&self, reduction: &Reduction) -> Total {
        let mut wide = false;
        let mut parts = Vec::new();
        for block in &reduction.blocks {
            let narrow = self.block_sums::<f32>(block);
            if !(narrow.a.finite() && narrow.b.finite() && narrow.e.finite()) {
                parts.push(self.block_sums::<f64>(block));
                wide = true;
            } else if reduction.blocks.len() == 1 {
                return Total::OneBlock(narrow);
            } else {
                parts.push(narrow.widened());
            }
        }
        let add = |p: Sums<f64>, q: Sums<f64>| Sums { a: p.a + q.a, b: p.b + q.b, e: p.e + q.e };
        Total::Merged { sums: tree(&parts, &add), wide }
    }
}

/// The constants of the apply, and dβ and dγ.
struct Constants<F> {
    dbeta: F,
    dgamma: F,
    a: F,
    b: F,
    g: F,
}

impl<F: Real> Constants<F> {
    /// Of rows without a mean.
    fn uncentred(sums: Sums<F>, n: F, rstd: F) -> Self {
        let zero = F::ZERO;
        Self { dbeta: sums.a, dgamma: sums.b, a: zero, b: sums.b / n, g: rstd }
    }

    fn new(sums: Sums<F>, n: F, gamma: F, rstd: F) -> Self {
        let k = sums.e / n;
        let dbeta = sums.a;
        let dgamma = sums.b - sums.a * k;
        let b = dgamma / n;
        Self { dbeta, dgamma, a: dbeta / n - k * b, b, g: gamma * rstd }
    }

    fn dx(&self, inputs: &Inputs<'_>, i: usize) -> f32 {
        let dy = inputs.dy::<F>(i);
        let normalized = inputs.normalized::<F>(i);
        (self.g * ((dy - self.a) - normalized * self.b)).to_f32()
    }

    fn channel(&self, dx: Vec<f32>) -> Channel {
        Channel { dbeta: self.dbeta.to_f32(), dgamma: self.dgamma.to_f32(), dx }
    }
}

impl Constants<f64> {
    fn rounded(&self) -> Constants<f32> {
        Constants {
            dbeta: self.dbeta as f32,
            dgamma: self.dgamma as f32,
            a: self.a as f32,
            b: self.b as f32,
            g: self.g as f32,
        }
    }
}

impl Constants<f32> {
    /// Whether an apply in f32 is good enough.
    fn fit(&self, gamma: f32, rstd: f32) -> bool {
        let fits = |v: f32| v == 0.0 || (v.is_normal() && v.abs() < 2.0_f32.powi(64));
        factor_fits(self.g, gamma, rstd) && fits(self.a) && fits(self.b)
    }
}

/// Whether g = γ·rstd is a normal number, or zero because a factor is.
fn factor_fits(g: f32, gamma: f32, rstd: f32) -> bool {
    g.is_normal() || gamma == 0.0 || rstd == 0.0
}

/// What one channel gives: dβ, dγ and its part of dx, each rounded once.
struct Channel {
    dbeta: f32,
    dgamma: f32,
    dx: Vec<f32>,
}

impl Gradients {
    /// Puts the channels' results where they belong.
    fn new(layout: &Layout, of: impl Fn(usize) -> Channel) -> Self {
        let channels = layout.channels();
        let mut gradients = Self {
            x: vec![0.0; layout.len()],
            gamma: vec![0.0; channels],
            beta: vec![0.0; channels],
        };
        for channel in (0..channels).filter(|_| !layout.is_empty()) {
            let Channel { dbeta, dgamma, dx } = of(channel);
            gradients.beta[channel] = dbeta;
            gradients.gamma[channel] = dgamma;
            for (i, dx) in channel_places(layout, channel).into_iter().zip(dx) {
                gradients.x[i] = dx;
            }
        }
        gradients
    }
}

/// Gradients of a training step, with the saved mean and rstd.
pub fn backward(
    layout: &Layout,
    dy: &[f32],
    x: &[f32],
    gamma: Option<&[f32]>,
    saved_mean: &[f32],
    saved_rstd: &[f32],
) -> Gradients {
    Gradients::new(layout, |channel| {
        let (mean, rstd) = (saved_mean[channel], saved_rstd[channel]);
        let inputs = Inputs { dy, x, mean, rstd, weight: &one };
        let gamma = gamma.map_or(1.0, |values| values[channel]);
        let places = channel_places(layout, channel);
        let n = places.len() as u64;
        let total = inputs.total(&of_channel(layout, channel));
        let in_f64 = |sums| Constants::<f64>::new(sums, n as f64, gamma.into(), inputs.rstd.into());
        let (narrow, accurate, wide) = match total {
            Total::OneBlock(sums) => {
                (Constants::new(sums, n as f32, gamma, inputs.rstd), in_f64(sums.widened()), false)
            }
            Total::Merged { sums, wide } => (in_f64(sums).rounded(), in_f64(sums), wide),
        };
        let wide = wide || !narrow.fit(gamma, rstd);
        let dx = |&i| if wide { accurate.dx(&inputs, i) } else { narrow.dx(&inputs, i) };
        let dx = places.iter().map(dx).collect();
        // Which apply is taken changes nothing here. For one block in f32 these are f32's.
        narrow.channel(dx)
    })
}

/// Gradients at inference statistics.
pub fn backward_inference(
    layout: &Layout,
    eps: f64,
    dy: &[f32],
    x: &[f32],
    gamma: Option<&[f32]>,
    mean: &[f32],
    var: &[f32],
) -> Gradients {
    Gradients::new(layout, |channel| {
        let rstd = Statistics::given(mean[channel], var[channel], eps).saved_rstd();
        let inputs = Inputs { dy, x, mean: mean[channel], rstd, weight: &one };
        let gamma = gamma.map_or(1.0, |values| values[channel]);
        let (dbeta, dgamma, wide) = match inputs.total(&of_channel(layout, channel)) {
            Total::OneBlock(Sums { a, b, .. }) => (a, b, false),
            Total::Merged { sums: Sums { a, b, .. }, wide } => (a as f32, b as f32, wide),
        };
        let factor = gamma * rstd;
        let wide_factor = f64::from(gamma) * f64::from(rstd);
        let places = channel_places(layout, channel);
        let dx = if wide || !factor_fits(factor, gamma, rstd) {
            places.iter().map(|&i| (f64::from(dy[i]) * wide_factor) as f32).collect()
        } else {
            places.iter().map(|&i| dy[i] * factor).collect()
        };
        Channel { dbeta, dgamma, dx }
    })
}

/// What is known of every row.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    pub len: usize,
    pub gamma: Option<&'a [f32]>,
    /// `None`: rows are not centred.
    pub mean: Option<&'a [f32]>,
    pub rstd: &'a [f32],
}

impl Rows<'_> {
    fn mean(&self, row: usize) -> f32 {
        self.mean.map_or(0.0, |mean| mean[row])
    }

    /// dx of one row.
    fn dx(&self, row: usize, dy: &[f32], x: &[f32]) -> Vec<f32> {
        let places = row * self.len..(row + 1) * self.len;
        let weight = |i: usize| self.gamma.map_or(1.0, |gamma| gamma[i % self.len]);
        let (mean, rstd) = (self.mean(row), self.rstd[row]);
        let inputs = Inputs { dy, x, mean, rstd, weight: &weight };
        let n = self.len as u64;
        let in_f64 = |sums| match self.mean {
            Some(_) => Constants::<f64>::new(sums, n as f64, 1.0, rstd.into()),
            None => Constants::<f64>::uncentred(sums, n as f64, rstd.into()),
        };
        let (narrow, accurate, wide) = match inputs.total(&along(std::slice::from_ref(&places))) {
            Total::OneBlock(sums) => {
                let narrow = match self.mean {
                    Some(_) => Constants::new(sums, n as f32, 1.0, rstd),
                    None => Constants::uncentred(sums, n as f32, rstd),
                };
                (narrow, in_f64(sums.widened()), false)
            }
            Total::Merged { sums, wide } => (in_f64(sums).rounded(), in_f64(sums), wide),
        };
        let wide = wide || !narrow.fit(1.0, rstd);
        places.map(|i| if wide { accurate.dx(&inputs, i) } else { narrow.dx(&inputs, i) }).collect()
    }

    /// dγ and dβ of one place in a row.
    fn parameters(&self, place: usize, dy: &[f32], x: &[f32]) -> (f32, f32) {
        let places: Vec<usize> = (0..self.rstd.len()).map(|row| row * self.len + place).collect();
        let mut rescued = Vec::new();
        let blocks = column(&places).blocks;
        let sums: Vec<[f64; 2]> = blocks
            .iter()
            .map(|block| {
                let [a, b] = self.products::<f32>(block, dy, x);
                rescued.push(!(a.is_finite() && b.is_finite()));
                if rescued.ends_with(&[true]) {
                    self.products::<f64>(block, dy, x)
                } else {
                    [a.into(), b.into()]
                }
            })
            .collect();
        let [dbeta, dgamma] = tree(&sums, &|p: [f64; 2], q: [f64; 2]| [p[0] + q[0], p[1] + q[1]]);
        (dgamma as f32, dbeta as f32)
    }

    /// Σ dy and Σ dy·x̃ of a block of a column.
    fn products<F: Real>(&self, block: &Block, dy: &[f32], x: &[f32]) -> [F; 2] {
        let dy = |i: usize| F::from_f32(dy[i]);
        let normalized = |i: usize| {
            let (x, row) = (F::from_f32(x[i]), i / self.len);
            let centred = match self.mean {
                Some(mean) => x - F::from_f32(mean[row]),
                None => x,
            };
            centred * F::from_f32(self.rstd[row])
        };
        [block.sum(dy), block.sum(|i| dy(i) * normalized(i))]
    }
}

/// Section 15: gradients of rows that lie side by side.
pub fn backward_rows(rows: Rows<'_>, dy: &[f32], x: &[f32]) -> Gradients {
    let mut out =
        Gradients { x: Vec::new(), gamma: vec![0.0; rows.len], beta: vec![0.0; rows.len] };
    if x.is_empty() {
        return out;
    }
    for row in 0..rows.rstd.len() {
        out.x.extend(rows.dx(row, dy, x));
    }
    for (i, (dgamma, dbeta)) in out.gamma.iter_mut().zip(&mut out.beta).enumerate() {
        (*dgamma, *dbeta) = rows.parameters(i, dy, x);
    }
    out
}

/// What is known of every group of channels of every sample.
#[derive(Clone, Copy)]
pub struct Groups<'a> {
    pub groups: usize,
    pub gamma: Option<&'a [f32]>,
    pub mean: &'a [f32],
    pub rstd: &'a [f32],
}

/// The places of one channel of one sample, and how they are added up.
fn channel_of_sample(layout: &Layout, sample: usize, channel: usize) -> (Vec<usize>, Reduction) {
    let places: Vec<usize> =
        (0..layout.spatial()).map(|s| place(layout, sample, channel, s)).collect();
    let reduction = if layout.channels() == 1 || !layout.is_channels_last() {
        along(std::slice::from_ref(&(places[0]..places[0] + places.len())))
    } else {
        column(&places)
    };
    (places, reduction)
}

/// Section 16.
pub fn backward_groups(layout: &Layout, known: Groups<'_>, dy: &[f32], x: &[f32]) -> Gradients {
    let channels = layout.channels();
    let zeros = || vec![0.0; channels];
    let mut out = Gradients { x: vec![0.0; x.len()], gamma: zeros(), beta: zeros() };
    if x.is_empty() {
        return out;
    }
    let width = channels / known.groups;
    let gamma = |channel: usize| known.gamma.map_or(1.0, |gamma| gamma[channel]);
    // Σ dy and Σ dy·x̃ of each channel, sample by sample.
    let mut samples = vec![Vec::new(); channels];
    for sample in 0..layout.batch() {
        for group in 0..known.groups {
            let number = sample * known.groups + group;
            let (mean, rstd) = (known.mean[number], known.rstd[number]);
            let inputs = Inputs { dy, x, mean, rstd, weight: &one };
            let (mut parts, mut wide) = (Vec::new(), false);
            let first = group * width;
            for (channel, samples) in samples.iter_mut().enumerate().skip(first).take(width) {
                let (_, reduction) = channel_of_sample(layout, sample, channel);
                let sums = match inputs.total(&reduction) {
                    Total::OneBlock(sums) => sums.widened(),
                    Total::Merged { sums, wide: rescued } => {
                        wide |= rescued;
                        sums
                    }
                };
                samples.push([sums.b, sums.a]);
                let gamma = f64::from(gamma(channel));
                parts.push(Sums { a: sums.a * gamma, b: sums.b * gamma, e: sums.e });
            }
            let add =
                |p: Sums<f64>, q: Sums<f64>| Sums { a: p.a + q.a, b: p.b + q.b, e: p.e + q.e };
            let n = (width * layout.spatial()) as f64;
            let accurate = Constants::<f64>::new(tree(&parts, &add), n, 1.0, rstd.into());
            let narrow = accurate.rounded();
            let wide = wide || !narrow.fit(1.0, rstd);
            for channel in first..first + width {
                let weight = |_| gamma(channel);
                let inputs = Inputs { weight: &weight, ..inputs };
                for i in channel_of_sample(layout, sample, channel).0 {
                    out.x[i] = if wide { accurate.dx(&inputs, i) } else { narrow.dx(&inputs, i) };
                }
            }
        }
    }
    for (channel, sums) in samples.iter().enumerate() {
        let add = |p: [f64; 2], q: [f64; 2]| [p[0] + q[0], p[1] + q[1]];
        let [dgamma, dbeta] = tree(sums, &add);
        (out.gamma[channel], out.beta[channel]) = (dgamma as f32, dbeta as f32);
    }
    out
}
