//! Gaussian dropout: multiplication by random numbers around one.

use crate::backend::dispatch;
use crate::drops::{check_numbers, check_probability};
use crate::kernel::lanes::{Value as _, narrow};
use crate::kernel::numbers::{self, Normal, Source, Times};
use crate::{Backend, Error, Io, Key};

/// Gaussian dropout: every element is multiplied by a normal number with mean 1 and the variance that
/// dropout's factors have.
///
/// In training
///
/// ```text
/// y[i] = x[i]·(1 + σ·z[i]),   σ = sqrt(p / (1 − p))
/// ```
///
/// with `z[i]` standard normal, and at inference y = x: nothing is to be called. p is the probability with
/// which [`Dropout`](crate::Dropout) would drop.
///
/// No factor is stored: [`backward`](Self::backward) computes it again from the same key.
///
/// # Shapes
///
/// Any; input and output have the same length.
///
/// # Numerics
///
/// `z[i]` is number `offset` + i of [`Fill::normal`](crate::Fill::normal); 1 + σ·z is rounded twice, the
/// product once. p = 0 is the identity. A NaN stays. docs/NUMERICS.md, section 20.
///
/// # Complexity
///
/// One pass; 32 random bits an element.
///
/// # Examples
///
/// ```
/// use evenkeel::{Fill, GaussianDropout, Key, apart};
/// let key = Key::new(42).fold_in(0);
/// let mut y = [0.0; 4];
/// GaussianDropout::new(0.2)?.forward(apart(&[3.0; 4], &mut y), key)?;
///
/// let mut factors = [0.0; 4];
/// Fill::new(key).normal(&mut factors, 1.0, 0.5)?;
/// assert_eq!(y, factors.map(|factor| 3.0 * factor));
/// # Ok::<(), evenkeel::Error>(())
/// ```
///
/// # References
///
/// N. Srivastava et al., "Dropout", JMLR 15, 2014, section 10; D. Kingma, T. Salimans, M. Welling,
/// "Variational dropout and the local reparameterization trick", NeurIPS 2015, section 3. Keras'
/// `GaussianDropout`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GaussianDropout {
    p: f64,
    offset: u64,
    backend: Backend,
}

impl GaussianDropout {
    /// Gaussian dropout whose factors have variance p / (1 − p).
    ///
    /// # Errors
    ///
    /// [`Error::Probability`] if `p` is not from 0 to 1, or is 1.
    pub fn new(p: f64) -> Result<Self, Error> {
        check_probability(p)?;
        if p == 1.0 {
            return Err(Error::Probability { found: p });
        }
        Ok(Self { p, offset: 0, backend: Backend::detect() })
    }

    /// Says which element of the tensor a call's first element is.
    #[must_use]
    pub const fn offset(self, offset: u64) -> Self {
        Self { offset, ..self }
    }

    /// Chooses the instruction set.
    #[must_use]
    pub const fn backend(self, backend: Backend) -> Self {
        Self { backend, ..self }
    }

    /// The probability that the variance is made from.
    #[must_use]
    pub const fn p(&self) -> f64 {
        self.p
    }

    /// σ: the standard deviation of the factors.
    #[must_use]
    pub fn deviation(&self) -> f32 {
        narrow((self.p / (1.0 - self.p)).root())
    }

    /// Multiplies by the factors: training.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] if the last element's number does not fit 64 bits; [`Error::Length`] for `y`
    /// if the lengths differ.
    pub fn forward(&self, io: Io<'_>, key: Key) -> Result<(), Error> {
        self.multiply(["x", "y"], io, key)
    }

    /// Gradient of [`forward`](Self::forward): the same factors, from dy to dx.
    ///
    /// # Errors
    ///
    /// As [`forward`](Self::forward); the output's name is `dx`.
    pub fn backward(&self, io: Io<'_>, key: Key) -> Result<(), Error> {
        self.multiply(["dy", "dx"], io, key)
    }

    fn multiply(&self, names: [&'static str; 2], io: Io<'_>, key: Key) -> Result<(), Error> {
        let len = io.input_len();
        check_numbers(self.offset, len)?;
        io.check_as(names, len)?;
        let source = Source::new(key, self.offset);
        let factors = Normal { mean: 1.0, deviation: self.deviation() };
        io.run(self.backend, |tensor| {
            dispatch!(self.backend, simd => numbers::combine(simd, source, factors, Times, tensor));
        });
        Ok(())
    }
}
