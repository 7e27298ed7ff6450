//! χ²: how far counts are from what they should be, and how probable that is.

use core::fmt;

/// The probability with which a good generator would fail one statistic.
pub(crate) const SIGNIFICANCE: f64 = 1e-6;

/// Fewer degrees of freedom than this may well come out as 0: one count of 10^8 is exactly what was
/// expected once in some ten thousand times.
const ENOUGH: f64 = 10.0;

/// A sum of squares that is distributed as χ² if all is well.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Chi {
    sum: f64,
    /// Degrees of freedom.
    freedom: f64,
}

impl Chi {
    /// The square of one number that should be standard normal.
    pub(crate) fn normal(z: f64) -> Self {
        Self { sum: z * z, freedom: 1.0 }
    }

    /// `hits` of `trials`, of which each hits with probability `p`.
    pub(crate) fn binomial(hits: u64, trials: u64, p: f64) -> Self {
        let trials = trials as f64;
        Self::normal((hits as f64 - trials * p) / (trials * p * (1.0 - p)).sqrt())
    }

    /// Counts of cells that should be equally full.
    pub(crate) fn cells(counts: &[u64]) -> Self {
        let expected = counts.iter().sum::<u64>() as f64 / counts.len() as f64;
        let square = |&count: &u64| (count as f64 - expected).powi(2) / expected;
        Self { sum: counts.iter().map(square).sum(), freedom: counts.len() as f64 - 1.0 }
    }

    /// Two events, how often each and how often both, in `trials`: whether they are independent. That is
    /// χ² of the table of 2 × 2.
    pub(crate) fn joint(first: u64, second: u64, both: u64, trials: u64) -> Self {
        let [a, b, both, n] = [first, second, both, trials].map(|count| count as f64);
        let spread = a * (n - a) * b * (n - b) / n;
        Self::normal((n * both - a * b) / n / (spread / n / n).sqrt())
    }

    /// The probabilities of a smaller and of a larger sum.
    fn tails(self) -> [f64; 2] {
        gamma_tails(self.freedom / 2.0, self.sum / 2.0)
    }

    /// Neither too far from what was expected nor, where that can be said, too near.
    pub(crate) fn is_plausible(self) -> bool {
        let [smaller, larger] = self.tails();
        let limit = SIGNIFICANCE / 2.0;
        larger >= limit && (smaller >= limit || self.freedom < ENOUGH)
    }

    /// Passes if the sum is plausible.
    #[track_caller]
    pub(crate) fn accept(self, what: &str) {
        println!("{what}: {self}");
        assert!(self.is_plausible(), "{what}: {self}");
    }

    /// Passes if the sum is not plausible: what a control is for.
    #[track_caller]
    pub(crate) fn reject(self, what: &str) {
        assert!(!self.is_plausible(), "{what} was not noticed: {self}");
    }
}

impl fmt::Display for Chi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self { sum, freedom }, [smaller, larger]) = (self, self.tails());
        write!(f, "χ² {sum:.1} of {freedom}, less {smaller:.1e}, more {larger:.1e}")
    }
}

/// The sum of independent statistics is one too.
impl std::iter::Sum for Chi {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |a, b| Self {
            sum: a.sum + b.sum,
            freedom: a.freedom + b.freedom,
        })
    }
}

/// Judges every statistic alone, and their sum, which sees what is a little wrong everywhere.
#[track_caller]
pub(crate) fn accept_all(what: &str, all: &[Chi]) {
    for (i, chi) in all.iter().enumerate() {
        assert!(chi.is_plausible(), "{what} [{i}]: {chi}");
    }
    all.iter().copied().sum::<Chi>().accept(what);
}

/// The regularized incomplete gamma functions P(a, x) and Q(a, x) = 1 − P: by the series below the mean,
/// by the continued fraction above it, where each converges (Abramowitz and Stegun 6.5.29 and 6.5.31).
fn gamma_tails(a: f64, x: f64) -> [f64; 2] {
    if x <= 0.0 {
        return [0.0, 1.0];
    }
    let factor = (a * x.ln() - x - libm::lgamma(a)).exp();
    if x < a + 1.0 {
        let lower = factor * series(a, x);
        [lower, 1.0 - lower]
    } else {
        let upper = factor * fraction(a, x);
        [1.0 - upper, upper]
    }
}

/// Σ x^k / (a (a + 1) … (a + k))
fn series(a: f64, x: f64) -> f64 {
    let (mut term, mut sum, mut k) = (1.0 / a, 1.0 / a, a);
    while term > sum * 1e-16 {
        k += 1.0;
        term *= x / k;
        sum += term;
    }
    sum
}

/// 1/(x + 1 − a − 1·(1 − a)/(x + 3 − a − 2·(2 − a)/(x + 5 − a − …))), from the inside out.
fn fraction(a: f64, x: f64) -> f64 {
    let deep = 100 + 10 * a.sqrt() as u32;
    let step = |rest: f64, k: u32| {
        let k = f64::from(k);
        x + 2.0 * k - 1.0 - a - k * (k - a) / rest
    };
    1.0 / (1..=deep).rev().fold(x + 2.0 * f64::from(deep) + 1.0 - a, step)
}

/// The tables of the NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.4, to their last digit.
#[test]
fn tails_are_those_of_published_tables() {
    let upper = [
        (1.0, 0.05, 3.841),
        (1.0, 0.001, 10.828),
        (2.0, 0.01, 9.210),
        (10.0, 0.05, 18.307),
        (10.0, 0.001, 29.588),
        (50.0, 0.01, 76.154),
        (100.0, 0.05, 124.342),
        (100.0, 0.001, 149.449),
        (10.0, 0.95, 3.940),
        (100.0, 0.99, 70.065),
    ];
    for (freedom, probability, quantile) in upper {
        let above = |sum| Chi { sum, freedom }.tails()[1];
        let (early, late) = (above(quantile - 0.0006), above(quantile + 0.0006));
        assert!(
            early > probability && probability > late,
            "{freedom} {probability}: {early} {late}"
        );
        let [smaller, larger] = Chi { sum: quantile, freedom }.tails();
        assert!((smaller + larger - 1.0).abs() < 1e-12);
    }
}

/// Far out, where the limits lie: two degrees of freedom are e^(−x/2), one is erfc(√(x/2)); and the
/// tails of many are nearly normal in the cube root (Wilson and Hilferty).
#[test]
fn tails_are_right_where_the_limits_lie() {
    for x in [0.5, 5.0, 27.0, 29.0] {
        let [_, one] = Chi { sum: x, freedom: 1.0 }.tails();
        let [_, two] = Chi { sum: x, freedom: 2.0 }.tails();
        assert!((one / libm::erfc((x / 2.0).sqrt()) - 1.0).abs() < 1e-12, "{x}: {one}");
        assert!((two / (-x / 2.0).exp() - 1.0).abs() < 1e-12, "{x}: {two}");
    }
    for freedom in [64.0_f64, 255.0, 1024.0] {
        for z in [-4.8, -3.0, 0.0, 3.0, 4.8] {
            let ninth = 2.0 / (9.0 * freedom);
            let sum = freedom * (1.0 - ninth + z * ninth.sqrt()).powi(3);
            let [_, above] = Chi { sum, freedom }.tails();
            let normal = libm::erfc(z / 2.0_f64.sqrt()) / 2.0;
            assert!((above / normal - 1.0).abs() < 0.12, "{freedom} {z}: {above} {normal}");
        }
    }
}

/// Statistics of the right size are let through, those of the wrong size are not, on either side.
#[test]
fn limits_hold_on_both_sides() {
    Chi::binomial(500_100, 1_000_000, 0.5).accept("an ordinary count");
    Chi::binomial(500_000, 1_000_000, 0.5).accept("one exact count");
    Chi::binomial(502_600, 1_000_000, 0.5).reject("a count too large");
    Chi::cells(&[1000; 256]).reject("256 exact counts");
    Chi::joint(500, 400, 200, 1000).accept("independent events");
    Chi::joint(500, 400, 300, 1000).reject("dependent events");
}
