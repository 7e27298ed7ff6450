//! How a slice divides into batch × channels × spatial positions.

use crate::Error;

/// The shape of a tensor and the order of its axes, checked once.
///
/// A tensor has a batch of N samples, C channels and S spatial positions (the product of height,
/// width and so on; 1 for dense data). Memory is contiguous in one of two orders:
///
/// | constructor | order | PyTorch name |
/// |---|---|---|
/// | [`Layout::channels_first`] | (N, C, S) | contiguous, NCHW |
/// | [`Layout::channels_last`] | (N, S, C) | `channels_last`, NHWC |
/// | [`Layout::dense`] | (N, C) | linear layers' output |
///
/// Any size may be 0: the tensor is then empty and operations on it do nothing.
///
/// # Examples
///
/// ```
/// use evenkeel::{Error, Layout};
/// let images = Layout::channels_first(32, 64, 56 * 56)?;
/// assert_eq!(images.len(), 32 * 64 * 56 * 56);
/// assert_eq!(Layout::dense(usize::MAX, 2), Err(Error::TooLarge));
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Layout {
    batch: usize,
    channels: usize,
    spatial: usize,
    channels_last: bool,
}

impl Layout {
    /// Describes a tensor of shape (batch, channels, spatial).
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] if the product of two sizes, or of all three, overflows `usize` (of two also
    /// where the third is 0).
    pub const fn channels_first(
        batch: usize,
        channels: usize,
        spatial: usize,
    ) -> Result<Self, Error> {
        Self { batch, channels, spatial, channels_last: false }.checked()
    }

    /// Describes a tensor of shape (batch, spatial, channels).
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] as for [`channels_first`](Self::channels_first).
    pub const fn channels_last(
        batch: usize,
        spatial: usize,
        channels: usize,
    ) -> Result<Self, Error> {
        Self { batch, channels, spatial, channels_last: true }.checked()
    }

    /// Describes a tensor of shape (batch, channels): one value a channel and sample.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] if the product of the sizes overflows `usize`.
    pub const fn dense(batch: usize, channels: usize) -> Result<Self, Error> {
        Self::channels_first(batch, channels, 1)
    }

    /// Refuses sizes of which two, or all three, multiply to more than `usize` holds. The pairs
    /// are checked as well because a size of 0 would hide them, and kernels form them.
    const fn checked(self) -> Result<Self, Error> {
        let (n, c, s) = (self.batch, self.channels, self.spatial);
        match (n.checked_mul(c), c.checked_mul(s), n.checked_mul(s)) {
            (Some(nc), Some(_), Some(_)) => match nc.checked_mul(s) {
                Some(_) => Ok(self),
                None => Err(Error::TooLarge),
            },
            _ => Err(Error::TooLarge),
        }
    }

    /// The number of samples, N.
    #[must_use]
    pub const fn batch(&self) -> usize {
        self.batch
    }

    /// The number of channels, C.
    #[must_use]
    pub const fn channels(&self) -> usize {
        self.channels
    }

    /// The number of spatial positions, S.
    #[must_use]
    pub const fn spatial(&self) -> usize {
        self.spatial
    }

    /// Whether channels are the innermost axis: (N, S, C).
    #[must_use]
    pub const fn is_channels_last(&self) -> bool {
        self.channels_last
    }

    /// The number of elements, N·C·S.
    #[must_use]
    pub const fn len(&self) -> usize {
        // Cannot wrap: `checked` has multiplied the same numbers.
        self.batch.wrapping_mul(self.channels).wrapping_mul(self.spatial)
    }

    /// Whether the tensor has no elements.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How a reduction per channel over batch and spatial positions meets this memory.
    pub(crate) const fn per_channel(&self) -> PerChannel {
        let Self { batch, channels, spatial, channels_last } = *self;
        if channels == 1 {
            let len = batch.wrapping_mul(spatial);
            PerChannel::Planes { batch: 1, channels, len }
        } else if channels_last || spatial == 1 {
            PerChannel::Columns { rows: batch.wrapping_mul(spatial), channels }
        } else {
            PerChannel::Planes { batch, channels, len: spatial }
        }
    }

    /// Whether a channel's values of one sample lie together (or could as well be said to).
    pub(crate) const fn has_contiguous_groups(&self) -> bool {
        !self.channels_last || self.spatial == 1 || self.channels == 1
    }
}

/// The two ways in which a channel's values lie in memory (docs/NUMERICS.md, section 10).
#[derive(Clone, Copy)]
pub(crate) enum PerChannel {
    /// Each sample holds one contiguous plane of `len` values a channel.
    Planes { batch: usize, channels: usize, len: usize },
    /// A matrix of `rows` × `channels`, channels innermost.
    Columns { rows: usize, channels: usize },
}
