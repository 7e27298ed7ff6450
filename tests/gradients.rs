//! Backward passes against central differences of the f64 oracle's forward pass.
//!
//! The oracle's own closed formulas are checked the same way, so that the accuracy limits, which
//! are measured with them, rest on nothing but the forward formulas.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "the sizes are small"
)]

mod common {
    pub(crate) mod data;
    pub(crate) mod limits;
    pub(crate) use ops::oracle;
}

use common::data::{Rng, assert_same_bits, layout};
use common::limits::{Op, Row, row};
use common::oracle::{self, Shape, ulp, widen};
use evenkeel::{
    Affine, BatchNorm, Dropout, Given, Gradients, Keep, Key, Saved, Scaling, Statistics, apart,
    in_place,
};

/// Dense, planes that share a block and one that does not, more than one block, both orders, one channel.
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

struct Case {
    shape: Shape,
    row: &'static Row,
    x: Vec<f32>,
    dy: Vec<f32>,
    gamma: Vec<f32>,
    beta: Vec<f32>,
    mean: Vec<f32>,
    var: Vec<f32>,
}

impl Case {
    /// `mean` over a deviation of 1; the row of the limits that belongs to it.
    fn new(shape: Shape, mean: f64, row: &'static Row, seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let channels = shape.channels;
        Self {
            shape,
            row,
            x: rng.normals(shape.len(), mean, 1.0),
            dy: rng.normals(shape.len(), 0.0, 1.0),
            gamma: rng.gammas(channels),
            beta: rng.normals(channels, 0.0, 1.0),
            mean: rng.normals(channels, mean, 0.5),
            var: rng.uniforms(channels, 0.5, 2.0),
        }
    }

    fn all() -> Vec<Self> {
        let case = |mean, name| SHAPES.iter().map(move |&s| Self::new(s, mean, row(name), 3));
        case(0.0, "N(0, 1)").chain(case(1e3, "mean/σ = 1e3")).collect()
    }

    fn norm(&self) -> BatchNorm {
        BatchNorm::new(layout(self.shape)).eps(EPS)
    }

    /// Mean and rstd as a training pass saves them.
    fn saved(&self) -> (Vec<f32>, Vec<f32>) {
        let (mut mean, mut rstd) = (self.mean.clone(), self.var.clone());
        let saved = Saved { mean: &mut mean, rstd: &mut rstd };
        self.norm()
            .train(
                apart(&self.x, &mut vec![0.0; self.x.len()]),
                Affine::NONE,
                Keep { running: None, saved: Some(saved) },
            )
            .expect("all lengths are right");
        (mean, rstd)
    }
}

/// Gradients of the loss Σ dy·y, in f64.
struct Wide {
    x: Vec<f64>,
    gamma: Vec<f64>,
    beta: Vec<f64>,
}

/// (f(v + h) − f(v − h)) / 2h for every element of `values`.
fn differences(values: &[f64], loss: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    let mut moved = values.to_vec();
    let mut out = Vec::with_capacity(values.len());
    for (i, &v) in values.iter().enumerate() {
        moved[i] = v + STEP;
        let above = loss(&moved);
        moved[i] = v - STEP;
        let below = loss(&moved);
        moved[i] = v;
        // The step that was taken, after rounding.
        out.push((above - below) / ((v + STEP) - (v - STEP)));
    }
    out
}

/// Numeric gradients of every input of `forward(x, gamma, beta)`.
fn numeric(case: &Case, forward: impl Fn(&[f64], &[f64], &[f64]) -> Vec<f64>) -> Wide {
    let dy = widen(&case.dy);
    let loss = |x: &[f64], gamma: &[f64], beta: &[f64]| {
        let y = forward(x, gamma, beta);
        oracle::sum(y.iter().zip(&dy).map(|(y, d)| y * d))
    };
    let (x, gamma, beta) = (widen(&case.x), widen(&case.gamma), widen(&case.beta));
    Wide {
        x: differences(&x, |x| loss(x, &gamma, &beta)),
        gamma: differences(&gamma, |gamma| loss(&x, gamma, &beta)),
        beta: differences(&beta, |beta| loss(&x, &gamma, beta)),
    }
}

fn numeric_train(case: &Case) -> Wide {
    numeric(case, |x, gamma, beta| {
        oracle::batch_norm_train(case.shape, x, Some(gamma), Some(beta), EPS).y
    })
}

fn numeric_inference(case: &Case) -> Wide {
    let (mean, var) = (widen(&case.mean), widen(&case.var));
    numeric(case, |x, gamma, beta| {
        oracle::infer(case.shape, x, Some(gamma), Some(beta), (&mean, &var), EPS)
    })
}

fn closed_train(case: &Case, gamma: Option<&[f64]>) -> oracle::Gradients {
    oracle::backward(case.shape, &widen(&case.dy), &widen(&case.x), gamma, EPS)
}

fn closed_inference(case: &Case, gamma: Option<&[f64]>) -> oracle::Gradients {
    let statistics = (&*widen(&case.mean), &*widen(&case.var));
    oracle::backward_inference(
        case.shape,
        &widen(&case.dy),
        &widen(&case.x),
        gamma,
        statistics,
        EPS,
    )
}

/// Where gradients are written that a call computes.
struct Narrow {
    x: Vec<f32>,
    gamma: Vec<f32>,
    beta: Vec<f32>,
}

impl Narrow {
    fn new(shape: Shape) -> Self {
        Self {
            x: vec![f32::NAN; shape.len()],
            gamma: vec![f32::NAN; shape.channels],
            beta: vec![f32::NAN; shape.channels],
        }
    }

    /// Those gradients that `wanted` names: x, gamma, beta.
    fn some(&mut self, wanted: [bool; 3]) -> Gradients<'_> {
        Gradients {
            x: wanted[0].then_some(&mut self.x[..]),
            gamma: wanted[1].then_some(&mut self.gamma[..]),
            beta: wanted[2].then_some(&mut self.beta[..]),
        }
    }
}

/// Computes those gradients that are wanted: x, gamma, beta.
type Backward = fn(&Case, Option<&[f32]>, [bool; 3]) -> Narrow;

const BACKWARDS: [Backward; 2] = [train_backward, inference_backward];

fn train_backward(case: &Case, gamma: Option<&[f32]>, wanted: [bool; 3]) -> Narrow {
    let (mean, rstd) = case.saved();
    let mut out = Narrow::new(case.shape);
    case.norm()
        .backward(
            &case.dy,
            &case.x,
            gamma,
            Statistics { mean: &mean, rstd: &rstd },
            out.some(wanted),
        )
        .expect("all lengths are right");
    out
}

fn inference_backward(case: &Case, gamma: Option<&[f32]>, wanted: [bool; 3]) -> Narrow {
    let mut out = Narrow::new(case.shape);
    case.norm()
        .backward(
            &case.dy,
            &case.x,
            gamma,
            Given::Running { mean: &case.mean, var: &case.var },
            out.some(wanted),
        )
        .expect("all lengths are right");
    out
}

/// The sizes that errors of the elements of dx are measured by: of the largest in each channel,
/// since a difference quotient carries the error of the whole sum.
fn dx_scales(shape: Shape, each: &[f64]) -> Vec<f64> {
    let mut most = vec![0.0_f64; shape.channels];
    for (i, v) in each.iter().enumerate() {
        let c = shape.channel_of(i);
        most[c] = most[c].max(*v);
    }
    (0..shape.len()).map(|i| most[shape.channel_of(i)]).collect()
}

#[track_caller]
fn assert_close(case: &Case, what: &str, got: &[f64], want: &[f64], scale: &[f64], limit: f64) {
    for (i, ((g, w), s)) in got.iter().zip(want).zip(scale).enumerate() {
        let allowed = DIFFERENCE_ERROR * s + limit * ulp(*s);
        assert!(
            (g - w).abs() <= allowed,
            "{what} of {:?}, {}: element {i} is {g:e}, not {w:e}, allowed {allowed:e}",
            case.shape,
            case.row.name
        );
    }
}

fn assert_closed_form(case: &Case, closed: &oracle::Gradients, numeric: &Wide) {
    let scale = dx_scales(case.shape, &closed.dx_scale);
    assert_close(case, "dx", &closed.dx, &numeric.x, &scale, 0.0);
    assert_close(case, "dgamma", &closed.dgamma, &numeric.gamma, &closed.dgamma_scale, 0.0);
    assert_close(case, "dbeta", &closed.dbeta, &numeric.beta, &closed.dbeta_scale, 0.0);
}

fn assert_gradients(case: &Case, got: &Narrow, numeric: &Wide, closed: &oracle::Gradients, dx: Op) {
    let limit = |op| case.row.limit(op);
    let scale = dx_scales(case.shape, &closed.dx_scale);
    assert_close(case, "dx", &widen(&got.x), &numeric.x, &scale, limit(dx));
    let (gamma, beta) = (widen(&got.gamma), widen(&got.beta));
    let scales = (&closed.dgamma_scale, &closed.dbeta_scale);
    assert_close(case, "dgamma", &gamma, &numeric.gamma, scales.0, limit(Op::Dgamma));
    assert_close(case, "dbeta", &beta, &numeric.beta, scales.1, limit(Op::Dbeta));
}

#[test]
fn training_gradients_are_the_derivatives() {
    for case in Case::all() {
        let numeric = numeric_train(&case);
        let closed = closed_train(&case, Some(&widen(&case.gamma)));
        assert_closed_form(&case, &closed, &numeric);
        let got = train_backward(&case, Some(&case.gamma), [true; 3]);
        assert_gradients(&case, &got, &numeric, &closed, Op::Dx);
    }
}

#[test]
fn inference_gradients_are_the_derivatives() {
    for case in Case::all() {
        let numeric = numeric_inference(&case);
        let closed = closed_inference(&case, Some(&widen(&case.gamma)));
        assert_closed_form(&case, &closed, &numeric);
        let got = inference_backward(&case, Some(&case.gamma), [true; 3]);
        assert_gradients(&case, &got, &numeric, &closed, Op::DxInference);
    }
}

#[test]
fn a_missing_gamma_is_one() {
    for case in Case::all() {
        let ones = vec![1.0; case.shape.channels];
        for backward in BACKWARDS {
            let with = backward(&case, Some(&ones), [true; 3]);
            let without = backward(&case, None, [true; 3]);
            assert_same_bits(&with.x, &without.x, "dx");
            assert_same_bits(&with.gamma, &without.gamma, "dgamma");
            assert_same_bits(&with.beta, &without.beta, "dbeta");
        }
    }
}

/// A gradient has the same bits whichever others are asked for, and only those are written.
#[test]
fn gradients_may_be_asked_for_one_by_one() {
    let or_nan = |wanted: bool, v: &[f32]| {
        if wanted { v.to_vec() } else { vec![f32::NAN; v.len()] }
    };
    for case in Case::all() {
        for backward in BACKWARDS {
            let all = backward(&case, Some(&case.gamma), [true; 3]);
            for pattern in 0..8 {
                let wanted = [0, 1, 2].map(|bit| pattern >> bit & 1 == 1);
                let some = backward(&case, Some(&case.gamma), wanted);
                assert_same_bits(&some.x, &or_nan(wanted[0], &all.x), "dx");
                assert_same_bits(&some.gamma, &or_nan(wanted[1], &all.gamma), "dgamma");
                assert_same_bits(&some.beta, &or_nan(wanted[2], &all.beta), "dbeta");
            }
        }
    }
}

/// Adding a constant to x, or scaling it, leaves the normalized values: dx is orthogonal to both.
#[test]
fn training_gradients_sum_to_nothing() {
    for case in Case::all() {
        let got = train_backward(&case, Some(&case.gamma), [true; 3]);
        let closed = closed_train(&case, Some(&widen(&case.gamma)));
        let stats = oracle::channel_stats(case.shape, &widen(&case.x));
        for (c, stat) in stats.iter().enumerate() {
            let indices = || case.shape.channel(c);
            let size: f64 = indices().map(|i| closed.dx_scale[i]).sum();
            let sum = oracle::sum(indices().map(|i| f64::from(got.x[i])));
            let along = oracle::sum(
                indices().map(|i| f64::from(got.x[i]) * stat.centred(f64::from(case.x[i]))),
            );
            // Every term may be off by the limit; with x̂ it is weighted by at most 6 deviations.
            // What eps leaves of the second sum is below eps/σ² of it.
            let allowed = (case.row.limit(Op::Dx) * 2.0_f64.powi(-23)) * size;
            assert!(sum.abs() <= allowed, "{:?}: sum {sum:e}", case.shape);
            assert!(along.abs() <= 6.0 * allowed + 1e-4 * size, "{:?}: {along:e}", case.shape);
        }
    }
}

const PROBABILITIES: [f64; 7] = [0.0, 1e-3, 0.25, 0.3, 0.5, 0.9, 1.0];

fn dropouts(p: f64) -> impl Iterator<Item = Dropout> {
    [Scaling::Inverted, Scaling::AtInference].into_iter().flat_map(move |scaling| {
        let dropout = Dropout::new(p).expect("a probability").scaling(scaling);
        [0, 5, 1 << 40].map(|offset| dropout.offset(offset))
    })
}

/// Dropout is linear and diagonal in x: its backward pass is the same map, with the same mask.
#[test]
fn dropout_gradient_is_the_forward_map() {
    let key = Key::new(42).fold_in(7);
    for len in [1, 15, 16, 17, 255, 1024, 5003] {
        let x = Rng::new(1).normals(len, 0.0, 1.0);
        let dy = Rng::new(2).normals(len, 0.0, 1.0);
        for dropout in PROBABILITIES.into_iter().flat_map(dropouts) {
            let (mut factor, mut y) = (vec![f32::NAN; len], vec![f32::NAN; len]);
            let (mut dx, mut through) = (y.clone(), y.clone());
            dropout.forward(apart(&vec![1.0; len], &mut factor), key).unwrap();
            dropout.forward(apart(&x, &mut y), key).unwrap();
            dropout.forward(apart(&dy, &mut through), key).unwrap();
            dropout.backward(apart(&dy, &mut dx), key).unwrap();
            assert_same_bits(&dx, &through, "dx");
            assert_diagonal(&factor, &x, &y);
            assert_diagonal(&factor, &dy, &dx);
            assert!(factor.iter().all(|&f| f == 0.0 || f == dropout.scale()));
            let mut z = dy.clone();
            dropout.backward(in_place(&mut z), key).unwrap();
            assert_same_bits(&z, &dx, "in place");
        }
    }
}

/// out = factor·input where the factor is not zero, +0.0 elsewhere.
#[track_caller]
fn assert_diagonal(factor: &[f32], input: &[f32], out: &[f32]) {
    for ((&f, &v), &o) in factor.iter().zip(input).zip(out) {
        let want = if f == 0.0 { 0.0_f32 } else { f * v };
        assert_eq!(o.to_bits(), want.to_bits(), "{v:e} with factor {f}");
    }
}

/// d(Σ dy·y)/dx by central differences; exact up to the rounding of the two products, since
/// the map is linear and the step a power of two.
#[test]
fn dropout_gradient_is_the_derivative() {
    let (len, key, step) = (300, Key::new(9), 0.25_f32);
    let x = Rng::new(3).normals(len, 0.0, 1.0);
    let dy = Rng::new(4).normals(len, 0.0, 1.0);
    for dropout in PROBABILITIES.into_iter().flat_map(dropouts) {
        let moved = |sign: f32| {
            let x: Vec<f32> = x.iter().map(|v| v + sign * step).collect();
            let mut y = vec![f32::NAN; len];
            dropout.forward(apart(&x, &mut y), key).unwrap();
            y
        };
        let (above, below) = (moved(1.0), moved(-1.0));
        let mut dx = vec![f32::NAN; len];
        dropout.backward(apart(&dy, &mut dx), key).unwrap();
        for i in 0..len {
            let slope = f64::from(above[i] - below[i]) / f64::from(2.0 * step);
            let want = slope * f64::from(dy[i]);
            // The rounding of x ± h and of the outputs, over the step.
            let allowed = 2.0_f64.powi(-20) * f64::from(dropout.scale() * dy[i].abs()) * 8.0;
            assert!((f64::from(dx[i]) - want).abs() <= allowed, "element {i}: {} {want}", dx[i]);
        }
    }
}
