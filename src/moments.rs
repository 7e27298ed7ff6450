//! Count, mean and sum of squared deviations: statistics that can be merged.

use crate::Backend;
use crate::backend::dispatch;
use crate::kernel::normalize::collect_rows;
use crate::kernel::sets::Reductions;

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
/// [`push`](Self::push) and [`merge`](Self::merge) remember what an f64 rounds off the mean: the
/// variance keeps its digits where the mean is 1e15 deviations or more (time stamps, counters),
/// however many values or parts there are. [`mean`](Self::mean) gives the rounded mean, and
/// [`from_parts`](Self::from_parts) takes a mean as exact: moments that are stored as three numbers
/// lose half a unit of the mean, once. Moments are equal (`==`) if they would go on alike, what they
/// remember of the mean included.
///
/// # Complexity
///
/// [`Moments::of`] reads the slice once. [`Moments::push`] takes a division a value, and
/// [`Moments::merge`] two a call. Either adds some ten additions for the mean's last digits.
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
/// D. E. Knuth, "The art of computer programming", volume 2, section 4.2.2, theorem B (the error of
/// a sum).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Moments {
    count: u64,
    mean: f64,
    /// What the rounding of `mean` left over, half a unit of it at most.
    low: f64,
    m2: f64,
}

impl Moments {
    /// The moments of nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { count: 0, mean: 0.0, low: 0.0, m2: 0.0 }
    }

    /// Puts moments together from parts that were stored or computed elsewhere; the mean counts as
    /// exact. With a count of 0 they are those of nothing, whatever the others are (0 / 0, say).
    #[must_use]
    pub const fn from_parts(count: u64, mean: f64, m2: f64) -> Self {
        if count == 0 { Self::new() } else { Self { count, mean, low: 0.0, m2 } }
    }

    /// The moments of a slice, in one pass over memory, on the best backend.
    #[must_use]
    pub fn of(x: &[f32]) -> Self {
        let mut moments = Self::new();
        if !x.is_empty() {
            let all = Reductions::planes(1, 1, x.len());
            let record = |_, found| moments = found;
            dispatch!(Backend::detect(), simd => collect_rows(simd, all, x, record));
        }
        moments
    }

    /// Adds one value (Welford).
    pub fn push(&mut self, x: f64) {
        self.count = self.count.saturating_add(1);
        let delta = self.deviation(x);
        self.move_mean(delta / self.count_f64());
        self.m2 += delta * self.deviation(x);
    }

    /// Merges the moments of another part of the data (Chan). Empty parts change nothing.
    pub fn merge(&mut self, other: &Self) {
        if self.count == 0 {
            *self = *other;
        } else if other.count > 0 {
            self.merge_values(other);
        }
    }

    /// Chan's formula with means in two parts.
    fn merge_values(&mut self, other: &Self) {
        let weights = Weights::new(self.count_f64(), other.count_f64());
        let delta = (other.mean - self.mean) + (other.low - self.low);
        self.count = self.count.saturating_add(other.count);
        self.move_mean(delta * weights.share);
        self.m2 = (self.m2 + other.m2) + (delta * delta) * weights.product;
    }

    /// x − mean. The difference of two neighbours is exact, so the low part is not lost on it.
    fn deviation(&self, x: f64) -> f64 {
        (x - self.mean) - self.low
    }

    /// Adds a step to the mean, and keeps what that rounds off.
    fn move_mean(&mut self, step: f64) {
        let sum = self.mean + step;
        let low = self.low + error_of_sum(self.mean, step, sum);
        let mean = sum + low;
        let low = low - (mean - sum);
        // A sum that is infinite or NaN, or an overflow on the way to its error: there is no low
        // part then, and the mean is what a plain sum makes of it.
        (self.mean, self.low) = if low.is_finite() { (mean, low) } else { (sum, 0.0) };
    }

    /// The number of values.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The mean, rounded to an f64; 0 without values.
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
    pub(crate) const fn new(a: f64, b: f64) -> Self {
        let n = a + b;
        Self { share: b / n, product: (a * b) / n }
    }

    #[inline(always)]
    #[expect(clippy::cast_precision_loss, reason = "a slice has fewer than 2^53 elements")]
    pub(crate) const fn of_counts(a: usize, b: usize) -> Self {
        Self::new(a as f64, b as f64)
    }
}

/// a + b − sum, exactly, where sum is a + b rounded (Knuth).
fn error_of_sum(a: f64, b: f64, sum: f64) -> f64 {
    let b_rounded = sum - a;
    let a_rounded = sum - b_rounded;
    (a - a_rounded) + (b - b_rounded)
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
