//! Backward passes against central differences of the f64 oracle's forward pass.
//!
//! The oracle's own closed formulas are checked the same way, so that the accuracy limits, which
//! are measured with them, rest on nothing but the forward formulas.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "the sizes are small"
)]

mod special;

use evenkeel::Backend;
use ops::draw::{How, Kind, ORDINARY, draw};
use ops::oracle::{self, Shape, ulp};
use ops::rows::ROWS;
use ops::subject::layout;
use ops::{Arrays, Case, Expected, Fused, Source, Subject, for_every_subject};

/// Dense, planes that share a block and one that does not, more than one block, both orders, one
/// channel.
const SHAPES: [Shape; 9] = [
    Shape::dense(9, 5),
    Shape::dense(70, 17),
    Shape::first(3, 2, 7),
    Shape::first(2, 3, 300),
    Shape::first(2, 1, 1100),
    Shape::last(3, 7, 2),
    Shape::last(4, 3, 17),
    Shape::last(2, 70, 3),
    Shape::last(1, 33, 1),
];

const EPS: f64 = 1e-5;

/// A central difference of step h has an error of h²/6 of the third derivative, here below 1e-8,
/// and f64 rounding of 1e-16/h·mean/σ; both together stay below this part of the scale.
const DIFFERENCE_ERROR: f64 = 1e-7;

const STEP: f64 = 1e-4;

/// Kinds of data with their rows among the limits.
const DATA: [(Kind, usize); 2] = [(Kind::Normal, 0), (Kind::Mean(1e3), 2)];

/// Calls `judge` with every case and its data.
fn cases<S: Subject>(mut judge: impl FnMut(&Case<S::Options>, &Arrays, usize)) {
    for ((seed, &shape), (x, row)) in
        (3..).zip(&SHAPES).flat_map(|shape| DATA.map(|data| (shape, data)))
    {
        let layout = layout(shape);
        let options = S::options(&layout, &mut Source::new(seed));
        let options = S::with_eps(options, EPS).unwrap_or(options);
        let case = Case { layout, options, fused: Fused::default() };
        let mut arrays = draw::<S>(&case, &How { x, ..ORDINARY }, &mut Source::new(seed));
        near_the_data(&mut arrays, x);
        if S::KINK {
            off_zero(&mut arrays);
        }
        judge(&case, &arrays, row);
    }
}

/// Given statistics that fit the data, with a deviation that is not near zero.
fn near_the_data(arrays: &mut Arrays, kind: Kind) {
    let offset = if let Kind::Mean(mean) = kind { mean } else { 0.0 };
    if arrays.has("mean") {
        let mean: Vec<f32> = arrays.f32("mean").iter().map(|v| offset + v / 2.0).collect();
        let var: Vec<f32> = arrays.f32("var").iter().map(|v| 0.5 + v / 2.0).collect();
        arrays.write("mean", mean);
        arrays.write("var", var);
    }
}

/// No x so near to zero that a difference is taken across it.
fn off_zero(arrays: &mut Arrays) {
    let near = |x: f32| f64::from(x.abs()) <= STEP;
    let x = arrays.f32("x").iter().map(|&x| if near(x) { x - 0.5 } else { x }).collect::<Vec<_>>();
    arrays.write("x", x);
}

/// (f(v + h) − f(v − h)) / 2h for every element v of `values`, where f is Σ dy·y. Of each y by itself,
/// so that large ones which do not depend on v leave no rounding.
fn differences(values: &[f64], dy: &[f64], y: impl Fn(&[f64]) -> Vec<f64>) -> Vec<f64> {
    let mut moved = values.to_vec();
    let mut out = Vec::with_capacity(values.len());
    for (i, &v) in values.iter().enumerate() {
        moved[i] = v + STEP;
        let above = y(&moved);
        moved[i] = v - STEP;
        let below = y(&moved);
        moved[i] = v;
        let moves =
            above.iter().zip(&below).zip(dy).map(|((above, below), dy)| dy * (above - below));
        // The step that was taken, after rounding.
        out.push(oracle::sum(moves) / ((v + STEP) - (v - STEP)));
    }
    out
}

/// Numeric gradients of Σ dy·y by x and the parameters, if the subject is a backward pass.
fn numeric<S: Subject>(case: &Case<S::Options>, arrays: &Arrays) -> Option<[Vec<f64>; 3]> {
    let [gamma, beta] = S::PARAMETERS;
    let (x, dy) = (arrays.wide("x"), arrays.wide("dy"));
    let gamma = if arrays.has(gamma) { arrays.wide(gamma) } else { Vec::new() };
    let beta = if S::SLOTS.iter().any(|slot| slot.name == beta) {
        arrays.wide(beta)
    } else {
        oracle::widen(&Source::new(5).normals(gamma.len()))
    };
    S::forward(case, arrays, [&x, &gamma, &beta])?;
    let y = |point: [&[f64]; 3]| S::forward(case, arrays, point).expect("as above");
    Some([
        differences(&x, &dy, |x| y([x, &gamma, &beta])),
        differences(&gamma, &dy, |gamma| y([&x, gamma, &beta])),
        differences(&beta, &dy, |beta| y([&x, &gamma, beta])),
    ])
}

/// The sizes that errors of the elements of dx are measured by: of the largest among those that
/// meet, since a difference quotient carries the error of the whole sum.
fn dx_scales<S: Subject>(case: &Case<S::Options>, each: &[f64]) -> Vec<f64> {
    let shape = ops::subject::shape(&case.layout);
    let at = |i| (shape.sample_of(i), shape.channel_of(i));
    let mut most = vec![0.0_f64; shape.batch * shape.channels];
    for (i, size) in each.iter().enumerate() {
        let (n, c) = at(i);
        let place = n * shape.channels + c;
        most[place] = most[place].max(*size);
    }
    let of = |to| {
        let meeting = (0..most.len())
            .filter(|&p| S::meets(case, (p / shape.channels, p % shape.channels), to));
        meeting.map(|p| most[p]).fold(0.0, f64::max)
    };
    let all: Vec<f64> =
        (0..most.len()).map(|p| of((p / shape.channels, p % shape.channels))).collect();
    (0..each.len()).map(|i| all[at(i).0 * shape.channels + at(i).1]).collect()
}

#[track_caller]
fn assert_close(what: &str, got: &[f64], want: &[f64], scale: &[f64], limit: f64) {
    for (i, ((g, w), s)) in got.iter().zip(want).zip(scale).enumerate() {
        let allowed = DIFFERENCE_ERROR * s + limit * ulp(*s);
        let error = (g - w).abs();
        assert!(error <= allowed, "{what}[{i}] is {g:e}, not {w:e}, allowed {allowed:e}");
    }
}

/// The limit of an output for a row of data.
fn limit<S: Subject>(output: &str, row: usize) -> f64 {
    let limits = S::LIMITS.iter().find(|(name, _)| *name == output);
    limits.unwrap_or_else(|| panic!("no limit of {output}")).1[row]
}

/// The oracle's closed forms, and what the crate computes, are the derivatives.
fn gradients_are_the_derivatives<S: Subject>() {
    let has = |name| S::SLOTS.iter().any(|slot| slot.name == name);
    let gradient = format!("d{}", S::PARAMETERS[0]);
    if !has("x") || !(has("dx") || has(&gradient)) {
        return;
    }
    cases::<S>(|case, arrays, row| {
        let Some(numeric) = numeric::<S>(case, arrays) else { return };
        let closed = S::oracle(case, arrays);
        let mut got = arrays.clone();
        S::call(case, Backend::detect(), got.args()).expect("a correct call");
        for (numeric, Expected { name, values, scale, .. }) in numeric.iter().zip(closed) {
            let context = format!("{name} of {} in {case:?}, {}", S::NAME, ROWS[row].name);
            let scale = if name == "dx" { dx_scales::<S>(case, &scale) } else { scale };
            assert_close(&context, &values, numeric, &scale, 0.0);
            assert_close(&context, &got.wide(name), numeric, &scale, limit::<S>(name, row));
        }
    });
}

macro_rules! tests {
    ($($name:ident: $subject:ty,)*) => {
        $(#[test]
        fn $name() {
            gradients_are_the_derivatives::<$subject>();
        })*
    };
}

for_every_subject!(tests);
