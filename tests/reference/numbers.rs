//! Section 20: numbers at an index.

use super::philox::{Domain, Stream};

pub fn word(key: Stream, i: u64) -> u32 {
    key.word(Domain::Words, i)
}

pub fn uniform(w: u32, low: f32, high: f32) -> f32 {
    let u = (w >> 8) as f32 * 2.0_f32.powi(-24);
    u * (high - low) + low
}

pub fn standard_normal(w: u32) -> f32 {
    let step = 2.0_f32.powi(-32);
    let q = ((w ^ (1 << 31)) as i32 as f32 + 0.5) * step;
    if q.abs() <= 0.425 {
        let r = 0.180625 - q * q;
        let a = ((59.109_375 * r + 159.291_14) * r + 50.434_273) * r + 3.387_132_6;
        let b = ((67.187_56 * r + 78.757_76) * r + 17.895_17) * r + 1.0;
        return q * a / b;
    }
    let t = if q < 0.0 { w } else { !w };
    let u = (t as i32 as f32 + 0.5) * step;
    let r = (0.0 - ln(u)).sqrt() - 1.6;
    let c = ((0.170_238_21 * r + 1.306_728_5) * r + 2.756_815_4) * r + 1.423_437_2;
    let d = (0.120_211_33 * r + 0.737_001_66) * r + 1.0;
    if q < 0.0 { (0.0 - c) / d } else { c / d }
}

fn ln(u: f32) -> f32 {
    let k = (u.to_bits() as i32 - 0x3F35_04F3) >> 23;
    let f = f32::from_bits((u.to_bits() as i32 - (k << 23)) as u32) - 1.0;
    let s = f / (2.0 + f);
    let z = s * s;
    let w = z * z;
    let even = w * (0.400_009_72 + w * 0.242_790_79);
    let odd = z * (0.666_666_6 + w * 0.284_987_87);
    let h = 0.5 * f * f;
    let k = k as f32;
    s * (h + (odd + even)) + k * 9.058_001e-6 - h + f + k * 0.693_138_1
}

pub fn normal(w: u32, mean: f32, deviation: f32) -> f32 {
    standard_normal(w) * deviation + mean
}
