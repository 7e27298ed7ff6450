//! Batch normalization.

mod arguments;
mod checks;
mod fold;

use crate::backend::dispatch;
use crate::error::{check_eps, check_len};
use crate::kernel::apply::{Affine, Tensor};
use crate::kernel::backward::{self, Channel, Mode, Pass};
use crate::kernel::finish::{Constants, at_most_max};
use crate::kernel::per_channel::{self, Known, Summary};
use crate::{Backend, Error, Layout, Moments};

pub use arguments::{Gradients, Momentum, Running, RunningVariance, Saved};

/// Batch normalization: every channel to mean 0 and variance 1 over batch and spatial positions.
///
/// ```text
/// y = (x − mean) / sqrt(var + eps) · γ + β
/// ```
///
/// | call | statistics |
/// |---|---|
/// | [`train`](Self::train) | of the batch; they are saved for [`backward`](Self::backward) and update running ones |
/// | [`infer`](Self::infer) | given: running mean and variance |
/// | [`infer_population`](Self::infer_population) | given: moments of a whole data set, gathered by [`collect`](Self::collect) |
/// | [`fold`](Self::fold) | given; puts the normalization into the weights of the layer before |
///
/// For dense data the statistics are vectors, one mean and variance a feature; for images they are
/// one mean and variance a channel, over all positions.
///
/// Use it between a linear or convolutional layer and its activation, with batches of some size (a
/// dozen or more). The bias of the layer before is then superfluous.
///
/// # Shapes
///
/// `x`, `y`, `dy`, `dx`: the layout, with n = batch × spatial values a channel. `gamma`, `beta` and
/// all statistics: C values; `gamma` and `beta` may be `None` (1 and 0).
///
/// # Numerics
///
/// Same bits on every target: docs/NUMERICS.md. Within 4 ulp of max(|y|, |γ| + |β|) on ordinary data
/// of 64 values a channel or more (with fewer, about one output in a million is above, none above
/// 8), within 8 for mean/deviation up to 1e6 and magnitudes from 1e-20 to 1e38. The variance is the
/// biased one; eps stands inside the root. Zero variance with eps = 0 gives β. A channel with a NaN
/// or an infinity becomes NaN; others are not touched by it. One value a channel (n = 1) is
/// allowed: the output is β, the running mean is updated and the running variance stays.
///
/// # Complexity
///
/// Training reads x once from memory where a channel fits the cache, otherwise twice, and writes y
/// once. Backward reads x and dy twice and writes dx.
///
/// Inference takes little stack. Training of planes takes room for a block there, 4 KiB (backward
/// 8 KiB), since short planes are joined; channels last and dense data take up to 23 KB in all on a
/// microcontroller (measured on a Cortex-M0; 20 KB on a Cortex-M4F), because sixteen channels are
/// held at once.
///
/// # Examples
///
/// ```
/// use evenkeel::{BatchNorm, Layout, Running, Saved};
/// // Two samples, one channel, two positions.
/// let layout = Layout::channels_first(2, 1, 2)?;
/// let bn = BatchNorm::new(layout).eps(0.0);
/// let x = [1.0, 2.0, 3.0, 6.0]; // mean 3, variance 3.5
/// let (mut running_mean, mut running_var) = ([0.0], [1.0]);
/// let (mut mean, mut rstd, mut y) = ([0.0], [0.0], [0.0; 4]);
/// bn.train(
///     &x,
///     Some(&[2.0]),
///     Some(&[1.0]),
///     Some(Running { mean: &mut running_mean, var: &mut running_var }),
///     Some(Saved { mean: &mut mean, rstd: &mut rstd }),
///     &mut y,
/// )?;
/// assert_eq!((y[2], mean[0], running_mean[0]), (1.0, 3.0, 0.3));
/// # Ok::<(), evenkeel::Error>(())
/// ```
///
/// # References
///
/// S. Ioffe, C. Szegedy, "Batch normalization: accelerating deep network training by reducing
/// internal covariate shift", ICML 2015, algorithm 1. PyTorch's `torch.nn.functional.batch_norm`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchNorm {
    layout: Layout,
    eps: f64,
    momentum: Momentum,
    running_variance: RunningVariance,
    backend: Backend,
}

impl BatchNorm {
    /// Batch normalization of tensors with this layout; eps = 1e-5, momentum 0.1.
    #[must_use]
    pub fn new(layout: Layout) -> Self {
        Self {
            layout,
            eps: 1e-5,
            momentum: Momentum::Exponential(0.1),
            running_variance: RunningVariance::Unbiased,
            backend: Backend::detect(),
        }
    }

    /// Sets what is added to the variance.
    #[must_use]
    pub const fn eps(self, eps: f64) -> Self {
        Self { eps, ..self }
    }

    /// Sets how running statistics are averaged.
    #[must_use]
    pub const fn momentum(self, momentum: Momentum) -> Self {
        Self { momentum, ..self }
    }

    /// Sets which variance goes into the running variance.
    #[must_use]
    pub const fn running_variance(self, running_variance: RunningVariance) -> Self {
        Self { running_variance, ..self }
    }

    /// Chooses the instruction set.
    #[must_use]
    pub const fn backend(self, backend: Backend) -> Self {
        Self { backend, ..self }
    }

    /// Normalizes with the statistics of the batch: training.
    ///
    /// # Errors
    ///
    /// [`Error::Epsilon`]; [`Error::Momentum`] and [`Error::Batches`] where running statistics are
    /// given; [`Error::Length`] for the first slice whose length is not that of "Shapes" above.
    pub fn train(
        &self,
        x: &[f32],
        gamma: Option<&[f32]>,
        beta: Option<&[f32]>,
        running: Option<Running<'_>>,
        saved: Option<Saved<'_>>,
        y: &mut [f32],
    ) -> Result<(), Error> {
        let factor = self.check_training(running.as_ref())?;
        check_len("x", self.layout.len(), x.len())?;
        self.check_affine(gamma, beta)?;
        self.check_statistics(running.as_ref(), saved.as_ref())?;
        check_len("y", self.layout.len(), y.len())?;
        self.run_training(Tensor::Apart(x, y), Affine { gamma, beta }, factor, running, saved);
        Ok(())
    }

    /// [`train`](Self::train) in place. Backward needs the input: keep a copy if you train with it.
    ///
    /// # Errors
    ///
    /// As [`train`](Self::train).
    pub fn train_in_place(
        &self,
        gamma: Option<&[f32]>,
        beta: Option<&[f32]>,
        running: Option<Running<'_>>,
        saved: Option<Saved<'_>>,
        x: &mut [f32],
    ) -> Result<(), Error> {
        let factor = self.check_training(running.as_ref())?;
        self.check_affine(gamma, beta)?;
        self.check_statistics(running.as_ref(), saved.as_ref())?;
        check_len("x", self.layout.len(), x.len())?;
        self.run_training(Tensor::InPlace(x), Affine { gamma, beta }, factor, running, saved);
        Ok(())
    }

    /// Normalizes with given statistics: inference with running mean and variance.
    ///
    /// # Errors
    ///
    /// [`Error::Epsilon`]; [`Error::Length`] for the first slice whose length is wrong.
    pub fn infer(
        &self,
        x: &[f32],
        gamma: Option<&[f32]>,
        beta: Option<&[f32]>,
        mean: &[f32],
        var: &[f32],
        y: &mut [f32],
    ) -> Result<(), Error> {
        check_eps(self.eps)?;
        check_len("x", self.layout.len(), x.len())?;
        self.check_given(gamma, beta, mean, var)?;
        check_len("y", self.layout.len(), y.len())?;
        self.run_inference(Tensor::Apart(x, y), Affine { gamma, beta }, Known::Given { mean, var });
        Ok(())
    }

    /// [`infer`](Self::infer) in place.
    ///
    /// # Errors
    ///
    /// As [`infer`](Self::infer).
    pub fn infer_in_place(
        &self,
        gamma: Option<&[f32]>,
        beta: Option<&[f32]>,
        mean: &[f32],
        var: &[f32],
        x: &mut [f32],
    ) -> Result<(), Error> {
        check_eps(self.eps)?;
        self.check_given(gamma, beta, mean, var)?;
        check_len("x", self.layout.len(), x.len())?;
        self.run_inference(Tensor::InPlace(x), Affine { gamma, beta }, Known::Given { mean, var });
        Ok(())
    }

    /// Adds a batch to the moments of each channel: population statistics.
    ///
    /// Start from [`Moments::new`] and call it for every batch of the training set, of any size,
    /// with the network in the state in which it will be used. What results is exact where a
    /// running average is a guess.
    ///
    /// # Errors
    ///
    /// [`Error::Length`] for `x` or `moments`.
    pub fn collect(&self, x: &[f32], moments: &mut [Moments]) -> Result<(), Error> {
        check_len("x", self.layout.len(), x.len())?;
        check_len("moments", self.layout.channels(), moments.len())?;
        if self.layout.is_empty() {
            return Ok(());
        }
        let record = |channel: usize, batch: Moments| {
            if let Some(moments) = moments.get_mut(channel) {
                moments.merge(&batch);
            }
        };
        let shape = self.layout.per_channel();
        dispatch!(self.backend, simd => per_channel::reduce(simd, shape, x, record));
        Ok(())
    }

    /// Normalizes with moments of a data set: inference with population statistics.
    ///
    /// More accurate than [`infer`](Self::infer) where the mean is large against the deviation,
    /// since the mean is not rounded to f32. Moments without values count as mean 0, variance 0.
    ///
    /// # Errors
    ///
    /// [`Error::Epsilon`]; [`Error::Length`] for the first slice whose length is wrong.
    pub fn infer_population(
        &self,
        x: &[f32],
        gamma: Option<&[f32]>,
        beta: Option<&[f32]>,
        moments: &[Moments],
        y: &mut [f32],
    ) -> Result<(), Error> {
        check_eps(self.eps)?;
        check_len("x", self.layout.len(), x.len())?;
        self.check_affine(gamma, beta)?;
        check_len("moments", self.layout.channels(), moments.len())?;
        check_len("y", self.layout.len(), y.len())?;
        let known = Known::Population(moments);
        self.run_inference(Tensor::Apart(x, y), Affine { gamma, beta }, known);
        Ok(())
    }

    /// [`infer_population`](Self::infer_population) in place.
    ///
    /// # Errors
    ///
    /// As [`infer_population`](Self::infer_population).
    pub fn infer_population_in_place(
        &self,
        gamma: Option<&[f32]>,
        beta: Option<&[f32]>,
        moments: &[Moments],
        x: &mut [f32],
    ) -> Result<(), Error> {
        check_eps(self.eps)?;
        self.check_affine(gamma, beta)?;
        check_len("moments", self.layout.channels(), moments.len())?;
        check_len("x", self.layout.len(), x.len())?;
        let known = Known::Population(moments);
        self.run_inference(Tensor::InPlace(x), Affine { gamma, beta }, known);
        Ok(())
    }

    /// Gradients of [`train`](Self::train).
    ///
    /// ```text
    /// dβ = Σ dy      dγ = Σ dy·x̂      dx = γ·rstd·(dy − dβ/n − x̂·dγ/n)
    /// ```
    ///
    /// `x` is the input of the forward pass, `saved_mean` and `saved_rstd` are what it saved. That
    /// the saved mean was rounded costs no accuracy. Gradients are written, not added.
    ///
    /// # Errors
    ///
    /// [`Error::Length`] for the first slice whose length is wrong.
    pub fn backward(
        &self,
        dy: &[f32],
        x: &[f32],
        gamma: Option<&[f32]>,
        saved_mean: &[f32],
        saved_rstd: &[f32],
        gradients: Gradients<'_>,
    ) -> Result<(), Error> {
        self.check_backward(dy, x, gamma)?;
        check_len("saved_mean", self.layout.channels(), saved_mean.len())?;
        check_len("saved_rstd", self.layout.channels(), saved_rstd.len())?;
        self.check_gradients(&gradients)?;
        let channel = |index| Channel {
            mean: get(saved_mean, index),
            rstd: get(saved_rstd, index),
            gamma: gamma.map_or(1.0, |gamma| get(gamma, index)),
        };
        self.run_backward(Mode::Train, dy, x, channel, gradients);
        Ok(())
    }

    /// Gradients of [`infer`](Self::infer), where mean and variance are constants: for fine-tuning
    /// with frozen statistics.
    ///
    /// ```text
    /// dβ = Σ dy      dγ = Σ dy·x̂      dx = dy·γ·rstd
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Epsilon`]; [`Error::Length`] for the first slice whose length is wrong.
    pub fn backward_inference(
        &self,
        dy: &[f32],
        x: &[f32],
        gamma: Option<&[f32]>,
        mean: &[f32],
        var: &[f32],
        gradients: Gradients<'_>,
    ) -> Result<(), Error> {
        check_eps(self.eps)?;
        self.check_backward(dy, x, gamma)?;
        check_len("mean", self.layout.channels(), mean.len())?;
        check_len("var", self.layout.channels(), var.len())?;
        self.check_gradients(&gradients)?;
        let eps = self.eps;
        let channel = |index| {
            let mean = get(mean, index);
            let rstd = Constants::narrow(mean, 0.0, get(var, index), eps).saved_rstd();
            Channel { mean, rstd, gamma: gamma.map_or(1.0, |gamma| get(gamma, index)) }
        };
        self.run_backward(Mode::Inference, dy, x, channel, gradients);
        Ok(())
    }

    fn run_training(
        &self,
        tensor: Tensor<'_>,
        affine: Affine<'_>,
        factor: f32,
        mut running: Option<Running<'_>>,
        mut saved: Option<Saved<'_>>,
    ) {
        if self.layout.is_empty() {
            return;
        }
        let ddof = u8::from(self.running_variance == RunningVariance::Unbiased);
        // One value has no variance that could be added to a running one.
        let has_variance = self.layout.len() > self.layout.channels();
        let record = |first: usize, summary: Summary<'_>| {
            if let Some(saved) = &mut saved {
                saved.write(first, summary.mean, summary.rstd);
            }
            if let Some(running) = &mut running {
                mix(running.mean, first, summary.mean, factor);
                if has_variance {
                    mix(running.var, first, summary.variance, factor);
                }
            }
        };
        let (shape, eps) = (self.layout.per_channel(), self.eps);
        dispatch!(self.backend, simd => {
            per_channel::train(simd, shape, tensor, affine, eps, ddof, record)
        });
    }

    fn run_inference(&self, tensor: Tensor<'_>, affine: Affine<'_>, known: Known<'_>) {
        if self.layout.is_empty() {
            return;
        }
        let (shape, eps) = (self.layout.per_channel(), self.eps);
        dispatch!(self.backend, simd => {
            per_channel::infer(simd, shape, tensor, affine, known, eps)
        });
    }

    #[inline(always)]
    fn run_backward(
        &self,
        mode: Mode,
        dy: &[f32],
        x: &[f32],
        channel: impl Fn(usize) -> Channel<f32>,
        gradients: Gradients<'_>,
    ) {
        if self.layout.is_empty() {
            return;
        }
        let Gradients { x: dx, mut gamma, mut beta } = gradients;
        let record = |first: usize, dgamma: &[f32], dbeta: &[f32]| {
            if let Some(gamma) = &mut gamma {
                set(gamma, first, dgamma);
            }
            if let Some(beta) = &mut beta {
                set(beta, first, dbeta);
            }
        };
        let shape = self.layout.per_channel();
        let pass = Pass { mode, dy, x, dx };
        dispatch!(self.backend, simd => backward::backward(simd, shape, pass, channel, record));
    }
}

/// Moves the running statistics of neighbouring channels towards those of a batch.
fn mix(running: &mut [f32], first: usize, new: &[f32], factor: f32) {
    for (running, new) in running.iter_mut().skip(first).zip(new) {
        *running = at_most_max((1.0 - factor) * *running + factor * *new);
    }
}

/// An element that the checks have shown to be there.
fn get(values: &[f32], index: usize) -> f32 {
    values.get(index).copied().unwrap_or(0.0)
}

/// Writes neighbouring elements.
fn set(values: &mut [f32], first: usize, new: &[f32]) {
    for (slot, value) in values.iter_mut().skip(first).zip(new) {
        *slot = *value;
    }
}
