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
/// 1e6 and deviation 1 keeps its last bits. A feature that was constant becomes 0, or x − mean if
/// [`constant`](Self::constant) says so. Same bits on every target: docs/NUMERICS.md, sections 6, 7
/// and 11.
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
pub struct Standardize<T = f32> {
    norm: BatchNorm<T>,
    constant: Constant,
}

/// What [`Standardize`] makes of a feature that was constant in the training data.
///
/// A feature counts as constant if its deviation is exactly zero: its variance is, and eps is. With an
/// eps there is no such feature, and x − mean is divided by sqrt(eps). A feature that hardly varies is
/// not constant. One without values has mean 0 and variance 0.
///
/// # Examples
///
/// ```
/// use evenkeel::{Constant, Layout, Moments, Standardize, in_place};
/// let layout = Layout::dense(2, 1)?;
/// let mut moments = [Moments::new()];
/// Standardize::new(layout).fit(&[3.0, 3.0], &mut moments)?;
///
/// let mut x = [3.0, 5.0];
/// Standardize::new(layout).apply(in_place(&mut x), &moments)?;
/// assert_eq!(x, [0.0, 0.0]);
///
/// let mut x = [3.0, 5.0];
/// let op = Standardize::new(layout).constant(Constant::Center);
/// op.apply(in_place(&mut x), &moments)?;
/// assert_eq!(x, [0.0, 2.0]);
/// # Ok::<(), evenkeel::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Constant {
    /// 0, whatever is standardized later: a value that was never seen in training stays without
    /// effect.
    #[default]
    Zero,
    /// x − mean, as scikit-learn's `StandardScaler` does: the deviation counts as 1.
    Center,
}

impl Constant {
    /// The moments with which a feature is standardized.
    #[inline(always)]
    pub(crate) fn replace(self, moments: Moments, eps: f64) -> Moments {
        if self == Self::Center && moments.variance() == 0.0 && eps == 0.0 {
            // A variance of 1, and with it a factor of exactly 1.
            Moments::from_parts(1, moments.mean(), 1.0)
        } else {
            moments
        }
    }
}

impl Standardize {
    /// Standardization with eps = 0.
    #[must_use]
    pub fn new(layout: Layout) -> Self {
        Self { norm: BatchNorm::new(layout).eps(0.0), constant: Constant::Zero }
    }
}

impl<T: Element> Standardize<T> {
    /// The same for data of another type.
    #[must_use]
    pub const fn of<U: Element>(self) -> Standardize<U> {
        Standardize { norm: self.norm.of(), constant: self.constant }
    }

    /// Sets what is added to the variance.
    #[must_use]
    pub const fn eps(self, eps: f64) -> Self {
        Self { norm: self.norm.eps(eps), ..self }
    }

    /// Chooses what a constant feature becomes.
    #[must_use]
    pub const fn constant(self, constant: Constant) -> Self {
        Self { constant, ..self }
    }

    /// Chooses the instruction set.
    #[must_use]
    pub const fn backend(self, backend: Backend) -> Self {
        Self { norm: self.norm.backend(backend), ..self }
    }
}

impl Standardize<f32> {
    /// Adds a batch of training data to the moments of each feature. Start from [`Moments::new`].
    ///
    /// # Errors
    ///
    /// [`Error::Length`] for `x` or `moments`.
    pub fn fit(&self, x: &[f32], moments: &mut [Moments]) -> Result<(), Error> {
        self.norm.collect(x, moments)
    }

    /// Standardizes.
    ///
    /// # Errors
    ///
    /// [`Error::Epsilon`]; [`Error::Length`] for a slice of `io` or `moments`.
    pub fn apply(&self, io: Io<'_>, moments: &[Moments]) -> Result<(), Error> {
        let given = Given::Population(moments);
        self.norm.infer_with(io, Affine::NONE, given, self.constant)
    }
}
