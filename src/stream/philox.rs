//! Philox, a block cipher made weak enough to be fast: the block functions, of any number of rounds.
//!
//! A round multiplies; the key grows by a constant between rounds. Random123 trusts 10 rounds of each
//! of these widths, and so do all systems here; fewer are for those who need the bits of a system that
//! was told to use fewer.
//!
//! # References
//!
//! J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw, "Parallel random numbers: as easy as 1, 2, 3",
//! SC 2011, section 3.2; Random123 1.14.0, `philox.h`.

/// Writes both block functions for one width of words.
macro_rules! philox {
    (
        $word:ty, $cut:ident, $round:ident, $grown:ident,
        $(#[$two_doc:meta])* $two:ident, $two_multiplier:expr,
        $(#[$four_doc:meta])* $four:ident, $four_multipliers:expr, $weyl:expr
    ) => {
        $(#[$two_doc])*
        #[must_use]
        pub const fn $two<const ROUNDS: usize>(counter: [$word; 2], key: $word) -> [$word; 2] {
            let [mut c0, mut c1] = counter;
            let mut k = key;
            let mut round = 0;
            while round < ROUNDS {
                let (high, low) = $cut($two_multiplier, c0);
                (c0, c1) = (high ^ c1 ^ k, low);
                k = k.wrapping_add($weyl[0]);
                round += 1;
            }
            [c0, c1]
        }

        $(#[$four_doc])*
        #[must_use]
        pub const fn $four<const ROUNDS: usize>(
            counter: [$word; 4],
            key: [$word; 2],
        ) -> [$word; 4] {
            let (mut c, mut k) = (counter, key);
            let mut rounds = ROUNDS;
            // Two at a time: then no word has to move to where the next round wants it.
            while rounds >= 2 {
                c = $round(c, k);
                k = $grown(k);
                c = $round(c, k);
                k = $grown(k);
                rounds -= 2;
            }
            if rounds == 1 { $round(c, k) } else { c }
        }

        /// One round of four words.
        #[inline(always)]
        const fn $round([c0, c1, c2, c3]: [$word; 4], [k0, k1]: [$word; 2]) -> [$word; 4] {
            let (high0, low0) = $cut($four_multipliers[0], c0);
            let (high1, low1) = $cut($four_multipliers[1], c2);
            [high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0]
        }

        /// The key of the next round.
        #[inline(always)]
        const fn $grown([k0, k1]: [$word; 2]) -> [$word; 2] {
            [k0.wrapping_add($weyl[0]), k1.wrapping_add($weyl[1])]
        }
    };
}

/// The high and the low word of a product.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "cuts the product in two on purpose")]
const fn multiply32(a: u32, b: u32) -> (u32, u32) {
    if HAS_LONG_MULTIPLY {
        // Cannot overflow: the product of two words fits two words.
        let product = (a as u64).wrapping_mul(b as u64);
        ((product >> 32) as u32, product as u32)
    } else {
        (high_by_halves(a, b), a.wrapping_mul(b))
    }
}

/// Whether the machine multiplies two words to a product of two. Of the small Arm cores those do not that
/// have no atomic read-modify-write either: Cortex-M0, M0+ and M1. There a product of u64 is a call that
/// takes three times as long as [`high_by_halves`].
const HAS_LONG_MULTIPLY: bool = !cfg!(all(target_arch = "arm", not(target_has_atomic = "32")));

/// The high word of a product, from four products of half words.
#[inline(always)]
const fn high_by_halves(a: u32, b: u32) -> u32 {
    let ((a1, a0), (b1, b0)) = ((a >> 16, a & 0xFFFF), (b >> 16, b & 0xFFFF));
    let (low, left, right) = (a0.wrapping_mul(b0), a1.wrapping_mul(b0), a0.wrapping_mul(b1));
    // Three half words: cannot overflow, nor can the sum below, which is less than 2^32.
    let middle = (low >> 16).wrapping_add(left & 0xFFFF).wrapping_add(right & 0xFFFF);
    let carried = (left >> 16).wrapping_add(right >> 16).wrapping_add(middle >> 16);
    a1.wrapping_mul(b1).wrapping_add(carried)
}

/// Checked at compilation, since a machine with a long multiply uses the halves nowhere.
#[expect(clippy::indexing_slicing, reason = "at compilation")]
const _: () = {
    let words = [0, 1, 0xFFFF, 0x1_0000, 0x8000_0001, 0xD251_1F53, 0xFFFF_0000, u32::MAX];
    let mut pair = 0;
    while pair < 64 {
        let (a, b) = (words[pair / 8], words[pair % 8]);
        assert!(high_by_halves(a, b) as u64 == (a as u64 * b as u64) >> 32);
        pair += 1;
    }
};

/// The high and the low word of a product.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "cuts the product in two on purpose")]
const fn multiply64(a: u64, b: u64) -> (u64, u64) {
    // Cannot overflow: the product of two words fits two words.
    let product = (a as u128).wrapping_mul(b as u128);
    ((product >> 64) as u64, product as u64)
}

philox!(
    u32, multiply32, round32, grown32,
    /// Computes one block of Philox2x32: two words from a counter of two words and a key of one.
    ///
    /// # Examples
    ///
    /// ```
    /// // A known answer of Random123.
    /// let words = evenkeel::stream::philox::philox2x32::<10>([0; 2], 0);
    /// assert_eq!(words, [0xFF1D_AE59, 0x6CD1_0DF2]);
    /// ```
    philox2x32, 0xD256_D193,
    /// Computes one block of Philox4x32: four words from a counter of four words and a key of two.
    ///
    /// With 10 rounds it is [`evenkeel::philox::philox4x32`](crate::philox::philox4x32).
    ///
    /// # Examples
    ///
    /// ```
    /// // A known answer of Random123.
    /// let words = evenkeel::stream::philox::philox4x32::<7>([0; 4], [0; 2]);
    /// assert_eq!(words, [0x5F6F_B709, 0x0D89_3F64, 0x4F12_1F81, 0x4F73_0A48]);
    /// ```
    philox4x32, crate::philox::MULTIPLIERS, crate::philox::WEYL
);

/// The multipliers of Philox4x64.
const MULTIPLIERS64: [u64; 2] = [0xD2E7_470E_E14C_6C93, 0xCA5A_8263_9512_1157];
/// The golden ratio and √3 − 1, in 64 bits.
const WEYL64: [u64; 2] = [0x9E37_79B9_7F4A_7C15, 0xBB67_AE85_84CA_A73B];

philox!(
    u64, multiply64, round64, grown64,
    /// Computes one block of Philox2x64: two words from a counter of two words and a key of one.
    ///
    /// # Examples
    ///
    /// ```
    /// // A known answer of Random123.
    /// let words = evenkeel::stream::philox::philox2x64::<10>([0; 2], 0);
    /// assert_eq!(words, [0xCA00_A045_9843_D731, 0x66C2_4222_C9A8_45B5]);
    /// ```
    philox2x64, 0xD2B7_4407_B1CE_6E93,
    /// Computes one block of Philox4x64: four words from a counter of four words and a key of two.
    ///
    /// # Examples
    ///
    /// ```
    /// // The first block of NumPy's `Philox(key=0)`, whose counter starts with 1.
    /// let [first, ..] = evenkeel::stream::philox::philox4x64::<10>([1, 0, 0, 0], [0; 2]);
    /// assert_eq!(first, 0x02F4_BA64_08E4_D89B);
    /// ```
    philox4x64, MULTIPLIERS64, WEYL64
);
