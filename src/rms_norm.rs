//! RMS normalization.

use crate::backend::dispatch;
use crate::element::Element;
use crate::error::{check_eps, check_gradient_inputs, check_len, check_optional};
use crate::io::set;
use crate::kernel::normalize::{self, Options};
use crate::kernel::row_backward::{self, KnownRows};
use crate::{Affine, Backend, Error, Gradients, Io, Rows};
use core::marker::PhantomData;

/// RMS normalization: every row to a root mean square of 1. Layer normalization without the mean.
///
/// ```text
/// y = x / sqrt(mean(x²) + eps) · γ
/// ```
///
/// A row's bits depend neither on how many rows share the call nor on where it stands among them.
///
/// # Shapes
///
/// `x`, `y`: the rows. `gamma`: the length of a row, or `None` (1). `rstd`: one value a row.
///
/// # Numerics
///
/// Same bits on every target: docs/NUMERICS.md, section 14. The unit of accuracy is that of layer
/// normalization with mean 0. A row of zeros gives zeros, with eps = 0 too. A row with a NaN or an
/// infinity becomes NaN, or zeros beside an infinity; others are not touched by it.
///
/// # Complexity
///
/// Reads x once from memory where a row fits the cache, otherwise twice, and writes y once.
///
/// # Examples
///
/// ```
/// use evenkeel::{RmsNorm, Rows, in_place};
/// let mut x = [3.0, -4.0];
/// RmsNorm::new(Rows::new(1, 2)?).eps(0.0).forward(in_place(&mut x), Some(&[5.0, 5.0]), None)?;
/// // The mean square is 12.5.
/// assert!((x[0] - 15.0 / 12.5_f32.sqrt()).abs() < 1e-6);
/// # Ok::<(), evenkeel::Error>(())
/// ```
///
/// # References
///
/// B. Zhang, R. Sennrich, "Root mean square layer normalization", NeurIPS 2019, equation 4. PyTorch's
/// `torch.nn.functional.rms_norm`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RmsNorm<T = f32> {
    rows: Rows,
    eps: f64,
    backend: Backend,
    element: PhantomData<T>,
}

impl RmsNorm {
    /// RMS normalization of these rows; eps = 1e-6.
    #[must_use]
    pub fn new(rows: Rows) -> Self {
        Self { rows, eps: 1e-6, backend: Backend::detect(), element: PhantomData }
    }
}

impl<T: Element> RmsNorm<T> {
    /// The same for data of another type.
    #[must_use]
    pub const fn of<U: Element>(self) -> RmsNorm<U> {
        let Self { rows, eps, backend, .. } = self;
        RmsNorm { rows, eps, backend, element: PhantomData }
    }

    /// Sets what is added to the mean square.
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

impl RmsNorm<f32> {
    /// Normalizes. `rstd`, if it is there, is given 1 / sqrt(mean(x²) + eps) of each row.
    ///
    /// # Errors
    ///
    /// [`Error::Epsilon`]; [`Error::Length`] for the first slice whose length is not that of "Shapes"
    /// above; [`Error::Gaps`] for a decoration of rows with gaps.
    pub fn forward(
        &self,
        io: Io<'_>,
        gamma: Option<&[f32]>,
        mut rstd: Option<&mut [f32]>,
    ) -> Result<(), Error> {
        check_eps(self.eps)?;
        io.check(self.rows.elements())?;
        io.check_gaps(self.rows.has_gaps())?;
        check_optional("gamma", self.rows.row_len(), gamma)?;
        check_optional("saved_rstd", self.rows.count(), rstd.as_deref())?;
        if self.rows.is_empty() {
            return Ok(());
        }
        let record = |first: usize, values: &[f32]| {
            if let Some(rstd) = &mut rstd {
                set(rstd, first, values);
            }
        };
        let options = Options { affine: Affine { gamma, beta: None }, eps: self.eps, ddof: 0 };
        let rows = self.rows.reductions();
        io.run(self.backend, |tensor| {
            dispatch!(self.backend, simd => {
                normalize::root_mean_square(simd, rows, tensor, options, record)
            });
        });
        Ok(())
    }

    /// Gradients of [`forward`](Self::forward), from the `rstd` that it gave.
    ///
    /// ```text
    /// dγ = Σ dy·x̂                             over the rows
    /// dx = rstd·(γ·dy − x̂·mean(γ·dy·x̂))       with the mean along a row, x̂ = x·rstd
    /// ```
    ///
    /// `x` is the input of the forward pass. There is no β, so a gradient of β is refused. Gradients
    /// are written, not added; that of γ is zero where there are no rows.
    ///
    /// # Complexity
    ///
    /// Reads dy and x once for dx, and once more for dγ; what is not asked for costs nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Epsilon`]; [`Error::Length`] for the first slice whose length is wrong, that of dβ
    /// being 0.
    ///
    /// # Examples
    ///
    /// ```
    /// use evenkeel::{Gradients, RmsNorm, Rows, apart};
    /// let rms = RmsNorm::new(Rows::new(1, 2)?);
    /// let (x, mut y, mut rstd, mut dx) = ([3.0, -4.0], [0.0; 2], [0.0], [0.0; 2]);
    /// rms.forward(apart(&x, &mut y), None, Some(&mut rstd))?;
    /// let gradients = Gradients { x: Some(&mut dx), ..Gradients::default() };
    /// rms.backward(&x, &x, None, &rstd, gradients)?;
    /// assert!(dx[0].abs() < 1e-6); // a factor on x changes nothing
    /// # Ok::<(), evenkeel::Error>(())
    /// ```
    pub fn backward(
        &self,
        dy: &[f32],
        x: &[f32],
        gamma: Option<&[f32]>,
        rstd: &[f32],
        gradients: Gradients<'_>,
    ) -> Result<(), Error> {
        let Self { rows, .. } = self;
        check_eps(self.eps)?;
        check_gradient_inputs(rows.elements(), [dy, x], rows.row_len(), gamma)?;
        check_len("saved_rstd", rows.count(), rstd.len())?;
        gradients.check(rows.elements(), [rows.row_len(), 0])?;
        let known = KnownRows { mean: None, rstd, gamma };
        row_backward::run(self.backend, *rows, [dy, x], known, gradients);
        Ok(())
    }
}
