//! Gradients of which more is known than that they are derivatives.

use evenkeel::{Dropout, Key, Scaling, apart, in_place};
use ops::arrays::bits;
use ops::batch_norm::Backward;
use ops::oracle;
use ops::subject::shape;
use ops::{Op, Source, Subject};

use super::{cases, limit};

#[track_caller]
fn assert_same_bits(left: &[f32], right: &[f32], what: &str) {
    let all = |v: &[f32]| v.iter().map(|&v| bits(v)).collect::<Vec<_>>();
    assert_eq!(all(left), all(right), "{what}");
}

/// Adding a constant to x, or scaling it, leaves the normalized values: dx is orthogonal to both.
#[test]
fn training_gradients_sum_to_nothing() {
    cases::<Backward>(|case, arrays, row| {
        let mut got = arrays.clone();
        let backend = evenkeel::Backend::detect();
        Backward::call(case, backend, got.args()).expect("a correct call");
        let scale = Backward::oracle(case, arrays).swap_remove(0).scale;
        let (dx, x, shape) = (got.wide("dx"), arrays.wide("x"), shape(&case.layout));
        for (c, stat) in oracle::channel_stats(shape, &x).iter().enumerate() {
            let indices = || shape.channel(c);
            let size: f64 = indices().map(|i| scale[i]).sum();
            let sum = oracle::sum(indices().map(|i| dx[i]));
            let along = oracle::sum(indices().map(|i| dx[i] * stat.centred(x[i])));
            // Every term may be off by the limit; with x̂ it is weighted by at most 6 deviations.
            // What eps leaves of the second sum is below eps/σ² of it.
            let allowed = (limit::<Backward>("dx", row) * 2.0_f64.powi(-23)) * size;
            assert!(sum.abs() <= allowed, "{shape:?}: sum {sum:e}");
            assert!(along.abs() <= 6.0 * allowed + 1e-4 * size, "{shape:?}: {along:e}");
        }
    });
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
        let x = Source::new(1).normals(len);
        let dy = Source::new(2).normals(len);
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
    let x = Source::new(3).normals(len);
    let dy = Source::new(4).normals(len);
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
