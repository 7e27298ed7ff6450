//! From moments to the constants of the apply and to the statistics that callers keep.
//!
//! The apply is in f32 where that is safe. A reduction for which it is not is *wide*: applied in f64
//! (docs/NUMERICS.md, sections 5 to 7).

use super::lanes::{LANES, Lanes as _, Real as _, Sixteen, Unit, Value, Wide};
use super::reduce::Found;
use crate::io::get;
use fearless_simd::{Simd, SimdMask as _, f32x16, mask32x16};

/// 2^128: the first number that is too large for f32.
const TWO_TO_128: f64 = f64::from_bits((1023 + 128) << 52);

/// What is known of reductions before γ and β come in.
#[derive(Clone, Copy)]
pub(crate) struct Constants<U: Unit> {
    /// The mean in two parts.
    pub(crate) hi: U::Narrow,
    pub(crate) lo: U::Narrow,
    /// The mean.
    pub(crate) mean: U::Wide,
    /// 1 / sqrt(var + eps); 0 for a deviation of zero.
    pub(crate) rstd: U::Wide,
    /// What is wide.
    pub(crate) wide: U::Mask,
}

/// What the centred apply needs: (x − hi)·factor + offset in f32, but (x − mean)·rstd·γ + β in f64 for
/// what is wide. The offset takes in what the mean's low part comes to: that is no more than the
/// rounding of a mean, so nothing cancels.
#[derive(Clone, Copy)]
pub(crate) struct Centred<U: Unit> {
    pub(crate) constants: Constants<U>,
    pub(crate) factor: U::Narrow,
    pub(crate) offset: U::Narrow,
}

impl<U: Unit> Constants<U> {
    /// From statistics in f32.
    #[inline(always)]
    pub(crate) fn narrow(hi: U::Narrow, lo: U::Narrow, var: U::Wide, eps: f64) -> Self {
        let (mean, rstd) = (U::widen(hi) + U::widen(lo), reciprocal_root(var, eps));
        Self { hi, lo, mean, rstd, wide: !mean_fits::<U>(hi) }
    }

    /// From statistics in f64.
    #[inline(always)]
    pub(crate) fn merged(mean: U::Wide, var: U::Wide, eps: f64) -> Self {
        let hi = U::round(mean);
        let lo = U::round(mean - U::widen(hi));
        let wide = !(fits_f32::<U>(var) & mean_fits::<U>(hi));
        Self { hi, lo, mean, rstd: reciprocal_root(var, eps), wide }
    }

    /// From what a reduction found.
    #[inline(always)]
    pub(crate) fn new(found: &Found<U, 4, 2>, eps: f64) -> Self {
        let Found { block, totals: [mean, _], rescued, live, .. } = *found;
        let var = variance(found, 0);
        let Some([m, c, ..]) = block else {
            let merged = Self::merged(mean, var, eps);
            return Self { wide: (merged.wide | rescued) & live, ..merged };
        };
        let narrow = Self::narrow(m, c, var, eps);
        Self { mean, wide: (narrow.wide | rescued) & live, ..narrow }
    }

    /// From a sum of squares: those of a reduction whose mean is 0 and whose variance is the mean
    /// square.
    #[inline(always)]
    pub(crate) fn of_squares(found: &Found<U, 1, 1>, eps: f64) -> Self {
        let [squares] = found.totals;
        let rstd = reciprocal_root(squares / squares.all(f64::count(found.count)), eps);
        let mean = squares.all(0.0);
        let zero = U::round(mean);
        Self { hi: zero, lo: zero, mean, rstd, wide: found.rescued }
    }

    /// The mean and the reciprocal standard deviation, as they are saved for backward.
    #[inline(always)]
    pub(crate) fn saved(&self) -> (U::Narrow, U::Narrow) {
        (U::round(self.mean), at_most_max(U::round(self.rstd)))
    }

    /// For a γ and a β that are the same for all elements of a reduction: γ and the deviation become one
    /// factor, β and the mean's low part one offset, so that a rounding each is saved.
    #[inline(always)]
    pub(crate) fn with_affine(self, (gamma, beta): (U::Narrow, U::Narrow)) -> Centred<U> {
        let zero = gamma.all(0.0);
        let factor = U::round(U::widen(gamma) * self.rstd);
        let none = gamma.equal(zero) | U::mask(self.rstd.equal(self.rstd.all(0.0)));
        let factor = Value::select(none, zero, factor);
        let offset = beta - self.lo * factor;
        let fits = (none | is_normal(factor)) & is_between(offset, -1.0, f32::INFINITY);
        Centred { constants: Self { wide: self.wide | !fits, ..self }, factor, offset }
    }
}

impl<S: Simd> Constants<Sixteen<S>> {
    /// Those of one lane in every lane.
    #[inline(always)]
    pub(crate) fn of_lane(&self, simd: S, lane: usize) -> Self {
        let pick = |values: [f32; LANES]| f32x16::filled(simd, get(&values, lane));
        let pick_wide =
            |values: [f64; LANES]| Wide::filled(simd, values.get(lane).copied().unwrap_or(0.0));
        Self {
            hi: pick(self.hi.values()),
            lo: pick(self.lo.values()),
            mean: pick_wide(self.mean.values()),
            rstd: pick_wide(self.rstd.values()),
            wide: mask32x16::splat(simd, self.wide.to_bitmask() >> lane & 1 == 1),
        }
    }

    /// Room for some.
    #[inline(always)]
    pub(crate) fn nothing(simd: S) -> Self {
        let (zero, wide) = (f32x16::filled(simd, 0.0), Wide::filled(simd, 0.0));
        let nobody = mask32x16::splat(simd, false);
        Self { hi: zero, lo: zero, mean: wide, rstd: wide, wide: nobody }
    }

    /// Each lane takes those of the lane that `from` names, in growing order.
    #[inline(always)]
    pub(crate) fn gathered(&self, simd: S, from: impl Fn(usize) -> usize) -> Self {
        if from(0) == from(LANES - 1) {
            return self.of_lane(simd, from(0));
        }
        let wide = self.wide.to_bitmask();
        let mut bits = 0;
        for lane in 0..LANES {
            bits |= (wide >> from(lane) & 1) << lane;
        }
        Self {
            hi: f32x16::from_array(simd, gather(self.hi.values(), &from)),
            lo: f32x16::from_array(simd, gather(self.lo.values(), &from)),
            mean: Wide::from_array(simd, gather(self.mean.values(), &from)),
            rstd: Wide::from_array(simd, gather(self.rstd.values(), &from)),
            wide: mask32x16::from_bitmask(simd, bits),
        }
    }
}

/// In each place the value at the place that `from` names.
#[inline(always)]
fn gather<V: Copy + Default>(values: [V; LANES], from: impl Fn(usize) -> usize) -> [V; LANES] {
    let mut gathered = [V::default(); LANES];
    for (lane, slot) in gathered.iter_mut().enumerate() {
        *slot = values.get(from(lane)).copied().unwrap_or_default();
    }
    gathered
}

/// Which reductions are wide, before γ comes in.
#[inline(always)]
pub(crate) fn is_wide<U: Unit>(found: &Found<U, 4, 2>) -> U::Mask {
    match found.block {
        Some(_) => found.rescued,
        None => (found.rescued | !fits_f32::<U>(variance(found, 0))) & found.live,
    }
}

/// M2 / (n − `ddof`) in f64.
#[inline(always)]
pub(crate) fn variance<U: Unit>(found: &Found<U, 4, 2>, ddof: usize) -> U::Wide {
    let [_, m2] = found.totals;
    m2 / m2.all(f64::count(found.count.saturating_sub(ddof)))
}

/// 1 / sqrt(var + eps), and 0 for a root of zero: a constant input gives β.
#[inline(always)]
pub(crate) fn reciprocal_root<V: Value<Scalar = f64>>(var: V, eps: f64) -> V {
    let sum = var + var.all(eps);
    let zero = sum.all(0.0);
    V::select(sum.equal(zero), zero, sum.all(1.0) / sum.root())
}

/// The smaller of a number and the largest finite one; NaN stays NaN.
#[inline(always)]
pub(crate) fn at_most_max<T: Value<Scalar = f32>>(value: T) -> T {
    let max = value.all(f32::MAX);
    T::select(value.greater(max), max, value)
}

/// Whether a number is neither zero nor subnormal, infinite or NaN.
#[inline(always)]
pub(crate) fn is_normal<V: Value<Scalar = f32>>(value: V) -> V::Mask {
    is_between(value, f32::from_bits(0x007F_FFFF), f32::INFINITY)
}

/// Whether the magnitude of a number lies between two others.
#[inline(always)]
pub(crate) fn is_between<V: Value<Scalar = f32>>(value: V, low: f32, high: f32) -> V::Mask {
    let zero = value.all(0.0);
    let magnitude = V::select(value.greater(zero), value, zero - value);
    magnitude.greater(value.all(low)) & value.all(high).greater(magnitude)
}

/// Whether a mean can be subtracted from any finite number without overflow.
#[inline(always)]
fn mean_fits<U: Unit>(mean: U::Narrow) -> U::Mask {
    /// 2^102
    const LIMIT: f32 = f32::from_bits((127 + 102) << 23);
    is_between(mean, -1.0, LIMIT)
}

/// Whether a variance is zero or a normal f32.
#[inline(always)]
fn fits_f32<U: Unit>(variance: U::Wide) -> U::Mask {
    let zero = U::mask(variance.equal(variance.all(0.0)));
    let subnormal = U::mask(variance.all(f64::from(f32::MIN_POSITIVE)).greater(variance));
    zero | (U::mask(variance.all(TWO_TO_128).greater(variance)) & !subnormal)
}
