//! NumPy's `Philox`.

use super::philox::philox4x64;
use crate::words::{pair, pick};

/// NumPy's `numpy.random.Philox`: Philox4x64-10, whose counter is incremented *before* each block.
///
/// ```text
/// word i     = word i mod 4 of Philox4x64-10(counter + 1 + i / 4, key)
/// f64        = (word / 2^11)·2^-53
/// 32 bits i  = the low, then the high half of word i / 2
/// f32        = (32 bits / 2^8)·2^-24
/// ```
///
/// `Philox(seed)` without `key` makes a key with NumPy's `SeedSequence`, which is not here: read it
/// from `bit_generator.state["state"]["key"]`.
///
/// # Examples
///
/// ```
/// use evenkeel::stream::NumPy;
/// // numpy.random.Philox(key=0).random_raw(1), Generator(Philox(key=0)).random()
/// let philox = NumPy::new([0, 0], [0; 4]);
/// assert_eq!(philox.word(0), 0x02F4_BA64_08E4_D89B);
/// assert_eq!(philox.uniform(0), 0.011_546_754_286_331_562);
/// ```
///
/// # References
///
/// NumPy, `numpy/random/src/philox/philox.h`; run with 2.4.6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NumPy {
    key: [u64; 2],
    counter: [u64; 4],
}

impl NumPy {
    /// `Philox(key=…, counter=…)`, both with their lowest word first.
    #[must_use]
    pub const fn new(key: [u64; 2], counter: [u64; 4]) -> Self {
        Self { key, counter }
    }

    /// Word `index` of `random_raw`.
    #[must_use]
    pub const fn word(self, index: u64) -> u64 {
        let [c0, c1, c2, c3] = self.counter;
        let (c0, carry) = c0.overflowing_add(index / 4 + 1);
        let (c1, carry) = c1.overflowing_add(carry as u64);
        let (c2, carry) = c2.overflowing_add(carry as u64);
        let c3 = c3.wrapping_add(carry as u64);
        pick(philox4x64::<10>([c0, c1, c2, c3], self.key), index)
    }

    /// Number `index` of `Generator.random(dtype=float64)`, from 0 to less than 1.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    pub const fn uniform(self, index: u64) -> f64 {
        (self.word(index) >> 11) as f64 * (1.0 / 9_007_199_254_740_992.0)
    }

    /// Number `index` of those of 32 bits, of which a word is two.
    #[must_use]
    pub const fn half_word(self, index: u64) -> u32 {
        let [low, high] = pair(self.word(index / 2));
        if index.is_multiple_of(2) { low } else { high }
    }

    /// Number `index` of `Generator.random(dtype=float32)`, from 0 to less than 1.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "24 bits fit")]
    pub const fn half_uniform(self, index: u64) -> f32 {
        (self.half_word(index) >> 8) as f32 * (1.0 / 16_777_216.0)
    }
}
