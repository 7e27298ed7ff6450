//! From a probability to the words that keep.

use crate::Error;
use crate::drops::check_probability;
use crate::kernel::lanes::narrow;

/// The words that keep an element: an interval of integers, equal to the float comparison of a system.
///
/// A system makes a float of a word and compares it with a probability. All of these functions are
/// monotone up to a shift or a fold, so the words that keep are, after a shift to the left, an interval
/// (around the end if need be): one subtraction and one comparison decide, no float.
///
/// # Examples
///
/// ```
/// use evenkeel::stream::Triton;
/// let (triton, threshold) = (Triton::new(123), Triton::threshold(0.3)?);
/// for i in 0..1000 {
///     assert_eq!(threshold.keeps(triton.word(i)), triton.uniform(i) > 0.3);
/// }
/// # Ok::<(), evenkeel::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Threshold {
    /// What words are shifted to the left by.
    pub(crate) shift: u32,
    /// The first word that keeps, after the shift.
    pub(crate) first: u32,
    /// How many words behind the first keep too; nothing keeps without.
    pub(crate) more: Option<u32>,
}

impl Threshold {
    /// All words keep.
    pub(crate) const ALL: Self = Self { shift: 0, first: 0, more: Some(u32::MAX) };

    /// Words from `first` on keep, of words without their upper `shift` bits.
    #[expect(clippy::cast_possible_truncation, reason = "below 2^32 where it is used")]
    const fn from(first: u64, shift: u32) -> Self {
        let first = first << shift;
        let more = if first >> 32 == 0 { Some(!(first as u32)) } else { None };
        Self { shift, first: first as u32, more }
    }

    /// Words below `end` keep.
    #[expect(clippy::cast_possible_truncation, reason = "`end` is at most 2^32")]
    const fn below(end: u64) -> Self {
        let more = match end.checked_sub(1) {
            Some(last) => Some(last as u32),
            None => None,
        };
        Self { shift: 0, first: 0, more }
    }

    /// Whether an element with this word is kept.
    #[must_use]
    #[inline]
    pub const fn keeps(self, word: u32) -> bool {
        match self.more {
            Some(more) => (word << self.shift).wrapping_sub(self.first) <= more,
            None => false,
        }
    }

    /// Triton: f32(m)·2^-31 > f32(p), where m is the word or, from 2^31 on, its complement.
    pub(crate) fn triton(p: f64) -> Result<Self, Error> {
        let p = narrow(checked(p)?);
        let first = first(1 << 31, |m| super::triton::uniform(m) > p);
        // From m to the complement of m.
        #[expect(clippy::cast_possible_truncation, reason = "m is at most 2^31")]
        let m = first as u32;
        let more = if first < 1 << 31 { Some(u32::MAX - 2 * m) } else { None };
        Ok(Self { shift: 0, first: m, more })
    }

    /// JAX: uniform < f32(1 − p), where uniform = ⌊word / 2^9⌋·2^-23.
    pub(crate) const fn jax(p: f64) -> Result<Self, Error> {
        match checked(p) {
            Ok(p) => Ok(Self::below(ceil(narrow(1.0 - p) as f64 * TWO_23) << 9)),
            Err(error) => Err(error),
        }
    }

    /// TensorFlow: uniform >= f32(p), where uniform = (word mod 2^23)·2^-23.
    pub(crate) const fn tensorflow(p: f64) -> Result<Self, Error> {
        match checked(p) {
            Ok(p) => Ok(Self::from(ceil(narrow(p) as f64 * TWO_23), 9)),
            Err(error) => Err(error),
        }
    }

    /// oneDNN: word > ⌊4294967295·f32(p)⌋, the product in binary64.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "p is from 0 to 1")]
    pub(crate) const fn onednn(p: f64) -> Result<Self, Error> {
        match checked(p) {
            Ok(p) => Ok(Self::from((narrow(p) as f64 * 4_294_967_295.0) as u64 + 1, 0)),
            Err(error) => Err(error),
        }
    }

    /// PyTorch on CUDA: uniform < f32(1 − p), where uniform is cuRAND's.
    pub(crate) fn pytorch_cuda(p: f64) -> Result<Self, Error> {
        let keep = narrow(1.0 - checked(p)?);
        Ok(Self::below(first(1 << 32, |word| super::curand::uniform(word) >= keep)))
    }
}

/// 2^23: the denominator of uniforms made from 23 bits.
const TWO_23: f64 = 8_388_608.0;

/// A probability, checked.
const fn checked(p: f64) -> Result<f64, Error> {
    match check_probability(p) {
        Ok(()) => Ok(p),
        Err(error) => Err(error),
    }
}

/// The least integer that is not below a number, which is from 0 to 2^53.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "the number is from 0 to 2^53"
)]
const fn ceil(x: f64) -> u64 {
    let floor = x as u64;
    if (floor as f64) < x { floor + 1 } else { floor }
}

/// The first integer below `end` for which `reached` is true, or `end`. It is true from there on.
#[expect(clippy::cast_possible_truncation, reason = "the middle is below `end`, at most 2^32")]
fn first(end: u64, reached: impl Fn(u32) -> bool) -> u64 {
    let (mut low, mut high) = (0, end);
    while low < high {
        let middle = u64::midpoint(low, high);
        if reached(middle as u32) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    low
}
