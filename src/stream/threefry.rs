//! Threefry, which needs no multiplication: the block functions, of any number of rounds.
//!
//! A round adds, rotates and xors; after every fourth, words of the key are added.
//!
//! # References
//!
//! J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw, "Parallel random numbers: as easy as 1, 2, 3",
//! SC 2011, section 3.3; Random123 1.14.0, `threefry.h`.

/// Writes both block functions for one width of words.
macro_rules! threefry {
    (
        $word:ty, $mix:ident, $parity:expr,
        $(#[$two_doc:meta])* $two:ident, $two_rotations:expr,
        $(#[$four_doc:meta])* $four:ident, $four_rotations:expr
    ) => {
        $(#[$two_doc])*
        #[must_use]
        pub const fn $two<const ROUNDS: usize>(counter: [$word; 2], key: [$word; 2]) -> [$word; 2] {
            let [mut k0, mut k1] = key;
            let mut k2 = $parity ^ k0 ^ k1;
            let [x0, x1] = counter;
            let (mut x0, mut x1) = (x0.wrapping_add(k0), x1.wrapping_add(k1));
            let mut round = 0;
            let mut injection = 0;
            while round < ROUNDS {
                (x0, x1) = $mix(x0, x1, cycle($two_rotations, round));
                round += 1;
                if round % 4 == 0 {
                    injection += 1;
                    (k0, k1, k2) = (k1, k2, k0);
                    x0 = x0.wrapping_add(k0);
                    x1 = x1.wrapping_add(k1).wrapping_add(injection);
                }
            }
            [x0, x1]
        }

        $(#[$four_doc])*
        #[must_use]
        pub const fn $four<const ROUNDS: usize>(counter: [$word; 4], key: [$word; 4]) -> [$word; 4] {
            let [mut k0, mut k1, mut k2, mut k3] = key;
            let mut k4 = $parity ^ k0 ^ k1 ^ k2 ^ k3;
            let [x0, x1, x2, x3] = counter;
            let (mut x0, mut x1) = (x0.wrapping_add(k0), x1.wrapping_add(k1));
            let (mut x2, mut x3) = (x2.wrapping_add(k2), x3.wrapping_add(k3));
            let mut round = 0;
            let mut injection = 0;
            while round < ROUNDS {
                let [first, second] = cycle($four_rotations, round);
                if round % 2 == 0 {
                    (x0, x1) = $mix(x0, x1, first);
                    (x2, x3) = $mix(x2, x3, second);
                } else {
                    (x0, x3) = $mix(x0, x3, first);
                    (x2, x1) = $mix(x2, x1, second);
                }
                round += 1;
                if round % 4 == 0 {
                    injection += 1;
                    (k0, k1, k2, k3, k4) = (k1, k2, k3, k4, k0);
                    x0 = x0.wrapping_add(k0);
                    x1 = x1.wrapping_add(k1);
                    x2 = x2.wrapping_add(k2);
                    x3 = x3.wrapping_add(k3).wrapping_add(injection);
                }
            }
            [x0, x1, x2, x3]
        }

        /// A round of two words.
        const fn $mix(a: $word, b: $word, rotation: u32) -> ($word, $word) {
            let sum = a.wrapping_add(b);
            (sum, b.rotate_left(rotation) ^ sum)
        }
    };
}

/// The rotation of a round: they repeat after eight.
const fn cycle<T: Copy>(rotations: [T; 8], round: usize) -> T {
    let [r0, r1, r2, r3, r4, r5, r6, r7] = rotations;
    match round % 8 {
        0 => r0,
        1 => r1,
        2 => r2,
        3 => r3,
        4 => r4,
        5 => r5,
        6 => r6,
        _ => r7,
    }
}

threefry!(
    u32, mix32, 0x1BD1_1BDA,
    /// Computes one block of Threefry2x32: two words from a counter and a key of two words each.
    ///
    /// With 20 rounds it is what JAX is built on; 13 is the least that Random123 trusts.
    ///
    /// # Examples
    ///
    /// ```
    /// // A known answer of Random123.
    /// let words = evenkeel::stream::threefry::threefry2x32::<20>([0; 2], [0; 2]);
    /// assert_eq!(words, [0x6B20_0159, 0x99BA_4EFE]);
    /// ```
    threefry2x32, [13, 15, 26, 6, 17, 29, 16, 24],
    /// Computes one block of Threefry4x32: four words from a counter and a key of four words each.
    ///
    /// # Examples
    ///
    /// ```
    /// // A known answer of Random123.
    /// let words = evenkeel::stream::threefry::threefry4x32::<20>([0; 4], [0; 4]);
    /// assert_eq!(words, [0x9C6C_A96A, 0xE17E_AE66, 0xFC10_ECD4, 0x5256_A7D8]);
    /// ```
    threefry4x32,
    [[10, 26], [11, 21], [13, 27], [23, 5], [6, 20], [17, 11], [25, 10], [18, 20]]
);

threefry!(
    u64, mix64, 0x1BD1_1BDA_A9FC_1A22,
    /// Computes one block of Threefry2x64: two words from a counter and a key of two words each.
    ///
    /// # Examples
    ///
    /// ```
    /// // A known answer of Random123.
    /// let words = evenkeel::stream::threefry::threefry2x64::<20>([0; 2], [0; 2]);
    /// assert_eq!(words, [0xC2B6_E3A8_C2C6_9865, 0x6F81_ED42_F350_084D]);
    /// ```
    threefry2x64, [16, 42, 12, 31, 16, 32, 24, 21],
    /// Computes one block of Threefry4x64: four words from a counter and a key of four words each.
    ///
    /// # Examples
    ///
    /// ```
    /// // A known answer of Random123.
    /// let [first, ..] = evenkeel::stream::threefry::threefry4x64::<20>([0; 4], [0; 4]);
    /// assert_eq!(first, 0x0921_8EBD_E6C8_5537);
    /// ```
    threefry4x64,
    [[14, 16], [52, 57], [23, 40], [5, 37], [25, 33], [46, 12], [58, 22], [32, 32]]
);
