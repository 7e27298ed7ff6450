//! Feature alpha dropout: alpha dropout of whole channels of samples.

use crate::alpha_dropout::affine;
use crate::drops::{Drops, common_options};
use crate::kernel::mask::{Scaled, Shifted};
use crate::{Backend, Error, Io, Key, Layout};

/// Alpha dropout of whole channels: the formulas of [`AlphaDropout`](crate::AlphaDropout), with one
/// decision for each channel of each sample, as [`FeatureDropout`](crate::FeatureDropout) has.
///
/// ```text
/// y[n, c, s] = a·x[n, c, s] + b   where channel c of sample n is kept (probability 1 − p)
/// y[n, c, s] = a·(−α′) + b        where it is dropped                 (probability p)
/// ```
///
/// # Shapes
///
/// Input and output have the layout's length.
///
/// # Numerics
///
/// As [`AlphaDropout`](crate::AlphaDropout): p = 0 is the identity, p = 1 gives 0 everywhere, a dropped
/// NaN is gone. docs/NUMERICS.md, section 18.
///
/// # Complexity
///
/// One pass, which does not read what is dropped where a channel's elements lie together; 8.13 random
/// bits a channel of a sample.
///
/// # Examples
///
/// ```
/// use evenkeel::{FeatureAlphaDropout, Key, Layout, in_place};
/// let layout = Layout::channels_first(2, 3, 4)?;
/// let dropout = FeatureAlphaDropout::new(layout, 1.0)?;
/// let mut x = [1.0; 24];
/// dropout.forward(in_place(&mut x), Key::new(1))?;
/// assert_eq!(x, [0.0; 24]);
/// # Ok::<(), evenkeel::Error>(())
/// ```
///
/// # References
///
/// Klambauer et al. 2017, as [`AlphaDropout`](crate::AlphaDropout). PyTorch's
/// `torch.nn.functional.feature_alpha_dropout`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FeatureAlphaDropout {
    layout: Layout,
    drops: Drops,
    affine: Shifted,
}

impl FeatureAlphaDropout {
    /// Feature alpha dropout that drops a channel of a sample with probability `p`.
    ///
    /// # Errors
    ///
    /// [`Error::Probability`] if `p` is not from 0 to 1.
    pub fn new(layout: Layout, p: f64) -> Result<Self, Error> {
        let drops = Drops::new(p)?;
        Ok(Self { layout, drops, affine: affine(&drops.probability) })
    }

    common_options!(
        "Says which decision is the first of a call: sample n, channel c of a call has decision\n`offset` + n·C + c."
    );

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
    /// [`Error::TooLarge`] if the last decision's number does not fit 64 bits; [`Error::Length`] if a
    /// slice does not have the layout's length.
    pub fn forward(&self, io: Io<'_>, key: Key) -> Result<(), Error> {
        self.drops.features((self.layout, ["x", "y"]), io, key, self.affine)
    }

    /// Gradient of [`forward`](Self::forward), from dy to dx: a·dy where kept, +0.0 where dropped.
    ///
    /// # Errors
    ///
    /// As [`forward`](Self::forward), with the names `dy` and `dx`.
    pub fn backward(&self, io: Io<'_>, key: Key) -> Result<(), Error> {
        self.drops.features((self.layout, ["dy", "dx"]), io, key, Scaled(self.affine.factor))
    }
}
