//! Batch normalization.

mod fold;

use crate::backend::dispatch;
use crate::element::Element;
use crate::error::{check_eps, check_gradient_inputs, check_len};
use crate::kernel::backward::{self, Known, ParameterGradients, Pass};
use crate::kernel::map::Tensor;
use crate::kernel::normalize::{self, Fixed, Options, Summary};
use crate::layout::PerChannel;
use crate::{
    Affine, Backend, Constant, Error, Given, Gradients, Io, Keep, Layout, Moments, Momentum,
    RunningVariance, Source,
};
use core::marker::PhantomData;

pub use fold::Weight;

/// Batch normalization: every channel to mean 0 and variance 1 over batch and spatial positions.
///
/// ```text
/// y = (x − mean) / sqrt(var + eps) · γ + β
/// ```
///
/// | call | statistics |
/// |---|---|
/// | [`train`](Self::train) | of the batch; they are saved for [`backward`](Self::backward) and update running ones |
/// | [`infer`](Self::infer) | given: running mean and variance, or moments of a whole data set, gathered by [`collect`](Self::collect) |
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
/// of 64 values a channel or more (where γ and β cancel, about one output in five million is above; with
/// fewer values, one in a million, none above 8), within 8 for mean/deviation up to 1e6 and magnitudes
/// from 1e-20 to 1e38. The variance is the biased one; eps stands inside the root. Zero variance with eps = 0 gives β. A channel with a NaN
/// or an infinity becomes NaN; others are not touched by it. One value a channel (n = 1) is
/// allowed: the output is β, the running mean is updated and the running variance stays.
///
/// (x − mean)·γ / deviation is rounded before β is added: beyond the largest f32 it is infinite, and
/// so is the output, even if β would bring the sum back.
///
/// # Complexity
///
/// Training reads x once from memory where a channel fits the cache, otherwise twice, and writes y
/// once. Backward reads x and dy twice and writes dx.
///
/// On a microcontroller training and backward take some 3 KB of stack, inference 1 KB (README has what
/// was measured). With vectors they take up to 200 KB, since up to 256 channels are held at once.
///
/// # Examples
///
/// ```
/// use evenkeel::{Affine, BatchNorm, Keep, Layout, Running, Saved, apart};
/// // Two samples, one channel, two positions.
/// let layout = Layout::channels_first(2, 1, 2)?;
/// let bn = BatchNorm::new(layout).eps(0.0);
/// let x = [1.0, 2.0, 3.0, 6.0]; // mean 3, variance 3.5
/// let (mut running_mean, mut running_var) = ([0.0], [1.0]);
/// let (mut mean, mut rstd, mut y) = ([0.0], [0.0], [0.0; 4]);
/// let keep = Keep {
///     running: Some(Running { mean: &mut running_mean, var: &mut running_var }),
///     saved: Some(Saved { mean: &mut mean, rstd: &mut rstd }),
/// };
/// bn.train(apart(&x, &mut y), Affine::new(&[2.0], &[1.0]), keep)?;
/// assert_eq!((y[2], mean[0], running_mean[0]), (1.0, 3.0, 0.3));
/// # Ok::<(), evenkeel::Error>(())
/// ```
///
/// # References
///
/// S. Ioffe, C. Szegedy, "Batch normalization: accelerating deep network training by reducing
/// internal covariate shift", ICML 2015, algorithm 1. PyTorch's `torch.nn.functional.batch_norm`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchNorm<T = f32> {
    layout: Layout,
    eps: f64,
    momentum: Momentum,
    running_variance: RunningVariance,
    backend: Backend,
    element: PhantomData<T>,
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
            element: PhantomData,
        }
    }
}

impl<T: Element> BatchNorm<T> {
    /// The same for data of another type.
    #[must_use]
    pub const fn of<U: Element>(self) -> BatchNorm<U> {
        let Self { layout, eps, momentum, running_variance, backend, .. } = self;
        BatchNorm { layout, eps, momentum, running_variance, backend, element: PhantomData }
    }

    /// Sets what is added to the variance.
    #[must_use]
    pub const fn eps(self, eps: f64) -> Self {
        Self { eps, ..self }
    }

    /// Sets how much a batch counts in the running statistics.
    #[must_use]
    pub const fn momentum(self, momentum: Momentum) -> Self {
        Self { momentum, ..self }
    }

    /// Chooses which variance goes into the running variance.
    #[must_use]
    pub const fn running_variance(self, running_variance: RunningVariance) -> Self {
        Self { running_variance, ..self }
    }

    /// Chooses the instruction set.
    #[must_use]
    pub const fn backend(self, backend: Backend) -> Self {
        Self { backend, ..self }
    }
}

impl BatchNorm<f32> {
    /// Normalizes with the statistics of the batch: training. In place, backward still needs the
    /// input: keep a copy if you train with it.
    ///
    /// # Errors
    ///
    /// [`Error::Epsilon`]; [`Error::Momentum`] and [`Error::Batches`] where running statistics are
    /// given; [`Error::Length`] for the first slice whose length is not that of "Shapes" above.
    pub fn train(&self, io: Io<'_>, affine: Affine<'_>, mut keep: Keep<'_>) -> Result<(), Error> {
        check_eps(self.eps)?;
        let factor = if keep.running.is_some() { self.momentum.factor()? } else { 0.0 };
        let channels = self.layout.channels();
        io.check(self.layout.len())?;
        affine.check(channels)?;
        keep.check(channels)?;
        // One value has no variance that could be added to a running one.
        let has_variance = self.layout.len() > channels;
        let record = |summary: &Summary| {
            let first = summary.number;
            if let Some(saved) = &mut keep.saved {
                saved.write(first, summary.mean(), summary.rstd());
            }
            if let Some(running) = &mut keep.running {
                let variance = if has_variance { summary.variance() } else { &[] };
                running.follow(first, summary.mean(), variance, factor);
            }
        };
        if !self.layout.is_empty() {
            io.run(self.backend, |tensor| self.run_training(tensor, affine, record));
        }
        Ok(())
    }

    /// Normalizes with given statistics: inference.
    ///
    /// # Errors
    ///
    /// [`Error::Epsilon`]; [`Error::Length`] for the first slice whose length is wrong.
    pub fn infer(&self, io: Io<'_>, affine: Affine<'_>, given: Given<'_>) -> Result<(), Error> {
        self.infer_with(io, affine, given, Constant::Zero)
    }

    /// [`infer`](Self::infer) with a choice for constant channels.
    pub(crate) fn infer_with(
        &self,
        io: Io<'_>,
        affine: Affine<'_>,
        given: Given<'_>,
        constant: Constant,
    ) -> Result<(), Error> {
        check_eps(self.eps)?;
        io.check(self.layout.len())?;
        affine.check(self.layout.channels())?;
        given.check(self.layout.channels())?;
        if !self.layout.is_empty() {
            let options = Options { affine, eps: self.eps, ddof: 0 };
            let given = Fixed { given, constant };
            let shape = self.layout.per_channel();
            io.run(self.backend, |tensor| {
                dispatch!(self.backend, simd => match shape {
                    PerChannel::Rows(rows) => {
                        normalize::given_rows(simd, rows, tensor, options, given)
                    }
                    PerChannel::Columns(matrix) => {
                        normalize::given_columns(simd, matrix, tensor, options, given)
                    }
                });
            });
        }
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
        dispatch!(self.backend, simd => match shape {
            PerChannel::Rows(rows) => normalize::collect_rows(simd, rows, x, record),
            PerChannel::Columns(matrix) => normalize::collect_columns(simd, matrix, x, record),
        });
        Ok(())
    }

    /// Gradients of [`train`](Self::train), from the [`Statistics`](crate::Statistics) that it saved, or
    /// of [`infer`](Self::infer), from the [`Given`] constants (to fine-tune with frozen
    /// statistics).
    ///
    /// ```text
    /// dβ = Σ dy      dγ = Σ dy·x̂
    /// dx = γ·rstd·(dy − dβ/n − x̂·dγ/n)      of train
    /// dx = γ·rstd·dy                        of infer
    /// ```
    ///
    /// `x` is the input of the forward pass. That a saved mean was rounded costs no accuracy; a given
    /// one counts as rounded to f32. Gradients are written, not added; those of an empty tensor are
    /// zero.
    ///
    /// # Errors
    ///
    /// [`Error::Epsilon`]; [`Error::Length`] for the first slice whose length is wrong.
    ///
    /// # Examples
    ///
    /// ```
    /// use evenkeel::{Affine, BatchNorm, Gradients, Keep, Layout, Statistics, apart};
    /// let bn = BatchNorm::new(Layout::dense(4, 1)?);
    /// let (x, dy) = ([1.0, 2.0, 3.0, 4.0], [1.0, 0.0, 0.0, 0.0]);
    /// let (mut y, mut dx, mut mean, mut rstd) = ([0.0; 4], [0.0; 4], [0.0], [0.0]);
    /// bn.train(apart(&x, &mut y), Affine::NONE, Keep::saved(&mut mean, &mut rstd))?;
    /// let statistics = Statistics { mean: &mean, rstd: &rstd };
    /// let gradients = Gradients { x: Some(&mut dx), ..Gradients::default() };
    /// bn.backward(&dy, &x, None, statistics, gradients)?;
    /// assert!(dx.iter().sum::<f32>().abs() < 1e-6); // a constant added to x changes nothing
    /// # Ok::<(), evenkeel::Error>(())
    /// ```
    pub fn backward<'s>(
        &self,
        dy: &[f32],
        x: &[f32],
        gamma: Option<&[f32]>,
        source: impl Into<Source<'s>>,
        gradients: Gradients<'_>,
    ) -> Result<(), Error> {
        self.backward_of(dy, x, gamma, source.into(), gradients)
    }

    /// [`backward`](Self::backward), compiled once for all that converts to a [`Source`].
    fn backward_of(
        &self,
        dy: &[f32],
        x: &[f32],
        gamma: Option<&[f32]>,
        source: Source<'_>,
        gradients: Gradients<'_>,
    ) -> Result<(), Error> {
        let channels = self.layout.channels();
        check_eps(self.eps)?;
        check_gradient_inputs(self.layout.len(), [dy, x], channels, gamma)?;
        source.check(channels)?;
        gradients.check(self.layout.len(), [channels; 2])?;
        let (dx, mut parameters) = gradients.split();
        if self.layout.is_empty() {
            parameters.zero();
            return Ok(());
        }
        let record = |gradients: &ParameterGradients| parameters.write(gradients);
        let (shape, known) = (self.layout.per_channel(), Known { source, gamma, eps: self.eps });
        let pass = Pass { dy, x, dx };
        dispatch!(self.backend, simd => match shape {
            PerChannel::Rows(rows) => backward::rows(simd, rows, pass, known, record),
            PerChannel::Columns(matrix) => backward::columns(simd, matrix, pass, known, record),
        });
        Ok(())
    }

    fn run_training(
        &self,
        mut tensor: Tensor<'_>,
        affine: Affine<'_>,
        mut record: impl FnMut(&Summary),
    ) {
        let ddof = usize::from(self.running_variance == RunningVariance::Unbiased);
        let options = Options { affine, eps: self.eps, ddof };
        let shape = self.layout.per_channel();
        dispatch!(self.backend, simd => match shape {
            PerChannel::Rows(rows) => normalize::rows(simd, rows, tensor, options, record),
            PerChannel::Columns(matrix) => {
                normalize::columns(simd, (0, matrix), &mut tensor, options, &mut record)
            }
        });
    }
}
