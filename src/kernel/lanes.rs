//! What formulas are written for once: one number or sixteen ([`Unit`]), f32 or f64 ([`Precision`]).

use core::marker::PhantomData;
use core::ops::{Add, BitAnd, BitOr, Div, Mul, Not, Sub};
use fearless_simd::{Bytes as _, SimdMask as _, SimdSplit as _};
use fearless_simd::{MaskNarrow as _, MaskWiden as _, SimdNarrow as _, SimdWiden as _};
use fearless_simd::{Select as _, Simd, SimdBase as _, SimdFloat as _, SimdFrom as _};
use fearless_simd::{f32x16, f64x8, mask32x16, mask64x8, u32x16};

/// The number of lanes of every kernel on every target.
pub(crate) const LANES: usize = 16;

/// A number or a vector of numbers, to write formulas once for one reduction and for sixteen.
pub(crate) trait Value:
    Copy + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self>
{
    /// The type of one number.
    type Scalar: Real;
    /// One decision a number.
    type Mask: Decisions;

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

/// Decisions of numbers, one or sixteen.
pub(crate) trait Decisions:
    Copy + BitAnd<Output = Self> + BitOr<Output = Self> + Not<Output = Self>
{
}

impl<T: Copy + BitAnd<Output = T> + BitOr<Output = T> + Not<Output = T>> Decisions for T {}

/// f32 and f64.
pub(crate) trait Real: Value<Scalar = Self, Mask = bool> + PartialOrd {
    const ZERO: Self;
    const HALF: Self;
    /// The exact value of a small number of elements.
    fn count(n: usize) -> Self;
    /// An element.
    fn of(x: f32) -> Self;
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

            #[inline(always)]
            fn of(x: f32) -> Self {
                Self::from(x)
            }
        }
    };
}
impl_real!(f32, libm::sqrtf);
impl_real!(f64, libm::sqrt);

/// f32, one number or sixteen, of which the bits are at hand.
pub(crate) trait Single: Value<Scalar = f32> {
    /// The power of two whose exponent, bias included, is the lowest eight bits of `self`: the bits
    /// are moved to where an exponent is. (The ninth is the sign.)
    fn exponent(self) -> Self;
    /// The larger of two numbers that are not both zero; of a NaN, either: machines differ. So it is
    /// for lanes whose NaN nobody sees.
    fn larger(self, other: Self) -> Self;
}

/// The bits behind the exponent.
const FRACTION_BITS: u32 = f32::MANTISSA_DIGITS - 1;

impl Single for f32 {
    #[inline(always)]
    fn exponent(self) -> Self {
        Self::from_bits(self.to_bits() << FRACTION_BITS)
    }

    #[inline(always)]
    fn larger(self, other: Self) -> Self {
        if self > other { self } else { other }
    }
}

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

impl<S: Simd> Single for f32x16<S> {
    #[inline(always)]
    fn exponent(self) -> Self {
        let bits: u32x16<S> = self.bitcast();
        (bits << FRACTION_BITS).bitcast()
    }

    #[inline(always)]
    fn larger(self, other: Self) -> Self {
        self.max(other)
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

/// A decision a lane, as wide as the lanes of [`Wide`].
#[derive(Clone, Copy)]
pub(crate) struct WideMask<S: Simd> {
    low: mask64x8<S>,
    high: mask64x8<S>,
}

impl<S: Simd> WideMask<S> {
    #[inline(always)]
    fn of(lanes: mask32x16<S>) -> Self {
        let (low, high) = lanes.widen();
        Self { low, high }
    }
}

impl<S: Simd> BitAnd for WideMask<S> {
    type Output = Self;

    #[inline(always)]
    fn bitand(self, other: Self) -> Self {
        Self { low: self.low & other.low, high: self.high & other.high }
    }
}

impl<S: Simd> BitOr for WideMask<S> {
    type Output = Self;

    #[inline(always)]
    fn bitor(self, other: Self) -> Self {
        Self { low: self.low | other.low, high: self.high | other.high }
    }
}

impl<S: Simd> Not for WideMask<S> {
    type Output = Self;

    #[inline(always)]
    fn not(self) -> Self {
        Self { low: !self.low, high: !self.high }
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
    type Mask = WideMask<S>;

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
        WideMask { low: self.low.simd_gt(other.low), high: self.high.simd_gt(other.high) }
    }

    #[inline(always)]
    fn equal(self, other: Self) -> Self::Mask {
        WideMask { low: self.low.simd_eq(other.low), high: self.high.simd_eq(other.high) }
    }

    #[inline(always)]
    fn any(mask: Self::Mask) -> bool {
        mask.low.any_true() || mask.high.any_true()
    }

    #[inline(always)]
    fn select(mask: Self::Mask, yes: Self, no: Self) -> Self {
        Self { low: mask.low.select(yes.low, no.low), high: mask.high.select(yes.high, no.high) }
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
        Self::select(WideMask::of(mask), self, self.all(0.0))
    }

    #[inline(always)]
    fn lane_mask(mask: Self::Mask) -> mask32x16<S> {
        mask.low.narrow(mask.high)
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

/// What is reduced side by side: one reduction or sixteen. Statistics, constants and gradients are
/// written once for both.
pub(crate) trait Unit: Copy {
    /// One decision a reduction.
    type Mask: Decisions;
    /// A number in f32 for each.
    type Narrow: Value<Scalar = f32, Mask = Self::Mask>;
    /// A number in f64 for each.
    type Wide: Value<Scalar = f64>;

    /// Exactly.
    fn widen(x: Self::Narrow) -> Self::Wide;
    /// To nearest even.
    fn round(x: Self::Wide) -> Self::Narrow;
    /// The numbers side by side; that of one reduction in every place.
    fn array(x: Self::Narrow) -> [f32; LANES];
    /// A decision of wide numbers as one of narrow numbers.
    fn mask(mask: <Self::Wide as Value>::Mask) -> Self::Mask;
    /// The other way.
    fn wide_mask(mask: Self::Mask) -> <Self::Wide as Value>::Mask;
}

/// One reduction.
#[derive(Clone, Copy)]
pub(crate) struct One;

/// Sixteen reductions, one a lane.
#[derive(Clone, Copy)]
pub(crate) struct Sixteen<S>(PhantomData<S>);

impl Unit for One {
    type Mask = bool;
    type Narrow = f32;
    type Wide = f64;

    #[inline(always)]
    fn widen(x: f32) -> f64 {
        f64::from(x)
    }

    #[inline(always)]
    fn round(x: f64) -> f32 {
        narrow(x)
    }

    #[inline(always)]
    fn array(x: f32) -> [f32; LANES] {
        [x; LANES]
    }

    #[inline(always)]
    fn mask(mask: bool) -> bool {
        mask
    }

    #[inline(always)]
    fn wide_mask(mask: bool) -> bool {
        mask
    }
}

impl<S: Simd> Unit for Sixteen<S> {
    type Mask = mask32x16<S>;
    type Narrow = f32x16<S>;
    type Wide = Wide<S>;

    #[inline(always)]
    fn widen(x: f32x16<S>) -> Wide<S> {
        let (low, high) = x.widen();
        Wide { low, high }
    }

    #[inline(always)]
    fn round(x: Wide<S>) -> f32x16<S> {
        x.narrow()
    }

    #[inline(always)]
    fn array(x: f32x16<S>) -> [f32; LANES] {
        x.values()
    }

    #[inline(always)]
    fn mask(mask: WideMask<S>) -> mask32x16<S> {
        Wide::lane_mask(mask)
    }

    #[inline(always)]
    fn wide_mask(mask: mask32x16<S>) -> WideMask<S> {
        WideMask::of(mask)
    }
}

/// f32 or f64: the numbers of a [`Unit`] and the lanes that elements are loaded into.
pub(crate) trait Precision: Copy {
    /// One number.
    type Scalar: Real;
    /// The numbers of a unit.
    type Of<U: Unit>: Value<Scalar = Self::Scalar>;
    /// Sixteen elements.
    type Lanes<S: Simd>: Lanes<S, Scalar = Self::Scalar>;

    /// The numbers of one reduction are one number.
    fn one(x: Self::Of<One>) -> Self::Scalar;
    /// The other way.
    fn of_one(x: Self::Scalar) -> Self::Of<One>;
    /// The numbers of sixteen reductions are lanes.
    fn lanes<S: Simd>(x: Self::Of<Sixteen<S>>) -> Self::Lanes<S>;
    /// The other way.
    fn of_lanes<S: Simd>(x: Self::Lanes<S>) -> Self::Of<Sixteen<S>>;
    /// The exact value of numbers in f32.
    fn exactly<U: Unit>(x: U::Narrow) -> Self::Of<U>;
}

/// [`Precision`] f32.
#[derive(Clone, Copy)]
pub(crate) struct F32;

/// [`Precision`] f64.
#[derive(Clone, Copy)]
pub(crate) struct F64;

macro_rules! impl_precision {
    ($precision:ty, $scalar:ty, $of:ident, $lanes:ident, $exactly:expr) => {
        impl Precision for $precision {
            type Scalar = $scalar;
            type Of<U: Unit> = U::$of;
            type Lanes<S: Simd> = $lanes<S>;

            #[inline(always)]
            fn one(x: $scalar) -> $scalar {
                x
            }

            #[inline(always)]
            fn of_one(x: $scalar) -> $scalar {
                x
            }

            #[inline(always)]
            fn lanes<S: Simd>(x: $lanes<S>) -> $lanes<S> {
                x
            }

            #[inline(always)]
            fn of_lanes<S: Simd>(x: $lanes<S>) -> $lanes<S> {
                x
            }

            #[inline(always)]
            fn exactly<U: Unit>(x: U::Narrow) -> U::$of {
                $exactly(x)
            }
        }
    };
}
impl_precision!(F32, f32, Narrow, f32x16, core::convert::identity);
impl_precision!(F64, f64, Wide, Wide, U::widen);

/// Rounds to f32, to nearest even.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "rounding is what is wanted")]
pub(crate) const fn narrow(value: f64) -> f32 {
    value as f32
}

/// A mask of the first `n` lanes.
#[inline(always)]
pub(crate) fn first_lanes<S: Simd>(simd: S, n: usize) -> mask32x16<S> {
    let bits = if n < LANES { (1_u64 << n) - 1 } else { u64::MAX };
    mask32x16::from_bitmask(simd, bits)
}

/// Sixteen elements from a place on; zeros behind the end.
#[inline(always)]
pub(crate) fn load_lanes<S: Simd, V: Lanes<S>>(simd: S, x: &[f32], place: usize) -> V {
    let rest = x.get(place..).unwrap_or(&[]);
    match rest.first_chunk::<LANES>() {
        Some(vector) => V::load(simd, vector),
        None => V::load(simd, &padded(rest)),
    }
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
