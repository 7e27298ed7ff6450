//! `Moments` of a slice, pushed and merged.

use evenkeel::{Layout, Moments};

use crate::data::{KINDS, Kind, Source};
use crate::guarded::{Guarded, assert_same_f64};
use crate::reference::moments::{Triple, reduce};
use crate::reference::reduction::along;
use crate::shapes::LENGTHS;

#[track_caller]
fn assert_triple(actual: &Moments, expected: Triple, context: &impl std::fmt::Debug) {
    assert_eq!(actual.count(), expected.n, "count: {context:?}");
    assert_same_f64(actual.mean(), expected.mean, "mean", context);
    assert_same_f64(actual.m2(), expected.m2, "m2", context);
}

fn values(kind: Kind, length: usize) -> Vec<f32> {
    let layout = Layout::channels_first(1, 1, length).expect("a small layout");
    Source::new(length).fill(kind, &layout)
}

fn expected(x: &[f32]) -> Triple {
    if x.is_empty() {
        return Triple::EMPTY;
    }
    reduce(x, &along(std::slice::from_ref(&(0..x.len())))).triple()
}

#[test]
fn of_a_slice() {
    for (turn, length) in LENGTHS.into_iter().chain([70_000]).enumerate() {
        for kind in KINDS {
            let x = values(kind, length);
            let moments = Moments::of(Guarded::new(&x, turn % 16).values());
            assert_triple(&moments, expected(&x), &(length, kind));
        }
    }
}

#[test]
fn every_alignment_of_a_slice() {
    let x = values(Kind::Normal, 300);
    for offset in 0..16 {
        for length in [17, 64, 300] {
            let moments = Moments::of(Guarded::new(&x[..length], offset).values());
            assert_triple(&moments, expected(&x[..length]), &(offset, length));
        }
    }
}

#[test]
fn pushed_one_by_one() {
    let x = values(Kind::Mean(1e6), 500);
    let (mut actual, mut expected) = (Moments::new(), Triple::EMPTY);
    for &value in &x {
        actual.push(f64::from(value));
        expected = expected.pushed(f64::from(value));
        assert_triple(&actual, expected, &value);
    }
    assert_triple(&x.iter().collect(), expected, &"from an iterator of &f32");
    assert_triple(&x.iter().copied().map(f64::from).collect(), expected, &"of f64");
}

#[test]
fn merged() {
    let parts = [
        (0, 0.0, 0.0),
        (1, 5.0, 0.0),
        (7, -1e6, 3.0),
        (1_000_003, 0.3, 1e5),
        (0, 0.0, 0.0),
        (1 << 40, 1e-30, 1e-50),
        (3, 1e300, 2.0),
    ];
    let (mut actual, mut expected) = (Moments::new(), Triple::EMPTY);
    for (n, mean, m2) in parts {
        actual.merge(&Moments::from_parts(n, mean, m2));
        expected = expected.merged(Triple { n, mean, m2 });
        assert_triple(&actual, expected, &n);
    }
}
