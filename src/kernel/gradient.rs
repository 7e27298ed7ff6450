//! From the sums of backward to the gradients of γ, β and x.
//!
//! With x̃ = (x − mean)·rstd, Σx̃ would be 0 if the saved mean were exact; it was rounded to f32, and
//! k = Σx̃ / n is what that left over. dx = γ·rstd·((dy − Σdy/n) − (x̃ − k)·dγ/n), where k, which is the
//! same for all elements, goes to the constant that is subtracted from dy.

use super::constants::{is_between, is_normal};
use super::lanes::{Real as _, Unit, Value};
use super::reduce::Found;

/// Which gradient it is.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Mode {
    /// The statistics came from the data, and so have gradients of their own.
    Train,
    /// The same, of γ·dy: a γ that differs within a reduction is within its sums.
    Weighted,
    /// The same as [`Train`](Self::Train) without a mean.
    Uncentred,
    /// The statistics were given.
    Inference,
}

/// What is known of reductions before backward.
#[derive(Clone, Copy)]
pub(crate) struct Channel<V> {
    pub(crate) mean: V,
    pub(crate) rstd: V,
    pub(crate) gamma: V,
}

impl<V> Channel<V> {
    /// The same with every number put through f.
    #[inline(always)]
    pub(crate) fn each<W>(&self, f: impl Fn(&V) -> W) -> Channel<W> {
        Channel { mean: f(&self.mean), rstd: f(&self.rstd), gamma: f(&self.gamma) }
    }
}

/// dx = scale·((dy − offset) − x̃·slope), and the gradients of γ and β.
#[derive(Clone, Copy)]
pub(crate) struct Gradient<V> {
    pub(crate) offset: V,
    pub(crate) slope: V,
    pub(crate) scale: V,
    pub(crate) dgamma: V,
    pub(crate) dbeta: V,
}

/// Gradients in f32, and in f64 for what is wide.
#[derive(Clone, Copy)]
pub(crate) struct Gradients<U: Unit> {
    pub(crate) narrow: Gradient<U::Narrow>,
    /// There if something is wide.
    pub(crate) in_f64: Option<Gradient<U::Wide>>,
    pub(crate) wide: U::Mask,
}

impl<V> Gradient<V> {
    /// The same with every number put through f.
    #[inline(always)]
    pub(crate) fn each<W>(&self, f: impl Fn(&V) -> W) -> Gradient<W> {
        Gradient {
            offset: f(&self.offset),
            slope: f(&self.slope),
            scale: f(&self.scale),
            dgamma: f(&self.dgamma),
            dbeta: f(&self.dbeta),
        }
    }
}

impl<V: Value> Gradient<V> {
    /// From Σdy, Σdy·x̃ and Σx̃ over n elements.
    #[inline(always)]
    fn new(mode: Mode, n: usize, [dy, dy_x, x]: [V; 3], scale: V) -> Self {
        let zero = scale.all(V::Scalar::ZERO);
        if mode == Mode::Inference {
            return Self { offset: zero, slope: zero, scale, dgamma: dy_x, dbeta: dy };
        }
        let n = scale.all(V::Scalar::count(n));
        if mode == Mode::Uncentred {
            return Self { offset: zero, slope: dy_x / n, scale, dgamma: dy_x, dbeta: dy };
        }
        let k = x / n;
        let dgamma = dy_x - dy * k;
        let slope = dgamma / n;
        Self { offset: dy / n - k * slope, slope, scale, dgamma, dbeta: dy }
    }

    /// The gradient of one element.
    #[inline(always)]
    fn dx(&self, Channel { mean, rstd, .. }: Channel<V>, dy: V, x: V) -> V {
        let x = (x - mean) * rstd;
        self.scale * ((dy - self.offset) - x * self.slope)
    }
}

/// How dx of an element follows from dy and x. Types, and not the [`Mode`] itself: the compiler does not
/// take the question out of the loops.
pub(crate) trait Formula: Copy {
    fn dx<V: Value>(self, gradient: &Gradient<V>, channel: Channel<V>, dy: V, x: V) -> V;
}

/// [`Mode::Train`] and [`Mode::Uncentred`].
#[derive(Clone, Copy)]
pub(crate) struct OwnStatistics;

/// [`Mode::Weighted`].
#[derive(Clone, Copy)]
pub(crate) struct OwnStatisticsWeighted;

/// [`Mode::Inference`].
#[derive(Clone, Copy)]
pub(crate) struct GivenStatistics;

impl Formula for OwnStatistics {
    #[inline(always)]
    fn dx<V: Value>(self, gradient: &Gradient<V>, channel: Channel<V>, dy: V, x: V) -> V {
        gradient.dx(channel, dy, x)
    }
}

impl Formula for OwnStatisticsWeighted {
    #[inline(always)]
    fn dx<V: Value>(self, gradient: &Gradient<V>, channel: Channel<V>, dy: V, x: V) -> V {
        gradient.dx(channel, dy * channel.gamma, x)
    }
}

impl Formula for GivenStatistics {
    #[inline(always)]
    fn dx<V: Value>(self, gradient: &Gradient<V>, _: Channel<V>, dy: V, _: V) -> V {
        dy * gradient.scale
    }
}

/// Calls a function with the formula of a mode.
macro_rules! with_formula {
    ($mode:expr, $formula:ident => $body:expr) => {
        match $mode {
            $crate::kernel::gradient::Mode::Train | $crate::kernel::gradient::Mode::Uncentred => {
                let $formula = $crate::kernel::gradient::OwnStatistics;
                $body
            }
            $crate::kernel::gradient::Mode::Weighted => {
                let $formula = $crate::kernel::gradient::OwnStatisticsWeighted;
                $body
            }
            $crate::kernel::gradient::Mode::Inference => {
                let $formula = $crate::kernel::gradient::GivenStatistics;
                $body
            }
        }
    };
}
pub(crate) use with_formula;

impl<U: Unit> Gradients<U> {
    #[inline(always)]
    pub(crate) fn new(
        mode: Mode,
        found: &Found<U, 3, 3>,
        Channel { rstd, gamma, .. }: Channel<U::Narrow>,
    ) -> Self {
        let n = found.count;
        let gamma = if mode == Mode::Weighted { gamma.all(1.0) } else { gamma };
        let narrow = match found.block {
            Some(sums) => Gradient::new(mode, n, sums, gamma * rstd),
            None => in_f64::<U>(mode, found, gamma, rstd).each(
                #[inline(always)]
                |value| U::round(*value),
            ),
        };
        let no_scale = gamma.equal(gamma.all(0.0)) | rstd.equal(rstd.all(0.0));
        let fits = fits::<U>(mode, &narrow, no_scale);
        let wide = (found.rescued | !fits) & found.live;
        let in_f64 =
            if U::Narrow::any(wide) { Some(in_f64::<U>(mode, found, gamma, rstd)) } else { None };
        Self { narrow, in_f64, wide }
    }

    /// dγ and dβ.
    #[inline(always)]
    pub(crate) fn affine(&self, found: &Found<U, 3, 3>) -> (U::Narrow, U::Narrow) {
        let Gradient { dgamma, dbeta, .. } = self.narrow;
        let Some(in_f64) = self.in_f64 else { return (dgamma, dbeta) };
        (
            Value::select(found.rescued, U::round(in_f64.dgamma), dgamma),
            Value::select(found.rescued, U::round(in_f64.dbeta), dbeta),
        )
    }
}

#[inline(always)]
fn in_f64<U: Unit>(
    mode: Mode,
    found: &Found<U, 3, 3>,
    gamma: U::Narrow,
    rstd: U::Narrow,
) -> Gradient<U::Wide> {
    Gradient::new(mode, found.count, found.totals, U::widen(gamma) * U::widen(rstd))
}

/// Whether nothing is lost or overflows if dx is computed in f32.
#[inline(always)]
fn fits<U: Unit>(mode: Mode, gradient: &Gradient<U::Narrow>, no_scale: U::Mask) -> U::Mask {
    let fits = no_scale | is_normal(gradient.scale);
    if mode == Mode::Inference {
        return fits;
    }
    fits & is_moderate::<U>(gradient.offset) & is_moderate::<U>(gradient.slope)
}

/// Whether a number is zero, or normal and such that no gradient plus two of its kind overflows that
/// did not before.
#[inline(always)]
fn is_moderate<U: Unit>(value: U::Narrow) -> U::Mask {
    /// 2^64
    const LIMIT: f32 = f32::from_bits((127 + 64) << 23);
    value.equal(value.all(0.0)) | (is_normal(value) & is_between(value, 0.0, LIMIT))
}
