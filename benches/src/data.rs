//! Deterministic inputs.

/// Fills `out` with values of mean 0 and variance 1, the same for the same seed.
///
/// Each is the sum of four uniform 16-bit numbers of one SplitMix64 output, shifted and scaled:
/// close enough to a normal distribution for timing (the ops' speed does not depend on the
/// values as long as they are ordinary ones), and quick for millions of elements.
pub fn fill_normal(seed: u64, out: &mut [f32]) {
    /// Standard deviation of a uniform variable of width 1, times that of summing four: 1/√3.
    const DEVIATION: f32 = 0.577_350_26;
    let mut state = seed;
    for value in out {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        let sum: f32 = (0..4).map(|part| ((z >> (16 * part)) & 0xFFFF) as f32).sum();
        *value = (sum / 65536.0 - 2.0) / DEVIATION;
    }
}

/// `len` values from [`fill_normal`].
pub fn normal(seed: u64, len: usize) -> Vec<f32> {
    let mut values = vec![0.0; len];
    fill_normal(seed, &mut values);
    values
}
