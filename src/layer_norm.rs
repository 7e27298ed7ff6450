//! Layer normalization.

use crate::backend::dispatch;
use crate::element::Element;
use crate::error::{check_eps, check_gradient_inputs};
use crate::kernel::normalize::{self, Options, Summary};
use crate::kernel::row_backward::{self, KnownRows};
use crate::{Affine, Backend, Error, Gradients, Io, Rows, Saved, Statistics};
use core::marker::PhantomData;

/// Layer normalization: every row to mean 0 and variance 1.
///
/// ```text
/// y = (x − mean) / sqrt(var + eps) · γ + β
/// ```
///
/// with mean and biased variance of each row, γ and β per element of a row. A row's bits depend
/// neither on how many rows share the call nor on where it stands among them, so a request gets the
/// same answer in every batch.
///
/// # Shapes
///
/// `x`, `y`: the rows. `gamma`, `beta`: the length of a row, or `None` (1 and 0). Saved mean and rstd:
/// one value a row. For PyTorch's `normalized_shape` of several axes, a row is their product.
///
/// # Numerics
///
/// Same bits on every target: docs/NUMERICS.md, sections 3 to 7. γ cannot be joined with the deviation
/// here, so two outputs in a million are off by more than 4 ulp of max(|y|, |γ| + |β|) where γ and β cancel
/// (of 8·10^8 for rows of 64 values or more none by more than 5.7). Zero variance with eps = 0 gives β. A row with a NaN or an infinity becomes NaN; others are not touched by it.
///
/// # Complexity
///
/// Reads x once from memory where a row fits the cache, otherwise twice, and writes y once.
///
/// # Examples
///
/// ```
/// use evenkeel::{Affine, LayerNorm, Rows, apart};
/// let x = [1.0, 2.0, 3.0, 5.0, 6.0, 7.0];
/// let mut y = [0.0; 6];
/// LayerNorm::new(Rows::new(2, 3)?).eps(0.0).forward(apart(&x, &mut y), Affine::NONE, None)?;
/// assert_eq!(y[..3], y[3..]); // what is added to all of a row changes nothing
/// # Ok::<(), evenkeel::Error>(())
/// ```
///
/// # References
///
/// J. L. Ba, J. R. Kiros, G. E. Hinton, "Layer normalization", 2016, equation 4. PyTorch's
/// `torch.nn.functional.layer_norm`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LayerNorm<T = f32> {
    rows: Rows,
    eps: f64,
    backend: Backend,
    element: PhantomData<T>,
}

impl LayerNorm {
    /// Layer normalization of these rows; eps = 1e-5.
    #[must_use]
    pub fn new(rows: Rows) -> Self {
        Self { rows, eps: 1e-5, backend: Backend::detect(), element: PhantomData }
    }
}

impl<T: Element> LayerNorm<T> {
    /// The same for data of another type.
    #[must_use]
    pub const fn of<U: Element>(self) -> LayerNorm<U> {
        let Self { rows, eps, backend, .. } = self;
        LayerNorm { rows, eps, backend, element: PhantomData }
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

impl LayerNorm<f32> {
    /// Normalizes.
    ///
    /// # Errors
    ///
    /// [`Error::Epsilon`]; [`Error::Length`] for the first slice whose length is not that of "Shapes"
    /// above; [`Error::Gaps`] for a decoration of rows with gaps.
    pub fn forward(
        &self,
        io: Io<'_>,
        affine: Affine<'_>,
        mut saved: Option<Saved<'_>>,
    ) -> Result<(), Error> {
        check_eps(self.eps)?;
        io.check(self.rows.elements())?;
        io.check_gaps(self.rows.has_gaps())?;
        affine.check(self.rows.row_len())?;
        if let Some(saved) = &saved {
            saved.check(self.rows.count())?;
        }
        if self.rows.is_empty() {
            return Ok(());
        }
        let record = |summary: &Summary| {
            if let Some(saved) = &mut saved {
                saved.write(summary.number, summary.mean(), summary.rstd());
            }
        };
        let options = Options { affine, eps: self.eps, ddof: 0 };
        let rows = self.rows.reductions();
        io.run(self.backend, |tensor| {
            dispatch!(self.backend, simd => normalize::rows(simd, rows, tensor, options, record));
        });
        Ok(())
    }

    /// Gradients of [`forward`](Self::forward), from the statistics that it saved.
    ///
    /// ```text
    /// dβ = Σ dy      dγ = Σ dy·x̂                                over the rows
    /// dx = rstd·(γ·dy − mean(γ·dy) − x̂·mean(γ·dy·x̂))            with means along a row
    /// ```
    ///
    /// `x` is the input of the forward pass. That a saved mean was rounded costs dx no accuracy; dγ
    /// `x` is the input of the forward pass. That a saved mean was rounded costs dx no accuracy; dγ is
    /// off by that rounding, in deviations, times dβ. Gradients are written, not added; those of γ and
    /// β are zero where there are no rows.
    ///
    /// # Complexity
    ///
    /// Reads dy and x once for dx, and once more for dγ and dβ; what is not asked for costs nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Epsilon`]; [`Error::Length`] for the first slice whose length is wrong.
    ///
    /// # Examples
    ///
    /// ```
    /// use evenkeel::{Affine, Gradients, LayerNorm, Rows, Saved, Statistics, apart};
    /// let ln = LayerNorm::new(Rows::new(1, 4)?);
    /// let (x, dy) = ([1.0, 2.0, 3.0, 4.0], [1.0, 0.0, 0.0, 0.0]);
    /// let (mut y, mut dx, mut mean, mut rstd) = ([0.0; 4], [0.0; 4], [0.0], [0.0]);
    /// let saved = Saved { mean: &mut mean, rstd: &mut rstd };
    /// ln.forward(apart(&x, &mut y), Affine::NONE, Some(saved))?;
    /// let statistics = Statistics { mean: &mean, rstd: &rstd };
    /// let gradients = Gradients { x: Some(&mut dx), ..Gradients::default() };
    /// ln.backward(&dy, &x, None, statistics, gradients)?;
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
        let Self { rows, .. } = self;
        check_eps(self.eps)?;
        check_gradient_inputs(rows.elements(), [dy, x], rows.row_len(), gamma)?;
        statistics.check(rows.count())?;
        gradients.check(rows.elements(), [rows.row_len(); 2])?;
        let Statistics { mean, rstd } = statistics;
        let known = KnownRows { mean: Some(mean), rstd, gamma };
        row_backward::run(self.backend, *rows, [dy, x], known, gradients);
        Ok(())
    }
}
