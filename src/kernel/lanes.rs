//! Sixteen lanes of f32 or of f64: the two arithmetics that a kernel is written for once.

use core::ops::{Add, Div, Mul, Sub};
use fearless_simd::{MaskNarrow as _, MaskWiden as _, SimdNarrow as _, SimdWiden as _};
use fearless_simd::{Select as _, Simd, SimdBase as _, SimdFloat as _, SimdFrom as _};
use fearless_simd::{SimdMask as _, SimdSplit as _, f32x16, f64x8, mask32x16, mask64x8};

/// The number of lanes of every kernel on every target.
pub(crate) const LANES: usize = 16;

/// A number or a vector of numbers, to write formulas once for one reduction and for sixteen.
pub(crate) trait Value:
    Copy + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self>
{
    /// The type of one number.
    type Scalar: Real;
    /// One decision a number.
    type Mask: Copy;

    /// The same number everywhere, in the shape of `self`.
    fn all(self, value: Self::Scalar) -> Self;
    /// The correctly rounded square root.
    fn root(self) -> Self;
    /// Where `self` is greater than `other`; false for NaN.
    fn greater(self, other: Self) -> Self::Mask;
    /// Where `self` equals `other`; false for NaN.
    fn equal(self, other: Self) -> Self::Mask;
    /// Whether some decision is true.
    fn any(mask: Self::Mask) -> bool;
    /// `yes` where the mask is true, `no` elsewhere.
    fn select(mask: Self::Mask, yes: Self, no: Self) -> Self;
}

/// f32 and f64.
pub(crate) trait Real: Value<Scalar = Self, Mask = bool> + PartialOrd {
    const ZERO: Self;
    const HALF: Self;
    /// The exact value of a small number of elements.
    fn count(n: usize) -> Self;
}

macro_rules! impl_real {
    ($real:ty, $sqrt:path) => {
        impl Value for $real {
            type Scalar = Self;
            type Mask = bool;

            #[inline(always)]
            fn all(self, value: Self) -> Self {
                value
            }

            #[inline(always)]
            fn root(self) -> Self {
                #[cfg(feature = "std")]
                return self.sqrt();
                #[cfg(not(feature = "std"))]
                return $sqrt(self);
            }

            #[inline(always)]
            fn greater(self, other: Self) -> bool {
                self > other
            }

            #[inline(always)]
            fn equal(self, other: Self) -> bool {
                self == other
            }

            #[inline(always)]
            fn any(mask: bool) -> bool {
                mask
            }

            #[inline(always)]
            fn select(mask: bool, yes: Self, no: Self) -> Self {
                if mask { yes } else { no }
            }
        }

        impl Real for $real {
            const ZERO: Self = 0.0;
            const HALF: Self = 0.5;

            #[inline(always)]
            #[expect(clippy::cast_precision_loss, reason = "rounding is specified")]
            fn count(n: usize) -> Self {
                n as Self
            }
        }
    };
}
impl_real!(f32, libm::sqrtf);
impl_real!(f64, libm::sqrt);

/// Sixteen lanes.
pub(crate) trait Lanes<S: Simd>: Value {
    /// One number in every lane.
    fn filled(simd: S, value: Self::Scalar) -> Self;
    /// Sixteen elements, widened where the lanes are wider.
    fn load(simd: S, x: &[f32; LANES]) -> Self;
    /// Sixteen numbers.
    fn from_array(simd: S, x: [Self::Scalar; LANES]) -> Self;
    /// Sixteen numbers.
    fn values(self) -> [Self::Scalar; LANES];
    /// The lanes of the mask; +0.0 in the others.
    fn keep(self, mask: mask32x16<S>) -> Self;
    /// A decision a lane, whatever the width of the lanes.
    fn lane_mask(mask: Self::Mask) -> mask32x16<S>;
    /// The sum of all lanes, upper half onto lower half.
    fn fold(self) -> Self::Scalar;
    /// Rounded to f32, to nearest even.
    fn narrow(self) -> f32x16<S>;
}

impl<S: Simd> Value for f32x16<S> {
    type Scalar = f32;
    type Mask = mask32x16<S>;

    #[inline(always)]
    fn all(self, value: f32) -> Self {
        Self::simd_from(self.simd, value)
    }

    #[inline(always)]
    fn root(self) -> Self {
        self.sqrt()
    }

    #[inline(always)]
    fn greater(self, other: Self) -> Self::Mask {
        self.simd_gt(other)
    }

    #[inline(always)]
    fn equal(self, other: Self) -> Self::Mask {
        self.simd_eq(other)
    }

    #[inline(always)]
    fn any(mask: Self::Mask) -> bool {
        mask.any_true()
    }

    #[inline(always)]
    fn select(mask: Self::Mask, yes: Self, no: Self) -> Self {
        mask.select(yes, no)
    }
}

impl<S: Simd> Lanes<S> for f32x16<S> {
    #[inline(always)]
    fn filled(simd: S, value: f32) -> Self {
        Self::simd_from(simd, value)
    }

    #[inline(always)]
    fn load(simd: S, x: &[f32; LANES]) -> Self {
        Self::load_array_ref(simd, x)
    }

    #[inline(always)]
    fn from_array(simd: S, x: [f32; LANES]) -> Self {
        Self::load_array(simd, x)
    }

    #[inline(always)]
    fn values(self) -> [f32; LANES] {
        *self
    }

    #[inline(always)]
    fn keep(self, mask: mask32x16<S>) -> Self {
        mask.select(self, self.all(0.0))
    }

    #[inline(always)]
    fn lane_mask(mask: Self::Mask) -> mask32x16<S> {
        mask
    }

    #[inline(always)]
    fn fold(self) -> f32 {
        let (low, high) = self.split();
        let (low, high) = (low + high).split();
        let [a, b, c, d] = (low + high).to_array();
        (a + c) + (b + d)
    }

    #[inline(always)]
    fn narrow(self) -> Self {
        self
    }
}

/// Sixteen lanes of f64, as two vectors: for blocks whose squares do not fit f32.
#[derive(Clone, Copy)]
pub(crate) struct Wide<S: Simd> {
    low: f64x8<S>,
    high: f64x8<S>,
}

impl<S: Simd> Wide<S> {
    /// A mask of lanes, for selecting.
    #[inline(always)]
    pub(crate) fn mask(lanes: mask32x16<S>) -> <Self as Value>::Mask {
        lanes.widen()
    }
}

/// Applies a vector operation to both halves.
macro_rules! impl_wide_operator {
    ($operator:ident, $method:ident) => {
        impl<S: Simd> $operator for Wide<S> {
            type Output = Self;

            #[inline(always)]
            fn $method(self, other: Self) -> Self {
                Self { low: self.low.$method(other.low), high: self.high.$method(other.high) }
            }
        }
    };
}
impl_wide_operator!(Add, add);
impl_wide_operator!(Sub, sub);
impl_wide_operator!(Mul, mul);
impl_wide_operator!(Div, div);

impl<S: Simd> Value for Wide<S> {
    type Scalar = f64;
    type Mask = (mask64x8<S>, mask64x8<S>);

    #[inline(always)]
    fn all(self, value: f64) -> Self {
        Self::filled(self.low.simd, value)
    }

    #[inline(always)]
    fn root(self) -> Self {
        Self { low: self.low.sqrt(), high: self.high.sqrt() }
    }

    #[inline(always)]
    fn greater(self, other: Self) -> Self::Mask {
        (self.low.simd_gt(other.low), self.high.simd_gt(other.high))
    }

    #[inline(always)]
    fn equal(self, other: Self) -> Self::Mask {
        (self.low.simd_eq(other.low), self.high.simd_eq(other.high))
    }

    #[inline(always)]
    fn any(mask: Self::Mask) -> bool {
        mask.0.any_true() || mask.1.any_true()
    }

    #[inline(always)]
    fn select(mask: Self::Mask, yes: Self, no: Self) -> Self {
        Self { low: mask.0.select(yes.low, no.low), high: mask.1.select(yes.high, no.high) }
    }
}

impl<S: Simd> Lanes<S> for Wide<S> {
    #[inline(always)]
    fn filled(simd: S, value: f64) -> Self {
        let half = f64x8::simd_from(simd, value);
        Self { low: half, high: half }
    }

    #[inline(always)]
    fn load(simd: S, x: &[f32; LANES]) -> Self {
        let (low, high) = f32x16::load_array_ref(simd, x).widen();
        Self { low, high }
    }

    #[inline(always)]
    fn from_array(simd: S, x: [f64; LANES]) -> Self {
        let [a0, a1, a2, a3, a4, a5, a6, a7, b0, b1, b2, b3, b4, b5, b6, b7] = x;
        Self {
            low: f64x8::load_array(simd, [a0, a1, a2, a3, a4, a5, a6, a7]),
            high: f64x8::load_array(simd, [b0, b1, b2, b3, b4, b5, b6, b7]),
        }
    }

    #[inline(always)]
    fn values(self) -> [f64; LANES] {
        let [a0, a1, a2, a3, a4, a5, a6, a7] = *self.low;
        let [b0, b1, b2, b3, b4, b5, b6, b7] = *self.high;
        [a0, a1, a2, a3, a4, a5, a6, a7, b0, b1, b2, b3, b4, b5, b6, b7]
    }

    #[inline(always)]
    fn keep(self, mask: mask32x16<S>) -> Self {
        Self::select(mask.widen(), self, self.all(0.0))
    }

    #[inline(always)]
    fn lane_mask(mask: Self::Mask) -> mask32x16<S> {
        mask.0.narrow(mask.1)
    }

    #[inline(always)]
    fn fold(self) -> f64 {
        let (low, high) = (self.low + self.high).split();
        let [a, b, c, d] = (low + high).to_array();
        (a + c) + (b + d)
    }

    #[inline(always)]
    fn narrow(self) -> f32x16<S> {
        self.low.narrow(self.high)
    }
}

/// Sixteen numbers widened.
#[inline(always)]
pub(crate) fn widened<S: Simd>(simd: S, x: f32x16<S>) -> Wide<S> {
    Wide::load(simd, &x)
}

/// A mask of the first `n` lanes.
#[inline(always)]
pub(crate) fn first_lanes<S: Simd>(simd: S, n: usize) -> mask32x16<S> {
    let bits = if n < LANES { (1_u64 << n) - 1 } else { u64::MAX };
    mask32x16::from_bitmask(simd, bits)
}

/// The first sixteen elements of a slice, the missing ones zero.
#[inline(always)]
pub(crate) fn padded(x: &[f32]) -> [f32; LANES] {
    let mut pad = [0.0; LANES];
    for (slot, value) in pad.iter_mut().zip(x) {
        *slot = *value;
    }
    pad
}
