//! Group normalization.

use crate::backend::dispatch;
use crate::element::Element;
use crate::error::{check_eps, check_gradient_inputs};
use crate::kernel::backward::{ParameterGradients, Pass};
use crate::kernel::group_backward::{self, KnownGroups};
use crate::kernel::normalize::{Options, Summary};
use crate::kernel::{groups, normalize};
use crate::layout::Grouped;
use crate::{Affine, Backend, Error, Gradients, Io, Layout, Saved, Statistics};
use core::marker::PhantomData;

/// Group normalization: one mean and one deviation for each sample and group of channels.
///
/// ```text
/// y = (x − mean) / sqrt(var + eps) · γ + β
/// ```
///
/// with mean and biased variance over the channels of a group and all spatial positions of one
/// sample, γ and β per channel. It does not depend on the batch, so it suits small batches and
/// needs no running statistics. One group is layer normalization over (C, S) with a γ and β per
/// channel; as many groups as channels is instance normalization.
///
/// # Shapes
///
/// `x`, `y`: the layout. `gamma`, `beta`: C values each, or `None` (1 and 0). Saved mean and rstd:
/// batch × groups values each, the groups of a sample together.
///
/// # Numerics
///
/// Same bits on every target: docs/NUMERICS.md. Within 4 ulp of max(|y|, |γ| + |β|) on ordinary
/// data, as [`BatchNorm`](crate::BatchNorm) is; with spatial = 1, where γ cannot be joined with the
/// deviation, as [`LayerNorm`](crate::LayerNorm) is. Zero variance with eps = 0 gives β. The two
/// memory orders add up in different orders, so their results differ in the last bits. As there, the
/// product to which β is added is infinite beyond the largest f32, and the output with it.
///
/// # Complexity
///
/// A group that fits the cache is read from memory once and written once.
///
/// # Examples
///
/// ```
/// use evenkeel::{Affine, GroupNorm, Layout, in_place};
/// // One sample, four channels of two pixels, two groups.
/// let layout = Layout::channels_first(1, 4, 2)?;
/// let mut x = [1.0, 2.0, 3.0, 4.0, 10.0, 20.0, 30.0, 40.0];
/// GroupNorm::new(layout, 2).eps(0.0).forward(in_place(&mut x), Affine::NONE, None)?;
/// // Both groups hold four evenly spaced values.
/// assert!((x[0] - x[4]).abs() < 1e-6);
/// assert!((x[3] - 1.341_64).abs() < 1e-5);
/// # Ok::<(), evenkeel::Error>(())
/// ```
///
/// # References
///
/// Y. Wu, K. He, "Group normalization", ECCV 2018, equations 1, 2 and 7. PyTorch's
/// `torch.nn.functional.group_norm`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GroupNorm<T = f32> {
    layout: Layout,
    groups: usize,
    eps: f64,
    backend: Backend,
    element: PhantomData<T>,
}

impl GroupNorm {
    /// Group normalization with `groups` groups and eps = 1e-5.
    #[must_use]
    pub fn new(layout: Layout, groups: usize) -> Self {
        Self { layout, groups, eps: 1e-5, backend: Backend::detect(), element: PhantomData }
    }
}

impl<T: Element> GroupNorm<T> {
    /// The same for data of another type.
    #[must_use]
    pub const fn of<U: Element>(self) -> GroupNorm<U> {
        let Self { layout, groups, eps, backend, .. } = self;
        GroupNorm { layout, groups, eps, backend, element: PhantomData }
    }

    /// Sets what is added to the variance.
    #[must_use]
    pub const fn eps(self, eps: f64) -> Self {
        Self { eps, ..self }
    }

    /// Chooses the instruction set.
    #[must_use]
    pub const fn backend(self, backend: Backend) -> Self {
        Self { backend, ..self }
    }
}

impl GroupNorm<f32> {
    /// Normalizes.
    ///
    /// # Errors
    ///
    /// [`Error::Groups`], [`Error::Epsilon`], [`Error::Length`] for the first slice whose length is
    /// not that of "Shapes" above, and [`Error::TooLarge`] if statistics are to be saved and
    /// batch × groups overflows (of an empty tensor).
    pub fn forward(
        &self,
        io: Io<'_>,
        affine: Affine<'_>,
        mut saved: Option<Saved<'_>>,
    ) -> Result<(), Error> {
        let group_channels = self.check_options()?;
        io.check(self.layout.len())?;
        affine.check(self.layout.channels())?;
        if let Some(saved) = &saved {
            saved.check(self.layout.batch().checked_mul(self.groups).ok_or(Error::TooLarge)?)?;
        }
        if self.layout.is_empty() {
            return Ok(());
        }
        let record = |summary: &Summary| {
            if let Some(saved) = &mut saved {
                saved.write(summary.number, summary.mean(), summary.rstd());
            }
        };
        let options = Options { affine, eps: self.eps, ddof: 0 };
        let grouped = self.layout.grouped(self.groups, group_channels);
        io.run(self.backend, |tensor| {
            dispatch!(self.backend, simd => match grouped {
                Grouped::Rows(rows) => normalize::rows(simd, rows, tensor, options, record),
                Grouped::Columns(samples) => {
                    groups::normalize(simd, samples, tensor, options, record)
                }
            });
        });
        Ok(())
    }

    /// Gradients of [`forward`](Self::forward), from the statistics that it saved.
    ///
    /// ```text
    /// dβ = Σ dy      dγ = Σ dy·x̂                               over samples and positions
    /// dx = rstd·(γ·dy − mean(γ·dy) − x̂·mean(γ·dy·x̂))           with means over a group
    /// ```
    ///
    /// `x` is the input of the forward pass. That a saved mean was rounded costs dx no accuracy; dγ is
    /// off by that rounding, in deviations, times dβ. Gradients are written, not added; those of γ and
    /// β are zero if the tensor is empty.
    ///
    /// # Complexity
    ///
    /// Reads dy and x once from memory where a group fits the cache, once more for dγ and dβ if a group
    /// has more than 64 channels.
    ///
    /// # Errors
    ///
    /// [`Error::Groups`], [`Error::Epsilon`], [`Error::Length`] for the first slice whose length is
    /// wrong, and [`Error::TooLarge`] if batch × groups overflows (of an empty tensor).
    ///
    /// # Examples
    ///
    /// ```
    /// use evenkeel::{Affine, Gradients, GroupNorm, Layout, Saved, Statistics, apart};
    /// let norm = GroupNorm::new(Layout::channels_first(1, 2, 2)?, 1);
    /// let (x, dy) = ([1.0, 2.0, 3.0, 4.0], [1.0, 0.0, 0.0, 0.0]);
    /// let (mut y, mut dx, mut mean, mut rstd) = ([0.0; 4], [0.0; 4], [0.0], [0.0]);
    /// let saved = Saved { mean: &mut mean, rstd: &mut rstd };
    /// norm.forward(apart(&x, &mut y), Affine::NONE, Some(saved))?;
    /// let statistics = Statistics { mean: &mean, rstd: &rstd };
    /// let gradients = Gradients { x: Some(&mut dx), ..Gradients::default() };
    /// norm.backward(&dy, &x, None, statistics, gradients)?;
    /// assert!(dx.iter().sum::<f32>().abs() < 1e-6); // a constant added to x changes nothing
    /// # Ok::<(), evenkeel::Error>(())
    /// ```
    pub fn backward(
        &self,
        dy: &[f32],
        x: &[f32],
        gamma: Option<&[f32]>,
        statistics: Statistics<'_>,
        gradients: Gradients<'_>,
    ) -> Result<(), Error> {
        let Self { layout, .. } = self;
        let group_channels = self.check_options()?;
        check_gradient_inputs(layout.len(), [dy, x], layout.channels(), gamma)?;
        statistics.check(layout.batch().checked_mul(self.groups).ok_or(Error::TooLarge)?)?;
        gradients.check(layout.len(), [layout.channels(); 2])?;
        let (dx, mut parameters) = gradients.split();
        if layout.is_empty() {
            parameters.zero();
            return Ok(());
        }
        let wanted = parameters.are_wanted();
        let record = |gradients: &ParameterGradients| parameters.write(gradients);
        let (samples, pass) = (layout.samples(group_channels), Pass { dy, x, dx });
        let known = KnownGroups { statistics, gamma };
        dispatch!(self.backend, simd => {
            group_backward::run(simd, samples, pass, known, (wanted, record))
        });
        Ok(())
    }

    /// Checks the options and gives the number of channels in a group.
    fn check_options(&self) -> Result<usize, Error> {
        let (channels, groups) = (self.layout.channels(), self.groups);
        match (channels.checked_rem(groups), channels.checked_div(groups)) {
            (Some(0), Some(group_channels)) => check_eps(self.eps).map(|()| group_channels),
            _ => Err(Error::Groups { channels, groups }),
        }
    }
}
