//! How a slice divides into batch × channels × spatial positions.

use crate::Error;
use crate::kernel::columns::Band;
use crate::kernel::sets::Reductions;

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

    /// The number of channels of all samples, N·C.
    pub(crate) const fn instances(&self) -> usize {
        self.batch.wrapping_mul(self.channels)
    }

    /// Whether the tensor has no elements.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How a reduction per channel over batch and spatial positions meets this memory.
    pub(crate) const fn per_channel(&self) -> PerChannel {
        let Self { batch, channels, spatial, channels_last } = *self;
        let positions = batch.wrapping_mul(spatial);
        if channels == 1 {
            PerChannel::Rows(Reductions::planes(1, 1, positions))
        } else if channels_last || spatial == 1 {
            PerChannel::Columns(Band::matrix(0, positions, channels))
        } else {
            PerChannel::Rows(Reductions::planes(batch, channels, spatial))
        }
    }

    /// How a reduction over groups of channels and all positions of a sample meets this memory.
    pub(crate) const fn grouped(&self, groups: usize, group_channels: usize) -> Grouped {
        let Self { batch, channels, spatial, channels_last } = *self;
        if channels_last && spatial != 1 && channels != 1 {
            Grouped::Columns(self.samples(group_channels))
        } else {
            Grouped::Rows(Reductions::groups(batch, groups, group_channels, spatial))
        }
    }

    /// Every sample by itself, with its channels in groups. Where a channel has one value, the
    /// channels of a sample are taken as a matrix of one row.
    pub(crate) const fn samples(&self, group_channels: usize) -> Samples {
        let Self { batch, channels, spatial, channels_last } = *self;
        let planes = channels == 1 || (!channels_last && spatial != 1);
        Samples { batch, rows: spatial, channels, group_channels, planes }
    }
}

/// Rows that are normalized one by one: the last axis, or several, of a tensor.
///
/// `count` rows of `len` elements, each `stride` after the one before; by default they lie side by
/// side. What lies between them is neither read nor written.
///
/// # Examples
///
/// ```
/// use evenkeel::Rows;
/// let rows = Rows::new(512, 768)?;
/// assert_eq!(rows.elements(), 512 * 768);
/// // Two rows of three in a matrix with four columns.
/// assert_eq!(Rows::new(2, 3)?.stride(4)?.elements(), 4 + 3);
/// # Ok::<(), evenkeel::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rows {
    count: usize,
    len: usize,
    stride: usize,
}

impl Rows {
    /// Rows that lie side by side.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] if `count` · `len` overflows `usize`.
    pub const fn new(count: usize, len: usize) -> Result<Self, Error> {
        match count.checked_mul(len) {
            Some(_) => Ok(Self { count, len, stride: len }),
            None => Err(Error::TooLarge),
        }
    }

    /// Sets how far apart the starts of neighbouring rows are.
    ///
    /// # Errors
    ///
    /// [`Error::Stride`] if that is less than a row; [`Error::TooLarge`] if the end of the last row
    /// overflows `usize`.
    pub const fn stride(self, stride: usize) -> Result<Self, Error> {
        if stride < self.len {
            return Err(Error::Stride { len: self.len, stride });
        }
        match self.count.checked_mul(stride) {
            Some(_) => Ok(Self { stride, ..self }),
            None => Err(Error::TooLarge),
        }
    }

    /// The number of rows.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.count
    }

    /// The length of a row.
    #[must_use]
    pub const fn row_len(&self) -> usize {
        self.len
    }

    /// The length of a slice that holds all rows, from the start of the first to the end of the last.
    #[must_use]
    pub const fn elements(&self) -> usize {
        match self.count.checked_sub(1) {
            // Cannot wrap: `new` and `stride` have multiplied more.
            Some(gaps) => gaps.wrapping_mul(self.stride).wrapping_add(self.len),
            None => 0,
        }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.count == 0 || self.len == 0
    }

    pub(crate) const fn has_gaps(&self) -> bool {
        self.stride != self.len
    }

    /// Every row a reduction, with γ and β for each of its elements.
    pub(crate) const fn reductions(&self) -> Reductions {
        Reductions::rows(self.len, self.stride, self.count)
    }

    /// Every place in a row a column.
    pub(crate) const fn matrix(&self) -> Band {
        Band { stride: self.stride, ..Band::matrix(0, self.count, self.len) }
    }
}

/// The two ways in which a channel's values lie in memory (docs/NUMERICS.md, section 10).
#[derive(Clone, Copy)]
pub(crate) enum PerChannel {
    /// Each sample holds one contiguous plane a channel.
    Rows(Reductions),
    /// A matrix with the channels innermost.
    Columns(Band),
}

/// The same for groups of channels.
#[derive(Clone, Copy)]
pub(crate) enum Grouped {
    /// Each group of a sample is contiguous.
    Rows(Reductions),
    /// Each sample is a matrix with the channels innermost.
    Columns(Samples),
}

/// Samples whose channels belong to groups.
#[derive(Clone, Copy)]
pub(crate) struct Samples {
    pub(crate) batch: usize,
    /// Values of a channel in one sample.
    pub(crate) rows: usize,
    pub(crate) channels: usize,
    pub(crate) group_channels: usize,
    /// Whether a channel's values lie together; if not, a sample is a matrix with the channels
    /// innermost.
    pub(crate) planes: bool,
}

impl Samples {
    /// The number of groups of a sample.
    const fn groups(&self) -> usize {
        match self.channels.checked_div(self.group_channels) {
            Some(groups) => groups,
            None => 0,
        }
    }

    /// The number of the group that a channel of a sample belongs to.
    #[inline(always)]
    pub(crate) fn group(&self, sample: usize, channel: usize) -> usize {
        sample * self.groups() + channel.checked_div(self.group_channels).unwrap_or(0)
    }

    /// Where a channel's values start, if they lie together.
    #[inline(always)]
    pub(crate) const fn plane(&self, sample: usize, channel: usize) -> usize {
        let number = sample.wrapping_mul(self.channels).wrapping_add(channel);
        number.wrapping_mul(self.rows)
    }

    /// One sample, if it is a matrix.
    #[inline(always)]
    pub(crate) const fn matrix(&self, sample: usize) -> Band {
        let Self { rows, channels, .. } = *self;
        Band::matrix(self.plane(sample, 0), rows, channels)
    }

    /// Each sample as a matrix, and the number of its first group.
    #[inline(always)]
    pub(crate) fn matrices(self) -> impl Iterator<Item = (usize, Band)> {
        (0..self.batch).map(move |sample| (sample * self.groups(), self.matrix(sample)))
    }
}
