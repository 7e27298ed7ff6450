//! Triton's random numbers, also those of `torch.compile`.

use super::Threshold;
use super::philox::philox4x32;
use crate::Error;
use crate::words::pair;

/// Triton's generator: `tl.randint4x`, `tl.randint`, `tl.rand4x` and `tl.rand` of a seed and an offset.
///
/// ```text
/// key     = [seed low, seed high]     the seed sign-extended to 64 bits
/// counter = [offset low, offset high, 0, 0]
/// u       = f32(m)·(2^-31 − 2^-55)    m = the word, complemented from 2^31 on
/// ```
///
/// A 32-bit offset is *not* sign-extended: pass `u64::from(offset as u32)`, and a 64-bit one as
/// `offset as u64`. Then the two agree for all offsets from 0 to 2^32 − 1.
///
/// `torch.compile` (Inductor) calls `tl.rand(seed, i)` for element i of a tensor, with a seed that it
/// draws for every call.
///
/// # Examples
///
/// ```
/// use evenkeel::stream::Triton;
/// // tl.randint4x(123, 7) and tl.rand(123, 7)
/// let triton = Triton::new(123);
/// assert_eq!(triton.words(7), [0x308F_4A2F, 0x6099_EE70, 0x4A49_50C3, 0xD977_0504]);
/// assert_eq!(triton.uniform(7).to_bits(), 0x3EC2_3D28);
/// ```
///
/// # References
///
/// Triton 3.4 and later, `python/triton/language/random.py`; run with 3.9.0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Triton {
    key: [u32; 2],
}

impl Triton {
    /// The generator of a seed. Pass a 32-bit seed as `i64::from(seed)`.
    #[must_use]
    pub const fn new(seed: i64) -> Self {
        Self { key: pair(seed.cast_unsigned()) }
    }

    /// `tl.randint4x`: the four words of an offset.
    #[must_use]
    #[inline]
    pub const fn words(self, offset: u64) -> [u32; 4] {
        let [low, high] = pair(offset);
        philox4x32::<10>([low, high, 0, 0], self.key)
    }

    /// `tl.randint`: the first word of an offset.
    #[must_use]
    #[inline]
    pub const fn word(self, offset: u64) -> u32 {
        let [word, ..] = self.words(offset);
        word
    }

    /// `tl.rand4x`: four uniform numbers, from 0 to less than 1.
    #[must_use]
    pub const fn uniforms(self, offset: u64) -> [f32; 4] {
        let [w0, w1, w2, w3] = self.words(offset);
        [fold(w0), fold(w1), fold(w2), fold(w3)]
    }

    /// `tl.rand`: a uniform number, from 0 to less than 1.
    #[must_use]
    pub const fn uniform(self, offset: u64) -> f32 {
        fold(self.word(offset))
    }

    /// The words for which `tl.rand` is greater than f32(p): what dropout keeps.
    ///
    /// # Errors
    ///
    /// [`Error::Probability`] if `p` is not from 0 to 1.
    pub fn threshold(p: f64) -> Result<Threshold, Error> {
        Threshold::triton(p)
    }
}

/// A uniform number from a word.
const fn fold(word: u32) -> f32 {
    uniform(if word >> 31 == 0 { word } else { !word })
}

/// A uniform number from a word below 2^31. The factor is the largest with which all are below 1.
#[expect(clippy::cast_precision_loss, reason = "that is how the numbers are defined")]
pub(super) const fn uniform(m: u32) -> f32 {
    m as f32 * f32::from_bits(0x2FFF_FFFF)
}
