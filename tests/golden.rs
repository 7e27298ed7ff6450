//! The golden file: every backend gives the bits that `tests/golden/v1.txt` pins.
//!
//! The same cases run on microcontrollers (`firmware/run.sh`) against the same file. Every output
//! is also compared with the oracle (plain formulas in binary64), so that nothing wrong can be pinned.
//!
//! After a deliberate change of bits (a breaking change: see `docs/NUMERICS.md`), write the file
//! anew with `EVENKEEL_BLESS=1 cargo test --test golden`.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "counts are small, and words are cut out of larger ones on purpose"
)]

#[path = "common/golden_cases.rs"]
mod golden_cases;

use std::fmt::Write as _;

use evenkeel::{Backend, Dropout, Key};
use golden_cases::{CASES, Case, Data, Digest, MEMORY, Observer, Op, Values, run};
use ops::oracle::{self, Reduced, Shape, Stats};

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/v1.txt");

const HEADER: &str = "\
# Golden bits of numeric contract version 1: name, FNV-1a hash of all outputs, first two values.
# Written by `EVENKEEL_BLESS=1 cargo test --test golden`; the cases are in
# tests/common/golden_cases.rs. Read by tests/golden.rs and firmware/run.sh.
";

#[test]
fn every_backend_agrees_with_the_oracle() {
    for backend in Backend::available() {
        for case in CASES {
            check(case, &Recording::of(case, backend));
        }
    }
}

#[test]
fn every_backend_gives_the_golden_bits() {
    if std::env::var_os("EVENKEEL_BLESS").is_some_and(|value| value == "1") {
        bless();
    }
    let golden = std::fs::read_to_string(PATH).expect("tests/golden/v1.txt can be read");
    let golden: Vec<&str> = golden.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(golden.len(), CASES.len(), "the golden file has one line per case");
    for backend in Backend::available() {
        for (case, expected) in CASES.iter().zip(&golden) {
            let line = Recording::of(case, backend).line(case);
            assert_eq!(&line, expected, "on {}", backend.name());
        }
    }
}

/// Writes the golden file, once every backend agrees with the oracle and with all others.
fn bless() {
    let mut text = String::from(HEADER);
    for case in CASES {
        let lines: Vec<String> = Backend::available()
            .map(|backend| {
                let recording = Recording::of(case, backend);
                check(case, &recording);
                recording.line(case)
            })
            .collect();
        assert!(lines.iter().all(|line| *line == lines[0]), "backends differ: {lines:?}");
        writeln!(text, "{}", lines[0]).expect("a String takes any text");
    }
    std::fs::write(PATH, text).expect("tests/golden/v1.txt can be written");
}

/// All that a case read and wrote.
struct Recording {
    digest: Digest,
    inputs: Vec<(&'static str, Vec<f64>)>,
    outputs: Vec<(&'static str, Vec<f64>)>,
}

impl Recording {
    fn of(case: &Case, backend: Backend) -> Self {
        let mut recording = Self { digest: Digest::new(), inputs: Vec::new(), outputs: Vec::new() };
        // What the memory held before must not matter.
        let mut memory = vec![f32::NAN; MEMORY];
        run(case, backend, &mut memory, &mut recording)
            .unwrap_or_else(|error| panic!("{}: {error}", case.name));
        recording
    }

    /// The case's line of the golden file.
    fn line(&self, case: &Case) -> String {
        let Digest { hash, first, .. } = self.digest;
        format!("{} {hash:016x} {:08x} {:08x}", case.name, first[0], first[1])
    }

    fn input(&self, name: &str) -> &[f64] {
        find(&self.inputs, name)
    }

    fn output(&self, name: &str) -> &[f64] {
        find(&self.outputs, name)
    }

    /// The moments of all channels: count, mean, m2.
    fn moments(&self) -> Vec<&[f64]> {
        let moments = self.outputs.iter().filter(|(name, _)| *name == "moments");
        moments.map(|(_, values)| values.as_slice()).collect()
    }
}

fn find<'a>(arrays: &'a [(&str, Vec<f64>)], wanted: &str) -> &'a [f64] {
    let found = arrays.iter().find(|(name, _)| *name == wanted);
    &found.unwrap_or_else(|| panic!("no array {wanted}")).1
}

impl Observer for Recording {
    fn input(&mut self, name: &'static str, values: &[f32]) {
        self.inputs.push((name, values.iter().copied().map(f64::from).collect()));
    }

    fn output(&mut self, name: &'static str, values: Values<'_>) {
        self.digest.add(values);
        let values = match values {
            Values::F32(values) => values.iter().copied().map(f64::from).collect(),
            Values::F64(values) => values.to_vec(),
            Values::U8(values) => values.iter().copied().map(f64::from).collect(),
            Values::U32(values) => values.iter().copied().map(f64::from).collect(),
        };
        self.outputs.push((name, values));
    }
}

/// Compares what a case wrote with the oracle.
fn check(case: &Case, recording: &Recording) {
    let checker = Checker { case, shape: shape_of(case), recording };
    match case.op {
        Op::Train | Op::TrainCumulative => checker.train(),
        Op::TrainBare => {
            checker.normalized(&checker.channel_stats());
        }
        Op::Infer => checker.normalized(&checker.given_stats()),
        Op::Population => checker.population(),
        Op::Backward => checker.backward(),
        Op::BackwardInference => checker.backward_inference(),
        Op::Group { groups } => checker.group(groups),
        Op::GroupBackward { groups } => checker.gradients_of_groups(groups),
        Op::Instance => checker.instance(),
        // Rows are the samples of dense data.
        Op::Layer => {
            checker.group(1);
            checker.gradients_of_groups(1);
        }
        Op::Rms => checker.root_mean_square(),
        Op::Standard => checker.standardize(),
        Op::Moments => checker.moments(),
        Op::Fold { .. } | Op::FoldTransposed { .. } => checker.fold(),
        Op::Dropout { p, offset } => checker.dropout(p, offset),
        Op::Drops { p } => checker.drops(p),
        Op::Numbers { offset } => checker.numbers(offset),
        Op::Selu => checker.selu(),
        Op::Connect { outputs, p, offset } => checker.connect(outputs, p, offset),
        Op::Words => checker.words(),
    }
}

fn shape_of(case: &Case) -> Shape {
    match case.shape {
        golden_cases::Shape::First(batch, channels, spatial) => {
            Shape::first(batch, channels, spatial)
        }
        golden_cases::Shape::Last(batch, spatial, channels) => {
            Shape::last(batch, spatial, channels)
        }
        golden_cases::Shape::Dense(batch, channels) => Shape::dense(batch, channels),
    }
}

struct Checker<'a> {
    case: &'a Case,
    shape: Shape,
    recording: &'a Recording,
}

impl Checker<'_> {
    fn near(&self, name: &str, index: usize, found: f64, expected: f64, tolerance: f64) {
        assert!(
            (found - expected).abs() <= tolerance,
            "{}: {name}[{index}] is {found:e}, the oracle says {expected:e} ± {tolerance:e}",
            self.case.name
        );
    }

    /// Compares an array with `expected(index)`: a value, and what its error is relative to (if
    /// that is larger than the value). The tolerance counts units in the last place.
    fn array(&self, name: &str, ulps: f64, expected: impl Fn(usize) -> (f64, f64)) {
        for (index, &found) in self.recording.output(name).iter().enumerate() {
            let (value, size) = expected(index);
            let tolerance = ulps * oracle::ulp(size.abs().max(value.abs()));
            self.near(name, index, found, value, tolerance);
        }
    }

    fn x(&self) -> &[f64] {
        self.recording.input("x")
    }

    fn channel_stats(&self) -> Vec<Stats> {
        oracle::channel_stats(self.shape, self.x())
    }

    /// The statistics that the case was given.
    fn given_stats(&self) -> Vec<Stats> {
        let (mean, var) = (self.recording.input("mean"), self.recording.input("var"));
        mean.iter().zip(var).map(|(&mean, &var)| Stats::given(mean, var)).collect()
    }

    fn parameters(&self) -> (Option<&[f64]>, Option<&[f64]>) {
        if matches!(self.case.op, Op::TrainBare | Op::Standard) {
            return (None, None);
        }
        (Some(self.recording.input("gamma")), Some(self.recording.input("beta")))
    }

    /// The output of a normalization over channels.
    fn normalized(&self, stats: &[Stats]) {
        let (gamma, beta) = self.parameters();
        self.output(&oracle::apply(self.shape, self.x(), gamma, beta, stats, self.case.eps));
    }

    fn output(&self, y: &[f64]) {
        // What the crate promises: 4 ulp on ordinary data, 8 on hostile ones.
        let ordinary = matches!(self.case.data, Data::Uniform { offset: 0.0, scale: 1.0 });
        let ulps = if ordinary { 4.0 } else { 8.0 };
        let (gamma, beta) = self.parameters();
        self.array("y", ulps, |i| {
            let c = self.shape.channel_of(i);
            let (gamma, beta) = (gamma.map_or(1.0, |g| g[c]), beta.map_or(0.0, |b| b[c]));
            (y[i], gamma.abs() + beta.abs())
        });
    }

    fn saved(&self, stats: &[Stats]) {
        self.array("saved_mean", 4.0, |i| {
            (stats[i].mean + stats[i].low, stats[i].mean.abs() + stats[i].std_dev())
        });
        self.array("saved_rstd", 4.0, |i| {
            // The largest finite number stands for all above it.
            (stats[i].rstd(self.case.eps).min(f32::MAX.into()), 0.0)
        });
    }

    fn train(&self) {
        let stats = self.channel_stats();
        self.normalized(&stats);
        self.saved(&stats);
        let cumulative = matches!(self.case.op, Op::TrainCumulative);
        let factor = if cumulative { 1.0 / 3.0 } else { 0.1 };
        let old = self.recording.input("running_mean");
        self.array("running_mean", 4.0, |i| {
            let value = (1.0 - factor) * old[i] + factor * stats[i].mean;
            (value, old[i].abs() + factor * stats[i].std_dev())
        });
        let old = self.recording.input("running_var");
        self.array("running_var", 8.0, |i| {
            let new = match stats[i].count {
                1 => old[i],
                _ if cumulative => stats[i].var,
                _ => stats[i].sample_var(),
            };
            // The largest finite number stands for all above it.
            ((1.0 - factor) * old[i] + factor * new.min(f32::MAX.into()), 0.0)
        });
    }

    /// Compares moments (count, mean, m2 of each channel).
    fn moments_of(&self, stats: &[Stats]) {
        for (found, expected) in self.recording.moments().iter().zip(stats) {
            let count = expected.count as f64;
            let tolerance = 4.0 * oracle::ulp(expected.std_dev()) + 1e-15 * expected.mean.abs();
            self.near("count", 0, found[0], count, 0.0);
            self.near("mean", 0, found[1], expected.mean + expected.low, tolerance);
            let m2 = count * expected.var;
            self.near("m2", 0, found[2], m2, 16.0 * f64::from(f32::EPSILON) * m2);
        }
    }

    fn population(&self) {
        // A batch is outermost in every layout, so the two are one of twice the size.
        let both = Shape { batch: 2 * self.shape.batch, ..self.shape };
        let x = [self.recording.input("first"), self.x()].concat();
        let stats = oracle::channel_stats(both, &x);
        self.moments_of(&stats);
        self.normalized(&stats);
    }

    fn standardize(&self) {
        let stats = self.channel_stats();
        self.moments_of(&stats);
        self.normalized(&stats);
    }

    fn moments(&self) {
        let stats = oracle::moments(self.x().iter().copied());
        self.moments_of(&[stats]);
        let derived = self.recording.output("derived");
        let expected = [stats.var, stats.sample_var(), stats.std_dev()];
        for (i, (&found, expected)) in derived.iter().zip(expected).enumerate() {
            self.near("derived", i, found, expected, 16.0 * f64::from(f32::EPSILON) * expected);
        }
    }

    fn group(&self, groups: usize) {
        let (gamma, beta) = self.parameters();
        let expected = oracle::group_norm(self.shape, groups, self.x(), gamma, beta, self.case.eps);
        self.output(&expected.y);
        self.saved(&expected.stats);
    }

    /// Where each group is, and what it comes to.
    fn groups(&self, groups: usize) -> Vec<Reduced> {
        let all = (0..self.shape.batch).flat_map(|n| (0..groups).map(move |g| (n, g)));
        let group = |(n, g)| {
            let indices: Vec<usize> = self.shape.group(n, g, groups).collect();
            let stats = oracle::moments(indices.iter().map(|&i| self.x()[i]));
            Reduced { indices, stats, centred: true }
        };
        all.map(group).collect()
    }

    fn gradients_of_groups(&self, groups: usize) {
        self.gradients_of(self.recording.input("dy"), &self.groups(groups));
    }

    fn gradients_of(&self, dy: &[f64], reductions: &[Reduced]) {
        let parameters = (self.shape.channels, |i| self.shape.channel_of(i));
        let gamma = Some(self.recording.input("gamma"));
        let eps = self.case.eps;
        let expected = oracle::backward_of(reductions, parameters, dy, self.x(), gamma, eps);
        self.array("dx", 8.0, |i| (expected.dx[i], expected.dx_scale[i]));
        self.array("dgamma", 8.0, |c| (expected.dgamma[c], expected.dgamma_scale[c]));
        if !matches!(self.case.op, Op::Rms) {
            self.array("dbeta", 8.0, |c| (expected.dbeta[c], expected.dbeta_scale[c]));
        }
    }

    fn instance(&self) {
        let channels = self.shape.channels;
        self.group(channels);
        let stats: Vec<Stats> = self.groups(channels).into_iter().map(|g| g.stats).collect();
        let mean_of = |c: usize, of: &dyn Fn(&Stats) -> f64| {
            let each: Vec<f64> = stats.iter().skip(c).step_by(channels).map(of).collect();
            oracle::sum(each.iter().copied()) / each.len() as f64
        };
        let old = self.recording.input("running_mean");
        self.array("running_mean", 4.0, |c| {
            let value = 0.9 * old[c] + 0.1 * mean_of(c, &|s| s.mean);
            (value, old[c].abs() + 0.1 * mean_of(c, &Stats::std_dev))
        });
        let old = self.recording.input("running_var");
        self.array("running_var", 8.0, |c| match self.shape.spatial {
            1 => (old[c], 0.0),
            _ => (0.9 * old[c] + 0.1 * mean_of(c, &Stats::sample_var), 0.0),
        });
    }

    fn root_mean_square(&self) {
        let len = self.shape.channels;
        let rows = self.x().chunks(len).enumerate().map(|(i, row)| {
            let squares = oracle::sum(row.iter().map(|x| x * x)) / len as f64;
            let indices = (i * len..(i + 1) * len).collect();
            Reduced { indices, stats: Stats::given(0.0, squares), centred: false }
        });
        let rows: Vec<Reduced> = rows.collect();
        let gamma = self.recording.input("gamma");
        self.array("y", 4.0, |i| {
            let rstd = rows[i / len].stats.rstd(self.case.eps);
            (self.x()[i] * rstd * gamma[i % len], gamma[i % len])
        });
        self.array("saved_rstd", 4.0, |i| (rows[i].stats.rstd(self.case.eps), 0.0));
        self.gradients_of(self.recording.output("y"), &rows);
    }

    fn backward(&self) {
        let (dy, gamma) = (self.recording.input("dy"), self.recording.input("gamma"));
        self.gradients(&oracle::backward(self.shape, dy, self.x(), Some(gamma), self.case.eps));
    }

    fn backward_inference(&self) {
        let [dy, gamma, mean, var] =
            ["dy", "gamma", "mean", "var"].map(|name| self.recording.input(name));
        let (statistics, eps) = ((mean, var), self.case.eps);
        self.gradients(&oracle::backward_inference(
            self.shape,
            dy,
            self.x(),
            Some(gamma),
            statistics,
            eps,
        ));
    }

    fn gradients(&self, expected: &oracle::Gradients) {
        self.array("dx", 8.0, |i| (expected.dx[i], expected.dx_scale[i]));
        self.array("dgamma", 8.0, |c| (expected.dgamma[c], expected.dgamma_scale[c]));
        self.array("dbeta", 8.0, |c| (expected.dbeta[c], expected.dbeta_scale[c]));
    }

    fn fold(&self) {
        let [gamma, beta, mean, var, weight, bias] =
            ["gamma", "beta", "mean", "var", "weight", "bias"]
                .map(|name| self.recording.input(name));
        let (gamma, beta, statistics) = (Some(gamma), Some(beta), (mean, var));
        let eps = self.case.eps;
        let (weight, folded) = match self.case.op {
            Op::FoldTransposed { groups, kernel, .. } => oracle::fold_transposed(
                (groups, kernel),
                gamma,
                beta,
                statistics,
                eps,
                weight,
                bias,
            ),
            _ => oracle::fold(gamma, beta, statistics, eps, weight, bias),
        };
        self.array("weight", 4.0, |i| (weight[i], 0.0));
        self.array("bias", 4.0, |c| {
            let beta = self.recording.input("beta")[c];
            (folded[c], beta.abs() + (folded[c] - beta).abs())
        });
    }

    fn dropout(&self, p: f64, offset: u64) {
        let op = Dropout::new(p).expect("p is a probability").offset(offset);
        let key = golden_cases::dropout_key().expect("the stream is small enough");
        let (x, y) = (self.recording.input("x"), self.recording.output("y"));
        let scale =
            if p == 1.0 { 0.0 } else { 1.0 / (1.0 - (p * 2f64.powi(40)).round() / 2f64.powi(40)) };
        let mask = self.recording.output("mask");
        for (i, (&x, &y)) in x.iter().zip(y).enumerate() {
            let index = offset + i as u64;
            let keep = reference_keep(p, index, key.seed(), key.stream());
            let mask = mask[i / 8] as u8 >> (i % 8) & 1 == 1;
            assert_eq!(mask, keep, "{}: mask of element {i}", self.case.name);
            assert_eq!(op.keep(key, index), keep, "{}: keep({index})", self.case.name);
            // One rounding of the scale, one of the product.
            let expected = if keep { x * scale } else { 0.0 };
            self.near("y", i, y, expected, 1.01 * f64::from(f32::EPSILON) * expected.abs());
        }
        let bits: u32 = mask.iter().map(|&byte| (byte as u8).count_ones()).sum();
        assert!(bits as usize <= x.len(), "bits after the last element are 0");
    }

    fn drops(&self, p: f64) {
        let key = golden_cases::dropout_key().expect("the stream is small enough");
        let x = self.recording.input("x");
        let steps = 2_f64.powi(40);
        let drop = (p * steps).round() / steps;
        let saturation = 1.758_099_340_847_376_6;
        let a = 1.0 / ((1.0 - drop) * (1.0 + drop * saturation * saturation)).sqrt();
        let affine = [a, a * saturation * drop, -a * saturation * (1.0 - drop)];
        let scale = [1.0 / (1.0 - drop), 0.0, 0.0];
        let shape = shape_of(self.case);
        let outputs = [
            ("alpha", affine, false),
            ("alpha dx", [a, 0.0, 0.0], false),
            ("feature", scale, true),
            ("feature alpha", affine, true),
        ];
        for (name, [factor, shift, dropped], by_feature) in outputs {
            let y = self.recording.output(name);
            for (i, (&x, &y)) in x.iter().zip(y).enumerate() {
                let sample = i / (shape.channels * shape.spatial);
                let feature = sample * shape.channels + shape.channel_of(i);
                let decision = if by_feature { feature } else { i };
                let keep = reference_keep(p, decision as u64, key.seed(), key.stream());
                let expected = if keep { x * factor + shift } else { dropped };
                let terms = (x * factor).abs() + shift.abs() + dropped.abs();
                self.near(name, i, y, expected, 1.51 * f64::from(f32::EPSILON) * terms);
            }
        }
        self.fused_drops(p, affine);
        self.streams(p);
    }

    fn fused_drops(&self, p: f64, [a, b, dropped]: [f64; 3]) {
        let key = golden_cases::dropout_key().expect("the stream is small enough");
        let (y, dx) = (self.recording.output("selu alpha"), self.recording.output("selu alpha dx"));
        for (i, &x) in self.recording.input("x").iter().enumerate() {
            let keep = reference_keep(p, i as u64, key.seed(), key.stream());
            let (selu, slope) = (oracle::selu(x), oracle::selu_slope(x));
            let limit = 3.0 * f64::from(f32::EPSILON);
            let expected = if keep { selu * a + b } else { dropped };
            self.near("selu alpha", i, y[i], expected, limit * ((selu * a).abs() + b.abs()));
            let expected = if keep { slope * a } else { 0.0 };
            self.near("selu alpha dx", i, dx[i], expected, limit * expected);
        }
    }

    /// Decisions one by one, which tests/streams compares with the systems'; about as many as p says.
    fn streams(&self, p: f64) {
        let x = self.recording.input("x");
        for (name, stream) in golden_cases::STREAMS {
            let decider = stream.decider(p).expect("p is a probability");
            let y = self.recording.output(name);
            let mut dropped = 0.0;
            for (i, (&x, &y)) in x.iter().zip(y).enumerate() {
                let keep = decider.keep(Key::new(0x0123_4567_89ab_cdef), i as u64);
                dropped += f64::from(u8::from(!keep));
                let expected = if keep { x / (1.0 - p) } else { 0.0 };
                self.near(name, i, y, expected, 2.0 * f64::from(f32::EPSILON) * expected.abs());
            }
            let n = x.len() as f64;
            let off = (dropped - n * p) / (n * p * (1.0 - p)).sqrt();
            assert!(off.abs() < 5.0, "{name}: {dropped} of {n} dropped");
        }
    }

    fn numbers(&self, offset: u64) {
        let key = golden_cases::dropout_key().expect("the stream is small enough");
        let word = |i: usize| {
            let number = offset + i as u64;
            let [w0, w1, w2, w3] = reference_block(number / 4, key.seed(), key.stream());
            [w0, w1, w2, w3][(number % 4) as usize]
        };
        let near = |name: &str, i: usize, found: f64, expected: f64, limit: f64| {
            let case = self.case.name;
            assert!((found - expected).abs() <= limit, "{case} {name}[{i}]: {found}, {expected}");
        };
        let x = self.recording.input("x");
        for (i, &found) in self.recording.output("uniform").iter().enumerate() {
            near("uniform", i, found, f64::from(word(i)) / 2_f64.powi(31) - 0.5, 3e-7);
        }
        let z: Vec<f64> = (0..x.len()).map(|i| oracle::normal_quantile(word(i))).collect();
        for (i, &found) in self.recording.output("normal").iter().enumerate() {
            near("normal", i, found, 0.5 + 2.0 * z[i], 6e-6);
        }
        for (i, &found) in self.recording.output("gaussian").iter().enumerate() {
            let expected = x[i] * (1.0 + z[i] * (0.3_f64 / 0.7).sqrt());
            near("gaussian", i, found, expected, 4e-6 * x[i].abs());
        }
        for (i, &found) in self.recording.output("words").iter().enumerate() {
            near("words", i, found, word(i).into(), 0.0);
        }
    }

    fn selu(&self) {
        self.array("y", 2.0, |i| (oracle::selu(self.x()[i]), 0.0));
        self.array("dx", 1.5, |i| (oracle::selu_slope(self.x()[i]), 0.0));
    }

    fn connect(&self, outputs: usize, p: f64, offset: u64) {
        let key = golden_cases::dropout_key().expect("the stream is small enough");
        let [x, matrix, bias, dy] =
            ["x", "matrix", "bias", "dy"].map(|name| self.recording.input(name));
        let inputs = matrix.len() / outputs;
        let drop = (p * 2_f64.powi(40)).round() / 2_f64.powi(40);
        // Sum and size of every element: y, dx, dmatrix, dbias, mean, variance.
        let lengths = [dy.len(), x.len(), matrix.len(), outputs, dy.len(), dy.len()];
        let mut sums = lengths.map(|len| vec![[0.0; 2]; len]);
        for (result, dy) in dy.iter().enumerate() {
            let (s, o) = (result / outputs, result % outputs);
            for i in 0..=inputs {
                let mut add = |output: usize, place: usize, term: f64| {
                    let [sum, size] = &mut sums[output][place];
                    (*sum, *size) = (*sum + term, *size + term.abs());
                };
                let (term, weight) = match i < inputs {
                    true => (matrix[o * inputs + i] * x[s * inputs + i], matrix[o * inputs + i]),
                    false => (bias[o], 0.0),
                };
                add(4, result, (1.0 - drop) * term);
                add(5, result, drop * (1.0 - drop) * term * term);
                let row = (offset + s as u64) * outputs as u64 + o as u64;
                let number = row * (inputs as u64 + 1) + i as u64;
                if !reference_keep(p, number, key.seed(), key.stream()) {
                    continue;
                }
                add(0, result, term);
                if i < inputs {
                    add(1, s * inputs + i, weight * dy);
                    add(2, o * inputs + i, x[s * inputs + i] * dy);
                } else {
                    add(3, o, *dy);
                }
            }
        }
        let names = ["y", "dx", "dmatrix", "dbias", "mean", "variance"];
        for (name, sums) in names.into_iter().zip(&sums) {
            for (i, ([sum, size], found)) in
                sums.iter().zip(self.recording.output(name)).enumerate()
            {
                let sum = if sum.abs() > f64::from(f32::MAX) { sum * f64::INFINITY } else { *sum };
                // Infinite, both.
                if *found != sum {
                    self.near(name, i, *found, sum, 2.0 * f64::from(f32::EPSILON) * size);
                }
            }
        }
        let [mean, variance, sample] =
            ["mean", "variance", "sample"].map(|name| self.recording.output(name));
        for (i, sample) in sample.iter().enumerate() {
            let number = offset * outputs as u64 + i as u64;
            let block = reference_block(number / 4, key.seed(), key.stream());
            let place = (f64::from(block[number as usize % 4]) + 0.5) / 2_f64.powi(32);
            // On the right side of the mean, and not farther than a place of 2^-33 is.
            let z = (sample - mean[i]) / variance[i].sqrt();
            let beyond = variance[i].is_infinite() || mean[i].is_infinite();
            assert!(beyond || ((z > 0.0) == (place > 0.5) && z.abs() < 6.5), "sample {i}: {z}");
        }
    }

    fn words(&self) {
        let same = |name: &str, expected: &[u32]| {
            let expected: Vec<f64> = expected.iter().copied().map(f64::from).collect();
            assert_eq!(self.recording.output(name), expected, "{name}");
        };
        // Random123's known answer.
        same("block", &[0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]);
        let (seed, stream) = (0x0123_4567_89ab_cdef, 5);
        let words: Vec<u32> = (golden_cases::WORD_POSITION..)
            .take(10)
            .map(|position| {
                reference_block((position / 4) as u64, seed, stream)[position as usize % 4]
            })
            .collect();
        same("words", &words);
        let mut folded = reference_block(0xfedc_ba98_7654_3210, seed, stream | 3 << 62);
        folded[3] &= 0x3fff_ffff;
        same("fold_in", &folded);
    }
}

/// Philox4x32-10, straight from the definition.
fn reference_block(block: u64, seed: u64, stream: u64) -> [u32; 4] {
    let low = |word: u64| word as u32;
    let high = |word: u64| (word >> 32) as u32;
    let mut c = [low(block), high(block), low(stream), high(stream)];
    let mut key = [low(seed), high(seed)];
    for _ in 0..10 {
        let first = u64::from(c[0]) * 0xd251_1f53;
        let second = u64::from(c[2]) * 0xcd9e_8d57;
        c = [high(second) ^ c[1] ^ key[0], low(second), high(first) ^ c[3] ^ key[1], low(first)];
        key = [key[0].wrapping_add(0x9e37_79b9), key[1].wrapping_add(0xbb67_ae85)];
    }
    c
}

/// One byte decides; where it ties, a word of the refinement domain does.
fn reference_keep(p: f64, index: u64, seed: u64, stream: u64) -> bool {
    let threshold = (p * 2f64.powi(40)).round() as u64;
    let word = reference_block(index / 16, seed, stream)[index as usize % 16 / 4];
    let byte = u64::from(word >> (8 * (index % 4)) & 255);
    if byte != threshold >> 32 {
        return byte > threshold >> 32;
    }
    let refined = reference_block(index / 4, seed, stream | 2 << 62)[index as usize % 4];
    u64::from(refined) >= threshold & 0xffff_ffff
}
