//! Standardization of inputs: fit on training data, apply to any.

use crate::element::Element;
use crate::{Affine, Backend, BatchNorm, Error, Given, Io, Layout, Moments};

/// Standardization: every feature to mean 0 and variance 1, with statistics of the training data.
///
/// ```text
/// y = (x − mean) / sqrt(var + eps)
/// ```
///
/// with mean and biased variance of all training values of a feature, and eps = 0 unless set. Fit
/// on the training part only, in as many calls as you like, and apply to training and test data
/// alike.
///
/// # Shapes
///
/// `x`, `y`: the layout; each channel is a feature. `moments`: one a channel.
///
/// # Numerics
///
/// The statistics are binary64 and the apply subtracts the mean in two parts, so a feature of mean
/// 1e6 and deviation 1 keeps its last bits. A feature that was constant becomes 0. Same bits on every
/// target: docs/NUMERICS.md, sections 6 and 7.
///
/// # Complexity
///
/// One pass to fit, one pass to apply.
///
/// # Examples
///
/// ```
/// use evenkeel::{Layout, Moments, Standardize, in_place};
/// let train = [1.0, 10.0, 2.0, 20.0, 3.0, 30.0]; // three samples of two features
/// let mut moments = [Moments::new(); 2];
/// Standardize::new(Layout::dense(3, 2)?).fit(&train, &mut moments)?;
///
/// let mut test = [2.0, 40.0];
/// Standardize::new(Layout::dense(1, 2)?).apply(in_place(&mut test), &moments)?;
/// assert_eq!(test[0], 0.0);
/// assert!((test[1] - 2.449_489_7).abs() < 1e-6);
/// # Ok::<(), evenkeel::Error>(())
/// ```
///
/// # References
///
/// Y. LeCun, L. Bottou, G. Orr, K.-R. Müller, "Efficient backprop", 1998, section 4.3. scikit-learn's
/// `StandardScaler`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Standardize<T = f32>(BatchNorm<T>);

impl Standardize {
    /// Standardization with eps = 0.
    #[must_use]
    pub fn new(layout: Layout) -> Self {
        Self(BatchNorm::new(layout).eps(0.0))
    }
}

impl<T: Element> Standardize<T> {
    /// The same for data of another type.
    #[must_use]
    pub const fn of<U: Element>(self) -> Standardize<U> {
        Standardize(self.0.of())
    }

    /// Sets what is added to the variance.
    #[must_use]
    pub const fn eps(self, eps: f64) -> Self {
        Self(self.0.eps(eps))
    }

    /// Chooses the instruction set.
    #[must_use]
    pub const fn backend(self, backend: Backend) -> Self {
        Self(self.0.backend(backend))
    }
}

impl Standardize<f32> {
    /// Adds a batch of training data to the moments of each feature. Start from [`Moments::new`].
    ///
    /// # Errors
    ///
    /// [`Error::Length`] for `x` or `moments`.
    pub fn fit(&self, x: &[f32], moments: &mut [Moments]) -> Result<(), Error> {
        self.0.collect(x, moments)
    }

    /// Standardizes.
    ///
    /// # Errors
    ///
    /// [`Error::Epsilon`]; [`Error::Length`] for a slice of `io` or `moments`.
    pub fn apply(&self, io: Io<'_>, moments: &[Moments]) -> Result<(), Error> {
        self.0.infer(io, Affine::NONE, Given::Population(moments))
    }
}
