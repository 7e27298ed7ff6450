//! Sections 4, 5 and 11: mean and variance of a reduction.

use super::real::Real;
use super::reduction::{Block, Reduction, tree};

/// Count, mean and sum of squared deviations, as blocks are merged and as `Moments` holds them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Triple {
    pub n: u64,
    pub mean: f64,
    /// Section 11's low part of the mean; a block has none.
    pub low: f64,
    pub m2: f64,
}

/// A block's moments, with the mean as an unevaluated sum m + c.
#[derive(Clone, Copy)]
struct BlockMoments<F> {
    m: F,
    c: F,
    m2: F,
}

/// What section 5 makes of a reduction.
#[derive(Clone, Copy, Debug)]
pub enum Reduced {
    /// One block, not rescued: everything stays in f32.
    OneBlock { n: u64, m: f32, c: f32, m2: f32 },
    /// More blocks, or a rescued one.
    Merged { triple: Triple, wide: bool },
}

/// Steps 1 to 4 of section 4. The second value says whether the rescue rule asks for f64.
fn block_moments<F: Real>(block: &Block, x: &[f32]) -> (BlockMoments<F>, bool) {
    let n = F::from_count(block.count());
    let value = |i: usize| F::from_f32(x[i]);

    let s = block.sum(value);
    let mut m = s / n;
    let (mut e, mut q) = deviations(block, &value, m);
    let mut c = e / n;
    if e * c > q * F::HALF {
        m = m + c;
        (e, q) = deviations(block, &value, m);
        c = e / n;
    }

    let difference = q - e * c;
    let m2 = if difference < F::ZERO { F::ZERO } else { difference };

    let smallest = F::from_f32(2.0_f32.powi(-100));
    let varies = block.elements().any(|i| value(i) - m != F::ZERO);
    let rescue = !q.finite() || (q < smallest && varies);
    (BlockMoments { m, c, m2 }, rescue)
}

/// Step 2: e = Σ d and q = Σ d·d, d = x − m.
fn deviations<F: Real>(block: &Block, value: &impl Fn(usize) -> F, m: F) -> (F, F) {
    let d = |i: usize| value(i) - m;
    (block.sum(d), block.sum(|i| d(i) * d(i)))
}

/// Section 5's merge of two triples.
pub fn merge(a: Triple, b: Triple) -> Triple {
    let (n_a, n_b) = (a.n as f64, b.n as f64);
    let total = n_a + n_b;
    let delta = b.mean - a.mean;
    Triple {
        n: a.n.saturating_add(b.n),
        mean: a.mean + delta * (n_b / total),
        low: 0.0,
        m2: (a.m2 + b.m2) + (delta * delta) * ((n_a * n_b) / total),
    }
}

/// Neither zero nor between 2^-126 (included) and 2^128 (excluded).
pub fn outside_f32(variance: f64) -> bool {
    let fits = variance >= 2.0_f64.powi(-126) && variance < 2.0_f64.powi(128);
    variance != 0.0 && !fits
}

/// Sections 4 and 5 for one reduction.
pub fn reduce(x: &[f32], reduction: &Reduction) -> Reduced {
    let mut any_rescued = false;
    let mut triples = Vec::new();
    for block in &reduction.blocks {
        let n = block.count();
        let (narrow, rescue) = block_moments::<f32>(block, x);
        if rescue {
            let (wide, _) = block_moments::<f64>(block, x);
            triples.push(Triple::from_parts(n, wide.m + wide.c, wide.m2));
            any_rescued = true;
        } else if reduction.blocks.len() == 1 {
            return Reduced::OneBlock { n, m: narrow.m, c: narrow.c, m2: narrow.m2 };
        } else {
            let mean = f64::from(narrow.m) + f64::from(narrow.c);
            triples.push(Triple::from_parts(n, mean, f64::from(narrow.m2)));
        }
    }
    merge_all(&triples, any_rescued)
}

/// The merged moments of several parts; `wide` where one of them already is.
pub fn merge_all(triples: &[Triple], wide: bool) -> Reduced {
    let triple = tree(triples, &merge);
    Reduced::Merged { triple, wide: wide || outside_f32(triple.variance()) }
}

impl Reduced {
    /// Section 11: the triple that `Moments::of` and `collect` give.
    pub fn triple(self) -> Triple {
        match self {
            Self::OneBlock { n, m, c, m2 } => {
                Triple::from_parts(n, f64::from(m) + f64::from(c), f64::from(m2))
            }
            Self::Merged { triple, .. } => triple,
        }
    }

    pub fn is_wide(self) -> bool {
        matches!(self, Self::Merged { wide: true, .. })
    }
}

impl Triple {
    pub const EMPTY: Self = Self { n: 0, mean: 0.0, low: 0.0, m2: 0.0 };

    /// Section 11: moments of no values have mean 0 and M2 0, whatever they are put together from.
    pub fn from_parts(n: u64, mean: f64, m2: f64) -> Self {
        if n == 0 { Self::EMPTY } else { Self { n, mean, low: 0.0, m2 } }
    }

    /// var = M2 / N, and 0 of nothing (section 6).
    pub fn variance(self) -> f64 {
        if self.n == 0 { 0.0 } else { self.m2 / self.n as f64 }
    }

    /// Section 11: an empty part leaves the other as it is.
    pub fn merged(self, other: Self) -> Self {
        if self.n == 0 {
            other
        } else if other.n == 0 {
            self
        } else {
            self.merged_with_values(other)
        }
    }

    /// Section 11: the merge that remembers what is rounded off the mean.
    fn merged_with_values(self, other: Self) -> Self {
        let (n_a, n_b) = (self.n as f64, other.n as f64);
        let total = n_a + n_b;
        let delta = (other.mean - self.mean) + (other.low - self.low);
        let (mean, low) = self.moved(delta * (n_b / total));
        let m2 = (self.m2 + other.m2) + (delta * delta) * ((n_a * n_b) / total);
        Self { n: self.n.saturating_add(other.n), mean, low, m2 }
    }

    /// Section 11: Welford's recurrence.
    pub fn pushed(self, x: f64) -> Self {
        let n = self.n.saturating_add(1);
        let delta = (x - self.mean) - self.low;
        let (mean, low) = self.moved(delta / n as f64);
        Self { n, mean, low, m2: self.m2 + delta * ((x - mean) - low) }
    }

    /// Section 11: the mean after a step.
    fn moved(self, step: f64) -> (f64, f64) {
        let s = self.mean + step;
        let b = s - self.mean;
        let e = (self.mean - (s - b)) + (step - b);
        let l = self.low + e;
        let mean = s + l;
        let low = l - (mean - s);
        if low.is_finite() { (mean, low) } else { (s, 0.0) }
    }
}
