//! The one error type of the crate.

use core::fmt;

/// Why a call was refused. No output has been written when an `Error` is returned.
///
/// Options are checked first (those of a constructor before those of setters), then the arguments in
/// their order; the first fault found is reported.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// A slice does not have the length that the layout asks for.
    Length {
        /// The name of the argument.
        argument: &'static str,
        /// The length that was needed. For a weight that only has to be a multiple of something,
        /// the nearest such length that is not above the one found (or one multiple, if none is).
        expected: usize,
        /// The length that was passed.
        found: usize,
    },
    /// A product of sizes, or an offset plus a length, does not fit its integer type.
    TooLarge,
    /// `eps` is negative, infinite or not a number.
    Epsilon {
        /// The value that was set.
        found: f64,
    },
    /// The factor of `Momentum::Exponential` is outside 0 to 1 or not a number.
    Momentum {
        /// The value that was set.
        found: f64,
    },
    /// `Momentum::Cumulative` with a count of zero: the first batch is number 1.
    Batches,
    /// A probability is outside 0 to 1 or not a number.
    Probability {
        /// The value that was passed.
        found: f64,
    },
    /// The number of groups is zero or does not divide the number of channels.
    Groups {
        /// The number of channels.
        channels: usize,
        /// The number of groups.
        groups: usize,
    },
    /// A variance plus eps is negative or not a number, so that it has no root.
    Variance {
        /// The first such channel.
        channel: usize,
        /// The sum.
        found: f64,
    },
    /// The stride of rows is less than their length.
    Stride {
        /// The length of a row.
        len: usize,
        /// The stride that was set.
        stride: usize,
    },
    /// A decoration of a call whose rows have gaps between them.
    Gaps,
    /// The bounds of uniform numbers are out of order, or their difference is not finite.
    Range {
        /// The lower bound.
        low: f32,
        /// The upper bound.
        high: f32,
    },
    /// A mean is not finite, or a deviation is negative or not finite.
    Normal {
        /// The mean.
        mean: f32,
        /// The standard deviation.
        deviation: f32,
    },
    /// A stream number is not below 2^62.
    Stream {
        /// The number that was passed.
        found: u64,
    },
    /// An element's index is beyond what the stream of another system can address, or beyond the
    /// length that the stream was given.
    Index {
        /// The index.
        found: u64,
        /// What indices have to be below.
        limit: u64,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { argument, expected, found } => {
                write!(f, "`{argument}` has {found} elements where {expected} are needed")
            }
            Self::TooLarge => f.write_str("a product of sizes or an offset overflows"),
            Self::Epsilon { found } => {
                write!(f, "eps is {found}, but must be finite and not negative")
            }
            Self::Momentum { found } => write!(f, "momentum is {found}, outside 0 to 1"),
            Self::Batches => f.write_str("cumulative momentum counts batches from 1, not 0"),
            Self::Probability { found } => write!(f, "probability is {found}, outside 0 to 1"),
            Self::Groups { channels, groups } => {
                write!(f, "{channels} channels cannot be divided into {groups} groups")
            }
            Self::Variance { channel, found } => {
                write!(f, "variance plus eps of channel {channel} is {found}, which has no root")
            }
            Self::Stride { len, stride } => {
                write!(f, "rows of {len} elements cannot be {stride} apart")
            }
            Self::Gaps => f.write_str("rows with gaps between them cannot be decorated"),
            Self::Range { low, high } => write!(f, "there is no range from {low} to {high}"),
            Self::Normal { mean, deviation } => {
                write!(f, "there are no normal numbers with mean {mean} and deviation {deviation}")
            }
            Self::Stream { found } => write!(f, "stream {found} is not below 2^62"),
            Self::Index { found, limit } => write!(f, "index {found} is not below {limit}"),
        }
    }
}

impl core::error::Error for Error {}

/// Checks the length of one argument.
pub(crate) fn check_len(
    argument: &'static str,
    expected: usize,
    found: usize,
) -> Result<(), Error> {
    if expected == found { Ok(()) } else { Err(Error::Length { argument, expected, found }) }
}

/// Checks the length of an argument that may be absent.
pub(crate) fn check_optional<T>(
    argument: &'static str,
    expected: usize,
    found: Option<&[T]>,
) -> Result<(), Error> {
    found.map_or(Ok(()), |slice| check_len(argument, expected, slice.len()))
}

/// Checks what every backward pass with parameters begins with.
pub(crate) fn check_gradient_inputs(
    len: usize,
    [dy, x]: [&[f32]; 2],
    parameters: usize,
    gamma: Option<&[f32]>,
) -> Result<(), Error> {
    check_len("dy", len, dy.len())?;
    check_len("x", len, x.len())?;
    check_optional("gamma", parameters, gamma)
}

/// Checks an `eps` option.
pub(crate) fn check_eps(eps: f64) -> Result<(), Error> {
    if (0.0..f64::INFINITY).contains(&eps) { Ok(()) } else { Err(Error::Epsilon { found: eps }) }
}
