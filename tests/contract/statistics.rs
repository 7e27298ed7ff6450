//! Statistics at their borders: running ones, given means and variances, given moments.

use evenkeel::{Constant, Layout, Moments, Momentum};
use ops::batch_norm::{Backward, Infer, InferPopulation, Options, Train};
use ops::draw::{How, Kind, ORDINARY, draw};
use ops::{Arrays, Case, Fused, Source, Subject, standardize};

use crate::judge::check_against;
use crate::shapes;

/// Everything as it is drawn, but for what `change` writes.
fn check<S: Subject>(
    layout: Layout,
    options: S::Options,
    x: Kind,
    change: impl FnOnce(&mut Arrays),
) {
    let (case, how) = (Case { layout, options, fused: Fused::default() }, How { x, ..ORDINARY });
    let mut arrays = draw::<S>(&case, &how, &mut Source::new(1));
    change(&mut arrays);
    let mut expected = arrays.clone();
    S::reference(&case, &mut expected);
    check_against::<S>(&case, &arrays, &expected, &how, 3);
}

/// Section 8's last sentence: nothing that was finite becomes infinite.
#[test]
fn running_variance_at_the_end_of_f32() {
    let layout = Layout::dense(4, 3).expect("a small layout");
    for (initial, factor) in [(1.0, 0.1), (f32::MAX, 0.3), (f32::MAX, 1.0), (f32::INFINITY, 0.5)] {
        let options = Options { momentum: Momentum::Exponential(factor), ..Options::DEFAULT };
        check::<Train>(layout, options, Kind::Normal, |arrays| {
            let x: Vec<f32> = (0..12).map(|i| if i < 6 { 3e38 } else { -3e38 }).collect();
            arrays.write("x", x);
            arrays.write("running_mean", vec![f32::MAX, f32::INFINITY, f32::NEG_INFINITY]);
            arrays.write("running_var", vec![initial; 3]);
        });
    }
}

/// The factor 1/batches is divided in f64: counts beyond 2^24 are not rounded to f32 before.
#[test]
fn cumulative_factor_of_many_batches() {
    let layout = Layout::dense(5, 2).expect("a small layout");
    for batches in [1, 2, 3, 7, (1 << 24) + 1, (1 << 24) + 3, (1 << 53) + 1, u64::MAX] {
        let options = Options { momentum: Momentum::Cumulative { batches }, ..Options::DEFAULT };
        check::<Train>(layout, options, Kind::Mean(1.0), |arrays| {
            arrays.write("running_mean", vec![0.0; 2]);
            arrays.write("running_var", vec![0.0; 2]);
        });
    }
}

/// Means at the limits of section 6, of features that are constant, nearly, or without values.
#[test]
fn standardizing_constants() {
    let limit = 2.0_f64.powi(102);
    let means = [0.0, -0.0, 0.1, 1e7 + 0.25, -3e38, 1e200, limit, limit.next_down(), f64::NAN];
    let of = |m2| means.map(|mean| Moments::from_parts(3, mean, m2)).into_iter();
    let nothing = Moments::from_parts(0, 5.0, 0.0);
    let moments: Vec<_> =
        of(0.0).chain(of(-0.0)).chain(of(1e-320)).chain(of(3.0)).chain([nothing]).collect();
    let layouts = [Layout::dense(7, moments.len()), Layout::channels_first(2, moments.len(), 5)];
    for layout in layouts.map(|layout| layout.expect("a small layout")) {
        for constant in [Constant::Zero, Constant::Center] {
            for (kind, eps) in [(Kind::Normal, 0.0), (Kind::AnyBits, 0.0), (Kind::Normal, 1e-5)] {
                let options = standardize::Options { eps, constant };
                check::<standardize::Apply>(layout, options, kind, |arrays| {
                    arrays.write("moments", moments.clone());
                });
            }
        }
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
    let dense = Layout::dense(7, channels).expect("a small layout");
    let planes = Layout::channels_first(1, channels, 7).expect("a small layout");
    for (layout, scale) in
        [dense, planes].into_iter().flat_map(|l| [1.0, 1e-38, 1e38].map(|s| (l, s)))
    {
        for (turn, eps) in
            [0.0, 1e-5, 1e-300, 1e300, 1e-45, 1e38, 3e38, 1e39].into_iter().enumerate()
        {
            let gamma: Vec<f32> =
                (0..channels).map(|c| GAMMAS[(c + turn) % GAMMAS.len()]).collect();
            let options = Options { eps, ..Options::DEFAULT };
            check::<Infer>(layout, options, Kind::Scale(scale), |arrays| {
                arrays.write("mean", mean.clone());
                arrays.write("var", var.clone());
                arrays.write("gamma", gamma);
            });
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
    let layout = Layout::dense(50, parts.len()).expect("a small layout");
    for (turn, eps) in [0.0, 1e-5, 1e-80, 1e38, 1e300].into_iter().enumerate() {
        // Every channel meets five of the seven factors, and 1.
        let gamma = (0..parts.len()).map(|c| GAMMAS[(c + turn) % GAMMAS.len()]).collect();
        for gamma in [vec![1.0; parts.len()], gamma] {
            let options = Options { eps, ..Options::DEFAULT };
            check::<InferPopulation>(layout, options, Kind::Normal, |arrays| {
                arrays.write("moments", moments.to_vec());
                arrays.write("gamma", gamma);
                arrays.write("beta", vec![0.0; parts.len()]);
            });
        }
    }
}

/// Statistics that no forward pass of this crate saves: sums that overflow for one block or for
/// some channels only.
#[test]
fn odd_saved_statistics() {
    for layout in shapes::few() {
        for rstd in [0.0, 1.0, 1e3, 1e38, f32::MAX, f32::INFINITY, f32::NAN] {
            check::<Backward>(layout, Options::DEFAULT, Kind::Normal, |arrays| {
                let channels = layout.channels();
                let odd = |channel: usize| if channel.is_multiple_of(2) { rstd } else { 1.0 };
                let dy = Source::new(9).fill(Kind::SomeBlocks(1e36), &layout);
                arrays.write("dy", dy);
                arrays.write("gamma", vec![1.0; channels]);
                arrays.write("saved_mean", Source::new(10).normals(channels));
                arrays.write("saved_rstd", (0..channels).map(odd).collect::<Vec<_>>());
            });
        }
    }
}

/// γ and means of any bits, with deviations that are near enough to those of the data that not
/// everything is infinite.
#[test]
fn gradients_with_odd_parameters() {
    let scales = [1.0, 1e-20, 1e20, 1e-40, 1e38];
    for (turn, layout) in shapes::few().into_iter().enumerate() {
        for turn in (turn..).step_by(12).take(25) {
            for centred in [false, true] {
                let (x, dy) = (scales[turn % 5], scales[turn / 5 % 5]);
                check::<Backward>(layout, Options::DEFAULT, Kind::Scale(x), |arrays| {
                    let (mut source, channels) = (Source::new(turn), layout.channels());
                    let [gamma, mean] = [(); 2].map(|()| source.odd_parameters(channels));
                    let rstd: Vec<f32> = source.normals(channels).iter().map(|v| v / x).collect();
                    arrays.write("dy", source.fill(Kind::Scale(dy), &layout));
                    arrays.write("gamma", gamma);
                    arrays.write("saved_mean", if centred { vec![0.0; channels] } else { mean });
                    arrays.write("saved_rstd", rstd);
                });
            }
        }
    }
}
