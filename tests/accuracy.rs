//! The largest error of every operation against the f64 oracle, for ordinary and for hostile data.
//!
//! `cargo test --test accuracy -- --nocapture` prints the measured errors as a Markdown table.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "errors are measured by rounding to f32"
)]

mod common {
    pub(crate) mod data;
    pub(crate) mod limits;
    pub(crate) use ops::oracle;
}

use std::fmt::Write as _;

use common::data::{Rng, finite, layout};
use common::limits::{ANY_ORDINARY, Data, OPS, Op, ROWS, Row};
use common::oracle::{self, Shape, Stats, output_scale, ulp_error, widen};
use evenkeel::{
    Affine, BatchNorm, Given, Gradients, GroupNorm, Keep, Moments, Running, Saved, Standardize,
    Statistics, apart,
};

/// Reductions of 64 to 100,000 elements; planes of 1, 49, 196, 3136 and 100,000; channel counts
/// that fill no register.
const SHAPES: [Shape; 17] = [
    Shape::dense(64, 19),
    Shape::dense(1000, 19),
    Shape::dense(100_000, 2),
    Shape::first(2, 3, 49),
    Shape::first(33, 3, 49),
    Shape::first(2041, 2, 49),
    Shape::first(1, 3, 196),
    Shape::first(8, 3, 196),
    Shape::first(510, 2, 196),
    Shape::first(1, 5, 3136),
    Shape::first(32, 2, 3136),
    Shape::first(1, 1, 100_000),
    Shape::last(2, 49, 19),
    Shape::last(33, 49, 19),
    Shape::last(2041, 49, 2),
    Shape::last(1, 196, 3),
    Shape::last(32, 3136, 2),
];

/// The same for groups of channels within a sample.
const GROUPED: [(Shape, usize); 10] = [
    (Shape::first(2, 4, 49), 2),
    (Shape::first(2, 64, 49), 8),
    (Shape::first(2, 6, 3136), 6),
    (Shape::first(1, 32, 3136), 1),
    (Shape::dense(3, 128), 2),
    (Shape::dense(2, 4096), 1),
    (Shape::last(2, 49, 4), 2),
    (Shape::last(2, 196, 64), 4),
    (Shape::last(2, 3136, 6), 6),
    (Shape::last(1, 3136, 32), 1),
];

/// The factor of `Momentum::default()`.
const MOMENTUM: f64 = 0.1;

/// The largest error of every op so far, and where it was met.
struct Worst([Option<(f64, String)>; OPS.len()]);

impl Worst {
    fn new() -> Self {
        Self([const { None }; OPS.len()])
    }

    fn note(&mut self, op: Op, place: &str, got: f32, want: f64, scale: f64) {
        let error = ulp_error(got, want, scale);
        let column = OPS.iter().position(|&(o, _)| o == op).expect("every op is a column");
        if self.0[column].as_ref().is_none_or(|&(worst, _)| error > worst) {
            self.0[column] = Some((error, format!("{place}: {got:e}, not {want:e}")));
        }
    }
}

/// A batch with its parameters, as the crate sees it and as the oracle does.
struct Case {
    shape: Shape,
    place: String,
    eps: f64,
    x: Vec<f32>,
    gamma: Vec<f32>,
    beta: Vec<f32>,
    wide_x: Vec<f64>,
    wide_gamma: Vec<f64>,
    wide_beta: Vec<f64>,
    stats: Vec<Stats>,
}

impl Case {
    fn new(row: &Row, shape: Shape, seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let x = fill(row.data, shape, &mut rng);
        let gamma = rng.gammas(shape.channels);
        let mut beta = rng.normals(shape.channels, 0.0, 1.0);
        // Without an offset nothing hides the error of the normalized value.
        beta[0] = 0.0;
        let wide_x = widen(&x);
        Self {
            shape,
            stats: oracle::channel_stats(shape, &wide_x),
            place: format!("{} in {shape:?}", row.name),
            eps: row.eps,
            wide_x,
            wide_gamma: widen(&gamma),
            wide_beta: widen(&beta),
            x,
            gamma,
            beta,
        }
    }

    fn batch_norm(&self) -> BatchNorm {
        BatchNorm::new(layout(self.shape)).eps(self.eps)
    }

    fn note_outputs(&self, worst: &mut Worst, op: Op, got: &[f32], want: &[f64]) {
        for (i, (&g, &w)) in got.iter().zip(want).enumerate() {
            let c = self.shape.channel_of(i);
            let scale = output_scale(w, self.wide_gamma[c], self.wide_beta[c]);
            worst.note(op, &self.place, g, w, scale);
        }
    }
}

fn fill(data: Data, shape: Shape, rng: &mut Rng) -> Vec<f32> {
    match data {
        Data::Normal { mean, deviation } => rng.normals(shape.len(), mean, deviation),
        Data::Uniform => rng.uniforms(shape.len(), 0.0, 1.0),
        Data::Constant => {
            let values = [1.0_f32, -3.3, 1.234_567e6, 1e-20, 2.1e30, 0.0];
            (0..shape.len()).map(|i| values[shape.channel_of(i) % values.len()]).collect()
        }
        Data::Outlier => {
            let mut x = rng.normals(shape.len(), 0.0, 1.0);
            for c in 0..shape.channels {
                let (n, s) = (rng.below(shape.batch), rng.below(shape.spatial));
                x[shape.index(n, c, s)] = 1e6;
            }
            x
        }
    }
}

fn note_saved(
    worst: &mut Worst,
    place: &str,
    mean: &[f32],
    rstd: &[f32],
    stats: &[Stats],
    eps: f64,
) {
    for ((&m, &r), stat) in mean.iter().zip(rstd).zip(stats) {
        let scale = stat.mean.abs().max(stat.std_dev());
        worst.note(Op::SavedMean, place, m, stat.mean + stat.low, scale);
        // A reciprocal above the largest f32 is saved as that number.
        let want = stat.rstd(eps).min(f64::from(f32::MAX));
        worst.note(Op::SavedRstd, place, r, want, want);
    }
}

fn note_running(worst: &mut Worst, place: &str, old: [f32; 2], new: [f32; 2], stat: &Stats) {
    let [old_mean, old_var] = old.map(f64::from);
    let want = (1.0 - MOMENTUM) * old_mean + MOMENTUM * (stat.mean + stat.low);
    let size = stat.mean.abs().max(stat.std_dev());
    let scale = (1.0 - MOMENTUM) * old_mean.abs() + MOMENTUM * size;
    worst.note(Op::RunningMean, place, new[0], want, scale);
    // The variance saturates before and after it is mixed in.
    let most = f64::from(f32::MAX);
    let want = (1.0 - MOMENTUM) * old_var + MOMENTUM * stat.sample_var().min(most);
    worst.note(Op::RunningVar, place, new[1], want.min(most), want.min(most));
}

/// Training: the output, the saved and the running statistics. Returns what was saved.
fn measure_train(case: &Case, worst: &mut Worst) -> (Vec<f32>, Vec<f32>) {
    let channels = case.shape.channels;
    let mut rng = Rng::new(channels as u64);
    let (old_mean, old_var) = (rng.normals(channels, 0.0, 1.0), rng.uniforms(channels, 0.5, 2.0));
    let (mut running_mean, mut running_var) = (old_mean.clone(), old_var.clone());
    let (mut mean, mut rstd) = (vec![0.0; channels], vec![0.0; channels]);
    let mut y = vec![0.0; case.x.len()];
    case.batch_norm()
        .train(
            apart(&case.x, &mut y),
            Affine::new(&case.gamma, &case.beta),
            Keep {
                running: Some(Running { mean: &mut running_mean, var: &mut running_var }),
                saved: Some(Saved { mean: &mut mean, rstd: &mut rstd }),
            },
        )
        .expect("all lengths are right");
    let want = oracle::apply(
        case.shape,
        &case.wide_x,
        Some(&case.wide_gamma),
        Some(&case.wide_beta),
        &case.stats,
        case.eps,
    );
    case.note_outputs(worst, Op::Train, &y, &want);
    note_saved(worst, &case.place, &mean, &rstd, &case.stats, case.eps);
    for (c, stat) in case.stats.iter().enumerate() {
        let (old, new) = ([old_mean[c], old_var[c]], [running_mean[c], running_var[c]]);
        note_running(worst, &case.place, old, new, stat);
    }
    measure_population(case, worst, &want);
    (mean, rstd)
}

/// Inference with the population's statistics, which here are those of the batch.
fn measure_population(case: &Case, worst: &mut Worst, want: &[f64]) {
    let norm = case.batch_norm();
    let mut moments = vec![Moments::new(); case.shape.channels];
    let mut y = vec![0.0; case.x.len()];
    norm.collect(&case.x, &mut moments).expect("all lengths are right");
    norm.infer(
        apart(&case.x, &mut y),
        Affine::new(&case.gamma, &case.beta),
        Given::Population(&moments),
    )
    .expect("all lengths are right");
    case.note_outputs(worst, Op::InferPopulation, &y, want);
}

/// Mean and variance as f32, if inference can be given them at all.
fn given_statistics(case: &Case) -> Option<(Vec<f32>, Vec<f32>)> {
    let most = f64::from(f32::MAX);
    let fits = |s: &Stats| s.var == 0.0 || (s.var > 1e-42 && s.var <= most);
    case.stats.iter().all(fits).then(|| {
        let mean = case.stats.iter().map(|s| (s.mean + s.low) as f32).collect();
        (mean, case.stats.iter().map(|s| s.var as f32).collect())
    })
}

fn measure_infer(case: &Case, worst: &mut Worst, mean: &[f32], var: &[f32]) {
    let mut y = vec![0.0; case.x.len()];
    case.batch_norm()
        .infer(
            apart(&case.x, &mut y),
            Affine::new(&case.gamma, &case.beta),
            Given::Running { mean, var },
        )
        .expect("all lengths are right");
    let want = oracle::infer(
        case.shape,
        &case.wide_x,
        Some(&case.wide_gamma),
        Some(&case.wide_beta),
        (&widen(mean), &widen(var)),
        case.eps,
    );
    case.note_outputs(worst, Op::Infer, &y, &want);
}

fn measure_standardize(case: &Case, worst: &mut Worst) {
    let standardize = Standardize::new(layout(case.shape));
    let mut moments = vec![Moments::new(); case.shape.channels];
    let mut y = vec![0.0; case.x.len()];
    standardize.fit(&case.x, &mut moments).expect("all lengths are right");
    standardize.apply(apart(&case.x, &mut y), &moments).expect("all lengths are right");
    let want = oracle::standardize(case.shape, &case.wide_x, &case.stats, 0.0);
    for (&g, &w) in y.iter().zip(&want) {
        worst.note(Op::Standardize, &case.place, g, w, output_scale(w, 1.0, 0.0));
    }
}

/// Buffers for all three gradients.
struct Buffers {
    dx: Vec<f32>,
    dgamma: Vec<f32>,
    dbeta: Vec<f32>,
}

impl Buffers {
    fn new(shape: Shape) -> Self {
        Self {
            dx: vec![0.0; shape.len()],
            dgamma: vec![0.0; shape.channels],
            dbeta: vec![0.0; shape.channels],
        }
    }

    fn all(&mut self) -> Gradients<'_> {
        Gradients {
            x: Some(&mut self.dx),
            gamma: Some(&mut self.dgamma),
            beta: Some(&mut self.dbeta),
        }
    }

    fn note(&self, worst: &mut Worst, op: Op, place: &str, want: &oracle::Gradients) {
        for (i, &g) in self.dx.iter().enumerate() {
            worst.note(op, place, g, want.dx[i], want.dx_scale[i]);
        }
        for (c, (&dgamma, &dbeta)) in self.dgamma.iter().zip(&self.dbeta).enumerate() {
            worst.note(Op::Dgamma, place, dgamma, want.dgamma[c], want.dgamma_scale[c]);
            worst.note(Op::Dbeta, place, dbeta, want.dbeta[c], want.dbeta_scale[c]);
        }
    }
}

fn measure_backward(case: &Case, worst: &mut Worst, mean: &[f32], rstd: &[f32]) {
    let dy = Rng::new(7).normals(case.x.len(), 0.0, 1.0);
    let mut got = Buffers::new(case.shape);
    case.batch_norm()
        .backward(&dy, &case.x, Some(&case.gamma), Statistics { mean, rstd }, got.all())
        .expect("all lengths are right");
    let want =
        oracle::backward(case.shape, &widen(&dy), &case.wide_x, Some(&case.wide_gamma), case.eps);
    got.note(worst, Op::Dx, &case.place, &want);
}

fn measure_backward_inference(case: &Case, worst: &mut Worst, mean: &[f32], var: &[f32]) {
    let dy = Rng::new(8).normals(case.x.len(), 0.0, 1.0);
    let mut got = Buffers::new(case.shape);
    case.batch_norm()
        .backward(&dy, &case.x, Some(&case.gamma), Given::Running { mean, var }, got.all())
        .expect("all lengths are right");
    let want = oracle::backward_inference(
        case.shape,
        &widen(&dy),
        &case.wide_x,
        Some(&case.wide_gamma),
        (&widen(mean), &widen(var)),
        case.eps,
    );
    got.note(worst, Op::DxInference, &case.place, &want);
}

fn measure_group_norm(case: &Case, groups: usize, worst: &mut Worst) {
    let rows = case.shape.batch * groups;
    let (mut mean, mut rstd) = (vec![0.0; rows], vec![0.0; rows]);
    let mut y = vec![0.0; case.x.len()];
    GroupNorm::new(layout(case.shape), groups)
        .eps(case.eps)
        .forward(
            apart(&case.x, &mut y),
            Affine::new(&case.gamma, &case.beta),
            Some(Saved { mean: &mut mean, rstd: &mut rstd }),
        )
        .expect("all lengths are right");
    let want = oracle::group_norm(
        case.shape,
        groups,
        &case.wide_x,
        Some(&case.wide_gamma),
        Some(&case.wide_beta),
        case.eps,
    );
    let place = format!("{} ({groups} groups)", case.place);
    case.note_outputs(worst, Op::GroupNorm, &y, &want.y);
    note_saved(worst, &place, &mean, &rstd, &want.stats, case.eps);
}

fn measure(row: &Row) -> Worst {
    let mut worst = Worst::new();
    for (seed, &shape) in (1..).zip(&SHAPES) {
        let case = Case::new(row, shape, seed);
        let (mean, rstd) = measure_train(&case, &mut worst);
        // The backward pass is given the f32 statistics: one that saturated is not the batch's.
        if rstd.iter().all(|&r| r < f32::MAX) {
            measure_backward(&case, &mut worst, &mean, &rstd);
        }
        if let Some((mean, var)) = given_statistics(&case) {
            measure_infer(&case, &mut worst, &mean, &var);
            measure_backward_inference(&case, &mut worst, &mean, &var);
        }
        measure_standardize(&case, &mut worst);
    }
    for (seed, &(shape, groups)) in (100..).zip(&GROUPED) {
        measure_group_norm(&Case::new(row, shape, seed), groups, &mut worst);
    }
    worst
}

fn markdown(measured: &[Worst]) -> String {
    let mut out = String::from("| data | eps |");
    for (_, heading) in OPS {
        let _ = write!(out, " {heading} |");
    }
    out.push_str("\n|---|---|");
    out.push_str(&"---:|".repeat(OPS.len()));
    for (row, worst) in ROWS.iter().zip(measured) {
        let _ = write!(out, "\n| {} | {:e} |", row.name, row.eps);
        for measured in &worst.0 {
            match measured {
                Some((error, _)) => drop(write!(out, " {error:.2} |")),
                None => out.push_str(" – |"),
            }
        }
    }
    out
}

#[test]
fn errors_stay_within_the_table() {
    let measured = std::thread::scope(|scope| {
        let workers: Vec<_> = ROWS.iter().map(|row| scope.spawn(|| measure(row))).collect();
        let join =
            |w: std::thread::ScopedJoinHandle<'_, Worst>| w.join().expect("a row is measured");
        workers.into_iter().map(join).collect::<Vec<_>>()
    });
    println!("{}", markdown(&measured));
    let mut broken = String::new();
    for (row, worst) in ROWS.iter().zip(&measured) {
        for ((&(op, _), measured), limit) in OPS.iter().zip(&worst.0).zip(row.limits) {
            match (measured, limit.is_finite()) {
                (Some((error, place)), true) if *error > limit => {
                    let _ = writeln!(broken, "{op:?}: {error:.2} ulp, limit {limit}, {place}");
                }
                (Some(_), true) | (None, false) => {}
                (measured, _) => {
                    let _ = writeln!(broken, "{op:?}, {}: {measured:?}, limit {limit}", row.name);
                }
            }
        }
    }
    assert!(broken.is_empty(), "over the limit:\n{broken}");
}

#[test]
fn the_table_keeps_the_promise() {
    let outputs = [Op::Train, Op::Infer, Op::InferPopulation, Op::GroupNorm, Op::Standardize];
    for row in &ROWS {
        let Some(promise) = row.promise else { continue };
        for op in outputs {
            let limit = row.limit(op);
            assert!(
                limit <= promise || limit.is_infinite(),
                "{}: the limit of {op:?} is {limit}, promised are {promise}",
                row.name
            );
        }
    }
}

#[test]
fn the_oracle_is_accurate_where_it_must_be() {
    // 1e7 + {0, 1, 2, 3}: mean 1e7 + 1.5 and variance 1.25, exactly.
    let x = (0..100_000).map(|i| 1e7 + f64::from(i % 4));
    let stat = oracle::moments(x);
    assert_eq!((stat.mean + stat.low, stat.var), (10_000_001.5, 1.25));
    // A constant has no variance, even one that has no short binary form.
    let stat = oracle::moments(std::iter::repeat_n(f64::from(0.1_f32), 99_999));
    assert_eq!((stat.var, stat.rstd(0.0)), (0.0, 0.0));
    // Values of 1e38 neither overflow nor vanish.
    let stat = oracle::moments([1e38, -1e38].into_iter());
    assert_eq!(stat.mean, 0.0);
    assert!((stat.std_dev() / 1e38 - 1.0).abs() < 1e-15);
    assert_eq!(finite(1e39), f32::MAX);
}

/// Planes of a few values: many of them share a block, and few lanes take all additions.
const SHORT_PLANES: [usize; 5] = [2, 3, 4, 5, 8];

/// What was measured on rectified data and on those with an outlier, rounded up to the next quarter.
/// Chains of 256 elements, however many additions these are, gave 16 and 30.
const SHORT_PLANES_LIMITS: [f64; 2] = [3.75, 4.0];

/// max(0, N(0, 1) − 1), as a rectifier makes them: mostly zeros.
fn rectified(len: usize, rng: &mut Rng) -> Vec<f32> {
    (0..len).map(|_| finite((rng.normal() - 1.0).max(0.0))).collect()
}

#[test]
fn short_planes_are_as_accurate() {
    let mut worst = [0.0_f64; 2];
    for spatial in SHORT_PLANES {
        for (seed, batch) in (1..).zip([8, 31, 64, 65, 128, 500, 4000]) {
            let shape = Shape::first(batch, 8, spatial);
            let mut rng = Rng::new(seed);
            let plain = rectified(shape.len(), &mut rng);
            let mut outlier = plain.clone();
            for c in 0..shape.channels {
                outlier[shape.index(rng.below(batch), c, rng.below(spatial))] = 1e6;
            }
            for (x, worst) in [plain, outlier].iter().zip(&mut worst) {
                *worst = worst.max(train_error(shape, x, &mut rng));
            }
        }
    }
    println!("short planes: rectified {:.2} ulp, with an outlier {:.2} ulp", worst[0], worst[1]);
    let limits = SHORT_PLANES_LIMITS;
    assert!(worst[0] <= limits[0] && worst[1] <= limits[1], "{worst:?}, limits {limits:?}");
    assert!(limits.iter().all(|&limit| limit <= ANY_ORDINARY));
}

/// The largest error of y in training.
fn train_error(shape: Shape, x: &[f32], rng: &mut Rng) -> f64 {
    let (gamma, mut beta) = (rng.gammas(shape.channels), rng.normals(shape.channels, 0.0, 1.0));
    beta[0] = 0.0;
    let mut y = vec![0.0; x.len()];
    BatchNorm::new(layout(shape))
        .train(apart(x, &mut y), Affine::new(&gamma, &beta), Keep::NOTHING)
        .expect("all lengths are right");
    let (gamma, beta) = (widen(&gamma), widen(&beta));
    let want = oracle::batch_norm_train(shape, &widen(x), Some(&gamma), Some(&beta), 1e-5).y;
    let error = |(i, (&got, &want)): (usize, (&f32, &f64))| {
        let c = shape.channel_of(i);
        ulp_error(got, want, output_scale(want, gamma[c], beta[c]))
    };
    y.iter().zip(&want).enumerate().map(error).fold(0.0, f64::max)
}
