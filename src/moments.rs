//! Count, mean and sum of squared deviations: statistics that can be merged.

use crate::Backend;
use crate::backend::dispatch;
use crate::kernel::moments::reduce_rows;
use crate::kernel::rows::Segments;

/// The moments of a set of numbers: count, mean, and M2 = Σ (x − mean)².
///
/// Moments of parts merge to the moments of the whole, so a statistic over a data set can be
/// gathered batch by batch, on any number of threads or machines, and used as a constant
/// afterwards ("population statistics").
///
/// # Numerics
///
/// Everything is binary64. [`Moments::of`] and [`BatchNorm::collect`](crate::BatchNorm::collect)
/// reduce by the blocks of the numeric contract; [`Moments::push`] is Welford's recurrence, whose
/// result for many values is as accurate but takes a division a value. Counts saturate at
/// `u64::MAX`; above 2^53 they are rounded where a formula needs them as a number. Values beyond some
/// 1e150 overflow M2, as their squares do.
///
/// # Complexity
///
/// [`Moments::of`] reads the slice once. [`Moments::push`] takes a division a value, and
/// [`Moments::merge`] two a call.
///
/// # Examples
///
/// ```
/// use evenkeel::Moments;
/// let mut all = Moments::of(&[1.0, 2.0, 3.0]);
/// all.merge(&[4.0_f32, 5.0].into_iter().collect());
/// assert_eq!((all.count(), all.mean(), all.variance()), (5, 3.0, 2.0));
/// ```
///
/// # References
///
/// B. P. Welford, "Note on a method for calculating corrected sums of squares and products", 1962.
/// T. F. Chan, G. H. Golub, R. J. LeVeque, "Updating formulae and a pairwise algorithm for
/// computing sample variances", 1979, equations 2.1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Moments {
    count: u64,
    mean: f64,
    m2: f64,
}

impl Moments {
    /// The moments of nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { count: 0, mean: 0.0, m2: 0.0 }
    }

    /// Puts moments together from parts that were stored or computed elsewhere. With a count of 0
    /// they are those of nothing, whatever the others are (0 / 0, say).
    #[must_use]
    pub const fn from_parts(count: u64, mean: f64, m2: f64) -> Self {
        if count == 0 { Self::new() } else { Self { count, mean, m2 } }
    }

    /// The moments of a slice, in one pass over memory, on the best backend.
    #[must_use]
    pub fn of(x: &[f32]) -> Self {
        let all = Segments::one(0, x.len());
        dispatch!(Backend::detect(), simd => reduce_rows(simd, x, all, &mut []).moments())
    }

    /// Adds one value (Welford).
    pub fn push(&mut self, x: f64) {
        self.count = self.count.saturating_add(1);
        let delta = x - self.mean;
        self.mean += delta / self.count_f64();
        self.m2 += delta * (x - self.mean);
    }

    /// Merges the moments of another part of the data (Chan). Empty parts change nothing.
    pub fn merge(&mut self, other: &Self) {
        if self.count == 0 {
            *self = *other;
        } else if other.count > 0 {
            *self = self.merged(*other);
        }
    }

    /// Chan's formula for two parts that are not empty.
    #[inline(always)]
    pub(crate) fn merged(self, other: Self) -> Self {
        let count = self.count.saturating_add(other.count);
        let weights = Weights::new(self.count_f64(), other.count_f64());
        let delta = other.mean - self.mean;
        let mean = self.mean + delta * weights.share;
        let m2 = (self.m2 + other.m2) + (delta * delta) * weights.product;
        Self { count, mean, m2 }
    }

    /// The number of values.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The mean; 0 without values.
    #[must_use]
    pub const fn mean(&self) -> f64 {
        self.mean
    }

    /// The sum of squared deviations from the mean.
    #[must_use]
    pub const fn m2(&self) -> f64 {
        self.m2
    }

    /// The biased variance M2 / n, which normalization uses; 0 without values.
    #[must_use]
    pub fn variance(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.m2 / self.count_f64() }
    }

    /// The unbiased variance M2 / (n − 1); 0 for fewer than two values.
    #[must_use]
    pub fn sample_variance(&self) -> f64 {
        if self.count < 2 { 0.0 } else { self.m2 / (self.count_f64() - 1.0) }
    }

    /// The square root of the biased variance.
    #[must_use]
    pub fn std_dev(&self) -> f64 {
        libm::sqrt(self.variance())
    }

    /// The square root of the unbiased variance.
    #[must_use]
    pub fn sample_std_dev(&self) -> f64 {
        libm::sqrt(self.sample_variance())
    }

    #[inline(always)]
    #[expect(clippy::cast_precision_loss, reason = "rounding beyond 2^53 is documented")]
    const fn count_f64(&self) -> f64 {
        self.count as f64
    }
}

/// What Chan's formula needs to know of two counts.
#[derive(Clone, Copy)]
pub(crate) struct Weights {
    /// n_b / N
    pub(crate) share: f64,
    /// n_a·n_b / N
    pub(crate) product: f64,
}

impl Weights {
    #[inline(always)]
    pub(crate) fn new(a: f64, b: f64) -> Self {
        let n = a + b;
        Self { share: b / n, product: (a * b) / n }
    }
}

impl Extend<f64> for Moments {
    fn extend<I: IntoIterator<Item = f64>>(&mut self, values: I) {
        values.into_iter().for_each(|x| self.push(x));
    }
}

impl Extend<f32> for Moments {
    fn extend<I: IntoIterator<Item = f32>>(&mut self, values: I) {
        self.extend(values.into_iter().map(f64::from));
    }
}

impl<'a> Extend<&'a f64> for Moments {
    fn extend<I: IntoIterator<Item = &'a f64>>(&mut self, values: I) {
        self.extend(values.into_iter().copied());
    }
}

impl<'a> Extend<&'a f32> for Moments {
    fn extend<I: IntoIterator<Item = &'a f32>>(&mut self, values: I) {
        self.extend(values.into_iter().copied());
    }
}

impl<T> FromIterator<T> for Moments
where
    Self: Extend<T>,
{
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        let mut moments = Self::new();
        moments.extend(values);
        moments
    }
}
