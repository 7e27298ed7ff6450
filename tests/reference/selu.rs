//! Section 19: SELU and its slope, with the e^x that they take.

const LAMBDA: u32 = 0x3F86_7D5F;
pub const LAMBDA_ALPHA: f32 = f32::from_bits(0x3FE1_0966);
const LOG2_E: u32 = 0x3FB8_AA3B;
const LN_2: u32 = 0x3F31_7218;
const LN_2_HIGH: u32 = 0x3F31_7200;
const LN_2_LOW: u32 = 0x35BF_BE8E;
const Q: [u32; 5] = [0x3EFF_FFFF, 0x3E2A_AA55, 0x3D2A_ABCE, 0x3C09_1630, 0x3AB5_5C62];

/// P(r).
fn polynomial(r: f32) -> f32 {
    let [q0, q1, q2, q3, q4] = Q.map(f32::from_bits);
    let z = r * r;
    r + z * ((q0 + r * q1) + z * ((q2 + r * q3) + z * q4))
}

/// n, and S = 2^(n + k).
fn integer(x: f32, k: u16) -> (f32, f32) {
    let m = 12_582_912.0 + f32::from(127 + k);
    let t = x * f32::from_bits(LOG2_E) + m;
    (t - m, f32::from_bits(t.to_bits() << 23))
}

/// e^x − 1 for x < 0.
pub fn expm1(x: f32) -> f32 {
    let x = if x < -18.0 { -18.0 } else { x };
    let (n, s) = integer(x, 0);
    let r = x - n * f32::from_bits(LN_2);
    s * polynomial(r) + (s - 1.0)
}

/// c·e^x for x ≤ 0.
pub fn exp(c: f32, x: f32) -> f32 {
    let x = if x < -105.0 { -105.0 } else { x };
    let (n, s) = integer(x, 64);
    let r = (x - n * f32::from_bits(LN_2_HIGH)) - n * f32::from_bits(LN_2_LOW);
    ((c + c * polynomial(r)) * s) * 2.0_f32.powi(-64)
}

pub fn selu(x: f32) -> f32 {
    if x < 0.0 { LAMBDA_ALPHA * expm1(x) } else { f32::from_bits(LAMBDA) * x }
}

pub fn slope(x: f32) -> f32 {
    if x > 0.0 { f32::from_bits(LAMBDA) } else { exp(LAMBDA_ALPHA, x) }
}

pub fn forward(x: &[f32]) -> Vec<f32> {
    x.iter().map(|&x| selu(x)).collect()
}

pub fn backward(dy: &[f32], x: &[f32]) -> Vec<f32> {
    dy.iter().zip(x).map(|(dy, &x)| dy * slope(x)).collect()
}
