//! Inputs at which the plain formula in f32 overflows, vanishes or gives NaN although the result
//! is a fine f32. The reference is compared with the formula in f64, every backend with the
//! reference bit for bit.

mod gradients;

use evenkeel::{
    Backend, BatchNorm, GroupNorm, Keep, Layout, Moments, Momentum, RunningVariance, Standardize,
    apart, in_place,
};

use crate::guarded::assert_bits;
use ops::Source;
use ops::draw::Kind;
use ops::oracle::{self, Stats, ulp};
use ops::reference::batch_norm::{Affine, Options, infer, infer_population, train};
use ops::reference::group_norm;
use ops::reference::moments::Triple;
use ops::reference::reduction::channel_places;

/// The channel that a case is put into; the others hold ordinary values.
const HOST: usize = 1;
const CHANNELS: usize = 3;

/// `n` values a channel: rows, one plane, pixels, and planes of `plane` values.
fn layouts(n: usize, plane: usize) -> Vec<Layout> {
    let all = [
        Layout::dense(n, CHANNELS),
        Layout::channels_first(1, CHANNELS, n),
        Layout::channels_last(1, n, CHANNELS),
        Layout::channels_first(n / plane, CHANNELS, plane),
    ];
    all.map(|layout| layout.expect("a small layout")).to_vec()
}

/// Ordinary values with those of a case in the host channel.
fn hosted(layout: &Layout, values: &[f32]) -> Vec<f32> {
    let mut all = Source::new(values.len()).fill(Kind::Normal, layout);
    for (place, &value) in channel_places(layout, HOST).into_iter().zip(values) {
        all[place] = value;
    }
    all
}

/// A parameter or statistic of the host channel among ordinary ones.
fn among(ordinary: f32, value: f32) -> [f32; CHANNELS] {
    let mut all = [ordinary; CHANNELS];
    all[HOST] = value;
    all
}

/// The host channel's part of a result.
fn host_of(layout: &Layout, all: &[f32]) -> Vec<f32> {
    channel_places(layout, HOST).into_iter().map(|i| all[i]).collect()
}

/// Within `ulps` units in the last place of f32, at `scale` or at the value if that is larger.
#[track_caller]
fn assert_near(found: f32, expected: f64, scale: f64, ulps: f64, context: &impl std::fmt::Debug) {
    let unit = ulp(scale.abs().max(expected.abs()).min(f32::MAX.into()));
    let error = (f64::from(found) - expected).abs() / unit;
    assert!(error <= ulps, "{found:e}, not {expected:e}: {error:.2} ulp, {context:?}");
}

/// One channel at given statistics.
#[derive(Clone, Copy, Debug)]
struct Given {
    x: &'static [f32],
    mean: f64,
    var: f64,
    eps: f64,
    gamma: f32,
    beta: f32,
}

const PLAIN: Given = Given { x: &[1.0], mean: 0.0, var: 1.0, eps: 1e-5, gamma: 1.0, beta: 0.25 };

impl Given {
    fn y(&self, x: f32) -> f64 {
        let stats = Stats::given(self.mean, self.var);
        let scaled = stats.centred(x.into()) * stats.rstd(self.eps) * f64::from(self.gamma);
        scaled + f64::from(self.beta)
    }

    /// Compares the reference with the formula, and each backend (by `call`) with the reference.
    fn check(
        &self,
        reference: impl Fn(&Layout, &[f32], Affine<'_>) -> Vec<f32>,
        call: impl Fn(BatchNorm, &[f32], Affine<'_>, &mut [f32]),
    ) {
        for layout in layouts(self.x.len(), 1) {
            let x = hosted(&layout, self.x);
            let (gamma, beta) = (among(1.0, self.gamma), among(0.0, self.beta));
            let affine = Affine { gamma: Some(&gamma), beta: Some(&beta) };
            let expected = reference(&layout, &x, affine);
            for (&x, y) in self.x.iter().zip(host_of(&layout, &expected)) {
                assert_near(y, self.y(x), self.beta.into(), 4.0, &(self, layout));
            }
            for backend in Backend::available() {
                let mut y = vec![0.0; x.len()];
                let op = BatchNorm::new(layout).eps(self.eps).backend(backend);
                call(op, &x, affine, &mut y);
                assert_bits(&y, &expected, "y", &(self, layout, backend));
            }
        }
    }

    fn check_infer(&self) {
        let (mean, var) = (among(0.5, self.mean as f32), among(1.0, self.var as f32));
        let narrow = Self { mean: f64::from(mean[HOST]), var: f64::from(var[HOST]), ..*self };
        narrow.check(
            |layout, x, affine| infer(layout, self.eps, x, affine, &mean, &var),
            |op, x, affine, y| {
                op.infer(
                    apart(x, y),
                    evenkeel::Affine { gamma: affine.gamma, beta: affine.beta },
                    evenkeel::Given::Running { mean: &mean, var: &var },
                )
                .expect("a correct call");
            },
        );
    }

    /// As moments of ten values.
    fn check_population(&self) {
        let mut parts = [(10, 0.5, 10.0); CHANNELS];
        parts[HOST] = (10, self.mean, 10.0 * self.var);
        let triples = parts.map(|(n, mean, m2)| Triple::from_parts(n, mean, m2));
        let moments = parts.map(|(n, mean, m2)| Moments::from_parts(n, mean, m2));
        self.check(
            |layout, x, affine| infer_population(layout, self.eps, x, affine, &triples),
            |op, x, affine, y| {
                op.infer(
                    apart(x, y),
                    evenkeel::Affine { gamma: affine.gamma, beta: affine.beta },
                    evenkeel::Given::Population(&moments),
                )
                .expect("a correct call");
            },
        );
    }
}

#[test]
fn inference() {
    let far = &[3e38, -3e38, 0.0, 1.0][..];
    let cases = [
        // γ = 0 is common; rstd·x overflows.
        Given { x: &[2e36, -2e36], var: 0.0, gamma: 0.0, beta: 5.0, ..PLAIN },
        Given { x: far, mean: -3e38, var: 1e38, ..PLAIN },
        Given { x: far, mean: -3e38, var: 1.0, gamma: 1e-3, ..PLAIN },
        Given { x: far, mean: -3e38, var: 0.0, gamma: 0.0, ..PLAIN },
        // A deviation of infinity or zero gives β.
        Given { x: far, var: f64::INFINITY, ..PLAIN },
        Given { x: far, mean: -3e38, var: f64::INFINITY, ..PLAIN },
        Given { x: far, var: 0.0, eps: 0.0, ..PLAIN },
        Given { x: far, mean: -3e38, var: 0.0, eps: 0.0, ..PLAIN },
        // γ / root is subnormal, or infinite.
        Given { x: &[1e15, -3e15], var: 1e30, gamma: 1e-30, beta: 0.0, ..PLAIN },
        Given { x: &[1e38, -3e38], var: 1e30, gamma: 1e-30, beta: 0.0, ..PLAIN },
        Given { x: &[1e-30, -3e-30], var: 1e-38, eps: 0.0, gamma: 1e30, ..PLAIN },
    ];
    for case in cases {
        case.check_infer();
        case.check_population();
    }
    // var + eps is infinite in f32, but not in f64.
    for eps in [1e38, 3e38, 1e39] {
        for var in [3e38, 1e-46, 0.0, 1.0] {
            for gamma in [1.0, 1e19] {
                let x = &[1e19, -2.5e19, 1.0, 1e-23, 0.0];
                let case = Given { x, var, eps, gamma, beta: 0.0, ..PLAIN };
                case.check_infer();
                case.check_population();
            }
        }
    }
}

/// The exact numbers, so that nothing depends on the formula in f64 being the right one.
#[test]
fn inference_in_numbers() {
    let run = |x, mean, var, eps, gamma, beta| {
        let layout = Layout::dense(1, 1).expect("a small layout");
        let mut y = [x];
        BatchNorm::new(layout)
            .eps(eps)
            .infer(
                in_place(&mut y),
                evenkeel::Affine::new(&[gamma], &[beta]),
                evenkeel::Given::Running { mean: &[mean], var: &[var] },
            )
            .expect("a correct call");
        y[0]
    };
    assert_eq!(run(2e36, 0.0, 0.0, 1e-5, 0.0, 5.0), 5.0);
    assert!((run(3e38, -3e38, 1e38, 1e-5, 1.0, 0.0) / 6e19 - 1.0).abs() < 1e-6);
    assert_eq!(run(3e38, -3e38, f32::INFINITY, 1e-5, 1.0, 0.75), 0.75);
    assert_eq!(run(3e38, -3e38, 0.0, 0.0, 1.0, 0.75), 0.75);
}

/// (x − mean)·factor is an f32 of its own before β is added, and stays infinite if it has overflowed.
/// Only what is applied in f64 is rounded after β.
#[test]
fn a_product_that_overflows_before_beta() {
    const BETA: f32 = -3e38;
    let layouts = [Layout::dense(1, 1), Layout::dense(1, 2), Layout::channels_first(1, 2, 1)];
    for (layout, backend) in layouts
        .into_iter()
        .map(|layout| layout.expect("a small layout"))
        .flat_map(|layout| Backend::available().map(move |backend| (layout, backend)))
    {
        let mut y = [2e38, 1e38];
        let y = &mut y[..layout.channels()];
        let affine = evenkeel::Affine::new(&[2.0; 2][..y.len()], &[BETA; 2][..y.len()]);
        let given =
            evenkeel::Given::Running { mean: &[0.0; 2][..y.len()], var: &[1.0; 2][..y.len()] };
        let op = BatchNorm::new(layout).eps(0.0).backend(backend);
        op.infer(in_place(y), affine, given).expect("a correct call");
        // Exactly 4e38 − 3e38 and 2e38 − 3e38.
        assert_eq!(y[0], f32::INFINITY, "{backend} {layout:?}");
        assert!(y.get(1).is_none_or(|&y| (y / -1e38 - 1.0).abs() < 1e-6), "{backend} {layout:?}");
    }
    // One of sixteen values is √15 deviations above the mean, and γ / deviation is a fine f32 for the
    // first size; the second is applied in f64.
    for (size, expected) in [(4.0, f32::INFINITY), (1e30, (15.0_f64.sqrt() * 1e38 - 3e38) as f32)] {
        for backend in Backend::available() {
            for layout in [Layout::dense(16, 1), Layout::channels_first(1, 1, 16)] {
                let layout = layout.expect("a small layout");
                let affine = evenkeel::Affine::new(&[1e38], &[BETA]);
                let mut batch = [0.0; 16];
                batch[15] = size;
                let mut group = batch;
                let op = BatchNorm::new(layout).eps(0.0).backend(backend);
                op.train(in_place(&mut batch), affine, Keep::NOTHING).expect("a correct call");
                assert_overflow(&batch, expected, &(backend, layout));
                let layout = Layout::channels_first(1, 1, 16).expect("a small layout");
                let op = GroupNorm::new(layout, 1).eps(0.0).backend(backend);
                op.forward(in_place(&mut group), affine, None).expect("a correct call");
                assert_overflow(&group, expected, &(backend, layout));
            }
        }
    }
}

/// The last of sixteen values; the others are finite.
#[track_caller]
fn assert_overflow(y: &[f32; 16], expected: f32, context: &impl std::fmt::Debug) {
    assert!(y[..15].iter().all(|y| y.is_finite()), "{y:?} {context:?}");
    let near = (y[15] / expected - 1.0).abs() < 1e-6;
    assert!(y[15] == expected || near, "{} and {expected}: {context:?}", y[15]);
}

/// A mean that no f32 holds, and no deviation.
#[test]
fn standardizing_by_values_beyond_f32() {
    let layout = Layout::dense(1, 1).expect("a small layout");
    let moments: Moments = [1e200; 5].into_iter().collect();
    for backend in Backend::available() {
        let mut y = [f32::NAN];
        let op = Standardize::new(layout).backend(backend);
        op.apply(apart(&[1.0], &mut y), &[moments]).expect("a correct call");
        assert_eq!(y, [0.0], "{backend}");
    }
}

/// An eps that f32 does not hold, or that makes var + eps infinite in f32, in training: one block
/// and more, one form of the apply and the other.
#[test]
fn training_with_a_large_eps() {
    for eps in [1e38, 3e38, 1e39] {
        for deviation in [1.7e19, 1.0, 1e-23] {
            for n in [24, 1500] {
                for layout in layouts(n, 12) {
                    for gamma in [1.0, 3e18] {
                        check_training(layout, eps, deviation, gamma);
                    }
                }
            }
        }
    }
}

fn check_training(layout: Layout, eps: f64, deviation: f32, gamma: f32) {
    let mut source = Source::new(layout.len());
    let values: Vec<f32> = (0..layout.batch() * layout.spatial())
        .map(|_| ((2.0 * source.unit() - 1.0) * 3.0_f64.sqrt()) as f32 * deviation)
        .collect();
    let x = hosted(&layout, &values);
    let gamma = among(1.0, gamma);
    let affine = Affine { gamma: Some(&gamma), beta: None };
    let options = Options {
        eps,
        momentum: Momentum::default(),
        running_variance: RunningVariance::default(),
    };
    let running = ([0.0; CHANNELS], [1.0; CHANNELS]);
    let expected = train(&layout, options, &x, affine, (&running.0, &running.1)).y;
    let context = (layout, eps, deviation, gamma);

    let stats = oracle::moments(values.iter().map(|&v| f64::from(v)));
    let y = |x: f32| stats.centred(x.into()) * stats.rstd(eps) * f64::from(gamma[HOST]);
    // A value near the mean cancels: the unit is that of the largest one.
    let scale = values.iter().map(|&x| y(x).abs()).fold(0.0, f64::max);
    for (&x, found) in values.iter().zip(host_of(&layout, &expected)) {
        assert_near(found, y(x), scale, 4.0, &context);
    }

    let groups = [1, CHANNELS];
    let grouped = groups.map(|groups| group_norm::forward(&layout, groups, eps, &x, affine).y);
    for backend in Backend::available() {
        let mut y = vec![0.0; x.len()];
        let op = BatchNorm::new(layout).eps(eps).backend(backend);
        op.train(
            apart(&x, &mut y),
            evenkeel::Affine { gamma: affine.gamma, beta: None },
            Keep::NOTHING,
        )
        .expect("a correct call");
        assert_bits(&y, &expected, "y of train", &(backend, context));
        for (groups, expected) in groups.into_iter().zip(&grouped) {
            let op = GroupNorm::new(layout, groups).eps(eps).backend(backend);
            op.forward(
                apart(&x, &mut y),
                evenkeel::Affine { gamma: affine.gamma, beta: None },
                None,
            )
            .expect("a correct call");
            assert_bits(&y, expected, "y of GroupNorm", &(backend, context));
        }
    }
}
