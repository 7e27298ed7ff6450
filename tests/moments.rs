//! `Moments` against exact arithmetic, where the mean is far larger than the deviation.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "exact sums are rounded once, at the end; counts are small, and values were made to fit"
)]

use evenkeel::{BatchNorm, Layout, Moments};

/// Values that are whole multiples of a unit away from a base.
struct Grid {
    base: f64,
    unit: f64,
    values: Vec<f64>,
}

impl Grid {
    /// base + {0, …, 7}·unit, each a number of times, sorted.
    fn stairs(base: f64, unit: f64, each: usize) -> Self {
        let step = |i: usize| base + (i / each) as f64 * unit;
        Self { base, unit, values: (0..8 * each).map(step).collect() }
    }

    /// Seconds since 1970, a microsecond apart; an f64 holds them to a quarter of that.
    fn clock(ticks: usize) -> Self {
        let base = 1.7e9;
        let values = (0..ticks).map(|i| base + i as f64 * 1e-6).collect();
        Self { base, unit: 2.0_f64.powi(-22), values }
    }

    /// Mean and variance, from sums of integers.
    fn exact(&self) -> (f64, f64) {
        let n = self.values.len() as i128;
        let (mut sum, mut squares) = (0, 0);
        for x in &self.values {
            let k = (x - self.base) / self.unit;
            assert_eq!(k.fract(), 0.0, "{x} is not on the grid");
            let k = k as i128;
            (sum, squares) = (sum + k, squares + k * k);
        }
        let mean = self.base + sum as f64 / n as f64 * self.unit;
        let variance = (n * squares - sum * sum) as f64 / (n * n) as f64;
        (mean, variance * self.unit * self.unit)
    }

    /// Moments of parts of equal size, pushed.
    fn parts(&self, size: usize) -> Vec<Moments> {
        self.values.chunks(size).map(|part| part.iter().collect()).collect()
    }

    /// Every way to gather them that a caller has.
    fn check(&self, allowed: f64) {
        self.assert(&self.values.iter().collect(), allowed, "pushed");
        self.assert(&self.values.iter().rev().collect(), allowed, "pushed backwards");
        for size in [1, 3, 64, 100] {
            let parts = self.parts(size);
            self.assert(&in_turn(&parts), allowed, &format!("parts of {size}, in turn"));
            self.assert(&in_pairs(parts), allowed, &format!("parts of {size}, as a tree"));
        }
    }

    #[track_caller]
    fn assert(&self, found: &Moments, allowed: f64, how: &str) {
        let (mean, variance) = self.exact();
        let error = (found.variance() / variance - 1.0).abs();
        let of_mean = mean.abs().next_up() - mean.abs() + allowed * variance.sqrt();
        println!("{:e} by {:e}, {how}: {error:.1e}", self.base, self.unit);
        assert_eq!(found.count(), self.values.len() as u64);
        assert!(
            (found.mean() - mean).abs() <= of_mean,
            "{how}: mean {}, exactly {mean}",
            found.mean()
        );
        assert!(error <= allowed, "{how}: variance {}, exactly {variance}", found.variance());
    }
}

fn in_turn(parts: &[Moments]) -> Moments {
    let mut whole = Moments::new();
    parts.iter().for_each(|part| whole.merge(part));
    whole
}

fn in_pairs(mut parts: Vec<Moments>) -> Moments {
    while parts.len() > 1 {
        parts = parts.chunks(2).map(in_turn).collect();
    }
    parts.first().copied().unwrap_or_default()
}

/// What a sum of so many squares may lose to their own rounding.
const ROUNDING: f64 = 1e-13;

#[test]
fn mean_1e15_deviation_2() {
    let stairs = Grid::stairs(1e15, 1.0, 125);
    assert_eq!(stairs.exact().1, 5.25);
    stairs.check(ROUNDING);
}

#[test]
fn mean_1e12_and_steps_of_an_eighth() {
    Grid::stairs(1e12, 0.125, 12_500).check(ROUNDING);
}

#[test]
fn a_clock_in_microseconds() {
    Grid::clock(100_000).check(ROUNDING);
}

/// A mean of zero, and of the size of the deviation: nothing is lost where nothing was to gain.
#[test]
fn ordinary_values() {
    Grid::stairs(-3.5, 1.0, 1000).check(ROUNDING);
    Grid::stairs(1.0, 0.25, 1000).check(ROUNDING);
}

/// Statistics of a data set, gathered in many batches.
#[test]
fn collected_in_many_batches() {
    let stairs = Grid::stairs(8_388_608.0, 1.0, 12_500);
    let op = BatchNorm::new(Layout::dense(40, 1).expect("a small layout"));
    let mut moments = [Moments::new()];
    for batch in stairs.values.chunks(40) {
        let batch: Vec<f32> = batch.iter().map(|&x| x as f32).collect();
        op.collect(&batch, &mut moments).expect("all lengths are right");
    }
    stairs.assert(&moments[0], ROUNDING, "collected");
}

/// Parts of which only count, mean and M2 were stored: their means are rounded, once.
#[test]
fn stored_and_restored() {
    let stairs = Grid::stairs(1e15, 1.0, 125);
    let stored = |part: &Moments| Moments::from_parts(part.count(), part.mean(), part.m2());
    let whole = stored(&stairs.values.iter().collect());
    stairs.assert(&whole, ROUNDING, "stored");
    for size in [1, 3, 64, 100] {
        let parts: Vec<Moments> = stairs.parts(size).iter().map(stored).collect();
        // Half a unit is 0.0625, 3 % of the deviation.
        stairs.assert(&in_turn(&parts), 0.03, "restored");
    }
}

/// What is remembered of the mean beyond an f64 is part of what moments are.
#[test]
fn equal_if_they_go_on_alike() {
    let some: Moments = [1e15, 1e15, 1e15 + 1.0].into_iter().collect();
    let copy = some;
    assert_eq!(some, copy);
    let rounded = Moments::from_parts(some.count(), some.mean(), some.m2());
    assert_ne!(some, rounded);
    let ordinary: Moments = [1.0, 2.0, 3.0].into_iter().collect();
    assert_eq!(ordinary, Moments::from_parts(3, 2.0, 2.0));
}

/// Count, mean and M2 by the formulas that know nothing of a second part of the mean.
#[derive(Clone, Copy)]
struct Plain {
    count: f64,
    mean: f64,
    m2: f64,
}

impl Plain {
    fn push(&mut self, x: f64) {
        self.count += 1.0;
        let delta = x - self.mean;
        self.mean += delta / self.count;
        self.m2 += delta * (x - self.mean);
    }

    fn merge(&mut self, other: Self) {
        let count = self.count + other.count;
        let delta = other.mean - self.mean;
        self.mean += delta * (other.count / count);
        self.m2 = (self.m2 + other.m2) + (delta * delta) * ((self.count * other.count) / count);
        self.count = count;
    }
}

fn same(left: f64, right: f64) -> bool {
    left == right || (left.is_nan() && right.is_nan())
}

/// Infinities, NaN, and values whose differences overflow, in every order of four.
#[test]
fn what_is_not_finite_comes_out_as_the_plain_formulas_say() {
    let odd =
        [1.0, f64::MAX, f64::MIN, 2.0_f64.powi(1023), f64::INFINITY, -f64::INFINITY, f64::NAN];
    let pick = |i: u32| odd[i as usize % 7];
    for turn in 0..7_u32.pow(4) {
        let values = [pick(turn), pick(turn / 7), pick(turn / 49), pick(turn / 343)];
        let mut plain = Plain { count: 0.0, mean: 0.0, m2: 0.0 };
        let mut pushed = Moments::new();
        for x in values {
            plain.push(x);
            pushed.push(x);
            assert_like(&pushed, plain, &values, "pushed");
        }
        let mut plain = Plain { count: 1.0, mean: values[0], m2: 0.0 };
        let mut merged = Moments::from_parts(1, values[0], 0.0);
        for mean in values {
            plain.merge(Plain { count: 2.0, mean, m2: 1.0 });
            merged.merge(&Moments::from_parts(2, mean, 1.0));
            assert_like(&merged, plain, &values, "merged");
        }
    }
}

/// Equal where one of the two is not finite; otherwise nothing is asked here.
#[track_caller]
fn assert_like(found: &Moments, plain: Plain, values: &[f64; 4], how: &str) {
    let finite = found.mean().is_finite() && plain.mean.is_finite();
    assert!(
        finite || same(found.mean(), plain.mean),
        "{how} {values:?}: mean {}, plainly {}",
        found.mean(),
        plain.mean
    );
    let finite = found.m2().is_finite() && plain.m2.is_finite();
    assert!(
        finite || same(found.m2(), plain.m2),
        "{how} {values:?}: M2 {}, plainly {}",
        found.m2(),
        plain.m2
    );
}
