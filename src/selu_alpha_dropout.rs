//! SELU and alpha dropout in one pass.

use crate::alpha_dropout::affine;
use crate::drops::{Drops, common_options};
use crate::error::check_len;
use crate::kernel::mask::{SeluScaled, SeluShifted, Shifted};
use crate::{Backend, Error, Io, Key};

/// [`Selu`](crate::Selu), then [`AlphaDropout`](crate::AlphaDropout): what follows every layer of a
/// self-normalizing network in training. The tensor is passed over once, and what SELU gave is not kept.
///
/// ```text
/// y[i]  = a·SELU(x[i]) + b          where element i is kept (probability 1 − p)
/// y[i]  = a·(−α′) + b               where it is dropped     (probability p)
/// dx[i] = dy[i]·a·SELU′(x[i])       where it is kept, else 0
/// ```
///
/// with a, b and α′ as [`AlphaDropout`](crate::AlphaDropout) has them. At inference it is
/// [`Selu`](crate::Selu).
///
/// # Shapes
///
/// Any; all slices have the same length.
///
/// # Numerics
///
/// The bits of the two operations one after the other, forward and backward.
///
/// # Complexity
///
/// One pass; 8.13 random bits an element.
///
/// # Examples
///
/// ```
/// use evenkeel::{AlphaDropout, Key, Selu, SeluAlphaDropout, apart, in_place};
/// let key = Key::new(42).fold_in(0);
/// let x = [-2.0, -1.0, 0.0, 0.5, 1.0, 2.0];
/// let mut y = [0.0; 6];
/// SeluAlphaDropout::new(0.1)?.forward(apart(&x, &mut y), key)?;
///
/// let mut two_steps = x;
/// Selu::new().forward(in_place(&mut two_steps))?;
/// AlphaDropout::new(0.1)?.forward(in_place(&mut two_steps), key)?;
/// assert_eq!(y, two_steps);
/// # Ok::<(), evenkeel::Error>(())
/// ```
///
/// # References
///
/// Klambauer et al. 2017, as [`Selu`](crate::Selu) and [`AlphaDropout`](crate::AlphaDropout).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SeluAlphaDropout {
    drops: Drops,
    affine: Shifted,
}

impl SeluAlphaDropout {
    /// SELU and alpha dropout that drops an element with probability `p`.
    ///
    /// # Errors
    ///
    /// [`Error::Probability`] if `p` is not from 0 to 1.
    pub fn new(p: f64) -> Result<Self, Error> {
        let drops = Drops::new(p)?;
        Ok(Self { drops, affine: affine(&drops.probability) })
    }

    common_options!("Says which element of the tensor a call's first element is.");

    /// Applies SELU, drops, and restores mean and variance: training.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] if the last element's number does not fit 64 bits; [`Error::Length`] for `y`
    /// if the lengths differ.
    pub fn forward(&self, io: Io<'_>, key: Key) -> Result<(), Error> {
        self.drops.elements(["x", "y"], io, key, SeluShifted(self.affine))
    }

    /// Gradient of [`forward`](Self::forward), from dy to dx, where `x` is what that read.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] as for [`forward`](Self::forward); [`Error::Length`] for `dx`, the residual or
    /// `x` if the lengths differ.
    pub fn backward(&self, io: Io<'_>, x: &[f32], key: Key) -> Result<(), Error> {
        let len = io.input_len();
        self.drops.check(len)?;
        io.check_as(["dy", "dx"], len)?;
        check_len("x", len, x.len())?;
        let fate = SeluScaled(self.affine.factor);
        io.run(self.drops.backend, |tensor| self.drops.apply(key, tensor, (fate, [x])));
        Ok(())
    }
}
