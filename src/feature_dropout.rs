//! Feature dropout: set random channels of samples to zero.

use crate::drops::{Drops, common_options};
use crate::kernel::mask::Scaled;
use crate::{Backend, Error, Io, Key, Layout};

/// Feature dropout, also called spatial dropout: whole channels of a sample are dropped.
///
/// In training
///
/// ```text
/// y[n, c, s] = x[n, c, s] / (1 − p)   where channel c of sample n is kept (probability 1 − p)
/// y[n, c, s] = 0                      where it is dropped                 (probability p)
/// ```
///
/// and at inference y = x: nothing is to be called. Neighbouring positions of a feature map are much
/// alike, so that dropping single elements of it hides nothing.
///
/// Decision n·C + c of the key is for channel c of sample n, in both layouts; the decisions are those of
/// [`Dropout`](crate::Dropout) over N·C elements, whose
/// [`write_mask`](crate::Dropout::write_mask) writes them down. With one position a channel the two
/// are the same.
///
/// # Shapes
///
/// Input and output have the layout's length.
///
/// # Numerics
///
/// As [`Dropout`](crate::Dropout): p = 0 is the identity, p = 1 drops everything, a dropped NaN is
/// +0.0. docs/NUMERICS.md, section 18.
///
/// # Complexity
///
/// One pass, which does not read what is dropped where a channel's elements lie together; 8.13 random
/// bits a channel of a sample.
///
/// # Examples
///
/// ```
/// use evenkeel::{FeatureDropout, Key, Layout, apart};
/// let layout = Layout::channels_first(1, 4, 2)?;
/// let key = Key::new(42).fold_in(0);
/// let dropout = FeatureDropout::new(layout, 0.5)?;
///
/// let x = [1.0; 8];
/// let mut y = [0.0; 8];
/// dropout.forward(apart(&x, &mut y), key)?;
/// for channel in 0..4 {
///     let value = if dropout.keep(key, channel) { 2.0 } else { 0.0 };
///     assert_eq!(y[2 * channel as usize..][..2], [value, value]);
/// }
/// # Ok::<(), evenkeel::Error>(())
/// ```
///
/// # References
///
/// J. Tompson, R. Goroshin, A. Jain, Y. LeCun, C. Bregler, "Efficient object localization using
/// convolutional networks", CVPR 2015, section 3.2. PyTorch's `torch.nn.functional.dropout1d`,
/// `dropout2d`, `dropout3d`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FeatureDropout {
    layout: Layout,
    drops: Drops,
}

impl FeatureDropout {
    /// Feature dropout that drops a channel of a sample with probability `p`.
    ///
    /// # Errors
    ///
    /// [`Error::Probability`] if `p` is not from 0 to 1.
    pub fn new(layout: Layout, p: f64) -> Result<Self, Error> {
        Ok(Self { layout, drops: Drops::new(p)? })
    }

    common_options!(
        "Says which decision is the first of a call: sample n, channel c of a call has decision\n`offset` + n·C + c."
    );

    /// What kept elements are multiplied by.
    #[must_use]
    pub const fn scale(&self) -> f32 {
        self.drops.probability.scale()
    }

    /// Drops and scales: training.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] if the last decision's number does not fit 64 bits; [`Error::Length`] if a
    /// slice does not have the layout's length.
    pub fn forward(&self, io: Io<'_>, key: Key) -> Result<(), Error> {
        self.drop(["x", "y"], io, key)
    }

    /// Gradient of [`forward`](Self::forward): the same mask and scale, from dy to dx.
    ///
    /// # Errors
    ///
    /// As [`forward`](Self::forward), with the names `dy` and `dx`.
    pub fn backward(&self, io: Io<'_>, key: Key) -> Result<(), Error> {
        self.drop(["dy", "dx"], io, key)
    }

    fn drop(&self, names: [&'static str; 2], io: Io<'_>, key: Key) -> Result<(), Error> {
        self.drops.features((self.layout, names), io, key, Scaled(self.scale()))
    }
}
