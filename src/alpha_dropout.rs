//! Alpha dropout: dropout that keeps mean and variance.

use crate::drops::{Drops, Probability, common_options};
use crate::kernel::lanes::{Value as _, narrow};
use crate::kernel::mask::{Scaled, Shifted};
use crate::{Backend, Error, Io, Key};

/// α′ = λ·α of SELU, the negative of what it tends to for small x.
const SATURATION: f64 = 1.758_099_340_847_376_6;

/// The affine map that restores mean 0 and variance 1: y = x·a + b where kept; what dropped elements
/// become after it. Where all is dropped, it is zero.
pub(crate) fn affine(probability: &Probability) -> Shifted {
    let (keep, drop) = (probability.keep(), probability.drop());
    if probability.threshold().is_none() {
        return Shifted { factor: 0.0, shift: 0.0, dropped: 0.0 };
    }
    let a = 1.0 / (keep * (1.0 + drop * (SATURATION * SATURATION))).root();
    // −0.0 changes nothing when added, +0.0 would change −0.0.
    let shift = if drop == 0.0 { -0.0 } else { narrow(a * SATURATION * drop) };
    // What is −a·α′ + b without the cancellation.
    Shifted { factor: narrow(a), shift, dropped: narrow(-(a * SATURATION * keep)) }
}

/// Dropout for self-normalizing networks: dropped elements become what SELU saturates at, and an affine
/// map keeps mean and variance.
///
/// In training, with α′ = λ·α = 1.7580993408473766,
///
/// ```text
/// y[i] = a·x[i] + b       where element i is kept (probability 1 − p)
/// y[i] = a·(−α′) + b      where it is dropped     (probability p)
/// a = 1 / sqrt((1 − p)·(1 + p·α′²)),  b = a·α′·p
/// ```
///
/// so that inputs with mean 0 and variance 1 give outputs with mean 0 and variance 1. At inference
/// y = x: nothing is to be called. The decisions are those of [`Dropout`](crate::Dropout) with the same
/// key, p and offset. p = 0 is the identity, p = 1 gives 0 everywhere.
///
/// # Shapes
///
/// Any; input and output have the same length.
///
/// # Numerics
///
/// a and b are computed in binary64, from p rounded to a multiple of 2^-40, and rounded once; so is
/// what a dropped element becomes, whatever it was: a NaN or an infinity too (PyTorch keeps the NaN).
/// a·x + b is rounded twice. docs/NUMERICS.md, section 18.
///
/// # Complexity
///
/// One pass; 8.13 random bits an element.
///
/// # Examples
///
/// ```
/// use evenkeel::{AlphaDropout, Key, apart};
/// let (layer, step) = (0, 17);
/// let key = Key::new(42).fold_in(layer).fold_in(step);
/// let dropout = AlphaDropout::new(0.1)?;
///
/// let x = [0.5; 8];
/// let mut y = [0.0; 8];
/// dropout.forward(apart(&x, &mut y), key)?;
/// let kept = 0.5 * dropout.scale() + dropout.shift();
/// assert!((0..8).all(|i| y[i] == if dropout.keep(key, i as u64) { kept } else { dropout.dropped() }));
/// # Ok::<(), evenkeel::Error>(())
/// ```
///
/// # References
///
/// G. Klambauer, T. Unterthiner, A. Mayr, S. Hochreiter, "Self-normalizing neural networks", 2017,
/// section "New dropout technique". PyTorch's `torch.nn.functional.alpha_dropout`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AlphaDropout {
    drops: Drops,
    affine: Shifted,
}

impl AlphaDropout {
    /// Alpha dropout that drops an element with probability `p`.
    ///
    /// # Errors
    ///
    /// [`Error::Probability`] if `p` is not from 0 to 1.
    pub fn new(p: f64) -> Result<Self, Error> {
        let drops = Drops::new(p)?;
        Ok(Self { drops, affine: affine(&drops.probability) })
    }

    common_options!("Says which element of the tensor a call's first element is.");

    /// a: what kept elements are multiplied by.
    #[must_use]
    pub const fn scale(&self) -> f32 {
        self.affine.factor
    }

    /// b: what is then added.
    #[must_use]
    pub const fn shift(&self) -> f32 {
        self.affine.shift
    }

    /// What dropped elements become.
    #[must_use]
    pub const fn dropped(&self) -> f32 {
        self.affine.dropped
    }

    /// Drops and restores mean and variance: training.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] if the last element's number does not fit 64 bits; [`Error::Length`] for `y`
    /// if the lengths differ.
    pub fn forward(&self, io: Io<'_>, key: Key) -> Result<(), Error> {
        self.drops.elements(["x", "y"], io, key, self.affine)
    }

    /// Gradient of [`forward`](Self::forward), from dy to dx: a·dy where kept, +0.0 where dropped.
    ///
    /// # Errors
    ///
    /// As [`forward`](Self::forward); the output's name is `dx`.
    pub fn backward(&self, io: Io<'_>, key: Key) -> Result<(), Error> {
        self.drops.elements(["dy", "dx"], io, key, Scaled(self.affine.factor))
    }
}
