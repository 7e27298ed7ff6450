//! Edges that only one operation has.

use evenkeel::{
    Affine, Backend, BatchNorm, Constant, Dropout, Given, Gradients, Keep, Key, Moments, Running,
    RunningVariance, Saved, Scaling, Standardize, Statistics, Weight, apart, in_place,
};
use ops::Source;
use ops::arrays::bits;
use ops::oracle::Shape;
use ops::subject::layout;

#[track_caller]
fn assert_same_bits(left: &[f32], right: &[f32], what: &str) {
    let all = |v: &[f32]| v.iter().map(|&v| bits(v)).collect::<Vec<_>>();
    assert_eq!(all(left), all(right), "{what}");
}

/// A buffer that no operation has written to.
fn canary(len: usize) -> Vec<f32> {
    vec![-7.0; len]
}

const GAMMA: [f32; 3] = [1.5, -2.0, 0.5];
const BETA: [f32; 3] = [0.25, -0.0, 7.0];

struct Trained {
    y: Vec<f32>,
    mean: Vec<f32>,
    rstd: Vec<f32>,
    running_mean: Vec<f32>,
    running_var: Vec<f32>,
}

fn train(norm: BatchNorm, x: &[f32]) -> Trained {
    let mut out = Trained {
        y: canary(x.len()),
        mean: canary(3),
        rstd: canary(3),
        running_mean: vec![1.0; 3],
        running_var: vec![3.0; 3],
    };
    let running = Running { mean: &mut out.running_mean, var: &mut out.running_var };
    let saved = Saved { mean: &mut out.mean, rstd: &mut out.rstd };
    norm.train(
        apart(x, &mut out.y),
        Affine::new(&GAMMA, &BETA),
        Keep { running: Some(running), saved: Some(saved) },
    )
    .expect("all lengths are right");
    out
}

struct Backward {
    dx: Vec<f32>,
    dgamma: Vec<f32>,
    dbeta: Vec<f32>,
}

fn backward(norm: BatchNorm, dy: &[f32], x: &[f32], trained: &Trained) -> Backward {
    let mut out = Backward { dx: canary(x.len()), dgamma: canary(3), dbeta: canary(3) };
    let gradients = Gradients {
        x: Some(&mut out.dx),
        gamma: Some(&mut out.dgamma),
        beta: Some(&mut out.dbeta),
    };
    norm.backward(
        dy,
        x,
        Some(&GAMMA),
        Statistics { mean: &trained.mean, rstd: &trained.rstd },
        gradients,
    )
    .expect("all lengths are right");
    out
}

/// All shapes that have three channels and one element in each.
const SINGLE: [Shape; 3] = [Shape::dense(1, 3), Shape::first(1, 3, 1), Shape::last(1, 1, 3)];

/// Two samples of three channels, dense and with planes of every order.
const SHAPES: [Shape; 5] = [
    Shape::dense(2, 3),
    Shape::first(2, 3, 5),
    Shape::last(2, 5, 3),
    Shape::first(2, 3, 1500),
    Shape::last(2, 1500, 3),
];

fn is_beta(shape: Shape, y: &[f32]) -> bool {
    y.iter().enumerate().all(|(i, &v)| v == BETA[shape.channel_of(i)])
}

#[test]
fn one_element_trains_to_beta() {
    let x = [2.0, -1e30, 1e-40];
    for shape in SINGLE {
        for form in [RunningVariance::Unbiased, RunningVariance::Biased] {
            let norm = BatchNorm::new(layout(shape)).running_variance(form);
            let got = train(norm, &x);
            assert!(is_beta(shape, &got.y), "{:?}", got.y);
            assert_same_bits(&got.mean, &x, "saved mean");
            assert!(got.rstd.iter().all(|r| (r * 1e-5_f32.sqrt() - 1.0).abs() < 1e-6));
            assert_eq!(got.running_var, [3.0; 3]);
            assert!((got.running_mean[0] - 1.1).abs() < 1e-6);
            assert!((got.running_mean[1] / -1e29 - 1.0).abs() < 1e-6);
            assert!((got.running_mean[2] - 0.9).abs() < 1e-6);
            let back = backward(norm, &[1.0, 2.0, 3.0], &x, &got);
            assert_eq!(back.dx, [0.0; 3]);
            assert_eq!(back.dgamma, [0.0; 3]);
            assert_eq!(back.dbeta, [1.0, 2.0, 3.0]);
        }
    }
}

#[test]
fn one_element_without_eps_trains_to_beta() {
    for shape in SINGLE {
        let norm = BatchNorm::new(layout(shape)).eps(0.0);
        let x = [2.0, f32::MAX, -1e-45];
        let got = train(norm, &x);
        assert!(is_beta(shape, &got.y));
        assert_eq!(got.rstd, [0.0; 3]);
        let mut moments = [Moments::new(); 3];
        let mut y = canary(3);
        Standardize::new(layout(shape)).fit(&x, &mut moments).unwrap();
        Standardize::new(layout(shape)).apply(apart(&x, &mut y), &moments).unwrap();
        assert_eq!(y, [0.0; 3]);
    }
}

/// A value that was never seen in training, in a feature that was constant there.
#[test]
fn constant_features() {
    let layout = layout(Shape::dense(3, 2));
    let mut moments = [Moments::new(); 2];
    let train = [0.1, 1.0, 0.1, 2.0, 0.1, 6.0];
    Standardize::new(layout).fit(&train, &mut moments).unwrap();
    let run = |op: Standardize| {
        let mut x = [0.1, 3.0, 2.1, 3.0, f32::MAX, 3.0];
        op.apply(in_place(&mut x), &moments).unwrap();
        x
    };
    let op = Standardize::new(layout);
    assert_eq!(run(op), [0.0; 6]);
    assert_eq!(run(op.constant(Constant::Zero)), [0.0; 6]);
    let far = 2.1 - 0.1_f32;
    assert_eq!(run(op.constant(Constant::Center)), [0.0, 0.0, far, 0.0, f32::MAX, 0.0]);
    // With an eps no feature is constant: far / sqrt(0.25).
    assert_eq!(run(op.constant(Constant::Center).eps(0.25))[2], 2.0 * far);
    assert_eq!(run(op.eps(0.25))[2], 2.0 * far);
}

#[test]
fn constant_channels_give_beta() {
    for (shape, eps) in SHAPES.into_iter().flat_map(|s| [(s, 0.0), (s, 1e-5)]) {
        // None of them has a sum that f32 holds exactly for all lengths.
        for values in [[0.1, -3.3, 1e-40], [f32::MAX, f32::MIN, 0.0], [1e30, 1e-30, 1e-45]] {
            let norm = BatchNorm::new(layout(shape)).eps(eps);
            let x: Vec<f32> = (0..shape.len()).map(|i| values[shape.channel_of(i)]).collect();
            let got = train(norm, &x);
            assert!(is_beta(shape, &got.y), "{shape:?}, eps {eps}, {values:?}: {:?}", &got.y[..3]);
            assert_same_bits(&got.mean, &values, "saved mean");
            if eps == 0.0 {
                assert_eq!(got.rstd, [0.0; 3]);
            }
            let dy = Source::new(1).normals(x.len());
            let back = backward(norm, &dy, &x, &got);
            assert!(back.dx.iter().all(|v| v.is_finite()));
            assert_eq!(back.dgamma, [0.0; 3]);
        }
    }
}

/// Zero variance given from outside, with eps = 0.
#[test]
fn no_variance_at_inference_gives_beta() {
    for shape in SHAPES {
        let norm = BatchNorm::new(layout(shape)).eps(0.0);
        let x = Source::new(1).normals(shape.len());
        let mut y = canary(x.len());
        norm.infer(
            apart(&x, &mut y),
            Affine::new(&GAMMA, &BETA),
            Given::Running { mean: &[0.5; 3], var: &[0.0; 3] },
        )
        .unwrap();
        assert!(is_beta(shape, &y));
        let (mut weight, mut bias) = ([1.0; 6], [2.0; 3]);
        norm.fold(
            Affine::new(&GAMMA, &BETA),
            Given::Running { mean: &[0.5; 3], var: &[0.0; 3] },
            Weight::OutputFirst(&mut weight),
            &mut bias,
        )
        .unwrap();
        assert_eq!(weight, [0.0; 6]);
        assert_eq!(bias, BETA);
        let moments = [Moments::from_parts(9, 0.5, 0.0); 3];
        norm.infer(apart(&x, &mut y), Affine::new(&GAMMA, &BETA), Given::Population(&moments))
            .unwrap();
        assert!(is_beta(shape, &y));
    }
}

/// A mean between two numbers of f32, and a factor with which what lies between is beyond the largest: y is
/// infinite, and not infinity minus infinity.
#[test]
fn a_mean_between_two_numbers_at_a_large_factor() {
    let near = 1e20_f32;
    let next = f32::from_bits(near.to_bits() + 1);
    let mean = 0.75 * f64::from(near) + 0.25 * f64::from(next);
    let moments = [Moments::from_parts(9, mean, 0.0)];
    for backend in Backend::available() {
        let norm = BatchNorm::new(layout(Shape::dense(2, 1))).eps(1e-70).backend(backend);
        let mut y = canary(2);
        norm.infer(apart(&[near, next], &mut y), Affine::NONE, Given::Population(&moments))
            .expect("a correct call");
        assert_eq!(y, [f32::NEG_INFINITY, f32::INFINITY], "{backend}");
    }
}

/// Values that no multiplication may touch.
const ODD: [f32; 8] =
    [0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, 1e-45, -1.175_494_2e-38, 1.5];

fn odd_values(len: usize) -> Vec<f32> {
    ODD.iter().copied().cycle().take(len).collect()
}

#[test]
fn dropping_nothing_is_the_identity() {
    let x = odd_values(1000);
    for scaling in [Scaling::Inverted, Scaling::AtInference] {
        let dropout = Dropout::new(0.0).unwrap().scaling(scaling);
        let mut y = canary(x.len());
        dropout.forward(apart(&x, &mut y), Key::new(1)).unwrap();
        assert_same_bits(&x, &y, "forward");
        dropout.backward(apart(&x, &mut y), Key::new(1)).unwrap();
        assert_same_bits(&x, &y, "backward");
        dropout.infer(apart(&x, &mut y)).unwrap();
        assert_same_bits(&x, &y, "infer");
        assert_eq!(dropout.scale(), 1.0);
    }
}

#[test]
fn dropping_all_gives_positive_zeros() {
    let mut x = odd_values(1000);
    x[17] = f32::NAN;
    for scaling in [Scaling::Inverted, Scaling::AtInference] {
        let dropout = Dropout::new(1.0).unwrap().scaling(scaling);
        let mut y = canary(x.len());
        dropout.forward(apart(&x, &mut y), Key::new(1)).unwrap();
        assert!(y.iter().all(|v| v.to_bits() == 0));
        dropout.backward(apart(&x, &mut y), Key::new(1)).unwrap();
        assert!(y.iter().all(|v| v.to_bits() == 0));
    }
    // Inference too, where the factor is 0: a product would keep the NaN.
    let dropout = Dropout::new(1.0).unwrap().scaling(Scaling::AtInference);
    let mut y = canary(x.len());
    dropout.infer(apart(&x, &mut y)).unwrap();
    assert!(y.iter().all(|v| v.to_bits() == 0));
    dropout.infer(in_place(&mut x)).unwrap();
    assert!(x.iter().all(|v| v.to_bits() == 0));
    let mut mask = [0xFF; 125];
    Dropout::new(1.0).unwrap().write_mask(1000, Key::new(1), &mut mask).unwrap();
    assert_eq!(mask, [0; 125]);
}

#[test]
fn a_dropped_nan_is_zero_and_a_kept_one_stays() {
    let (dropout, key) = (Dropout::new(0.4).unwrap(), Key::new(5));
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut y = canary(500);
        dropout.forward(apart(&[bad; 500], &mut y), key).unwrap();
        for (i, v) in (0_u64..).zip(&y) {
            if dropout.keep(key, i) {
                assert!(!v.is_finite());
            } else {
                assert_eq!(v.to_bits(), 0);
            }
        }
    }
}

#[test]
fn dropout_at_inference() {
    let x = Source::new(1).normals(333);
    let mut y = canary(x.len());
    for p in [0.25, 0.5, 1.0] {
        let inverted = Dropout::new(p).unwrap();
        inverted.infer(apart(&x, &mut y)).unwrap();
        assert_same_bits(&x, &y, "inverted");
        inverted.infer(in_place(&mut y)).unwrap();
        assert_same_bits(&x, &y, "inverted, in place");
        inverted.scaling(Scaling::AtInference).infer(apart(&x, &mut y)).unwrap();
        let mut z = x.clone();
        inverted.scaling(Scaling::AtInference).infer(in_place(&mut z)).unwrap();
        assert_same_bits(&y, &z, "in place");
        for (&v, &got) in x.iter().zip(&y) {
            // 1 − p is a power of two, or 3/4: the product is rounded once.
            #[expect(clippy::cast_possible_truncation, reason = "the rounding that is expected")]
            let expected = (f64::from(v) * (1.0 - p)) as f32;
            assert_eq!(got, expected);
        }
    }
}
