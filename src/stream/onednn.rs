//! oneDNN's dropout attribute.

use super::Threshold;
use super::philox::philox4x32;
use crate::Error;
use crate::words::{pair, pick};
use core::num::NonZero;

/// What oneDNN's dropout attribute decides by, with a seed of 32 bits (`set_dropout`).
///
/// ```text
/// x = i & !3
/// word i = word i mod 4 of Philox4x32-10(counter [x, x + 1, x + 2, x + 3], key [seed, seed])
/// ```
///
/// i is the offset of the element in the memory of `dst`, below 2^32. oneDNN 3.8.1 computes this.
/// 3.13.2 decides four elements alike here, against its own documentation: that defect is not
/// followed.
///
/// # Examples
///
/// ```
/// use evenkeel::stream::OneDnn;
/// let (dropout, threshold) = (OneDnn::new(0), OneDnn::threshold(0.1)?);
/// let dropped: Vec<_> = (0..32).filter(|&i| !threshold.keeps(dropout.word(i))).collect();
/// assert_eq!(dropped, [10, 17, 24]);
/// # Ok::<(), evenkeel::Error>(())
/// ```
///
/// # References
///
/// oneDNN, `src/common/math_utils.hpp` (`philox4x32`); run with 3.8.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OneDnn {
    seed: u32,
}

impl OneDnn {
    /// What is decided by with a seed.
    #[must_use]
    pub const fn new(seed: i32) -> Self {
        Self { seed: seed.cast_unsigned() }
    }

    /// The word of an element.
    #[must_use]
    #[inline]
    pub const fn word(self, index: u32) -> u32 {
        let x = index & !3;
        let words = philox4x32::<10>([x, x | 1, x | 2, x | 3], [self.seed, self.seed]);
        pick(words, index as u64)
    }

    /// The words that keep, with either kind of seed: those above ⌊4294967295·f32(p)⌋, the product in
    /// binary64.
    ///
    /// # Errors
    ///
    /// [`Error::Probability`] if `p` is not from 0 to 1.
    pub const fn threshold(p: f64) -> Result<Threshold, Error> {
        Threshold::onednn(p)
    }
}

/// What oneDNN's dropout attribute decides by, with a seed of 64 bits and an offset that is not 0
/// (`set_dropout` with `seed_dt` = s64 and `use_offset`).
///
/// ```text
/// x = i & !3
/// word i = word i mod 4 of Philox4x32-10(counter [offset low, offset high, x low, x high],
///                                        key [seed low, seed high])
/// ```
///
/// # Examples
///
/// ```
/// use core::num::NonZero;
/// use evenkeel::stream::{OneDnn, OneDnnOffset};
/// const OFFSET: NonZero<i64> = NonZero::new(1).unwrap();
/// let dropout = OneDnnOffset::new(0, OFFSET);
/// let threshold = OneDnn::threshold(0.1)?;
/// let dropped: Vec<_> = (0..32).filter(|&i| !threshold.keeps(dropout.word(i))).collect();
/// assert_eq!(dropped, [3, 13]);
/// # Ok::<(), evenkeel::Error>(())
/// ```
///
/// # References
///
/// oneDNN, `src/gpu/intel/include/philox.h` (`philox_4x32_s64`), which the CPU follows; run with 3.13.2
/// on a CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OneDnnOffset {
    key: [u32; 2],
    offset: [u32; 2],
}

impl OneDnnOffset {
    /// What is decided by with a seed and an offset.
    #[must_use]
    pub const fn new(seed: i64, offset: NonZero<i64>) -> Self {
        let (seed, offset) = (seed.cast_unsigned(), offset.get().cast_unsigned());
        Self { key: pair(seed), offset: pair(offset) }
    }

    /// The word of an element.
    #[must_use]
    #[inline]
    pub const fn word(self, index: u64) -> u32 {
        let ([c0, c1], [c2, c3]) = (self.offset, pair(index & !3));
        pick(philox4x32::<10>([c0, c1, c2, c3], self.key), index)
    }
}
