//! Dropout: set random elements to zero.

use crate::backend::dispatch;
use crate::drops::{Drops, common_options};
use crate::error::check_len;
use crate::kernel::lanes::narrow;
use crate::kernel::map::Tensor;
use crate::kernel::mask::{self, Scaled};
use crate::stream::{Stream, StreamDropout};
use crate::{Backend, Error, Io, Key};

/// When the surviving elements are scaled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Scaling {
    /// Kept elements are divided by 1 − p in training; inference is the identity. What frameworks
    /// do.
    #[default]
    Inverted,
    /// Kept elements stay as they are in training; inference multiplies all by 1 − p. The form of
    /// the original paper.
    AtInference,
}

/// Dropout with a mask that is a pure function of a key and the element's index.
///
/// In training
///
/// ```text
/// y[i] = x[i] / (1 − p)   where element i is kept (probability 1 − p)
/// y[i] = 0                where it is dropped      (probability p)
/// ```
///
/// and at inference y = x. **p is the probability to drop**; Srivastava et al. write p for the
/// probability to keep.
///
/// No mask is stored: [`backward`](Self::backward) computes it again from the same key. Element i
/// of a call is element `offset` + i of the tensor, so that a call may do any part of it.
///
/// For Monte-Carlo dropout, fold the pass and the sample into the key and use the element's index
/// within the sample: then the answer for a sample does not depend on its batch.
///
/// # Shapes
///
/// Any; input and output have the same length.
///
/// # Numerics
///
/// The probability is exact to 2^-40. A dropped element becomes +0.0 whatever it was: NaN and
/// infinity too (PyTorch multiplies by zero and keeps the NaN). p = 0 is the identity, p = 1 drops
/// everything. The mask and all bits are the same on every target: docs/NUMERICS.md, section 13.
///
/// # Complexity
///
/// One pass; 8.13 random bits an element.
///
/// # Examples
///
/// ```
/// use evenkeel::{Dropout, Key, apart};
/// let (layer, step) = (0, 17);
/// let key = Key::new(42).fold_in(layer).fold_in(step);
/// let dropout = Dropout::new(0.5)?;
///
/// let x = [1.0; 8];
/// let mut y = [0.0; 8];
/// dropout.forward(apart(&x, &mut y), key)?;
/// assert!((0..8).all(|i| y[i] == if dropout.keep(key, i as u64) { 2.0 } else { 0.0 }));
///
/// let mut dx = [0.0; 8];
/// dropout.backward(apart(&[1.0; 8], &mut dx), key)?;
/// assert_eq!(dx, y);
/// # Ok::<(), evenkeel::Error>(())
/// ```
///
/// # References
///
/// N. Srivastava, G. Hinton, A. Krizhevsky, I. Sutskever, R. Salakhutdinov, "Dropout: a simple way
/// to prevent neural networks from overfitting", JMLR 15, 2014, section 4. PyTorch's
/// `torch.nn.functional.dropout`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    drops: Drops,
    scaling: Scaling,
}

impl Dropout {
    /// Dropout that drops an element with probability `p`.
    ///
    /// # Errors
    ///
    /// [`Error::Probability`] if `p` is not from 0 to 1.
    pub fn new(p: f64) -> Result<Self, Error> {
        Ok(Self { drops: Drops::new(p)?, scaling: Scaling::Inverted })
    }

    /// Chooses when elements are scaled.
    #[must_use]
    pub const fn scaling(self, scaling: Scaling) -> Self {
        Self { scaling, ..self }
    }

    common_options!("Says which element of the tensor a call's first element is.");

    /// Dropout with the same probability, offset and backend, by the masks of another system. It scales as
    /// that system does: [`Scaling`] plays no part.
    ///
    /// # Errors
    ///
    /// [`Error::Index`] if the length of [`Stream::JaxOriginal`] is not below 2^32.
    ///
    /// # Examples
    ///
    /// ```
    /// use evenkeel::{Dropout, Key, in_place, stream::{Jax, Stream}};
    /// // flax.linen.Dropout(0.5) with the key jax.random.key(42)
    /// let dropout = Dropout::new(0.5)?.stream(Stream::Jax)?;
    /// let mut x = [1.0; 6];
    /// dropout.forward(in_place(&mut x), Key::new(Jax::new(42).seed()))?;
    /// assert_eq!(x, [2.0, 0.0, 0.0, 0.0, 2.0, 0.0]);
    /// # Ok::<(), evenkeel::Error>(())
    /// ```
    pub fn stream(self, stream: Stream) -> Result<StreamDropout, Error> {
        let Drops { offset, backend, .. } = self.drops;
        Ok(StreamDropout::new(stream.decider(self.p())?, offset, backend))
    }

    /// What kept elements are multiplied by in training.
    #[must_use]
    pub const fn scale(&self) -> f32 {
        match self.scaling {
            Scaling::AtInference => 1.0,
            Scaling::Inverted => self.drops.probability.scale(),
        }
    }

    /// One element at inference. What is always dropped is 0, be it NaN.
    fn inferred(&self, x: f32) -> f32 {
        match self.scaling {
            Scaling::Inverted => x,
            Scaling::AtInference if self.drops.probability.threshold().is_none() => 0.0,
            Scaling::AtInference => x * narrow(self.drops.probability.keep()),
        }
    }

    /// Drops and scales: training.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] if the last element's number does not fit 64 bits; [`Error::Length`] for `y`
    /// if the lengths differ.
    pub fn forward(&self, io: Io<'_>, key: Key) -> Result<(), Error> {
        self.drops.elements(["x", "y"], io, key, self.fate())
    }

    /// Gradient of [`forward`](Self::forward): the same mask and scale, from dy to dx.
    ///
    /// # Errors
    ///
    /// As [`forward`](Self::forward); the output's name is `dx`.
    pub fn backward(&self, io: Io<'_>, key: Key) -> Result<(), Error> {
        self.drops.elements(["dy", "dx"], io, key, self.fate())
    }

    /// Inference: the identity, or a multiplication by 1 − p for [`Scaling::AtInference`].
    ///
    /// # Errors
    ///
    /// [`Error::Length`] for `y` if the lengths differ.
    pub fn infer(&self, io: Io<'_>) -> Result<(), Error> {
        io.check(io.input_len())?;
        io.run(self.drops.backend, |tensor| tensor.map_each(|x| self.inferred(x)));
        Ok(())
    }

    /// Writes the mask of `len` elements, one bit each: bit i mod 8 of byte i / 8 is 1 if element
    /// `offset` + i is kept. The bits behind the last element are 0.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] if the last element's number does not fit 64 bits; [`Error::Length`] if
    /// `mask` does not have `len` / 8 bytes, rounded up.
    pub fn write_mask(&self, len: usize, key: Key, mask: &mut [u8]) -> Result<(), Error> {
        self.check(len)?;
        check_len("mask", len.div_ceil(8), mask.len())?;
        match self.drops.draw(key) {
            Some(draw) => dispatch!(self.drops.backend, simd => mask::pack(simd, draw, len, mask)),
            None => mask.fill(0),
        }
        Ok(())
    }

    pub(crate) fn check(&self, len: usize) -> Result<(), Error> {
        self.drops.check(len)
    }

    pub(crate) fn apply(&self, key: Key, tensor: Tensor<'_>) {
        self.drops.apply(key, tensor, (self.fate(), []));
    }

    const fn fate(&self) -> Scaled {
        Scaled(self.scale())
    }
}
