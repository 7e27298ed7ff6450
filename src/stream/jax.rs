//! JAX's random numbers, with its default generator, `threefry2x32`.

use super::Threshold;
use super::threefry::threefry2x32;
use crate::Error;
use crate::words::{from_mantissa, join, pair};

/// A key of JAX, and the numbers drawn from it: `jax.random.bits`, `uniform`, `bernoulli`, `fold_in`,
/// `split`, with `jax_threefry_partitionable` on (the default since JAX 0.5).
///
/// ```text
/// (a, b)  = Threefry2x32-20(counter [i high, i low], key)
/// bits    = a ^ b
/// uniform = (bits / 2^9)·2^-23
/// fold_in = Threefry2x32-20(counter [0, data], key)
/// split   = (a, b) of i, as a key
/// ```
///
/// i is the index in the array, flat in row-major order; it does not matter how large the array is.
/// Where arrays of 8 or 16 bits are asked for, JAX takes the low bits of each word.
///
/// With the option off, a number depends on the size of the array: [`JaxOriginal`].
///
/// # Examples
///
/// ```
/// use evenkeel::stream::Jax;
/// // jax.random.key(42), jax.random.bits(key, (8,)), jax.random.split(key)[1]
/// let key = Jax::new(42);
/// assert_eq!(key.words(), [0, 42]);
/// assert_eq!(key.word(0), 0x7D1C_13A2);
/// assert_eq!(key.uniform(0).to_bits(), 0x3EFA_3824);
/// assert_eq!(key.split(1), key.fold_in(1));
/// ```
///
/// # References
///
/// JAX, `jax/_src/prng.py` and `jax/_src/random.py`; run with 0.10.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Jax {
    key: [u32; 2],
}

impl Jax {
    /// `jax.random.key(seed)` where `jax_enable_x64` is off, which is the default: [0, low word].
    #[must_use]
    pub const fn new(seed: i64) -> Self {
        let [low, _] = pair(seed.cast_unsigned());
        Self { key: [0, low] }
    }

    /// `jax.random.key(seed)` where `jax_enable_x64` is on: [high word, low word].
    #[must_use]
    pub const fn with_x64(seed: i64) -> Self {
        let [low, high] = pair(seed.cast_unsigned());
        Self { key: [high, low] }
    }

    /// A key from its two words: `jax.random.wrap_key_data`.
    #[must_use]
    pub const fn from_words(words: [u32; 2]) -> Self {
        Self { key: words }
    }

    /// The two words: `jax.random.key_data`.
    #[must_use]
    pub const fn words(self) -> [u32; 2] {
        self.key
    }

    /// The words as the high and the low half of a number: the seed of the [`Key`](crate::Key) that
    /// [`Stream::Jax`](super::Stream::Jax) takes.
    #[must_use]
    pub const fn seed(self) -> u64 {
        let [high, low] = self.key;
        join([low, high])
    }

    /// `jax.random.bits`: 32 random bits.
    #[must_use]
    #[inline]
    pub const fn word(self, index: u64) -> u32 {
        let [a, b] = self.block(index);
        a ^ b
    }

    /// `jax.random.uniform`: a uniform number, from 0 to less than 1.
    #[must_use]
    pub const fn uniform(self, index: u64) -> f32 {
        uniform(self.word(index))
    }

    /// `jax.random.fold_in`: another key, from this one and a number.
    #[must_use]
    pub const fn fold_in(self, data: u32) -> Self {
        Self { key: threefry2x32::<20>([0, data], self.key) }
    }

    /// One key of `jax.random.split`, which are the same for any number of keys.
    #[must_use]
    pub const fn split(self, index: u64) -> Self {
        Self { key: self.block(index) }
    }

    /// The words for which `jax.random.bernoulli(key, f32(1 − p))` is true: what dropout keeps.
    ///
    /// # Errors
    ///
    /// [`Error::Probability`] if `p` is not from 0 to 1.
    pub const fn threshold(p: f64) -> Result<Threshold, Error> {
        Threshold::jax(p)
    }

    const fn block(self, index: u64) -> [u32; 2] {
        let [low, high] = pair(index);
        threefry2x32::<20>([high, low], self.key)
    }
}

/// An array of numbers from a key of JAX with `jax_threefry_partitionable` off.
///
/// ```text
/// half = ⌈len / 2⌉
/// (a, b) = Threefry2x32-20(counter [j, j + half], key)     0 in the place of `len`, if that is odd
/// bits = all a, then all b
/// ```
///
/// So a number depends on the size of its array. Arrays of 16 or 8 bits are an array of
/// ⌈len / 2⌉ or ⌈len / 4⌉ words, cut from the low end.
///
/// # Examples
///
/// ```
/// use evenkeel::stream::{Jax, JaxOriginal};
/// // jax.random.bits(jax.random.key(1), (8,))
/// let bits = JaxOriginal::new(Jax::new(0), 1)?;
/// assert_eq!(bits.word(0)?, 0x6B20_0159);
/// // jax.random.split(jax.random.key(1), 2)[0]
/// assert_eq!(JaxOriginal::split(Jax::new(1), 0, 2)?.words(), [0x918C_A911, 0x528C_7AEA]);
/// # Ok::<(), evenkeel::Error>(())
/// ```
///
/// # References
///
/// As for [`Jax`]; `_threefry_random_bits_original`, `threefry_2x32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct JaxOriginal {
    key: Jax,
    len: u32,
}

impl JaxOriginal {
    /// The array of `len` words of a key.
    ///
    /// # Errors
    ///
    /// [`Error::Index`] for the last element if `len` is not below 2^32: JAX puts such arrays together
    /// from several keys.
    #[expect(clippy::cast_possible_truncation, reason = "checked before")]
    pub const fn new(key: Jax, len: u64) -> Result<Self, Error> {
        if len <= MAX_LEN {
            Ok(Self::of(key, len as u32))
        } else {
            Err(Error::Index { found: len - 1, limit: MAX_LEN })
        }
    }

    pub(super) const fn of(key: Jax, len: u32) -> Self {
        Self { key, len }
    }

    /// `jax.random.bits`: 32 random bits.
    ///
    /// # Errors
    ///
    /// [`Error::Index`] if the index is not below the length.
    pub const fn word(self, index: u64) -> Result<u32, Error> {
        if index < self.len as u64 {
            Ok(self.word_within(index))
        } else {
            Err(Error::Index { found: index, limit: self.len as u64 })
        }
    }

    /// `jax.random.uniform`: a uniform number, from 0 to less than 1.
    ///
    /// # Errors
    ///
    /// [`Error::Index`] if the index is not below the length.
    pub const fn uniform(self, index: u64) -> Result<f32, Error> {
        match self.word(index) {
            Ok(word) => Ok(uniform(word)),
            Err(error) => Err(error),
        }
    }

    /// One of the `count` keys of `jax.random.split`: two words of an array of twice as many.
    ///
    /// # Errors
    ///
    /// [`Error::Index`] if `index` is not below `count`, or if 2·`count` is not below 2^32.
    pub const fn split(key: Jax, index: u64, count: u64) -> Result<Jax, Error> {
        if index >= count {
            return Err(Error::Index { found: index, limit: count });
        }
        match Self::new(key, count.saturating_mul(2)) {
            Ok(words) => {
                let (first, second) =
                    (words.word_within(2 * index), words.word_within(2 * index + 1));
                Ok(Jax::from_words([first, second]))
            }
            Err(error) => Err(error),
        }
    }

    /// A word whose index is below the length. (What others give is without meaning.)
    #[expect(clippy::cast_possible_truncation, reason = "the length fits 32 bits")]
    pub(super) const fn word_within(self, index: u64) -> u32 {
        let half = self.len.div_ceil(2);
        let index = index as u32;
        let (first, is_second) =
            if index < half { (index, false) } else { (index.wrapping_sub(half), true) };
        let second = first.wrapping_add(half);
        // The counts are padded with a zero.
        let second = if second == self.len { 0 } else { second };
        let [a, b] = threefry2x32::<20>([first, second], self.key.words());
        if is_second { b } else { a }
    }
}

/// What a length may be at most.
const MAX_LEN: u64 = u32::MAX as u64;

/// A uniform number from the upper 23 bits of a word.
const fn uniform(word: u32) -> f32 {
    from_mantissa(word >> 9)
}
