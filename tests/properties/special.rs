//! What must hold for every input, of single operations.

use evenkeel::{
    Affine, BatchNorm, Constant, Dropout, Given, GroupNorm, Keep, Key, Moments, Momentum, Running,
    RunningVariance, Saved, Standardize, Weight, apart, in_place,
};
use ops::Source;
use ops::arrays::bits;
use ops::oracle::{self, Shape, Stats, output_scale, ulp, widen};
use ops::subject::layout;
use proptest::prelude::*;

use super::{TWICE, config};

/// Any small tensor, often of one channel, one position or one sample.
fn shapes() -> impl Strategy<Value = Shape> {
    let size = |most: usize| prop_oneof![1 => Just(1_usize), 4 => 1..=most];
    (size(9), size(35), size(70), any::<bool>())
        .prop_map(|(n, c, s, last)| if last { Shape::last(n, s, c) } else { Shape::first(n, c, s) })
}

/// Few channels and up to many blocks for each.
fn long_shapes() -> impl Strategy<Value = Shape> {
    let spatial = prop_oneof![Just(1_usize), 1..300_usize, 300..1500_usize];
    (1..40_usize, 1..4_usize, spatial, any::<bool>())
        .prop_map(|(n, c, s, last)| if last { Shape::last(n, s, c) } else { Shape::first(n, c, s) })
}

struct Batch {
    shape: Shape,
    x: Vec<f32>,
    gamma: Vec<f32>,
    beta: Vec<f32>,
}

/// What a training pass writes.
#[derive(Clone)]
struct Trained {
    y: Vec<f32>,
    running_mean: Vec<f32>,
    running_var: Vec<f32>,
    mean: Vec<f32>,
    rstd: Vec<f32>,
}

impl Batch {
    fn new(shape: Shape, seed: u64) -> Self {
        let mut source = Source::seeded(seed);
        // Deviations and means differ between channels.
        let sizes = source.uniforms(shape.channels, 0.25, 4.0);
        let means = source.spread(shape.channels, 0.0, 3.0);
        let x = (0..shape.len())
            .map(|i| {
                let c = shape.channel_of(i);
                means[c] + sizes[c] * source.normal()
            })
            .collect();
        Self {
            shape,
            x,
            gamma: source.gammas(shape.channels),
            beta: source.spread(shape.channels, 0.0, 1.0),
        }
    }

    /// Other data of the same channels.
    fn with(&self, shape: Shape, x: Vec<f32>) -> Self {
        Self { shape, x, gamma: self.gamma.clone(), beta: self.beta.clone() }
    }

    fn norm(&self) -> BatchNorm {
        BatchNorm::new(layout(self.shape))
    }

    fn blank(&self) -> Trained {
        let channels = self.shape.channels;
        Trained {
            y: vec![f32::NAN; self.x.len()],
            running_mean: vec![0.5; channels],
            running_var: vec![2.0; channels],
            mean: vec![f32::NAN; channels],
            rstd: vec![f32::NAN; channels],
        }
    }

    fn train(&self, norm: BatchNorm) -> Trained {
        let mut out = self.blank();
        let (running, saved) = (
            running(&mut out.running_mean, &mut out.running_var),
            saved(&mut out.mean, &mut out.rstd),
        );
        norm.train(
            apart(&self.x, &mut out.y),
            Affine::new(&self.gamma, &self.beta),
            Keep { running, saved },
        )
        .expect("all lengths are right");
        out
    }

    fn infer(&self, mean: &[f32], var: &[f32]) -> Vec<f32> {
        let mut y = vec![f32::NAN; self.x.len()];
        self.norm()
            .infer(
                apart(&self.x, &mut y),
                Affine::new(&self.gamma, &self.beta),
                Given::Running { mean, var },
            )
            .expect("all lengths are right");
        y
    }

    fn group_norm(&self, groups: usize) -> Vec<f32> {
        let mut y = vec![f32::NAN; self.x.len()];
        GroupNorm::new(layout(self.shape), groups)
            .forward(apart(&self.x, &mut y), Affine::new(&self.gamma, &self.beta), None)
            .expect("all lengths are right");
        y
    }

    fn moments(&self) -> Vec<Moments> {
        let mut moments = vec![Moments::new(); self.shape.channels];
        self.norm().collect(&self.x, &mut moments).expect("all lengths are right");
        moments
    }

    fn stats(&self) -> Vec<Stats> {
        oracle::channel_stats(self.shape, &widen(&self.x))
    }

    /// The scale of the output's errors at element i.
    fn scale(&self, i: usize, y: f32) -> f64 {
        let c = self.shape.channel_of(i);
        output_scale(f64::from(y), f64::from(self.gamma[c]), f64::from(self.beta[c]))
    }

    #[track_caller]
    fn assert_close(&self, left: &[f32], right: &[f32], ulps: f64, what: &str) {
        assert_eq!(left.len(), right.len());
        for (i, (&l, &r)) in left.iter().zip(right).enumerate() {
            let error = (f64::from(l) - f64::from(r)).abs() / ulp(self.scale(i, l));
            assert!(error <= ulps, "{what}: element {i} is {l} and {r}, {error:.1} ulp apart");
        }
    }
}

fn running<'a>(mean: &'a mut [f32], var: &'a mut [f32]) -> Option<Running<'a>> {
    Some(Running { mean, var })
}

fn saved<'a>(mean: &'a mut [f32], rstd: &'a mut [f32]) -> Option<Saved<'a>> {
    Some(Saved { mean, rstd })
}

#[track_caller]
fn assert_same_bits(left: &[f32], right: &[f32], what: &str) {
    let all = |v: &[f32]| v.iter().map(|&v| bits(v)).collect::<Vec<_>>();
    assert_eq!(all(left), all(right), "{what}");
}

fn assert_same_trained(left: &Trained, right: &Trained) {
    assert_same_bits(&left.y, &right.y, "y");
    assert_same_bits(&left.mean, &right.mean, "saved mean");
    assert_same_bits(&left.rstd, &right.rstd, "saved rstd");
    assert_same_bits(&left.running_mean, &right.running_mean, "running mean");
    assert_same_bits(&left.running_var, &right.running_var, "running variance");
}

// Different ways to the same result.

proptest! {
    #![proptest_config(config())]

    #[test]
    fn inference_with_the_batch_statistics_is_training(shape in shapes(), seed in any::<u64>()) {
        let batch = Batch::new(shape, seed);
        let trained = batch.train(batch.norm());
        let var: Vec<f32> = batch.stats().iter().map(|s| s.var as f32).collect();
        // A mean rounded to f32 is off by half an ulp: in deviations, by |μ|/σ of that.
        let worst = batch.stats().iter()
            .map(|s| (s.mean.abs() * s.rstd(1e-5)).max(1.0))
            .fold(1.0, f64::max);
        let limit = TWICE + 2.0 * worst;
        batch.assert_close(&trained.y, &batch.infer(&trained.mean, &var), limit, "f32 statistics");

        let mut y = vec![f32::NAN; batch.x.len()];
        let (gamma, beta) = (Some(&batch.gamma[..]), Some(&batch.beta[..]));
        let population = &batch.moments();
        let affine = Affine { gamma, beta };
        batch.norm().infer(apart(&batch.x, &mut y), affine, Given::Population(population))
            .expect("all lengths are right");
        batch.assert_close(&trained.y, &y, TWICE, "moments");
    }

    /// A group for each channel is InstanceNorm: BatchNorm of every sample alone.
    #[test]
    fn one_channel_a_group_is_batch_norm_of_one_sample(shape in shapes(), seed in any::<u64>()) {
        let batch = Batch::new(shape, seed);
        let grouped = batch.group_norm(shape.channels);
        let one = Shape { batch: 1, ..shape };
        for (x, y) in batch.x.chunks(one.len()).zip(grouped.chunks(one.len())) {
            let sample = batch.with(one, x.to_vec());
            assert_same_bits(&sample.train(sample.norm()).y, y, "sample");
        }
    }

    /// One group is LayerNorm of the sample: with one channel, BatchNorm of one row.
    #[test]
    fn one_group_normalizes_the_whole_sample(shape in shapes(), seed in any::<u64>()) {
        let mut batch = Batch::new(shape, seed);
        batch.gamma.fill(1.5);
        batch.beta.fill(-0.5);
        let grouped = batch.group_norm(1);
        let row = Shape::first(1, 1, shape.channels * shape.spatial);
        for (x, y) in batch.x.chunks(row.len()).zip(grouped.chunks(row.len())) {
            let sample = Batch { shape: row, x: x.to_vec(), gamma: vec![1.5], beta: vec![-0.5] };
            let whole = sample.train(sample.norm()).y;
            sample.assert_close(&whole, y, TWICE, "sample");
        }
    }
}

// Moments and running statistics.

/// Two moments of the same data: f32 sums of at most 1024 elements differ in their last bits.
#[track_caller]
fn assert_close_moments(left: &Moments, right: &Moments) {
    assert_eq!(left.count(), right.count());
    let allowed = 2.0_f64.powi(-22);
    let size = left.std_dev().max(right.std_dev());
    assert!(
        (left.mean() - right.mean()).abs() <= allowed * size,
        "means {} and {}, deviation {size}",
        left.mean(),
        right.mean()
    );
    assert!(
        (left.m2() - right.m2()).abs() <= 4.0 * allowed * left.m2().max(right.m2()),
        "m2 {} and {}",
        left.m2(),
        right.m2()
    );
}

fn assert_same_moments(left: &Moments, right: &Moments) {
    assert_eq!(left.count(), right.count());
    assert_eq!(left.mean().to_bits(), right.mean().to_bits());
    assert_eq!(left.m2().to_bits(), right.m2().to_bits());
}

fn merged(parts: &[Moments]) -> Moments {
    let mut whole = Moments::new();
    for part in parts {
        whole.merge(part);
    }
    whole
}

/// The samples from `from` to `to` of a batch.
fn samples(batch: &Batch, from: usize, to: usize) -> Batch {
    let sample = batch.shape.channels * batch.shape.spatial;
    let shape = Shape { batch: to - from, ..batch.shape };
    batch.with(shape, batch.x[from * sample..to * sample].to_vec())
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn moments_of_parts_merge_to_the_whole(
        len in 1..5000_usize, mean in -100.0..100.0_f64, seed in any::<u64>(), cuts in 1..6_usize,
    ) {
        let mut source = Source::seeded(seed);
        let x = source.spread(len, mean, 1.0);
        let mut ends: Vec<usize> = (0..cuts).map(|_| source.below(len + 1)).collect();
        ends.push(len);
        ends.sort_unstable();
        let mut start = 0;
        let parts: Vec<Moments> = ends.iter().map(|&end| {
            let part = Moments::of(&x[start..end]);
            start = end;
            part
        }).collect();
        let whole = Moments::of(&x);
        assert_close_moments(&merged(&parts), &whole);
        let one_by_one: Moments = x.iter().copied().collect();
        assert_close_moments(&one_by_one, &whole);
        let truth = oracle::moments(x.iter().map(|&v| f64::from(v)));
        let m2 = truth.var * truth.count as f64;
        assert_close_moments(&Moments::from_parts(len as u64, truth.mean + truth.low, m2), &whole);
    }

    /// A part of 2^k blocks followed by at most as many is a subtree: its bits are the whole's.
    #[test]
    fn aligned_parts_merge_exactly(power in 0..4_u32, rest in 1..8192_usize, seed in any::<u64>()) {
        let first = 1024 << power;
        let len = first + rest.min(first);
        let x = Source::seeded(seed).spread(len, 3.0, 1.0);
        let mut left = Moments::of(&x[..first]);
        left.merge(&Moments::of(&x[first..]));
        assert_same_moments(&left, &Moments::of(&x));
    }

    /// All blocks of a power of two of them, merged in pairs. Merging by hand remembers more of the
    /// mean, so that last bits differ from the second level on.
    #[test]
    fn a_tree_of_blocks_merges_to_the_whole(power in 0..5_u32, seed in any::<u64>()) {
        let x = Source::seeded(seed).spread(1024 << power, -2.0, 1.0);
        let mut level: Vec<Moments> = x.chunks(1024).map(Moments::of).collect();
        while level.len() > 1 {
            level = level.chunks(2).map(merged).collect();
        }
        let (tree, whole) = (level[0], Moments::of(&x));
        prop_assert_eq!(tree.count(), whole.count());
        prop_assert!((tree.mean() - whole.mean()).abs() <= 1e-15 * whole.mean().abs());
        prop_assert!((tree.m2() - whole.m2()).abs() <= 1e-15 * whole.m2());
    }

    #[test]
    fn empty_moments_merge_to_the_other(len in 0..3000_usize, seed in any::<u64>()) {
        let full = Moments::of(&Source::seeded(seed).spread(len, 1.0, 2.0));
        for (mut left, right) in [(full, Moments::new()), (Moments::new(), full)] {
            left.merge(&right);
            assert_same_moments(&left, &full);
        }
    }

    #[test]
    fn population_does_not_depend_on_the_batches(shape in long_shapes(), seed in any::<u64>()) {
        let batch = Batch::new(shape, seed);
        let mut source = Source::seeded(seed);
        let mut moments = vec![Moments::new(); shape.channels];
        let mut fitted = moments.clone();
        let mut start = 0;
        while start < shape.batch {
            let end = start + 1 + source.below(shape.batch - start);
            let part = samples(&batch, start, end);
            part.norm().collect(&part.x, &mut moments).expect("all lengths are right");
            Standardize::new(layout(part.shape)).fit(&part.x, &mut fitted)
                .expect("all lengths are right");
            start = end;
        }
        for ((left, right), fit) in moments.iter().zip(&batch.moments()).zip(&fitted) {
            assert_close_moments(left, right);
            assert_same_moments(left, fit);
        }
    }

    #[test]
    fn running_statistics_follow_the_formula(
        shape in shapes(), seed in any::<u64>(), factor in 0.0..1.0_f64, biased in any::<bool>(),
    ) {
        // The factor is rounded to f32 first: next to 1, that is no small part of 1 − m.
        let factor = f64::from(factor as f32);
        let batch = Batch::new(shape, seed);
        let form = if biased { RunningVariance::Biased } else { RunningVariance::Unbiased };
        let norm = batch.norm().momentum(Momentum::Exponential(factor)).running_variance(form);
        let got = batch.train(norm);
        for (c, stat) in batch.stats().iter().enumerate() {
            let size = stat.mean.abs().max(stat.std_dev());
            let mean = (1.0 - factor) * 0.5 + factor * (stat.mean + stat.low);
            let error = (f64::from(got.running_mean[c]) - mean).abs();
            assert!(error <= 4.0 * ulp((1.0 - factor) * 0.5 + factor * size), "mean: {error:e}");
            let new = if biased { stat.var } else { stat.sample_var() };
            let var = if stat.count == 1 { 2.0 } else { (1.0 - factor) * 2.0 + factor * new };
            let error = (f64::from(got.running_var[c]) - var).abs();
            assert!(error <= 4.0 * ulp(var), "variance: {error:e}");
        }
    }

    #[test]
    fn momentum_of_one_and_none(shape in shapes(), seed in any::<u64>()) {
        let batch = Batch::new(shape, seed);
        let blank = batch.blank();
        let none = batch.train(batch.norm().momentum(Momentum::Exponential(0.0)));
        assert_same_bits(&none.running_mean, &blank.running_mean, "mean");
        assert_same_bits(&none.running_var, &blank.running_var, "variance");
        let all = batch.train(batch.norm().momentum(Momentum::Exponential(1.0)));
        assert_same_bits(&all.running_mean, &all.mean, "mean");
        let first = batch.train(batch.norm().momentum(Momentum::Cumulative { batches: 1 }));
        assert_same_trained(&all, &first);
    }

    /// After k batches the cumulative mean is the mean of their means.
    #[test]
    fn cumulative_momentum_is_the_average(shape in shapes(), seed in any::<u64>(), k in 1..9_u64) {
        let (mut mean, mut var) = (vec![9.0; shape.channels], vec![9.0; shape.channels]);
        let mut sums = vec![[0.0; 3]; shape.channels];
        for batches in 1..=k {
            let batch = Batch::new(shape, seed.wrapping_add(batches));
            let norm = batch.norm().momentum(Momentum::Cumulative { batches });
            let mut y = vec![0.0; batch.x.len()];
            let keep = Keep { running: running(&mut mean, &mut var), saved: None };
            norm.train(apart(&batch.x, &mut y), Affine::NONE, keep)
                .expect("all lengths are right");
            for (sum, stat) in sums.iter_mut().zip(batch.stats()) {
                sum[0] += (stat.mean + stat.low) / k as f64;
                sum[1] += stat.sample_var() / k as f64;
                sum[2] += stat.mean.abs().max(stat.std_dev());
            }
        }
        for (c, sum) in sums.iter().enumerate() {
            // Every one of the k steps rounds a few times.
            assert!((f64::from(mean[c]) - sum[0]).abs() <= 4.0 * k as f64 * ulp(sum[2]));
            if shape.reduction() > 1 {
                assert!((f64::from(var[c]) - sum[1]).abs() <= 4.0 * k as f64 * ulp(sum[1]));
            } else {
                assert_eq!(var[c], 9.0);
            }
        }
    }
}

proptest! {
    #![proptest_config(config())]

    /// Constant features are centred, if that is asked for; others do not depend on it.
    #[test]
    fn constant_features_are_zero_or_centred(
        shape in shapes(), seed in any::<u64>(), value in -1e3..1e3_f32, which in 0..35_usize,
    ) {
        let mut batch = Batch::new(shape, seed);
        let seen = batch.x.clone();
        let constant = |i: usize| shape.channel_of(i) == which % shape.channels;
        for i in (0..seen.len()).filter(|&i| constant(i)) {
            batch.x[i] = value;
        }
        let moments = batch.moments();
        let run = |constant| {
            let mut y = seen.clone();
            let op = Standardize::new(layout(shape)).constant(constant);
            op.apply(in_place(&mut y), &moments).expect("all lengths are right");
            y
        };
        let (zero, centred) = (run(Constant::Zero), run(Constant::Center));
        for (i, (&zero, &centred)) in zero.iter().zip(&centred).enumerate() {
            if moments[shape.channel_of(i)].m2() == 0.0 {
                prop_assert_eq!(zero, 0.0);
                let mean = moments[shape.channel_of(i)].mean();
                prop_assert_eq!(centred, (f64::from(seen[i]) - mean) as f32);
            } else {
                prop_assert!(!constant(i));
                prop_assert_eq!(zero.to_bits(), centred.to_bits());
            }
        }
    }
}

// Folding.

/// A convolution along one axis; a dense layer has a kernel and a length of 1, a depthwise one a
/// group for each input.
#[derive(Clone, Copy, Debug)]
struct Convolution {
    groups: usize,
    /// Inputs and outputs of one group.
    inputs: usize,
    outputs: usize,
    kernel: usize,
    length: usize,
}

impl Convolution {
    const fn channels(self) -> usize {
        self.groups * self.outputs
    }

    const fn weights(self) -> usize {
        self.channels() * self.inputs * self.kernel
    }

    /// weight [out, in / groups, kernel], x [in, length], result [out, length − kernel + 1].
    fn forward(self, weight: &[f64], bias: &[f64], x: &[f64]) -> Vec<f64> {
        let (kernel, length) = (self.kernel, self.length);
        let mut out = Vec::new();
        for (o, &b) in bias.iter().enumerate() {
            let first = o / self.outputs * self.inputs;
            for t in 0..=length - kernel {
                out.push(oracle::sum(
                    (0..self.inputs * kernel)
                        .map(|j| {
                            let (input, k) = (j / kernel, j % kernel);
                            weight[o * self.inputs * kernel + j]
                                * x[(first + input) * length + t + k]
                        })
                        .chain([b]),
                ));
            }
        }
        out
    }

    /// weight [in, out / groups, kernel], x [in, length], result [out, length + kernel − 1].
    fn transposed(self, weight: &[f64], bias: &[f64], x: &[f64]) -> Vec<f64> {
        let width = self.length + self.kernel - 1;
        let mut out: Vec<f64> = bias.iter().flat_map(|&b| std::iter::repeat_n(b, width)).collect();
        for input in 0..self.groups * self.inputs {
            let first = input / self.inputs * self.outputs;
            for o in 0..self.outputs {
                for t in 0..self.length {
                    for k in 0..self.kernel {
                        out[(first + o) * width + t + k] += x[input * self.length + t]
                            * weight[(input * self.outputs + o) * self.kernel + k];
                    }
                }
            }
        }
        out
    }
}

fn convolutions() -> impl Strategy<Value = Convolution> {
    (1..5_usize, 1..5_usize, 1..5_usize, 1..4_usize, 0..4_usize).prop_map(
        |(groups, inputs, outputs, kernel, more)| Convolution {
            groups,
            inputs,
            outputs,
            kernel,
            length: kernel + more,
        },
    )
}

/// Which of the two ways to fold, with the layer that it is for.
#[derive(Clone, Copy, Debug)]
enum Layer {
    Forward,
    Transposed,
}

impl Layer {
    fn run(self, conv: Convolution, weight: &[f64], bias: &[f64], x: &[f64]) -> Vec<f64> {
        match self {
            Self::Forward => conv.forward(weight, bias, x),
            Self::Transposed => conv.transposed(weight, bias, x),
        }
    }
}

/// A layer followed by a normalization.
struct Folding {
    conv: Convolution,
    layer: Layer,
    weight: Vec<f32>,
    bias: Vec<f32>,
    gamma: Vec<f32>,
    beta: Vec<f32>,
    mean: Vec<f32>,
    var: Vec<f32>,
}

impl Folding {
    fn new(conv: Convolution, layer: Layer, source: &mut Source<'_>) -> Self {
        let channels = conv.channels();
        Self {
            conv,
            layer,
            weight: source.spread(conv.weights(), 0.0, 1.0),
            bias: source.spread(channels, 0.0, 1.0),
            gamma: source.gammas(channels),
            beta: source.spread(channels, 0.0, 1.0),
            mean: source.spread(channels, 0.0, 1.0),
            var: source.uniforms(channels, 0.1, 3.0),
        }
    }

    /// Weight and bias as the crate folds them.
    fn folded(&self) -> (Vec<f32>, Vec<f32>) {
        let norm = BatchNorm::new(layout(Shape::dense(1, self.conv.channels())));
        let (gamma, beta) = (Some(&self.gamma[..]), Some(&self.beta[..]));
        let (mean, var) = (&self.mean[..], &self.var[..]);
        let (mut w, mut b) = (self.weight.clone(), self.bias.clone());
        match self.layer {
            Layer::Forward => norm.fold(
                Affine { gamma, beta },
                Given::Running { mean, var },
                Weight::OutputFirst(&mut w),
                &mut b,
            ),
            Layer::Transposed => {
                let (groups, kernel) = (self.conv.groups, self.conv.kernel);
                norm.fold(
                    Affine { gamma, beta },
                    Given::Running { mean, var },
                    Weight::Transposed { weight: &mut w, groups, kernel },
                    &mut b,
                )
            }
        }
        .expect("all lengths are right");
        (w, b)
    }

    /// The layer and inference after it, rounded to f32 between the two.
    fn in_two_steps(&self, x: &[f64]) -> Vec<f32> {
        let plain = self.layer.run(self.conv, &widen(&self.weight), &widen(&self.bias), x);
        let plain: Vec<f32> = plain.iter().map(|&v| v as f32).collect();
        let channels = self.conv.channels();
        let norm = BatchNorm::new(layout(Shape::first(1, channels, plain.len() / channels)));
        let (gamma, beta) = (Some(&self.gamma[..]), Some(&self.beta[..]));
        let mut y = vec![f32::NAN; plain.len()];
        norm.infer(
            apart(&plain, &mut y),
            Affine { gamma, beta },
            Given::Running { mean: &self.mean, var: &self.var },
        )
        .expect("all lengths are right");
        y
    }

    fn check_outputs(&self, x: &[f64]) {
        let (w, b) = self.folded();
        let got = self.layer.run(self.conv, &widen(&w), &widen(&b), x);
        let want = self.in_two_steps(x);
        // Errors are measured by all that is added up on either way.
        let absolute = |v: &[f32]| -> Vec<f64> { v.iter().map(|v| f64::from(v.abs())).collect() };
        let positive: Vec<f64> = x.iter().map(|v| v.abs()).collect();
        let sizes = self.layer.run(self.conv, &absolute(&w), &absolute(&b), &positive);
        for (i, (g, y)) in got.iter().zip(want).enumerate() {
            let c = i * self.conv.channels() / got.len();
            let s = f64::from(self.gamma[c].abs()) / f64::from(self.var[c]).sqrt();
            let (mean, beta) = (f64::from(self.mean[c].abs()), f64::from(self.beta[c].abs()));
            let error = (g - f64::from(y)).abs() / ulp(sizes[i] + s * mean + beta);
            assert!(error <= 4.0, "{:?}: output {i} is {g}, in two steps {y}", self.conv);
        }
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn folding_replaces_inference(conv in convolutions(), seed in any::<u64>()) {
        let dense = Convolution { groups: 1, kernel: 1, length: 1, ..conv };
        let depthwise = Convolution { inputs: 1, outputs: 1, ..conv };
        let mut source = Source::seeded(seed);
        for conv in [conv, Convolution { groups: 1, ..conv }, dense, depthwise] {
            for layer in [Layer::Forward, Layer::Transposed] {
                let folding = Folding::new(conv, layer, &mut source);
                let len = conv.groups * conv.inputs * conv.length;
                folding.check_outputs(&widen(&source.spread(len, 0.0, 1.0)));
            }
        }
    }
}

// Dropout.

fn dropped(dropout: Dropout, key: Key, x: &[f32]) -> Vec<f32> {
    let mut y = vec![f32::NAN; x.len()];
    dropout.forward(apart(x, &mut y), key).expect("all lengths are right");
    y
}

/// Probabilities of every kind: with and without refinement, and both ends.
fn probabilities() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => 0.0..=1.0_f64,
        1 => Just(0.0),
        1 => Just(1.0),
        1 => Just(0.5),
        1 => (0..=256_u32).prop_map(|v| f64::from(v) / 256.0),
    ]
}

fn keys() -> impl Strategy<Value = Key> {
    (any::<u64>(), 0..1_u64 << 62)
        .prop_map(|(seed, stream)| Key::with_stream(seed, stream).expect("below 2^62"))
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn splitting_changes_no_mask(
        p in probabilities(), key in keys(), len in 1..3000_usize, cut in 0.0..1.0_f64,
        offset in prop_oneof![0..100_u64, any::<u64>().prop_map(|v| v >> 1)],
    ) {
        let dropout = Dropout::new(p).expect("a probability");
        let x = Source::new(1).spread(len, 0.0, 1.0);
        let cut = (cut * len as f64) as usize;
        let whole = dropped(dropout.offset(offset), key, &x);
        let mut parts = dropped(dropout.offset(offset), key, &x[..cut]);
        parts.extend(dropped(dropout.offset(offset + cut as u64), key, &x[cut..]));
        assert_same_bits(&whole, &parts, "split");
        let mut z = x.clone();
        dropout.offset(offset).forward(in_place(&mut z), key).expect("a small offset");
        assert_same_bits(&whole, &z, "in place");
    }

    #[test]
    fn all_ways_to_the_mask_agree(
        p in probabilities(), key in keys(), len in 0..600_usize, offset in 0..1_u64 << 50,
    ) {
        let dropout = Dropout::new(p).expect("a probability").offset(offset);
        let mut mask = vec![0xAA_u8; len.div_ceil(8)];
        dropout.write_mask(len, key, &mut mask).expect("all lengths are right");
        let y = dropped(dropout, key, &vec![1.0; len]);
        for i in 0..mask.len() * 8 {
            let bit = mask[i / 8] >> (i % 8) & 1 == 1;
            if i < len {
                assert_eq!(bit, y[i] != 0.0, "element {i}");
                assert_eq!(bit, dropout.keep(key, offset + i as u64), "element {i}");
            } else {
                assert!(!bit, "the bits beyond the end are zero");
            }
        }
    }

    /// Six deviations of the binomial distribution: never by chance.
    #[test]
    fn as_many_are_dropped_as_asked(p in probabilities(), key in keys()) {
        let len = 1 << 15;
        let dropout = Dropout::new(p).expect("a probability");
        let mut mask = vec![0; len / 8];
        dropout.write_mask(len, key, &mut mask).expect("all lengths are right");
        let kept: u32 = mask.iter().map(|b| b.count_ones()).sum();
        let n = len as f64;
        let allowed = 6.0 * (n * p * (1.0 - p)).sqrt() + 1.0;
        let want = n * (1.0 - p);
        assert!((f64::from(kept) - want).abs() <= allowed, "{kept} kept, expected {want}");
    }

    /// Keys that differ in the seed, the stream or what was folded in give unrelated masks.
    #[test]
    fn other_keys_give_other_masks(
        seed in any::<u64>(), stream in 0..1_u64 << 61, data in any::<u64>(),
    ) {
        let stream_key = |s| Key::with_stream(seed, s).expect("below 2^62");
        let key = stream_key(stream);
        let keys = [
            key,
            Key::with_stream(seed ^ 1, stream).expect("below 2^62"),
            stream_key(stream + 1),
            key.fold_in(data),
            key.fold_in(data ^ 1),
            key.fold_in(data).fold_in(data),
        ];
        let dropout = Dropout::new(0.5).expect("a probability");
        let masks = keys.map(|key| {
            let mut mask = [0_u8; 128];
            dropout.write_mask(1024, key, &mut mask).expect("all lengths are right");
            mask
        });
        for (i, left) in masks.iter().enumerate() {
            for right in &masks[..i] {
                let differ: u32 = left.iter().zip(right).map(|(l, r)| (l ^ r).count_ones()).sum();
                // 512 of 1024 with a deviation of 16.
                assert!((400..=624).contains(&differ), "{differ} bits differ");
            }
        }
    }
}
