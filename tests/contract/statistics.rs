//! Statistics at their borders: running ones, given means and variances, given moments.

use evenkeel::{
    Backend, BatchNorm, Keep, Layout, Moments, Momentum, Running, RunningVariance, apart, in_place,
};

use crate::data::{Kind, Source};
use crate::guarded::{Guarded, assert_bits};
use crate::reference::batch_norm::{Affine, Options, infer, infer_population, train};
use crate::reference::moments::Triple;

/// Section 8's last sentence: nothing that was finite becomes infinite.
#[test]
fn running_variance_at_the_end_of_f32() {
    let layout = Layout::dense(4, 3).expect("a small layout");
    let x: Vec<f32> = (0..12).map(|i| if i < 6 { 3e38 } else { -3e38 }).collect();
    for (initial, factor) in [(1.0, 0.1), (f32::MAX, 0.3), (f32::MAX, 1.0), (f32::INFINITY, 0.5)] {
        let options = Options {
            eps: 1e-5,
            momentum: Momentum::Exponential(factor),
            running_variance: RunningVariance::Unbiased,
        };
        let means = vec![f32::MAX, f32::INFINITY, f32::NEG_INFINITY];
        let initial = (means, vec![initial; 3]);
        let none = Affine { gamma: None, beta: None };
        let expected = train(&layout, options, &x, none, (&initial.0, &initial.1));
        for backend in Backend::available() {
            let (mut mean, mut var) = initial.clone();
            let mut y = x.clone();
            BatchNorm::new(layout)
                .momentum(options.momentum)
                .backend(backend)
                .train(
                    in_place(&mut y),
                    evenkeel::Affine::NONE,
                    Keep { running: Some(Running { mean: &mut mean, var: &mut var }), saved: None },
                )
                .expect("a correct call");
            let context = (backend.name(), &initial, factor);
            assert_bits(&mean, &expected.running_mean, "mean", &context);
            assert_bits(&var, &expected.running_var, "variance", &context);
        }
    }
}

/// The factor 1/batches is divided in f64: counts beyond 2^24 are not rounded to f32 before.
#[test]
fn cumulative_factor_of_many_batches() {
    let layout = Layout::dense(5, 2).expect("a small layout");
    let x = Source::new(3).fill(Kind::Mean(1.0), &layout);
    for batches in [1, 2, 3, 7, (1 << 24) + 1, (1 << 24) + 3, (1 << 53) + 1, u64::MAX] {
        let options = Options {
            eps: 1e-5,
            momentum: Momentum::Cumulative { batches },
            running_variance: RunningVariance::Unbiased,
        };
        let none = Affine { gamma: None, beta: None };
        let expected = train(&layout, options, &x, none, (&[0.0; 2], &[0.0; 2]));
        let (mut mean, mut var, mut y) = ([0.0; 2], [0.0; 2], x.clone());
        BatchNorm::new(layout)
            .momentum(options.momentum)
            .train(
                in_place(&mut y),
                evenkeel::Affine::NONE,
                Keep { running: Some(Running { mean: &mut mean, var: &mut var }), saved: None },
            )
            .expect("a correct call");
        assert_bits(&mean, &expected.running_mean, "mean", &batches);
        assert_bits(&var, &expected.running_var, "variance", &batches);
    }
}

/// Variances: zero with and without eps, subnormal, huge, not a number.
const VARIANCES: [f32; 12] =
    [0.0, -0.0, 1e-45, 1e-38, 1e-12, 1.0, 1e30, f32::MAX, f32::INFINITY, f32::NAN, -1.0, -1e-5];

/// Means, both sides of section 6's limit of 2^102 among them.
const MEANS: [f32; 11] = [
    0.0,
    1e-45,
    -1e-38,
    3.0,
    f32::from_bits(229 << 23).next_down(),
    f32::from_bits(229 << 23),
    -1e38,
    f32::MAX,
    f32::INFINITY,
    f32::NAN,
    -0.0,
];

/// Factors: g = γ / root is zero, subnormal, normal, infinite.
const GAMMAS: [f32; 7] = [1.0, 0.0, -0.0, 1e-38, -1e-30, 1e38, f32::INFINITY];

/// Every variance with every mean, a channel each.
#[test]
fn infer_with_odd_statistics() {
    let channels = VARIANCES.len() * MEANS.len();
    let mean: Vec<f32> = (0..channels).map(|c| MEANS[c % MEANS.len()]).collect();
    let var: Vec<f32> = (0..channels).map(|c| VARIANCES[c / MEANS.len()]).collect();
    let beta = Source::new(3).normals(channels);
    let dense = Layout::dense(7, channels).expect("a small layout");
    let planes = Layout::channels_first(1, channels, 7).expect("a small layout");
    for (layout, scale) in
        [dense, planes].into_iter().flat_map(|l| [1.0, 1e-38, 1e38].map(|s| (l, s)))
    {
        let x = Source::new(1).fill(Kind::Scale(scale), &layout);
        for (turn, eps) in
            [0.0, 1e-5, 1e-300, 1e300, 1e-45, 1e38, 3e38, 1e39].into_iter().enumerate()
        {
            let gamma: Vec<f32> =
                (0..channels).map(|c| GAMMAS[(c + turn) % GAMMAS.len()]).collect();
            let affine = Affine { gamma: Some(&gamma), beta: Some(&beta) };
            let expected = infer(&layout, eps, &x, affine, &mean, &var);
            for backend in Backend::available() {
                let mut y = Guarded::output(x.len(), 0);
                BatchNorm::new(layout)
                    .eps(eps)
                    .backend(backend)
                    .infer(
                        apart(&x, y.inside()),
                        evenkeel::Affine { gamma: affine.gamma, beta: affine.beta },
                        evenkeel::Given::Running { mean: &mean, var: &var },
                    )
                    .expect("a correct call");
                y.assert(&expected, "y", &(backend.name(), layout, scale, eps));
            }
        }
    }
}

/// Moments that no batch would give: the limits of sections 5 and 6, and the rounding of the mean.
#[test]
fn population_with_given_moments() {
    let parts = [
        (1, 5.0, 0.0),
        (3, 1e7 + 0.25, 7.0),
        (10, 0.1, 10.0 * 2.0_f64.powi(-126)),
        (10, 0.1, 9.999 * 2.0_f64.powi(-126)),
        (8, 1e-3, 8.0 * 2.0_f64.powi(127)),
        (8, 1e-3, 8.0 * 2.0_f64.powi(128)),
        (2, 3e38, 1e300),
        (u64::MAX, -1.0, 1e19),
        (4, f64::NAN, 4.0),
        (4, 1.0, f64::NAN),
        (4, 1.0, f64::INFINITY),
        (4, 1.0, 1e-320),
        (2, 1e300, 2.0),
        (0, 0.0, 0.0),
        (0, 5.0, 7.0),
        (3, -3e38, 1e-3),
        (3, -3e38, 0.0),
        (5, 1e200, 0.0),
        (5, 2.0_f64.powi(102), 5.0),
        (5, 2.0_f64.powi(102).next_down(), 5.0),
        (5, -(2.0_f64.powi(102) - 2.0_f64.powi(77)), 5.0),
        (5, 1.0, 5.0 * 2.0_f64.powi(-126)),
        (5, 1.0, 5.0 * 2.0_f64.powi(127)),
    ];
    let moments = parts.map(|(n, mean, m2)| Moments::from_parts(n, mean, m2));
    let triples = parts.map(|(n, mean, m2)| Triple::from_parts(n, mean, m2));
    let layout = Layout::dense(50, parts.len()).expect("a small layout");
    let x = Source::new(2).fill(Kind::Normal, &layout);
    for (turn, eps) in [0.0, 1e-5, 1e-80, 1e38, 1e300].into_iter().enumerate() {
        // Every channel meets five of the seven factors.
        let gamma: Vec<f32> = (0..parts.len()).map(|c| GAMMAS[(c + turn) % GAMMAS.len()]).collect();
        for affine in [None, Some(&gamma[..])].map(|gamma| Affine { gamma, beta: None }) {
            let expected = infer_population(&layout, eps, &x, affine, &triples);
            for backend in Backend::available() {
                let mut y = Guarded::output(x.len(), 3);
                BatchNorm::new(layout)
                    .eps(eps)
                    .backend(backend)
                    .infer(
                        apart(&x, y.inside()),
                        evenkeel::Affine { gamma: affine.gamma, beta: None },
                        evenkeel::Given::Population(&moments),
                    )
                    .expect("a correct call");
                y.assert(&expected, "y", &(backend.name(), eps));
            }
        }
    }
}
