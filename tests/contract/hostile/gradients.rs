//! Hostile gradients.

use evenkeel::{Backend, BatchNorm, Gradients, Layout, Statistics};

use super::{CHANNELS, HOST, among, assert_near, host_of, hosted, layouts};
use crate::guarded::assert_bits;
use ops::Source;
use ops::oracle::Stats;
use ops::reference::backward::{self, backward, backward_inference};

/// One channel's gradients, with saved statistics as they come.
#[derive(Clone, Debug)]
struct Backward {
    x: Vec<f32>,
    dy: Vec<f32>,
    mean: f32,
    rstd: f32,
    gamma: f32,
}

/// The gradients in f64, and what errors are measured by: the sum of the terms' absolute values.
struct Wide {
    dx: Vec<f64>,
    dx_scale: Vec<f64>,
    dgamma: f64,
    dgamma_scale: f64,
}

/// What the error of a product dy·x̃ is measured by. It is formed in f32 and may be subnormal:
/// 2^-150 are lost whatever its size, which are the 8 ulp of 2^-129 that `check_in` grants.
fn product_scale(product: f64) -> f64 {
    product.abs() + 2.0_f64.powi(-129)
}

impl Backward {
    fn new(x: &[f32], dy: &[f32], mean: f32, rstd: f32, gamma: f32) -> Self {
        Self { x: x.to_vec(), dy: dy.to_vec(), mean, rstd, gamma }
    }

    /// The same means, of more blocks.
    fn repeated(&self, times: usize) -> Self {
        Self { x: self.x.repeat(times), dy: self.dy.repeat(times), ..*self }
    }

    fn wide(&self) -> Wide {
        let n = self.x.len() as f64;
        let (mean, rstd) = (f64::from(self.mean), f64::from(self.rstd));
        let normalized: Vec<f64> = self.x.iter().map(|&x| (f64::from(x) - mean) * rstd).collect();
        let dy: Vec<f64> = self.dy.iter().map(|&dy| dy.into()).collect();
        let products = || dy.iter().zip(&normalized).map(|(dy, x)| dy * x);
        let k = normalized.iter().sum::<f64>() / n;
        let dbeta: f64 = dy.iter().sum();
        let dgamma = products().sum::<f64>() - dbeta * k;
        let dbeta_scale: f64 = dy.iter().map(|dy| dy.abs()).sum();
        let dgamma_scale = products().map(product_scale).sum::<f64>() + (dbeta * k).abs();
        let g = f64::from(self.gamma) * rstd;
        let each = || dy.iter().zip(&normalized).map(|(&dy, &x)| (dy, x - k));
        Wide {
            dx: each().map(|(dy, x)| g * ((dy - dbeta / n) - x * dgamma / n)).collect(),
            dx_scale: each()
                .map(|(dy, x)| dy.abs() + dbeta_scale / n + x.abs() * dgamma_scale / n)
                .map(|scale| g.abs() * scale)
                .collect(),
            dgamma,
            dgamma_scale,
        }
    }

    fn check(&self) {
        let pattern = self.x.len();
        for times in [1, 400] {
            let case = self.repeated(times);
            for layout in layouts(pattern * times, pattern) {
                case.check_in(layout);
            }
        }
    }

    fn check_in(&self, layout: Layout) {
        let (x, dy) = (hosted(&layout, &self.x), hosted(&layout, &self.dy));
        let gamma = among(1.0, self.gamma);
        let (mean, rstd) = (among(0.0, self.mean), among(1.0, self.rstd));
        let expected = backward(&layout, &dy, &x, Some(&gamma), &mean, &rstd);
        let context = (layout, self.gamma, self.rstd, &self.dy[..self.dy.len().min(4)]);
        let wide = self.wide();
        for (i, found) in host_of(&layout, &expected.x).into_iter().enumerate() {
            assert_near(found, wide.dx[i], wide.dx_scale[i], 8.0, &("dx", i, context));
        }
        // A sum above the largest f32 is infinite, and nothing else.
        if wide.dgamma_scale < f32::MAX.into() {
            let found = expected.gamma[HOST];
            assert_near(found, wide.dgamma, wide.dgamma_scale, 8.0, &("dgamma", context));
        }
        assert_gradients(layout, &expected, &context, |op, into| {
            op.backward(&dy, &x, Some(&gamma), Statistics { mean: &mean, rstd: &rstd }, into)
                .expect("a correct call");
        });
    }
}

/// Runs one backward pass on every backend.
fn assert_gradients(
    layout: Layout,
    expected: &backward::Gradients,
    context: &impl std::fmt::Debug,
    call: impl Fn(BatchNorm, Gradients<'_>),
) {
    for backend in Backend::available() {
        let (mut dx, mut dgamma, mut dbeta) =
            (vec![0.0; layout.len()], [0.0; CHANNELS], [0.0; CHANNELS]);
        let into = Gradients { x: Some(&mut dx), gamma: Some(&mut dgamma), beta: Some(&mut dbeta) };
        call(BatchNorm::new(layout).eps(0.0).backend(backend), into);
        let context = (backend, context);
        assert_bits(&dx, &expected.x, "dx", &context);
        assert_bits(&dgamma, &expected.gamma, "dgamma", &context);
        assert_bits(&dbeta, &expected.beta, "dbeta", &context);
    }
}

#[test]
fn at_saved_statistics() {
    let tiny = [1e-20, -1e-20, 3e-20];
    let cases = [
        // ∞·0: γ·rstd overflows, and nothing is to be passed on.
        Backward::new(&tiny, &[0.0; 3], 1e-20, 1e20, 1e20),
        // γ·rstd overflows, dx does not.
        Backward::new(&tiny, &[1e-30, 0.0, 0.0], 1e-20, 0.6124e20, 1e20),
        // γ·rstd is zero in f32, dx is not.
        Backward::new(
            &[1e17, -1e17, 3e17, -3e17],
            &[1e30, -1e30, 2e30, 0.0],
            0.0,
            4.472e-18,
            1e-30,
        ),
        // dy − a overflows. (x is constant.)
        Backward::new(&[2.0; 4], &[-3.3e38, 3.3e38, 3.3e38, 0.0], 2.0, 0.0, 1.0),
        Backward::new(&[2.0; 4], &[-3.3e38, 3.3e38, 3.3e38, 0.0], 2.0, 316.227_75, 1e-3),
        Backward::new(&[1.0, -1.0], &[3e38, -3e38], 0.0, 1.0, 1e-3),
    ];
    for case in cases {
        case.check();
    }
}

#[test]
fn in_numbers() {
    let run = |x: &[f32], dy: &[f32], mean, rstd, gamma| {
        let layout = Layout::dense(x.len(), 1).expect("a small layout");
        let mut dx = vec![f32::NAN; x.len()];
        let into = Gradients { x: Some(&mut dx), gamma: None, beta: None };
        BatchNorm::new(layout)
            .backward(dy, x, Some(&[gamma]), Statistics { mean: &[mean], rstd: &[rstd] }, into)
            .expect("a correct call");
        dx
    };
    let tiny = [1e-20, -1e-20, 3e-20];
    assert_eq!(run(&tiny, &[0.0; 3], 1e-20, 1e20, 1e20), [0.0; 3]);
    let huge = [-3.3e38, 3.3e38, 3.3e38, 0.0];
    assert_eq!(run(&[2.0; 4], &huge, 2.0, 0.0, 1.0), [0.0; 4]);
    // x̃ is 0, ∓1.2248: a third of dy goes into the mean, nothing at x̃ = 0 into the slope.
    let dx = run(&tiny, &[1e-30, 0.0, 0.0], 1e-20, 0.6124e20, 1e20);
    for (found, share) in dx.into_iter().zip([2.0, -1.0, -1.0]) {
        let expected = share / 3.0 * 6.124e9;
        assert!((f64::from(found) / expected - 1.0).abs() < 1e-6, "{found:e}, not {expected:e}");
    }
}

/// Rounded to f32, the means a and b of gradients near the smallest f32 have few bits left.
#[test]
fn of_the_smallest_numbers() {
    for scale in [1e-44, 1e-42, 1e-38] {
        // Of other data of 1e-44, a quarter is off by up to 18 ulp: a mean of less than 2^-150 is zero
        // in f32, and by the rule of section 9 that is good enough.
        let mut source = Source::new(46);
        let dy: Vec<f32> = source.normals(48).iter().map(|v| v * scale).collect();
        let x: Vec<f32> = source.normals(48).iter().map(|v| v * 1e-19).collect();
        Backward::new(&x, &dy, 0.0, 1e19, 1.0).check();
    }
}

#[test]
fn at_given_statistics() {
    let cases = [
        // γ·rstd overflows; is zero; is subnormal.
        (&[0.0, 0.0, 1e-30][..], 1e30, 1e-34),
        (&[1e38, -3e38, 0.0], 1e-30, 1e38),
        (&[1e38, -3e38, 0.0], 1e-25, 1e28),
        (&[1e38, -3e38, 0.0], 0.0, 1e-34),
        // The deviation is 0 or infinite.
        (&[1e38, -3e38, 0.0], 1.0, 0.0),
        (&[1e38, -3e38, 0.0], 1.0, f32::INFINITY),
    ];
    for (pattern, gamma, var) in cases {
        for times in [1, 400] {
            for layout in layouts(3 * times, 3) {
                check_inference_gradients(layout, &pattern.repeat(times), gamma, var);
            }
        }
    }
}

fn check_inference_gradients(layout: Layout, values: &[f32], gamma: f32, var: f32) {
    let (dy, x) = (hosted(&layout, values), hosted(&layout, &[]));
    let (gamma, var) = (among(1.0, gamma), among(1.0, var));
    let mean = [0.0; CHANNELS];
    let expected = backward_inference(&layout, 0.0, &dy, &x, Some(&gamma), &mean, &var);
    let context = (layout, gamma, var);
    let factor = f64::from(gamma[HOST]) * Stats::given(0.0, var[HOST].into()).rstd(0.0);
    for (&dy, found) in values.iter().zip(host_of(&layout, &expected.x)) {
        assert_near(found, f64::from(dy) * factor, 0.0, 2.0, &context);
    }
    assert_gradients(layout, &expected, &context, |op, into| {
        op.backward(
            &dy,
            &x,
            Some(&gamma),
            evenkeel::Given::Running { mean: &mean, var: &var },
            into,
        )
        .expect("a correct call");
    });
}
