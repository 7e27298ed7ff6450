//! Section 1: the two number types, with the only operations that the contract uses.

use std::ops::{Add, Div, Mul, Sub};

/// f32 or f64: rules that hold "in f32" and again "with f64 in every place" are written once.
pub(crate) trait Real:
    Copy
    + PartialOrd
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
{
    const ZERO: Self;
    const HALF: Self;
    const ONE: Self;

    fn from_f32(value: f32) -> Self;
    /// Exact where it fits, rounded to nearest even beyond.
    fn from_count(count: u64) -> Self;
    fn to_f32(self) -> f32;
    fn square_root(self) -> Self;
    fn finite(self) -> bool;
    fn nan(self) -> bool;
}

impl Real for f32 {
    const ZERO: Self = 0.0;
    const HALF: Self = 0.5;
    const ONE: Self = 1.0;

    fn from_f32(value: f32) -> Self {
        value
    }

    fn from_count(count: u64) -> Self {
        count as f32
    }

    fn to_f32(self) -> f32 {
        self
    }

    fn square_root(self) -> Self {
        self.sqrt()
    }

    fn finite(self) -> bool {
        self.is_finite()
    }

    fn nan(self) -> bool {
        self.is_nan()
    }
}

impl Real for f64 {
    const ZERO: Self = 0.0;
    const HALF: Self = 0.5;
    const ONE: Self = 1.0;

    fn from_f32(value: f32) -> Self {
        Self::from(value)
    }

    fn from_count(count: u64) -> Self {
        count as f64
    }

    fn to_f32(self) -> f32 {
        self as f32
    }

    fn square_root(self) -> Self {
        self.sqrt()
    }

    fn finite(self) -> bool {
        self.is_finite()
    }

    fn nan(self) -> bool {
        self.is_nan()
    }
}

/// 1 / sqrt(variance + eps), and 0 where the sum is exactly zero (section 6).
pub(crate) fn reciprocal_root<F: Real>(variance: F, eps: F) -> F {
    let sum = variance + eps;
    if sum == F::ZERO { F::ZERO } else { F::ONE / sum.square_root() }
}

/// "A value above the largest finite f32 becomes that number."
pub(crate) fn saturate(value: f32) -> f32 {
    if value > f32::MAX { f32::MAX } else { value }
}
