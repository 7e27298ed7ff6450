//! Numbers and their words.

/// The low and the high word of a number.
#[expect(clippy::cast_possible_truncation, reason = "cuts the number in two on purpose")]
pub(crate) const fn pair(x: u64) -> [u32; 2] {
    [x as u32, (x >> 32) as u32]
}

/// A number from its low and its high word.
pub(crate) const fn join([low, high]: [u32; 2]) -> u64 {
    (high as u64) << 32 | low as u64
}

/// Word `index` mod 4 of a block.
#[inline]
pub(crate) const fn pick<T: Copy>([w0, w1, w2, w3]: [T; 4], index: u64) -> T {
    match index % 4 {
        0 => w0,
        1 => w1,
        2 => w2,
        _ => w3,
    }
}

/// A uniform number from 23 bits: the mantissa of a number from 1 to 2, less 1.
pub(crate) const fn from_mantissa(bits: u32) -> f32 {
    f32::from_bits(bits | 0x3F80_0000) - 1.0
}
