//! Dropout by the masks of another system.

use super::{Decider, Scale, Stream};
use crate::backend::dispatch;
use crate::drops::check_numbers;
use crate::error::check_len;
use crate::kernel::foreign::{self, Decide, Divided};
use crate::kernel::mask::{Scaled, pack_one};
use crate::{Backend, Error, Io, Key};

/// Dropout that keeps what another system keeps, and scales it as that does, bit for bit.
///
/// Made by [`Dropout::stream`](crate::Dropout::stream). [`Stream`] says for each system which key, index
/// and scale belong to a call of its own.
///
/// # Shapes
///
/// Any; input and output have the same length.
///
/// # Numerics
///
/// A kept x becomes x·s or x/s ([`Scale`]), a dropped one +0.0, whatever it was.
///
/// # Complexity
///
/// One pass. Triton's order, also Inductor's, takes one Philox block an element (16 times as many as ours)
/// and is computed with vectors; the others are computed one element after the other.
///
/// # Examples
///
/// Triton's tutorial kernel on eight elements, with seed 123 and p = 0.5:
///
/// ```
/// use evenkeel::{Dropout, Key, apart, stream::Stream};
/// let dropout = Dropout::new(0.5)?.stream(Stream::Triton)?;
/// let mut y = [0.0; 8];
/// dropout.forward(apart(&[1.0; 8], &mut y), Key::new(123))?;
/// assert_eq!(y, [0.0, 2.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0]);
/// # Ok::<(), evenkeel::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StreamDropout {
    decider: Decider,
    offset: u64,
    backend: Backend,
}

impl StreamDropout {
    pub(crate) const fn new(decider: Decider, offset: u64, backend: Backend) -> Self {
        Self { decider, offset, backend }
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

    /// Whose decisions.
    #[must_use]
    pub const fn stream(&self) -> Stream {
        self.decider.stream()
    }

    /// What is done with a kept element.
    #[must_use]
    pub const fn scale(&self) -> Scale {
        self.decider.scale()
    }

    /// Whether the element with this index is kept. The index is the tensor's: the offset of this value
    /// does not count.
    ///
    /// # Errors
    ///
    /// As [`Stream::check`].
    pub fn keep(&self, key: Key, index: u64) -> Result<bool, Error> {
        self.decider.with(key).keep(index)
    }

    /// Drops and scales: training.
    ///
    /// # Errors
    ///
    /// [`Error::Index`] or [`Error::TooLarge`] if the system, or no system, can address the last
    /// element; [`Error::Length`] for `y` if the lengths differ.
    pub fn forward(&self, io: Io<'_>, key: Key) -> Result<(), Error> {
        self.drop(["x", "y"], io, key)
    }

    /// Gradient of [`forward`](Self::forward): the same mask and scale, from dy to dx.
    ///
    /// # Errors
    ///
    /// As [`forward`](Self::forward); the output's name is `dx`.
    pub fn backward(&self, io: Io<'_>, key: Key) -> Result<(), Error> {
        self.drop(["dy", "dx"], io, key)
    }

    /// Writes the mask of `len` elements, one bit each: bit i mod 8 of byte i / 8 is 1 if element
    /// `offset` + i is kept. The bits behind the last element are 0.
    ///
    /// # Errors
    ///
    /// [`Error::Index`] or [`Error::TooLarge`] as for [`forward`](Self::forward); [`Error::Length`] if
    /// `mask` does not have `len` / 8 bytes, rounded up.
    pub fn write_mask(&self, len: usize, key: Key, mask: &mut [u8]) -> Result<(), Error> {
        self.check(len)?;
        check_len("mask", len.div_ceil(8), mask.len())?;
        let decisions = self.decider.with(key);
        mask.fill(0);
        for position in 0..len {
            let keep = decisions.keeps(self.offset.wrapping_add(position as u64));
            pack_one(mask, position, keep);
        }
        Ok(())
    }

    fn drop(&self, names: [&'static str; 2], io: Io<'_>, key: Key) -> Result<(), Error> {
        let len = io.input_len();
        self.check(len)?;
        io.check_as(names, len)?;
        let decisions = (self.decider.with(key), self.offset);
        io.run(self.backend, |tensor| match self.decider.scale() {
            Scale::Times(factor) => {
                let fate = Scaled(factor);
                dispatch!(self.backend, simd => foreign::apply(simd, decisions, fate, tensor));
            }
            Scale::Over(divisor) => {
                let fate = Divided(divisor);
                dispatch!(self.backend, simd => foreign::apply(simd, decisions, fate, tensor));
            }
        });
        Ok(())
    }

    /// The last element has to have a number, and the system has to know it.
    fn check(&self, len: usize) -> Result<(), Error> {
        check_numbers(self.offset, len)?;
        match (len as u64).checked_sub(1) {
            Some(last) => self.stream().check(self.offset.wrapping_add(last)),
            None => Ok(()),
        }
    }
}
