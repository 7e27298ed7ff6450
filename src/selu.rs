//! SELU: the activation of self-normalizing networks.

use crate::backend::dispatch;
use crate::error::check_len;
use crate::kernel::pointwise::{self, SeluGradient};
use crate::{Backend, Error, Io};

/// The scaled exponential linear unit.
///
/// ```text
/// y  = λ·x               where x > 0
/// y  = λ·α·(e^x − 1)     elsewhere
/// dx = dy·λ              where x > 0
/// dx = dy·λ·α·e^x        elsewhere, also at x = 0
/// ```
///
/// with λ = 1.0507009873554804934193349852946 and α = 1.6732632423543772848170429916717.
///
/// With these constants, mean 0 and variance 1 are a stable fixed point of what the layers of a
/// network do to them, so that deep networks of dense layers learn without normalization. That
/// holds for weights of mean 0 and variance 1 / fan-in (LeCun normal) and inputs that were
/// [standardized](crate::Standardize); [`Dropout`](crate::Dropout) does not keep the fixed point.
///
/// In the same call as another operation it is
/// [`.then(Activation::Selu)`](crate::Activation::Selu), with the same bits.
///
/// # Shapes
///
/// Any; input and output have the same length.
///
/// # Numerics
///
/// y is within 2 ulp and the derivative within 1.5 ulp, for every x that there is; dx is dy times the
/// derivative, rounded once more (a subnormal derivative, of x below −87.9, is rounded to such a number
/// first). −λ·α is the limit at −∞, to the last bit. Zeros keep their sign, NaN stays NaN, and results that are subnormal are not flushed. The
/// exponential is computed in f32 by additions and multiplications alone, the same on every target:
/// docs/NUMERICS.md, section 19.
///
/// # Complexity
///
/// One pass.
///
/// # Examples
///
/// ```
/// use evenkeel::{Selu, apart};
/// let selu = Selu::new();
/// let x = [1.0, 0.0, -1.0, f32::NEG_INFINITY];
/// let mut y = [0.0; 4];
/// selu.forward(apart(&x, &mut y))?;
/// assert_eq!(y, [1.050701, 0.0, -1.1113307, -1.7580993]);
///
/// let (dy, mut dx) = ([1.0; 4], [0.0; 4]);
/// selu.backward(apart(&dy, &mut dx), &x)?;
/// assert_eq!(dx, [1.050701, 1.7580993, 0.64676857, 0.0]);
/// # Ok::<(), evenkeel::Error>(())
/// ```
///
/// # References
///
/// G. Klambauer, T. Unterthiner, A. Mayr, S. Hochreiter, "Self-normalizing neural networks", NIPS 2017,
/// equation 2; the constants solve its equations 4 and 5 for the fixed point (0, 1). PyTorch's
/// `torch.nn.functional.selu`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Selu {
    backend: Backend,
}

impl Selu {
    /// SELU with the constants of the paper.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Chooses the instruction set.
    #[must_use]
    pub const fn backend(self, backend: Backend) -> Self {
        Self { backend }
    }

    /// Applies SELU, from x to y.
    ///
    /// # Errors
    ///
    /// [`Error::Length`] for `y` or the residual if the lengths differ.
    pub fn forward(&self, io: Io<'_>) -> Result<(), Error> {
        io.check(io.input_len())?;
        io.run(self.backend, |tensor| {
            dispatch!(self.backend, simd => pointwise::apply(simd, tensor, [], pointwise::Selu));
        });
        Ok(())
    }

    /// Gradient of [`forward`](Self::forward), from dy to dx, where `x` is what that read.
    ///
    /// # Errors
    ///
    /// [`Error::Length`] for `dx`, the residual or `x` if the lengths differ.
    pub fn backward(&self, io: Io<'_>, x: &[f32]) -> Result<(), Error> {
        let len = io.input_len();
        io.check_as(["dy", "dx"], len)?;
        check_len("x", len, x.len())?;
        io.run(self.backend, |tensor| {
            dispatch!(self.backend, simd => pointwise::apply(simd, tensor, [x], SeluGradient));
        });
        Ok(())
    }
}
