//! Section 1: the two number types, with the only operations that the contract uses.

use std::ops::{Add, Div, Mul, Sub};

/// f32 or f64: rules that hold "in f32" and again "with f64 in every place" are written once.
pub trait Real:
    Copy
    + PartialOrd
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
{
    const ZERO: Self;
    const HALF: Self;

    fn from_f32(value: f32) -> Self;
    /// Exact where it fits, rounded to nearest even beyond.
    fn from_count(count: u64) -> Self;
    fn to_f32(self) -> f32;
    fn finite(self) -> bool;
}

impl Real for f32 {
    const ZERO: Self = 0.0;
    const HALF: Self = 0.5;

    fn from_f32(value: f32) -> Self {
        value
    }

    fn from_count(count: u64) -> Self {
        count as f32
    }

    fn to_f32(self) -> f32 {
        self
    }

    fn finite(self) -> bool {
        self.is_finite()
    }
}

impl Real for f64 {
    const ZERO: Self = 0.0;
    const HALF: Self = 0.5;

    fn from_f32(value: f32) -> Self {
        Self::from(value)
    }

    fn from_count(count: u64) -> Self {
        count as f64
    }

    fn to_f32(self) -> f32 {
        self as f32
    }

    fn finite(self) -> bool {
        self.is_finite()
    }
}

/// rstd64 = 1 / sqrt(variance + eps), and 0 where the sum is exactly zero (section 6).
pub fn reciprocal_root(variance: f64, eps: f64) -> f64 {
    let sum = variance + eps;
    if sum == 0.0 { 0.0 } else { 1.0 / sum.sqrt() }
}

/// "A value above the largest finite f32 becomes that number."
pub fn saturate(value: f32) -> f32 {
    if value > f32::MAX { f32::MAX } else { value }
}
