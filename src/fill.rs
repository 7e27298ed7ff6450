//! Random numbers at an index: words, uniform and normal.

use crate::backend::dispatch;
use crate::drops::check_numbers;
use crate::kernel::map::Tensor;
use crate::kernel::numbers::{self, Instead, Normal, Source, Uniform};
use crate::{Backend, Error, Key};

/// Fills slices with random numbers, of which each is a function of a key and its index.
///
/// ```text
/// word i      word i mod 4 of block i / 4 of the key
/// uniform i   low + (high − low)·u,     u = (word i >> 8)·2^-24
/// normal i    mean + deviation·z,       z = Φ⁻¹((word i + 1/2)·2^-32)
/// ```
///
/// Element i of a call is number `offset` + i, so that a call may do any part of a tensor. Words, uniform
/// and normal numbers of one key come from the same blocks, as do its dropout masks: fold a number into
/// the key for every use.
///
/// # Shapes
///
/// Any slice.
///
/// # Numerics
///
/// The same bits on every target: docs/NUMERICS.md, section 20. u is a multiple of 2^-24 from 0 to
/// 1 − 2^-24; the uniform number is rounded twice, and by that may reach `high`. z is computed in f32 and at
/// most 6 ulp off; it takes values from −6.34 to 6.34, 2^32 of them.
///
/// # Complexity
///
/// One pass; 32 random bits a number.
///
/// # Examples
///
/// ```
/// use evenkeel::{Fill, Key};
/// let fill = Fill::new(Key::new(7).fold_in(0));
/// let mut weights = [0.0; 1000];
/// fill.normal(&mut weights, 0.0, 0.02)?;
///
/// // The second half alone.
/// let mut half = [0.0; 500];
/// fill.offset(500).normal(&mut half, 0.0, 0.02)?;
/// assert_eq!(half, weights[500..]);
/// # Ok::<(), evenkeel::Error>(())
/// ```
///
/// # References
///
/// M. J. Wichura, "Algorithm AS 241: the percentage points of the normal distribution", Applied
/// Statistics 37, 1988 (PPND7). PyTorch's `Tensor.uniform_` and `Tensor.normal_`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fill {
    key: Key,
    offset: u64,
    backend: Backend,
}

impl Fill {
    /// The numbers of a key.
    #[must_use]
    pub fn new(key: Key) -> Self {
        Self { key, offset: 0, backend: Backend::detect() }
    }

    /// Says which number a call's first element is.
    #[must_use]
    pub const fn offset(self, offset: u64) -> Self {
        Self { offset, ..self }
    }

    /// Chooses the instruction set.
    #[must_use]
    pub const fn backend(self, backend: Backend) -> Self {
        Self { backend, ..self }
    }

    /// Writes words of 32 random bits: those of [`Philox`](crate::Philox) from word `offset` on.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] if the last word's number does not fit 64 bits.
    pub fn words(&self, out: &mut [u32]) -> Result<(), Error> {
        let source = self.source(out.len())?;
        dispatch!(self.backend, simd => numbers::words(simd, source, out));
        Ok(())
    }

    /// Writes numbers that are equally likely everywhere from `low` to `high`.
    ///
    /// # Errors
    ///
    /// [`Error::Range`] unless `low` ≤ `high` and high − low is finite; [`Error::TooLarge`] if the last
    /// number's number does not fit 64 bits.
    pub fn uniform(&self, out: &mut [f32], low: f32, high: f32) -> Result<(), Error> {
        let span = high - low;
        if !(span >= 0.0 && span.is_finite()) {
            return Err(Error::Range { low, high });
        }
        let source = self.source(out.len())?;
        let uniform = Uniform { low, span };
        let tensor = Tensor::InPlace(out);
        dispatch!(self.backend, simd => numbers::combine(simd, source, uniform, Instead, tensor));
        Ok(())
    }

    /// Writes normally distributed numbers.
    ///
    /// # Errors
    ///
    /// [`Error::Normal`] unless `mean` is finite and `deviation` finite and not negative;
    /// [`Error::TooLarge`] if the last number's number does not fit 64 bits.
    pub fn normal(&self, out: &mut [f32], mean: f32, deviation: f32) -> Result<(), Error> {
        if !(mean.is_finite() && deviation.is_finite() && deviation >= 0.0) {
            return Err(Error::Normal { mean, deviation });
        }
        let source = self.source(out.len())?;
        let normal = Normal { mean, deviation };
        let tensor = Tensor::InPlace(out);
        dispatch!(self.backend, simd => numbers::combine(simd, source, normal, Instead, tensor));
        Ok(())
    }

    fn source(&self, len: usize) -> Result<Source, Error> {
        check_numbers(self.offset, len)?;
        Ok(Source::new(self.key, self.offset))
    }
}
