//! Squares: three or four squarings of a counter times a key.
//!
//! The key wants a particular form (odd, its hexadecimal digits irregular); Widynski's paper has a
//! program that makes such keys. Any key is computed here.
//!
//! # References
//!
//! B. Widynski, "Squares: a fast counter-based RNG", arXiv:2004.06278, 2020.

/// Computes 32 random bits from a counter and a key.
///
/// With y = counter·key and z = y + key (mod 2^64), x ← y and then four times x ← x² + (y, z, y, z in
/// turn), the halves of x exchanged in between; the result is the high word of the last x.
///
/// # Examples
///
/// ```
/// use evenkeel::stream::squares::squares32;
/// assert_eq!(squares32(1, 0xC8E4_FD15_4CE3_2F6D), 0x5F4F_366D);
/// ```
#[must_use]
pub const fn squares32(counter: u64, key: u64) -> u32 {
    (four_rounds(counter, key) >> 32) as u32
}

/// Computes 64 random bits from a counter and a key, with a fifth round.
///
/// # Examples
///
/// ```
/// use evenkeel::stream::squares::squares64;
/// assert_eq!(squares64(1, 0xC8E4_FD15_4CE3_2F6D), 0x5F4F_366D_B727_A9F6);
/// ```
#[must_use]
pub const fn squares64(counter: u64, key: u64) -> u64 {
    let before = four_rounds(counter, key);
    before ^ round(exchange(before), counter.wrapping_mul(key)) >> 32
}

/// The square after the fourth round, its halves in their places.
const fn four_rounds(counter: u64, key: u64) -> u64 {
    let y = counter.wrapping_mul(key);
    let z = y.wrapping_add(key);
    let first = exchange(round(y, y));
    let second = exchange(round(first, z));
    let third = exchange(round(second, y));
    round(third, z)
}

const fn round(x: u64, plus: u64) -> u64 {
    x.wrapping_mul(x).wrapping_add(plus)
}

const fn exchange(x: u64) -> u64 {
    x.rotate_left(32)
}
