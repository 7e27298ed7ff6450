//! C++26's Philox engines.

use super::philox::{philox4x32, philox4x64};
use crate::words::{pair, pick};

/// C++26's `std::philox4x32(seed)`: the values in the order in which calls return them.
///
/// They are also those of [`Philox`](crate::Philox) with a seed below 2^32 and stream 0.
///
/// # Examples
///
/// ```
/// use evenkeel::stream::StdPhilox4x32;
/// // [rand.predef]: the 10000th value of a default-constructed engine
/// assert_eq!(StdPhilox4x32::new(20_111_115).word(9_999), 1_955_073_260);
/// ```
///
/// # References
///
/// ISO/IEC 14882:2026 (working draft), [rand.eng.philox] and [rand.predef]; P2075.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StdPhilox4x32 {
    seed: u32,
}

impl StdPhilox4x32 {
    /// The engine of a seed.
    #[must_use]
    pub const fn new(seed: u32) -> Self {
        Self { seed }
    }

    /// Value `index`, from 0.
    #[must_use]
    pub const fn word(self, index: u64) -> u32 {
        let [low, high] = pair(index / 4);
        pick(philox4x32::<10>([low, high, 0, 0], [self.seed, 0]), index)
    }
}

/// C++26's `std::philox4x64(seed)`: the values in the order in which calls return them.
///
/// # Examples
///
/// ```
/// use evenkeel::stream::StdPhilox4x64;
/// // [rand.predef]: the 10000th value of a default-constructed engine
/// assert_eq!(StdPhilox4x64::new(20_111_115).word(9_999), 3_409_172_418_970_261_260);
/// ```
///
/// # References
///
/// As for [`StdPhilox4x32`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StdPhilox4x64 {
    seed: u64,
}

impl StdPhilox4x64 {
    /// The engine of a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// Value `index`, from 0.
    #[must_use]
    pub const fn word(self, index: u64) -> u64 {
        pick(philox4x64::<10>([index / 4, 0, 0, 0], [self.seed, 0]), index)
    }
}
