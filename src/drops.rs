//! What all operations that drop have in common: the probability, and which decisions a call takes.

use crate::backend::dispatch;
use crate::kernel::feature;
use crate::kernel::lanes::narrow;
use crate::kernel::map::Tensor;
use crate::kernel::mask::{self, Draw, Fate, Threshold};
use crate::{Backend, Error, Io, Key, Layout};

/// 2^40: the denominator of the probabilities that are exact.
const ONE: u64 = 1 << 40;

/// The sign of a binary64.
const SIGN: u64 = 1 << 63;

/// Checks that a number is from 0 to 1, −0.0 included.
pub(crate) const fn check_probability(p: f64) -> Result<(), Error> {
    // Negative numbers and NaN are greater, as bits.
    if p.to_bits() <= 1.0_f64.to_bits() || p.to_bits() == SIGN {
        Ok(())
    } else {
        Err(Error::Probability { found: p })
    }
}

/// A probability p and T = p·2^40, rounded half up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Probability {
    p: f64,
    t: u64,
}

impl Probability {
    /// By the bits of p, so that no binary64 is computed with where that takes code.
    pub(crate) const fn new(p: f64) -> Result<Self, Error> {
        const FRACTION_BITS: u32 = f64::MANTISSA_DIGITS - 1;
        /// What a fraction counts for exponent 0, in powers of 1/2 of a 2^-40th.
        const STEPS: u64 = 1023 + FRACTION_BITS as u64 - 40;
        let bits = match check_probability(p) {
            Ok(()) => p.to_bits() & !SIGN,
            Err(error) => return Err(error),
        };
        let exponent = bits >> FRACTION_BITS;
        let hidden = if exponent > 0 { 1 << FRACTION_BITS } else { 0 };
        let fraction = bits & ((1 << FRACTION_BITS) - 1) | hidden;
        // p is fraction·2^-shift of a 2^-40th.
        let shift = STEPS.wrapping_sub(exponent);
        let t = if shift < 64 { fraction.wrapping_add(1 << (shift - 1)) >> shift } else { 0 };
        Ok(Self { p, t })
    }

    /// As it was given.
    pub(crate) const fn given(&self) -> f64 {
        self.p
    }

    /// What decides; nothing where everything is dropped.
    pub(crate) const fn threshold(&self) -> Option<Threshold> {
        if self.t == ONE { None } else { Some(Threshold::new(self.t)) }
    }

    /// T / 2^40.
    #[expect(clippy::cast_precision_loss, reason = "exact: at most 2^40")]
    pub(crate) const fn drop(&self) -> f64 {
        self.t as f64 / ONE as f64
    }

    /// What dropout multiplies kept elements by: 2^40 / (2^40 − T), or 0 where there are none.
    #[expect(clippy::cast_precision_loss, reason = "exact: at most 2^40")]
    pub(crate) const fn scale(&self) -> f32 {
        // Not 1 / keep(), which is the same but takes a product of two binary64 numbers.
        match ONE.wrapping_sub(self.t) {
            0 => 0.0,
            keep => narrow(ONE as f64 / keep as f64),
        }
    }

    /// 1 − T / 2^40.
    #[expect(clippy::cast_precision_loss, reason = "exact: at most 2^40")]
    pub(crate) const fn keep(&self) -> f64 {
        // Cannot wrap: T is at most 2^40.
        ONE.wrapping_sub(self.t) as f64 / ONE as f64
    }
}

/// The options and questions that all operations with a field `drops: Drops` have in common.
macro_rules! common_options {
    ($offset:literal) => {
        #[doc = $offset]
        #[must_use]
        pub const fn offset(self, offset: u64) -> Self {
            Self { drops: self.drops.offset(offset), ..self }
        }

        /// Chooses the instruction set.
        #[must_use]
        pub const fn backend(self, backend: Backend) -> Self {
            Self { drops: self.drops.backend(backend), ..self }
        }

        /// The probability to drop.
        #[must_use]
        pub const fn p(&self) -> f64 {
            self.drops.probability.given()
        }

        /// Whether the decision with this index is to keep. The index is the tensor's: the offset of
        /// this value does not count.
        #[must_use]
        pub fn keep(&self, key: Key, index: u64) -> bool {
            self.drops.keep(key, index)
        }
    };
}
pub(crate) use common_options;

/// Decisions: with which probability, from which number on, by which instruction set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Drops {
    pub(crate) probability: Probability,
    /// The number of a call's first decision.
    pub(crate) offset: u64,
    pub(crate) backend: Backend,
}

impl Drops {
    pub(crate) fn new(p: f64) -> Result<Self, Error> {
        let probability = Probability::new(p)?;
        Ok(Self { probability, offset: 0, backend: Backend::detect() })
    }

    pub(crate) const fn offset(self, offset: u64) -> Self {
        Self { offset, ..self }
    }

    pub(crate) const fn backend(self, backend: Backend) -> Self {
        Self { backend, ..self }
    }

    /// Whether the decision with a number is to keep. It is the tensor's number.
    pub(crate) fn keep(&self, key: Key, number: u64) -> bool {
        self.probability.threshold().is_some_and(|threshold| threshold.keeps(key, number))
    }

    /// The decisions of a key; nothing where everything is dropped.
    pub(crate) fn draw(&self, key: Key) -> Option<Draw> {
        let threshold = self.probability.threshold()?;
        Some(Draw { threshold, key, offset: self.offset })
    }

    /// Checks that so many decisions have a number.
    pub(crate) fn check(&self, len: usize) -> Result<(), Error> {
        check_numbers(self.offset, len)
    }

    /// Gives every element of a call its fate, by a decision each.
    pub(crate) fn elements(
        &self,
        names: [&'static str; 2],
        io: Io<'_>,
        key: Key,
        fate: impl Fate<0>,
    ) -> Result<(), Error> {
        let len = io.input_len();
        self.check(len)?;
        io.check_as(names, len)?;
        io.run(self.backend, |tensor| self.apply(key, tensor, (fate, [])));
        Ok(())
    }

    /// Gives every channel of every sample its fate, by a decision each.
    pub(crate) fn features(
        &self,
        (layout, names): (Layout, [&'static str; 2]),
        io: Io<'_>,
        key: Key,
        fate: impl Fate<0>,
    ) -> Result<(), Error> {
        let decisions = if layout.is_empty() { 0 } else { layout.instances() };
        self.check(decisions)?;
        io.check_as(names, layout.len())?;
        io.run(self.backend, |tensor| match self.draw(key) {
            // A decision an element: the same numbers in the same order.
            _ if layout.spatial() == 1 => self.apply(key, tensor, (fate, [])),
            Some(draw) => {
                let samples = layout.samples(1);
                dispatch!(self.backend, simd => feature::apply(simd, draw, fate, samples, tensor));
            }
            None => fill(tensor, fate.dropped()),
        });
        Ok(())
    }

    /// Gives every element of a tensor its fate, also from others at its place.
    pub(crate) fn apply<const OTHERS: usize>(
        &self,
        key: Key,
        tensor: Tensor<'_>,
        (fate, others): (impl Fate<OTHERS>, [&[f32]; OTHERS]),
    ) {
        let Some(draw) = self.draw(key) else { return fill(tensor, fate.dropped()) };
        dispatch!(self.backend, simd => mask::apply(simd, draw, (fate, others), tensor));
    }
}

fn fill(mut tensor: Tensor<'_>, value: f32) {
    tensor.output().fill(value);
}

/// Checks that `len` elements from number `offset` on all have a number: the last one that there is, is
/// 2^64 − 1.
pub(crate) fn check_numbers(offset: u64, len: usize) -> Result<(), Error> {
    match (len as u64).checked_sub(1) {
        Some(last) if offset.checked_add(last).is_none() => Err(Error::TooLarge),
        _ => Ok(()),
    }
}
