//! Sections 13 and 18: which elements are dropped, and the values of the others.

use super::philox::{Domain, Stream};

const ONE: u64 = 1 << 40;

/// T = p·2^40 rounded half up. The product is exact: it only changes the exponent.
pub fn threshold(p: f64) -> u64 {
    let exact = p * ONE as f64;
    let below = exact.floor();
    let half_or_more = exact - below >= 0.5;
    below as u64 + u64::from(half_or_more)
}

pub fn keep(threshold: u64, key: Stream, i: u64) -> bool {
    let words = key.block(Domain::Words, i / 16);
    let word = words[(i % 16 / 4) as usize];
    let byte = u64::from((word >> (8 * (i % 4))) & 255);
    let high = threshold >> 32;
    if byte != high {
        return byte > high;
    }
    let r = u64::from(key.word(Domain::Refinement, i));
    r >= threshold % (1 << 32)
}

/// The scale of kept values: f32(2^40 / (2^40 − T)).
pub fn inverted_scale(threshold: u64) -> f32 {
    if threshold == ONE { 0.0 } else { (ONE as f64 / (ONE - threshold) as f64) as f32 }
}

/// Inference under `Scaling::AtInference`. Where all is dropped nothing is multiplied: a NaN gives
/// +0.0 too.
pub fn infer(threshold: u64, x: &[f32]) -> Vec<f32> {
    let factor = ((ONE - threshold) as f64 / ONE as f64) as f32;
    let value = |&x: &f32| if threshold == ONE { 0.0 } else { x * factor };
    x.iter().map(value).collect()
}

/// Kept values times `scale`, +0.0 elsewhere. A dropped NaN is +0.0 too: nothing is multiplied.
pub fn apply(threshold: u64, scale: f32, key: Stream, offset: u64, x: &[f32]) -> Vec<f32> {
    let value = |i: usize| if keep(threshold, key, offset + i as u64) { x[i] * scale } else { 0.0 };
    (0..x.len()).map(value).collect()
}

/// Bit i mod 8 of byte i / 8 is 1 where the element is kept; bits past the end are 0.
pub fn mask(threshold: u64, key: Stream, offset: u64, len: usize) -> Vec<u8> {
    let mut mask = vec![0; len.div_ceil(8)];
    for i in 0..len {
        mask[i / 8] |= u8::from(keep(threshold, key, offset + i as u64)) << (i % 8);
    }
    mask
}

/// What alpha dropout does: factor, shift, and what dropped elements become.
pub fn alpha(threshold: u64) -> [f32; 3] {
    const SATURATION: f64 = 1.7580993408473766;
    if threshold == ONE {
        return [0.0; 3];
    }
    let drop = threshold as f64 / ONE as f64;
    let keep = (ONE - threshold) as f64 / ONE as f64;
    let a = 1.0 / (keep * (1.0 + drop * (SATURATION * SATURATION))).sqrt();
    let b = a * SATURATION * drop;
    let shift = if threshold == 0 { -0.0 } else { b as f32 };
    [a as f32, shift, (-(a * SATURATION * keep)) as f32]
}

/// One value after its decision; everything is zero where all is dropped.
pub fn alpha_value(threshold: u64, keep: bool, x: f32) -> f32 {
    let [factor, shift, dropped] = alpha(threshold);
    if threshold == ONE {
        0.0
    } else if keep {
        x * factor + shift
    } else {
        dropped
    }
}
