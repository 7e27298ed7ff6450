//! Batch normalization, differentially: every backend against the scalar one bit for bit, in place
//! against out of place, and all results against the tests' oracle in f64: within a proven bound
//! whatever the data are, and within what README promises where they are as it says.
#![no_main]

use arbitrary::Arbitrary;
use evenkeel::{
    Affine, Backend, BatchNorm, Error, Given, Gradients, Keep, Layout, Moments, Running, Saved,
    Statistics, apart, in_place,
};
use libfuzzer_sys::fuzz_target;
use ops::oracle::{self, Shape, Stats};

/// What outputs hold before the call, where it matters that nothing is written.
const UNTOUCHED: f32 = 123.5;

fuzz_target!(|input: Input| {
    let problem = Problem::new(&input);
    let reference = Backend::available().last().expect("there is always a backend");
    assert_eq!(reference.name(), "scalar");

    let Some(expected) = problem.run(reference) else {
        return;
    };
    for backend in Backend::available() {
        let found = problem.run(backend).expect("errors don't depend on the backend");
        expected.assert_same(&found, backend.name());
    }
    problem.check_forward(&expected);
    problem.check_inference(&expected);
    problem.check_backward(&expected);
    problem.check_backward_inference(&expected);
    problem.check_wrong_length(input.wrong, input.longer);
});

/// What the fuzzer chooses.
#[derive(Arbitrary, Debug)]
struct Input {
    kind: Kind,
    proportions: u8,
    sizes: [u16; 3],
    eps: Eps,
    x: Values,
    dy: Values,
    gamma: Option<Values>,
    beta: Option<Values>,
    running: Option<[Values; 2]>,
    saved: bool,
    mean: Values,
    var: Values,
    /// Which argument gets a wrong length.
    wrong: u8,
    longer: bool,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Kind {
    First,
    Last,
    Dense,
}

#[derive(Arbitrary, Debug)]
enum Eps {
    Usual,
    Zero,
    PowerOfTwo(i8),
    /// Anything, mostly invalid.
    Bits(u64),
}

impl Eps {
    fn value(&self) -> f64 {
        match *self {
            Self::Usual => 1e-5,
            Self::Zero => 0.0,
            Self::PowerOfTwo(exponent) => 2f64.powi(exponent.into()),
            Self::Bits(bits) => f64::from_bits(bits),
        }
    }
}

#[derive(Arbitrary, Debug)]
enum Values {
    /// These bits, over and over: any magnitudes side by side, infinities and NaN.
    Bits(Vec<u32>),
    /// Uniform over `offset` ± 2^`exponent`.
    Uniform { seed: u64, exponent: i8, offset: f32 },
    /// The same, but one element of it is another.
    Outlier { seed: u64, at: u16, value: f32 },
}

impl Values {
    fn take(&self, len: usize) -> Vec<f32> {
        match *self {
            Self::Bits(ref bits) if bits.is_empty() => vec![0.0; len],
            Self::Bits(ref bits) => {
                bits.iter().cycle().take(len).copied().map(f32::from_bits).collect()
            }
            Self::Uniform { seed, exponent, offset } => {
                let scale = 2f64.powi(exponent.into()) as f32;
                uniform(seed).map(|u| offset + scale * u).take(len).collect()
            }
            Self::Outlier { seed, at, value } => {
                let mut values: Vec<f32> = uniform(seed).take(len).collect();
                if len > 0 {
                    values[usize::from(at) % len] = value;
                }
                values
            }
        }
    }
}

/// Numbers in [-1, 1), from a linear congruential generator.
fn uniform(mut seed: u64) -> impl Iterator<Item = f32> {
    std::iter::repeat_with(move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((seed >> 40) as f32) / (1u32 << 23) as f32 - 1.0
    })
}

/// One set of valid arguments.
struct Problem {
    layout: Layout,
    shape: Shape,
    eps: f64,
    x: Vec<f32>,
    dy: Vec<f32>,
    gamma: Option<Vec<f32>>,
    beta: Option<Vec<f32>>,
    running: Option<[Vec<f32>; 2]>,
    saved: bool,
    mean: Vec<f32>,
    var: Vec<f32>,
}

/// All outputs of one backend.
struct Outputs(Vec<(&'static str, Vec<f32>)>);

impl Outputs {
    fn get(&self, wanted: &str) -> &[f32] {
        &self.0.iter().find(|(name, _)| *name == wanted).expect("the output exists").1
    }

    /// Compares one number with the oracle's, in ulps of `size`.
    fn check(&self, name: &str, i: usize, expected: f64, ulps: f64, size: f64) {
        let found = f64::from(self.get(name)[i]);
        let tolerance = ulps * oracle::ulp(size) + 1e-30;
        assert!(
            (found - expected).abs() <= tolerance,
            "{name}[{i}] is {found:e}, the oracle says {expected:e} ± {tolerance:e}"
        );
    }

    fn assert_same(&self, other: &Self, backend: &str) {
        for ((name, expected), (_, found)) in self.0.iter().zip(&other.0) {
            for (i, (a, b)) in expected.iter().zip(found).enumerate() {
                let same = a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan());
                assert!(same, "{name}[{i}] is {a:e} on scalar, {b:e} on {backend}");
            }
        }
    }
}

/// Batch, channels and space from the fuzzer's numbers, 0 included, in one of some proportions: each
/// of the three is long in some of them.
fn shape(input: &Input) -> Shape {
    const LIMITS: [[usize; 3]; 4] = [[6, 40, 12], [4, 3, 300], [300, 5, 2], [2, 2, 1500]];
    let limits = LIMITS[usize::from(input.proportions) % LIMITS.len()];
    let size = |i: usize| usize::from(input.sizes[i]) % limits[i];
    let (batch, channels, spatial) = (size(0), size(1), size(2));
    match input.kind {
        Kind::First => Shape::first(batch, channels, spatial),
        Kind::Last => Shape::last(batch, spatial, channels),
        Kind::Dense => Shape::dense(batch, channels),
    }
}

fn layout(kind: Kind, shape: Shape) -> Result<Layout, Error> {
    match kind {
        Kind::First => Layout::channels_first(shape.batch, shape.channels, shape.spatial),
        Kind::Last => Layout::channels_last(shape.batch, shape.spatial, shape.channels),
        Kind::Dense => Layout::dense(shape.batch, shape.channels),
    }
}

impl Problem {
    fn new(input: &Input) -> Self {
        let shape = shape(input);
        let layout = layout(input.kind, shape).expect("small sizes are valid");
        assert_eq!(layout.len(), shape.len());
        let parameter = |values: &Option<Values>| values.as_ref().map(|v| v.take(shape.channels));
        Self {
            layout,
            shape,
            eps: input.eps.value(),
            x: input.x.take(shape.len()),
            dy: input.dy.take(shape.len()),
            gamma: parameter(&input.gamma),
            beta: parameter(&input.beta),
            running: input.running.as_ref().map(|r| [0, 1].map(|i| r[i].take(shape.channels))),
            saved: input.saved,
            mean: input.mean.take(shape.channels),
            var: input.var.take(shape.channels).into_iter().map(f32::abs).collect(),
        }
    }

    fn op(&self, backend: Backend) -> BatchNorm {
        BatchNorm::new(self.layout).eps(self.eps).backend(backend)
    }

    /// Runs every operation on a backend. `None`: eps is invalid, and they all say so.
    fn run(&self, backend: Backend) -> Option<Outputs> {
        let op = self.op(backend);
        let (gamma, beta) = (self.gamma.as_deref(), self.beta.as_deref());
        let (len, channels) = (self.layout.len(), self.layout.channels());
        let statistics = || self.running.clone().unwrap_or([vec![], vec![]]);
        let new = |n| vec![UNTOUCHED; n];

        let [mut running_mean, mut running_var] = statistics();
        let (mut saved_mean, mut saved_rstd) = (new(channels), new(channels));
        let mut y = new(len);
        let running = Running { mean: &mut running_mean, var: &mut running_var };
        let saved = Saved { mean: &mut saved_mean, rstd: &mut saved_rstd };
        let result = op.train(
            apart(&self.x, &mut y),
            Affine { gamma, beta },
            Keep {
                running: self.running.is_some().then_some(running),
                saved: self.saved.then_some(saved),
            },
        );
        if !(self.eps >= 0.0 && self.eps.is_finite()) {
            assert!(matches!(result, Err(Error::Epsilon { .. })));
            assert!(y.iter().all(|&v| v == UNTOUCHED));
            return None;
        }
        result.expect("valid arguments");
        self.assert_in_place_is_the_same(op, &y, [&running_mean, &running_var]);

        let mut infer = new(len);
        op.infer(
            apart(&self.x, &mut infer),
            Affine { gamma, beta },
            Given::Running { mean: &self.mean, var: &self.var },
        )
        .expect("valid");
        let mut moments = vec![Moments::new(); channels];
        op.collect(&self.x, &mut moments).expect("valid");
        let mut population = new(len);
        op.infer(
            apart(&self.x, &mut population),
            Affine { gamma, beta },
            Given::Population(&moments),
        )
        .expect("valid");

        // Gradients need the saved statistics even where this problem doesn't ask for them.
        let saved = Saved { mean: &mut saved_mean, rstd: &mut saved_rstd };
        op.train(
            apart(&self.x, &mut y),
            Affine { gamma, beta },
            Keep { running: None, saved: Some(saved) },
        )
        .expect("valid");
        let (mut dx, mut dgamma, mut dbeta) = (new(len), new(channels), new(channels));
        let gradients =
            Gradients { x: Some(&mut dx), gamma: Some(&mut dgamma), beta: Some(&mut dbeta) };
        op.backward(
            &self.dy,
            &self.x,
            gamma,
            Statistics { mean: &saved_mean, rstd: &saved_rstd },
            gradients,
        )
        .expect("valid");
        let mut given = [new(len), new(channels), new(channels)];
        let [x, g, b] = &mut given;
        let gradients = Gradients { x: Some(x), gamma: Some(g), beta: Some(b) };
        op.backward(
            &self.dy,
            &self.x,
            gamma,
            Given::Running { mean: &self.mean, var: &self.var },
            gradients,
        )
        .expect("valid");
        let [dx_inference, dgamma_inference, dbeta_inference] = given;

        Some(Outputs(vec![
            ("y", y),
            ("running_mean", running_mean),
            ("running_var", running_var),
            ("saved_mean", saved_mean),
            ("saved_rstd", saved_rstd),
            ("infer", infer),
            ("population", population),
            ("dx", dx),
            ("dgamma", dgamma),
            ("dbeta", dbeta),
            ("dx_inference", dx_inference),
            ("dgamma_inference", dgamma_inference),
            ("dbeta_inference", dbeta_inference),
        ]))
    }

    fn assert_in_place_is_the_same(&self, op: BatchNorm, y: &[f32], running: [&[f32]; 2]) {
        let mut z = self.x.clone();
        let [mut mean, mut var] = self.running.clone().unwrap_or([vec![], vec![]]);
        let updated = Running { mean: &mut mean, var: &mut var };
        op.train(
            in_place(&mut z),
            Affine { gamma: self.gamma.as_deref(), beta: self.beta.as_deref() },
            Keep { running: self.running.is_some().then_some(updated), saved: None },
        )
        .expect("valid arguments");
        let expected = Outputs(vec![
            ("y", y.to_vec()),
            ("running_mean", running[0].to_vec()),
            ("running_var", running[1].to_vec()),
        ]);
        let found = Outputs(vec![("y", z), ("running_mean", mean), ("running_var", var)]);
        expected.assert_same(&found, "the same backend in place");
    }

    fn parameters(&self, channel: usize) -> (f64, f64) {
        let gamma = self.gamma.as_ref().map_or(1.0, |gamma| gamma[channel].into());
        let beta = self.beta.as_ref().map_or(0.0, |beta| beta[channel].into());
        (gamma, beta)
    }

    /// The channels whose values are all finite, with their statistics. (What an infinity or a
    /// NaN gives is compared between backends only.)
    fn finite_channels(&self) -> Vec<(usize, Stats)> {
        if self.layout.is_empty() {
            // Nothing is written then.
            return Vec::new();
        }
        let x = oracle::widen(&self.x);
        let finite = |&c: &usize| self.shape.channel(c).all(|i| x[i].is_finite());
        let channels = (0..self.shape.channels).filter(finite);
        channels.map(|c| (c, oracle::moments(self.shape.channel(c).map(|i| x[i])))).collect()
    }

    /// Compares what training and inference with the same statistics give with the oracle.
    ///
    /// The tolerance is a worst case, not what is usual. A lane adds at most 16 numbers, 4 chains
    /// and 16 lanes meet in 6 more additions: mean and variance are each off by at most 22 half
    /// ulps (of the deviation, of the variance; the latter counts half in rstd), a few more
    /// roundings follow. Together less than 24 ulps of |γ·x̂| + |γ| + |β|.
    fn check_forward(&self, outputs: &Outputs) {
        for (c, stats) in self.finite_channels() {
            let promise = self.promise(c, &stats);
            self.check_channel(outputs, "y", c, &stats, 24.0, promise);
            self.check_channel(outputs, "population", c, &stats, 24.0, promise);
        }
    }

    /// The same for inference with given statistics. Nothing is summed: seven roundings (the mean,
    /// eps, the sum with eps, its root, γ over it, the product, the sum with β) of at most one ulp
    /// each, and the root halves those before it.
    fn check_inference(&self, outputs: &Outputs) {
        if !self.layout.is_empty() {
            for c in 0..self.shape.channels {
                let stats = Stats::given(self.mean[c].into(), self.var[c].into());
                let promise = self.promise(c, &stats);
                self.check_channel(outputs, "infer", c, &stats, 8.0, promise);
            }
        }
    }

    fn check_channel(
        &self,
        outputs: &Outputs,
        name: &str,
        c: usize,
        stats: &Stats,
        bound: f64,
        promise: Option<f64>,
    ) {
        let (y, (gamma, beta), rstd) =
            (outputs.get(name), self.parameters(c), stats.rstd(self.eps));
        for i in self.shape.channel(c) {
            let product = stats.centred(self.x[i].into()) * rstd * gamma;
            let size = product.abs() + gamma.abs() + beta.abs();
            // An intermediate product may overflow, and NaN parameters give NaN.
            if size < f64::from(f32::MAX) {
                let expected = product + beta;
                let error = (f64::from(y[i]) - expected).abs();
                assert!(
                    error <= bound * oracle::ulp(size),
                    "{name}[{i}] is {:e}, the oracle says {expected:e} (size {size:e})",
                    y[i]
                );
                let ulps = error / oracle::ulp(oracle::output_scale(expected, gamma, beta));
                assert!(
                    promise.is_none_or(|promise| ulps <= promise),
                    "{name}[{i}] is off by {ulps} ulp, promised are {promise:?}"
                );
            }
        }
    }

    /// The ulps that README promises for a channel's outputs, if its data and parameters are such
    /// that it promises any.
    fn promise(&self, c: usize, stats: &Stats) -> Option<f64> {
        let (gamma, beta) = self.parameters(c);
        let deviation = stats.std_dev();
        let near = |i: usize| stats.centred(self.x[i].into()).abs() <= 6.0 * deviation;
        let within = |low: f64, high: f64, v: f64| v == 0.0 || (low..=high).contains(&v.abs());
        let regular = deviation > 0.0
            && self.shape.channel(c).all(near)
            && within(1e-6, 1e6, gamma)
            && within(1e-6, 1e6, beta);
        let ordinary = within(1e-3, 1e3, deviation) && stats.mean.abs() <= 4.0 * deviation;
        let extreme = within(1e-20, 1e38, deviation) && stats.mean.abs() <= 1e6 * deviation;
        // Of a few values, the variance is off by more than of many: one output in a million is then
        // off by more than 4.
        let many = self.shape.reduction() >= 64;
        match (regular, ordinary && many, ordinary || extreme) {
            (true, true, _) => Some(4.0),
            (true, false, true) => Some(8.0),
            _ => None,
        }
    }

    /// Compares gradients with the oracle, where no intermediate result can leave the range of
    /// f32 (sums of gradients are not rescued as sums of squares are).
    fn check_backward(&self, outputs: &Outputs) {
        for (c, stats) in self.finite_channels() {
            let (gamma, rstd) = (self.parameters(c).0, stats.rstd(self.eps));
            if self.gradients_in_range(c, gamma, rstd) {
                let ordinary = self.promise(c, &stats).is_some();
                let ulps = if ordinary { 8.0 } else { 48.0 };
                self.check_channel_gradients(outputs, c, &stats, rstd, gamma, ulps);
            }
        }
    }

    fn gradients_in_range(&self, c: usize, gamma: f64, rstd: f64) -> bool {
        let moderate = |v: f64| v == 0.0 || (1e-9..1e9).contains(&v.abs());
        let dy = |i: usize| f64::from(self.dy[i]);
        moderate(gamma) && moderate(rstd) && self.shape.channel(c).all(|i| moderate(dy(i)))
    }

    /// The bound is that of `check_forward` twice, relative to the sums of magnitudes: two sums of at
    /// most 22 additions, each term of the second with the error of x̂. For data that README promises
    /// something about it is 8, as in the accuracy tests.
    fn check_channel_gradients(
        &self,
        outputs: &Outputs,
        c: usize,
        stats: &Stats,
        rstd: f64,
        gamma: f64,
        ulps: f64,
    ) {
        let terms = self.terms(c, stats, rstd);
        let sum = |term: fn(f64, f64) -> f64| {
            oracle::sum(terms.clone().map(|(_, dy, normalized)| term(dy, normalized)))
        };
        let (dbeta, dgamma) = (sum(|dy, _| dy), sum(|dy, x| dy * x));
        // The error of x̂ is relative to 1 at least.
        let (size_dbeta, size_dgamma) =
            (sum(|dy, _| dy.abs()), sum(|dy, x| dy.abs() * (x.abs() + 1.0)));
        outputs.check("dbeta", c, dbeta, ulps, size_dbeta);
        outputs.check("dgamma", c, dgamma, ulps, size_dgamma);
        let (n, factor) = (self.shape.reduction() as f64, rstd * gamma);
        for (i, dy, normalized) in terms.clone() {
            let expected = factor * (dy - dbeta / n - normalized * dgamma / n);
            let spread = (normalized.abs() + 1.0) * size_dgamma;
            let size = factor * (dy.abs() + (size_dbeta + spread) / n);
            outputs.check("dx", i, expected, ulps, size);
        }
    }

    /// The same for gradients at given statistics, where dx is one product and the sums are not
    /// corrected.
    fn check_backward_inference(&self, outputs: &Outputs) {
        if self.layout.is_empty() {
            return;
        }
        for c in 0..self.shape.channels {
            let stats = Stats::given(self.mean[c].into(), self.var[c].into());
            let (gamma, rstd) = (self.parameters(c).0, stats.rstd(self.eps));
            if !self.gradients_in_range(c, gamma, rstd) {
                continue;
            }
            let terms = self.terms(c, &stats, rstd);
            let dbeta = oracle::sum(terms.clone().map(|(_, dy, _)| dy));
            let dgamma = oracle::sum(terms.clone().map(|(_, dy, normalized)| dy * normalized));
            let size_dbeta = terms.clone().map(|(_, dy, _)| dy.abs()).sum();
            let size_dgamma =
                terms.clone().map(|(_, dy, normalized)| (dy * normalized).abs()).sum();
            outputs.check("dbeta_inference", c, dbeta, 24.0, size_dbeta);
            // A mean that is no number, or an x, or a sum beyond f32.
            if size_dgamma < f64::from(f32::MAX) {
                outputs.check("dgamma_inference", c, dgamma, 32.0, size_dgamma);
            }
            for (i, dy, _) in terms {
                let expected = dy * rstd * gamma;
                outputs.check("dx_inference", i, expected, 8.0, expected.abs());
            }
        }
    }

    /// Index, dy and x̂ of a channel's elements.
    fn terms(
        &self,
        c: usize,
        stats: &Stats,
        rstd: f64,
    ) -> impl Iterator<Item = (usize, f64, f64)> + Clone {
        self.shape.channel(c).map(move |i| {
            let normalized = stats.centred(self.x[i].into()) * rstd;
            (i, f64::from(self.dy[i]), normalized)
        })
    }

    /// A wrong length must be reported, by the name of the argument, and nothing written.
    fn check_wrong_length(&self, wrong: u8, longer: bool) {
        const NAMES: [&str; 8] =
            ["x", "gamma", "beta", "running_mean", "running_var", "saved_mean", "saved_rstd", "y"];
        let wrong = usize::from(wrong) % NAMES.len();
        let (len, channels) = (self.layout.len(), self.layout.channels());
        let mut arrays = NAMES
            .map(|name| vec![UNTOUCHED; if name == "x" || name == "y" { len } else { channels }]);
        if longer {
            arrays[wrong].push(UNTOUCHED);
        } else if arrays[wrong].pop().is_none() {
            return;
        }
        let found_len = arrays[wrong].len();
        let [x, gamma, beta, running_mean, running_var, saved_mean, saved_rstd, y] = &mut arrays;
        let running = Running { mean: running_mean, var: running_var };
        let saved = Saved { mean: saved_mean, rstd: saved_rstd };
        let result = BatchNorm::new(self.layout).train(
            apart(x, y),
            Affine::new(gamma, beta),
            Keep { running: Some(running), saved: Some(saved) },
        );
        match result {
            Err(Error::Length { argument, found, .. }) => {
                assert_eq!((argument, found), (NAMES[wrong], found_len));
            }
            other => panic!("{} of a wrong length gave {other:?}", NAMES[wrong]),
        }
        assert!(arrays.iter().flatten().all(|&v| v == UNTOUCHED));
    }
}
