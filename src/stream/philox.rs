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
        $word:ty, $wide:ty, $cut:ident, $round:ident, $grown:ident,
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

        /// The high and the low word of a product.
        #[expect(clippy::cast_possible_truncation, reason = "cuts the product in two on purpose")]
        const fn $cut(a: $word, b: $word) -> ($word, $word) {
            // Cannot overflow: the product of two words fits two words.
            let product = (a as $wide).wrapping_mul(b as $wide);
            ((product >> <$word>::BITS) as $word, product as $word)
        }
    };
}

philox!(
    u32, u64, multiply32, round32, grown32,
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
    u64, u128, multiply64, round64, grown64,
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
