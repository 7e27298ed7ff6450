//! Section 9: BatchNorm backward.

use evenkeel::Layout;

use super::batch_norm::Constants as Statistics;
use super::real::Real;
use super::reduction::{Block, Reduction, channel_places, of_channel, tree};

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

/// One channel's inputs.
struct Inputs<'a> {
    dy: &'a [f32],
    x: &'a [f32],
    mean: f32,
    rstd: f32,
}

impl Inputs<'_> {
    /// x̃ = (x − mean)·rstd
    fn normalized<F: Real>(&self, i: usize) -> F {
        (F::from_f32(self.x[i]) - F::from_f32(self.mean)) * F::from_f32(self.rstd)
    }

    fn block_sums<F: Real>(&self, block: &Block) -> Sums<F> {
        let dy = |i: usize| F::from_f32(self.dy[i]);
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
    k: F,
    dbeta: F,
    dgamma: F,
    a: F,
    b: F,
    g: F,
}

impl<F: Real> Constants<F> {
    fn new(sums: Sums<F>, n: F, gamma: F, rstd: F) -> Self {
        let k = sums.e / n;
        let dbeta = sums.a;
        let dgamma = sums.b - sums.a * k;
        Self { k, dbeta, dgamma, a: dbeta / n, b: dgamma / n, g: gamma * rstd }
    }

    fn dx(&self, inputs: &Inputs<'_>, i: usize) -> f32 {
        let dy = F::from_f32(inputs.dy[i]);
        let normalized = inputs.normalized::<F>(i);
        (self.g * ((dy - self.a) - (normalized - self.k) * self.b)).to_f32()
    }

    fn channel(&self, dx: Vec<f32>) -> Channel {
        Channel { dbeta: self.dbeta.to_f32(), dgamma: self.dgamma.to_f32(), dx }
    }
}

impl Constants<f64> {
    fn rounded(&self) -> Constants<f32> {
        Constants {
            k: self.k as f32,
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
        let inputs = Inputs { dy, x, mean: saved_mean[channel], rstd: saved_rstd[channel] };
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
        let dx = if wide || !narrow.fit(gamma, inputs.rstd) {
            places.iter().map(|&i| accurate.dx(&inputs, i)).collect()
        } else {
            places.iter().map(|&i| narrow.dx(&inputs, i)).collect()
        };
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
        let inputs = Inputs { dy, x, mean: mean[channel], rstd };
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
