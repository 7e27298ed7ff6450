//! Instance normalization.

use crate::backend::dispatch;
use crate::element::Element;
use crate::error::check_eps;
use crate::kernel::normalize::{Options, Summary};
use crate::kernel::{groups, normalize};
use crate::layout::Grouped;
use crate::{
    Affine, Backend, BatchNorm, Error, Given, Gradients, GroupNorm, Io, Keep, Layout, Momentum,
    RunningVariance, Source,
};
use core::marker::PhantomData;

/// Instance normalization: every channel of every sample to mean 0 and variance 1.
///
/// ```text
/// y = (x − mean) / sqrt(var + eps) · γ + β
/// ```
///
/// with mean and biased variance over the spatial positions of one channel and sample, γ and β per
/// channel. It removes the contrast of each image (or the offset and gain of each window of a
/// sensor), so the result does not depend on the batch. It is [`GroupNorm`] with a group a channel, to
/// the bit, and beside that it can keep running statistics as [`BatchNorm`] does.
///
/// # Shapes
///
/// `x`, `y`, `dy`, `dx`: the layout. `gamma`, `beta`, running and given statistics: C values each, or
/// `None`. Saved mean and rstd: batch × C values each, the channels of a sample together.
///
/// # Numerics
///
/// Same bits on every target: docs/NUMERICS.md, sections 10, 16 and 17. Within 4 ulp of
/// max(|y|, |γ| + |β|) on ordinary data. One position (spatial = 1) gives β, and leaves a running
/// variance as it is. Zero variance with eps = 0 gives β.
///
/// # Complexity
///
/// A channel of a sample that fits the cache is read from memory once and written once.
///
/// # Examples
///
/// ```
/// use evenkeel::{Affine, InstanceNorm, Keep, Layout, in_place};
/// // One window of two sensors, the second with ten times the gain.
/// let layout = Layout::channels_first(1, 2, 4)?;
/// let mut x = [1.0, 2.0, 3.0, 4.0, 10.0, 20.0, 30.0, 40.0];
/// InstanceNorm::new(layout).eps(0.0).forward(in_place(&mut x), Affine::NONE, Keep::NOTHING)?;
/// assert!(x[..4].iter().zip(&x[4..]).all(|(a, b)| (a - b).abs() < 1e-6));
/// # Ok::<(), evenkeel::Error>(())
/// ```
///
/// # References
///
/// D. Ulyanov, A. Vedaldi, V. Lempitsky, "Instance normalization: the missing ingredient for fast
/// stylization", 2016, equation 3. PyTorch's `torch.nn.functional.instance_norm`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InstanceNorm<T = f32> {
    layout: Layout,
    eps: f64,
    momentum: Momentum,
    running_variance: RunningVariance,
    backend: Backend,
    element: PhantomData<T>,
}

impl InstanceNorm {
    /// Instance normalization of tensors with this layout; eps = 1e-5, momentum 0.1.
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

impl<T: Element> InstanceNorm<T> {
    /// The same for data of another type.
    #[must_use]
    pub const fn of<U: Element>(self) -> InstanceNorm<U> {
        let Self { layout, eps, momentum, running_variance, backend, .. } = self;
        InstanceNorm { layout, eps, momentum, running_variance, backend, element: PhantomData }
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

impl InstanceNorm<f32> {
    /// Normalizes with each channel's own statistics. Running statistics, if they are given, move
    /// towards the mean of those over the samples: the mean of the means, and of the variances.
    ///
    /// # Errors
    ///
    /// [`Error::Epsilon`]; [`Error::Momentum`] and [`Error::Batches`] where running statistics are
    /// given; [`Error::Length`] for the first slice whose length is not that of "Shapes" above.
    pub fn forward(&self, io: Io<'_>, affine: Affine<'_>, keep: Keep<'_>) -> Result<(), Error> {
        let Self { layout, eps, momentum, .. } = *self;
        check_eps(eps)?;
        let factor = if keep.running.is_some() { momentum.factor()? } else { 0.0 };
        io.check(layout.len())?;
        affine.check(layout.channels())?;
        let Keep { mut running, mut saved } = keep;
        if let Some(running) = &running {
            running.check(layout.channels())?;
        }
        if let Some(saved) = &saved {
            saved.check(layout.instances())?;
        }
        if layout.is_empty() {
            return Ok(());
        }
        let ddof = usize::from(self.running_variance == RunningVariance::Unbiased);
        let options = Options { affine, eps, ddof };
        let record = |summary: &Summary| {
            if let Some(saved) = &mut saved {
                saved.write(summary.number, summary.mean(), summary.rstd());
            }
        };
        let backend = self.backend;
        let Some(running) = &mut running else {
            io.run(backend, |tensor| {
                dispatch!(backend, simd => match layout.grouped(layout.channels(), 1) {
                    Grouped::Rows(rows) => normalize::rows(simd, rows, tensor, options, record),
                    Grouped::Columns(samples) => {
                        groups::normalize(simd, samples, tensor, options, record)
                    }
                });
            });
            return Ok(());
        };
        // One value has no variance that could be added to a running one.
        let has_variance = layout.spatial() > 1;
        let average = |channel: usize, mean: &[f32], var: &[f32]| {
            running.follow(channel, mean, if has_variance { var } else { &[] }, factor);
        };
        let samples = layout.samples(1);
        io.run(backend, |tensor| {
            dispatch!(backend, simd => {
                groups::by_channel(simd, samples, tensor, options, (record, average))
            });
        });
        Ok(())
    }

    /// Normalizes with given statistics, as [`BatchNorm::infer`] does: inference with running
    /// statistics.
    ///
    /// # Errors
    ///
    /// [`Error::Epsilon`]; [`Error::Length`] for the first slice whose length is wrong.
    pub fn infer(&self, io: Io<'_>, affine: Affine<'_>, given: Given<'_>) -> Result<(), Error> {
        self.batch_norm().infer(io, affine, given)
    }

    /// Gradients of [`forward`](Self::forward), from the [`Statistics`](crate::Statistics) that it
    /// saved, or of [`infer`](Self::infer), from the [`Given`] constants. They are those of
    /// [`GroupNorm::backward`] with a group a channel, and of [`BatchNorm::backward`].
    ///
    /// # Errors
    ///
    /// [`Error::Epsilon`]; [`Error::Length`] for the first slice whose length is wrong.
    ///
    /// # Examples
    ///
    /// ```
    /// use evenkeel::{Affine, Gradients, InstanceNorm, Keep, Layout, Statistics, apart};
    /// let norm = InstanceNorm::new(Layout::channels_first(1, 1, 4)?);
    /// let (x, dy) = ([1.0, 2.0, 3.0, 4.0], [1.0, 0.0, 0.0, 0.0]);
    /// let (mut y, mut dx, mut mean, mut rstd) = ([0.0; 4], [0.0; 4], [0.0], [0.0]);
    /// norm.forward(apart(&x, &mut y), Affine::NONE, Keep::saved(&mut mean, &mut rstd))?;
    /// let statistics = Statistics { mean: &mean, rstd: &rstd };
    /// let gradients = Gradients { x: Some(&mut dx), ..Gradients::default() };
    /// norm.backward(&dy, &x, None, statistics, gradients)?;
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
        match source.into() {
            Source::Given(given) => self.batch_norm().backward(dy, x, gamma, given, gradients),
            Source::Saved(statistics) if self.layout.channels() == 0 => {
                // No group either: nothing to do, but to be checked.
                self.batch_norm().backward(dy, x, gamma, statistics, gradients)
            }
            Source::Saved(statistics) => {
                let groups = GroupNorm::new(self.layout, self.layout.channels());
                let groups = groups.eps(self.eps).backend(self.backend);
                groups.backward(dy, x, gamma, statistics, gradients)
            }
        }
    }

    /// What normalizes by given statistics.
    fn batch_norm(&self) -> BatchNorm {
        BatchNorm::new(self.layout).eps(self.eps).backend(self.backend)
    }
}
