//! The largest error of every subject against the f64 oracle, for ordinary and for hostile data.
//!
//! `cargo test --test accuracy -- --nocapture` prints the measured errors as a Markdown table.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "errors are measured by rounding to f32"
)]

use std::fmt::Write as _;

use evenkeel::{Affine, Backend, BatchNorm, Keep, apart};
use ops::draw::{How, Kind, ORDINARY, draw_unprepared};
use ops::oracle::{self, Shape, Stats, output_scale, ulp_error, widen};
use ops::rows::{ANY_ORDINARY, Data, ROWS, Row};
use ops::subject::{NONE, layout};
use ops::{Arrays, Case, Fused, Holds, Source, Subject, for_every_subject};

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

/// The same where every sample is reduced alone.
const ROWS_OF_SAMPLES: [Shape; 10] = [
    Shape::first(2, 4, 49),
    Shape::first(2, 64, 49),
    Shape::first(2, 6, 3136),
    Shape::first(1, 32, 3136),
    Shape::dense(3, 128),
    Shape::dense(2, 4096),
    Shape::last(2, 49, 4),
    Shape::last(2, 196, 64),
    Shape::last(2, 3136, 6),
    Shape::last(1, 3136, 32),
];

/// The shapes that suit a subject.
fn shapes<S: Subject>() -> &'static [Shape] {
    let layout = layout(Shape::first(2, 4, 49));
    let options = S::options(&layout, &mut Source::new(1));
    let case = Case { layout, options, fused: Fused::default() };
    let samples_meet = S::meets(&case, (0, 0), (1, 0));
    if S::NORMALIZES && !samples_meet { &ROWS_OF_SAMPLES } else { &SHAPES }
}

fn fill(data: Data, shape: Shape, source: &mut Source<'_>) -> Vec<f32> {
    match data {
        Data::Normal { mean, deviation } => source.spread(shape.len(), mean, deviation),
        Data::Uniform => source.uniforms(shape.len(), 0.0, 1.0),
        Data::Constant => {
            let values = [1.0_f32, -3.3, 1.234_567e6, 1e-20, 2.1e30, 0.0];
            (0..shape.len()).map(|i| values[shape.channel_of(i) % values.len()]).collect()
        }
        Data::Outlier => {
            let mut x = source.normals(shape.len());
            for c in 0..shape.channels {
                let (n, s) = (source.below(shape.batch), source.below(shape.spatial));
                x[shape.index(n, c, s)] = 1e6;
            }
            x
        }
    }
}

/// The data come from elsewhere.
const BLANK: How = How { x: Kind::Constant(0.0), ..ORDINARY };

/// The slices of a call on this kind of data; none if f32 does not hold its statistics.
fn slices<S: Subject>(
    case: &Case<S::Options>,
    row: &Row,
    shape: Shape,
    seed: usize,
) -> Option<Arrays> {
    let mut source = Source::new(seed);
    let x = fill(row.data, shape, &mut source);
    let stats = oracle::channel_stats(shape, &widen(&x));
    let mut arrays = draw_unprepared::<S>(case, &BLANK, &mut source);
    let tensor =
        ["x", "dy"].into_iter().find(|name| arrays.has(name) && holds::<S>(name, Holds::Data));
    if let Some(name) = tensor {
        arrays.write(name, x);
    }
    for slot in S::SLOTS {
        let len = (slot.len)(case);
        match slot.holds {
            Holds::Gamma => arrays.write(slot.name, source.gammas(len)),
            Holds::Beta => {
                let mut beta = source.normals(len);
                // Without an offset nothing hides the error of the normalized value.
                beta[0] = 0.0;
                arrays.write(slot.name, beta);
            }
            Holds::Mean if slot.role == ops::Role::Read => {
                arrays.write(slot.name, given(&stats, |s| s.mean + s.low)?);
            }
            Holds::Variance if slot.role == ops::Role::Read => {
                arrays.write(slot.name, given(&stats, |s| s.var)?);
            }
            _ => {}
        }
    }
    S::prepare(case, &mut arrays);
    // A backward pass is given the f32 statistics: one that saturated is not the batch's.
    let saturated = arrays.has("saved_rstd")
        && holds::<S>("saved_rstd", Holds::SavedRstd)
        && arrays.f32("saved_rstd").iter().any(|&r| r >= f32::MAX);
    (!saturated).then_some(arrays)
}

fn holds<S: Subject>(name: &str, what: Holds) -> bool {
    S::SLOTS.iter().any(|slot| slot.name == name && slot.holds == what)
}

/// Statistics as f32, if inference can be given them at all.
fn given(stats: &[Stats], of: impl Fn(&Stats) -> f64) -> Option<Vec<f32>> {
    let most = f64::from(f32::MAX);
    let fits = |s: &Stats| s.var == 0.0 || (s.var > 1e-42 && s.var <= most);
    stats.iter().all(fits).then(|| stats.iter().map(|s| of(s) as f32).collect())
}

/// Whether the promise says something about this case: reductions are of 64 values or more.
fn is_promised<S: Subject>(case: &Case<S::Options>, shape: Shape) -> bool {
    let pairs = (0..shape.batch).flat_map(|n| (0..shape.channels).map(move |c| (n, c)));
    let meeting = pairs.filter(|&from| S::meets(case, from, (0, 0))).count();
    let reduces = S::NORMALIZES || meeting > 1;
    !reduces || meeting * shape.spatial >= 64
}

/// The largest error of each output of one row, and where it was met.
fn measure<S: Subject>(row: &Row) -> Vec<Option<(f64, String)>> {
    let mut worst = vec![None; S::LIMITS.len()];
    for (seed, &shape) in (1..).zip(shapes::<S>()) {
        let layout = layout(shape);
        let options = S::options(&layout, &mut Source::new(seed));
        let options = S::with_eps(options, row.eps).unwrap_or(options);
        let case = Case { layout, options, fused: Fused::default() };
        if !is_promised::<S>(&case, shape) {
            continue;
        }
        let Some(mut arrays) = slices::<S>(&case, row, shape, seed) else { continue };
        let wanted = S::oracle(&case, &arrays);
        S::call(&case, Backend::detect(), arrays.args()).expect("a correct call");
        for expected in wanted {
            let column = S::LIMITS.iter().position(|(name, _)| *name == expected.name);
            let column = column.unwrap_or_else(|| panic!("no limit for {}", expected.name));
            let found = arrays.wide(expected.name);
            for (i, found) in found.into_iter().enumerate() {
                let value = expected.values[i];
                let error = expected.apart(i, found, value);
                if worst[column].as_ref().is_none_or(|(most, _)| error > *most) {
                    let place = format!("{:?} {:?} [{i}]", case.layout, case.options);
                    worst[column] = Some((error, format!("{found:e}, not {value:e}: {place}")));
                }
            }
        }
    }
    worst
}

/// Measures all rows, prints them, and compares them with the limits.
fn errors_stay_within_the_limits<S: Subject>() {
    let measured: Vec<_> = ROWS.iter().map(measure::<S>).collect();
    let (mut table, mut broken) = (String::new(), String::new());
    for (column, (name, limits)) in S::LIMITS.iter().enumerate() {
        let _ = write!(table, "| {}: {name} |", S::NAME);
        for ((row, worst), limit) in ROWS.iter().zip(&measured).zip(limits) {
            match &worst[column] {
                Some((error, _)) => drop(write!(table, " {error:.2} |")),
                None => table.push_str(" – |"),
            }
            match &worst[column] {
                Some((error, _)) if error <= limit && *limit != NONE => {}
                None if *limit == NONE => {}
                found => {
                    let _ = writeln!(broken, "{name}, {}: limit {limit}, {found:?}", row.name);
                }
            }
        }
        table.push('\n');
    }
    print!("{table}");
    assert!(broken.is_empty(), "{} is over the limits:\n{broken}", S::NAME);
}

/// The limits of outputs are within what the crate promises.
fn the_limits_keep_the_promise<S: Subject>() {
    for (_, limits) in S::LIMITS.iter().filter(|(name, _)| *name == "y") {
        for (row, limit) in ROWS.iter().zip(limits) {
            let promise = row.promise.unwrap_or(ANY_ORDINARY);
            assert!(*limit <= promise || *limit == NONE, "{}, {}: {limit}", S::NAME, row.name);
        }
    }
}

macro_rules! tests {
    ($($name:ident: $subject:ty,)*) => {
        $(#[test]
        fn $name() {
            errors_stay_within_the_limits::<$subject>();
            the_limits_keep_the_promise::<$subject>();
        })*

        /// What the columns of the table below are.
        #[test]
        fn rows() {
            let names = ROWS.map(|row| format!("{}, eps {:e}", row.name, row.eps));
            println!("| output | {} |\n|---|{}", names.join(" | "), "---:|".repeat(ROWS.len()));
        }
    };
}

for_every_subject!(tests);

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
}

/// Planes of a few values: many of them share a block, and few lanes take all additions.
const SHORT_PLANES: [usize; 5] = [2, 3, 4, 5, 8];

/// What was measured on rectified data and on those with an outlier, rounded up to the next quarter.
/// Chains of 256 elements, however many additions these are, gave 16 and 30.
const SHORT_PLANES_LIMITS: [f64; 2] = [3.0, 4.5];

/// max(0, N(0, 1) − 1), as a rectifier makes them: mostly zeros.
fn rectified(len: usize, source: &mut Source<'_>) -> Vec<f32> {
    (0..len).map(|_| (source.normal() - 1.0).max(0.0)).collect()
}

#[test]
fn short_planes_are_as_accurate() {
    let mut worst = [0.0_f64; 2];
    for spatial in SHORT_PLANES {
        for (seed, batch) in (1..).zip([8, 31, 64, 65, 128, 500, 4000]) {
            let shape = Shape::first(batch, 8, spatial);
            let mut source = Source::new(seed);
            let plain = rectified(shape.len(), &mut source);
            let mut outlier = plain.clone();
            for c in 0..shape.channels {
                outlier[shape.index(source.below(batch), c, source.below(spatial))] = 1e6;
            }
            for (x, worst) in [plain, outlier].iter().zip(&mut worst) {
                *worst = worst.max(train_error(shape, x, &mut source));
            }
        }
    }
    println!("short planes: rectified {:.2} ulp, with an outlier {:.2} ulp", worst[0], worst[1]);
    let limits = SHORT_PLANES_LIMITS;
    assert!(worst[0] <= limits[0] && worst[1] <= limits[1], "{worst:?}, limits {limits:?}");
    assert!(limits.iter().all(|&limit| limit <= ANY_ORDINARY));
}

/// The largest error of y in training.
fn train_error(shape: Shape, x: &[f32], source: &mut Source<'_>) -> f64 {
    let (gamma, mut beta) = (source.gammas(shape.channels), source.normals(shape.channels));
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
