//! cuRAND's Philox generators.

use super::philox::philox4x32;
use crate::words::{pair, pick};

/// cuRAND's device API: what `curand_init(seed, subsequence, offset, &state)` with
/// `curandStatePhilox4_32_10_t` makes `curand(&state)` and `curand_uniform(&state)` return, one after
/// another.
///
/// ```text
/// output k = word (offset + k) mod 4 of block (offset + k) / 4
/// block b  = Philox4x32-10(counter [b low, b high, subsequence low, subsequence high],
///                          key [seed low, seed high])
/// uniform  = f32(word)·2^-32 + 2^-33
/// ```
///
/// `curand4` and `curand_uniform4` return four outputs at once. The words are those of
/// [`Philox`](crate::Philox) with the subsequence as its stream, if that is below 2^62.
///
/// # Examples
///
/// ```
/// use evenkeel::stream::CurandDevice;
/// let curand = CurandDevice::new(1234, 0, 0);
/// assert_eq!(curand.word(0), 0x2090_B348);
/// assert!(curand.uniform(0) > 0.127 && curand.uniform(0) < 0.128);
/// ```
///
/// # References
///
/// cuRAND, `curand_kernel.h`, `curand_philox4x32_x.h` and `curand_uniform.h`; compiled for the host
/// and run, 10.3.10.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CurandDevice {
    seed: u64,
    subsequence: u64,
    offset: u64,
}

impl CurandDevice {
    /// The arguments of `curand_init`.
    #[must_use]
    pub const fn new(seed: u64, subsequence: u64, offset: u64) -> Self {
        Self { seed, subsequence, offset }
    }

    /// Output number `index`, from 0.
    #[must_use]
    #[inline]
    pub const fn word(self, index: u64) -> u32 {
        // The sum may have 65 bits.
        let lane = self.offset % 4 + index % 4;
        let block = self.offset / 4 + index / 4 + lane / 4;
        pick(block_of(self.seed, self.subsequence, block), lane)
    }

    /// Uniform number `index`, from greater than 0 to 1.
    #[must_use]
    pub const fn uniform(self, index: u64) -> f32 {
        uniform(self.word(index))
    }
}

/// cuRAND's host API: what `curandGenerate` writes for `CURAND_RNG_PSEUDO_PHILOX4_32_10` in the default
/// ordering, from the first number on.
///
/// The numbers are those of 65,536 subsequences, four of each in turn:
///
/// ```text
/// number i = word i mod 4 of block i / 2^18 of subsequence (i / 4) mod 2^16
/// ```
///
/// # Examples
///
/// ```
/// use evenkeel::stream::CurandHost;
/// let curand = CurandHost::new(1234);
/// assert_eq!(curand.word(0), 0x2090_B348);
/// assert_eq!(curand.word(4), 0xD115_A128); // the first word of subsequence 1
/// ```
///
/// # References
///
/// cuRAND, the library, run with `curandCreateGeneratorHost`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CurandHost {
    seed: u64,
}

impl CurandHost {
    /// The generator of a seed (`curandSetPseudoRandomGeneratorSeed`).
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// Number `index`, from 0.
    #[must_use]
    pub const fn word(self, index: u64) -> u32 {
        pick(block_of(self.seed, (index / 4) % (1 << 16), index >> 18), index)
    }
}

/// A block of a subsequence.
#[inline]
const fn block_of(seed: u64, subsequence: u64, block: u64) -> [u32; 4] {
    let ([c0, c1], [c2, c3]) = (pair(block), pair(subsequence));
    philox4x32::<10>([c0, c1, c2, c3], pair(seed))
}

/// A uniform number from a word. Fused or not, the sum is rounded once: the product is exact.
#[expect(clippy::cast_precision_loss, reason = "that is how the numbers are defined")]
pub(super) const fn uniform(word: u32) -> f32 {
    const STEP: f32 = 1.0 / 4_294_967_296.0;
    word as f32 * STEP + STEP / 2.0
}
