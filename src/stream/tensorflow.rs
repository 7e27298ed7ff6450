//! TensorFlow's stateless random numbers, with the algorithm `philox`.

use super::Threshold;
use super::philox::philox4x32;
use crate::Error;
use crate::words::{from_mantissa, pair, pick};

/// TensorFlow's `tf.random.stateless_uniform` and what `tf.nn.experimental.stateless_dropout` decides
/// by, with `alg="philox"` (what `auto_select` chooses on CPU and GPU).
///
/// ```text
/// mix     = Philox4x32-10(counter [seed0 low, seed0 high, seed1 low, seed1 high],
///                         key [3EC8F720, 02461E29])
/// block b = Philox4x32-10(counter [b low, b high, mix2, mix3], key [mix0, mix1])
/// word i  = word i mod 4 of block i / 4
/// uniform = (word mod 2^23)·2^-23
/// ```
///
/// # Examples
///
/// ```
/// use evenkeel::stream::TensorFlow;
/// // tf.random.stateless_uniform([10], seed=[1, 2])
/// let numbers = TensorFlow::new([1, 2]);
/// assert_eq!(numbers.word(0), 0x41EC_0A2C);
/// assert_eq!(numbers.uniform(0).to_bits(), 0x3F58_1458);
/// ```
///
/// # References
///
/// TensorFlow, `tensorflow/core/kernels/stateless_random_ops.cc` (the scrambling of the seed) and
/// `tensorflow/core/lib/random/philox_random.h`; run with 2.21.0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TensorFlow {
    key: [u32; 2],
    /// The upper half of the counter.
    counter: [u32; 2],
}

impl TensorFlow {
    /// The generator of a seed of two numbers.
    #[must_use]
    pub const fn new([seed0, seed1]: [i64; 2]) -> Self {
        let [low0, high0] = pair(seed0.cast_unsigned());
        let [low1, high1] = pair(seed1.cast_unsigned());
        let [mix0, mix1, mix2, mix3] =
            philox4x32::<10>([low0, high0, low1, high1], [0x3EC8_F720, 0x0246_1E29]);
        Self { key: [mix0, mix1], counter: [mix2, mix3] }
    }

    /// One of the words that numbers are made from.
    #[must_use]
    #[inline]
    pub const fn word(self, index: u64) -> u32 {
        let [low, high] = pair(index / 4);
        let [c2, c3] = self.counter;
        pick(philox4x32::<10>([low, high, c2, c3], self.key), index)
    }

    /// `tf.random.stateless_uniform`: a uniform f32, from 0 to less than 1.
    #[must_use]
    pub const fn uniform(self, index: u64) -> f32 {
        from_mantissa(self.word(index) & 0x7F_FFFF)
    }

    /// The words whose uniform number is not below f32(p): what dropout keeps.
    ///
    /// # Errors
    ///
    /// [`Error::Probability`] if `p` is not from 0 to 1.
    pub const fn threshold(p: f64) -> Result<Threshold, Error> {
        Threshold::tensorflow(p)
    }
}
