//! Input at the edges of what has a meaning: one element, no variance, no number. (A channel or
//! group with a NaN stays alone: tests/properties.)

mod special;

use evenkeel::{Backend, Layout};
use ops::draw::{How, Kind, ORDINARY, draw};
use ops::subject::shape;
use ops::{Arrays, Case, Fused, Source, Subject, for_every_subject};

/// One element a channel and more; one sample and more; one block a channel and more.
fn layouts() -> Vec<Layout> {
    let sizes = [(1, 3, 1), (2, 3, 1), (2, 3, 5), (2, 3, 1500), (100, 3, 1), (100, 3, 49)];
    sizes
        .into_iter()
        .flat_map(|(n, c, s)| [Layout::channels_first(n, c, s), Layout::channels_last(n, s, c)])
        .map(|layout| layout.expect("a small layout"))
        .collect()
}

/// Most have no sum that f32 holds exactly for all lengths.
const VALUES: [f32; 9] = [0.1, -3.3, 1e-40, f32::MAX, f32::MIN, 0.0, 1e30, 1e-30, 1e-45];

/// Zero, ordinary, and some whose root or reciprocal does not fit an f32: 0 times infinity would
/// be NaN.
const EPS: [f64; 8] = [0.0, 1e-5, 1e-40, 1e-60, 1e-77, 1e-80, 1e-300, 5e-324];

/// Calls a subject on data that are one number throughout.
fn of_a_constant<S: Subject>(layout: Layout, value: f32, eps: f64) -> Arrays {
    let options = S::options(&layout, &mut Source::new(layout.len()));
    let options = S::with_eps(options, eps).unwrap_or(options);
    let case = Case { layout, options, fused: Fused::default() };
    let mut arrays =
        draw::<S>(&case, &How { x: Kind::Constant(value), ..ORDINARY }, &mut Source::new(1));
    S::call(&case, Backend::detect(), arrays.args()).expect("a correct call");
    arrays
}

fn a_constant_gives_beta<S: Subject>() {
    let all = layouts().into_iter().flat_map(|l| VALUES.map(|v| (l, v)));
    for (layout, value, eps) in all.flat_map(|(l, v)| EPS.map(|eps| (l, v, eps))) {
        if !S::NORMALIZES {
            return;
        }
        let out = of_a_constant::<S>(layout, value, eps);
        let beta = |i| match out.iter().any(|(name, _)| name == "beta") {
            true if S::BY_ROW => out.f32("beta")[i % out.f32("beta").len()],
            true => out.f32("beta")[shape(&layout).channel_of(i)],
            false => 0.0,
        };
        let context = (S::NAME, layout, value, eps);
        assert!(out.f32("y").iter().enumerate().all(|(i, &y)| y == beta(i)), "{context:?}");
        if out.iter().any(|(name, _)| name == "saved_mean") {
            assert!(out.f32("saved_mean").iter().all(|&mean| mean == value), "{context:?}");
            let of_no_variance = |&rstd: &f32| rstd.is_finite() && (eps != 0.0 || rstd == 0.0);
            assert!(out.f32("saved_rstd").iter().all(of_no_variance), "{context:?}");
        }
    }
}

macro_rules! tests {
    ($($name:ident: $subject:ty,)*) => {
        $(#[test]
        fn $name() {
            a_constant_gives_beta::<$subject>();
        })*
    };
}

for_every_subject!(tests);
