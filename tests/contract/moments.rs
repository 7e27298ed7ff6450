//! `Moments` of a slice, pushed and merged.

use evenkeel::{Layout, Moments};

use crate::guarded::{Guarded, assert_same_f64};
use crate::shapes::LENGTHS;
use ops::Source;
use ops::draw::{KINDS, Kind};
use ops::reference::moments::{Triple, reduce};
use ops::reference::reduction::along;

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
            check_slice(kind, length, turn % 16);
        }
    }
}

/// As many blocks as fill a level of the merge tree, one fewer and one more.
#[test]
fn of_many_blocks() {
    for blocks in [127, 128, 129, 255, 256, 257, 511, 512, 513] {
        for length in [1024 * blocks, 1024 * blocks - 1, 1024 * blocks + 1] {
            check_slice(Kind::Normal, length, 0);
        }
    }
}

fn check_slice(kind: Kind, length: usize, offset: usize) {
    let x = values(kind, length);
    let moments = Moments::of(Guarded::of(&x, offset).inside());
    assert_triple(&moments, expected(&x), &(length, kind));
}

#[test]
fn every_alignment_of_a_slice() {
    let x = values(Kind::Normal, 1040);
    for offset in 0..16 {
        for length in [17, 64, 300, 1040] {
            let moments = Moments::of(Guarded::of(&x[..length], offset).inside());
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
        expected = expected.merged(Triple::from_parts(n, mean, m2));
        assert_triple(&actual, expected, &n);
    }
}

/// Means that an f64 does not hold: the parts of the mean are seen in what comes after.
#[test]
fn of_values_far_from_zero() {
    for base in [1e15, -1e12, 1.7e9, 1e300, f64::MAX, -f64::MAX, f64::INFINITY, f64::NAN] {
        let value = |i: u32| base + f64::from(i % 8) - f64::from(i % 3) * 1e-3;
        let (mut actual, mut expected) = (Moments::new(), Triple::EMPTY);
        let mut parts = vec![];
        for i in 0..200 {
            actual.push(value(i));
            expected = expected.pushed(value(i));
            assert_triple(&actual, expected, &(base, i, "pushed"));
            parts.push((actual, expected));
        }
        for (i, (part, triple)) in parts.into_iter().enumerate() {
            actual.merge(&part);
            expected = expected.merged(triple);
            assert_triple(&actual, expected, &(base, i, "merged"));
        }
        actual.push(-base);
        assert_triple(&actual, expected.pushed(-base), &(base, "the other side"));
    }
}

/// Moments of no values are empty, whatever mean and M2 came with them.
#[test]
fn of_no_values() {
    let empty = Moments::from_parts(0, 5.0, 7.0);
    assert_eq!(empty, Moments::new());
    assert_triple(&empty, Triple::EMPTY, &"from parts");
    assert_eq!((empty.variance(), empty.std_dev()), (0.0, 0.0));

    let some = Triple::from_parts(3, 2.5, 1.5);
    let parts = Moments::from_parts(some.n, some.mean, some.m2);
    let (mut left, mut right) = (empty, parts);
    left.merge(&parts);
    right.merge(&empty);
    assert_triple(&left, some, &"merged into nothing");
    assert_triple(&right, some, &"nothing merged into it");

    let mut pushed = empty;
    pushed.push(3.0);
    assert_triple(&pushed, Triple::EMPTY.pushed(3.0), &"pushed");
}

/// Counts that an f64 rounds, and counts that stop at the last one.
#[test]
fn of_as_many_values_as_can_be() {
    let counts = [(1 << 53) - 2, (1 << 53) - 1, 1 << 53, (1 << 53) + 1, u64::MAX - 2, u64::MAX];
    for n in counts {
        let expected = Triple::from_parts(n, 0.75, 1e3);
        let actual = Moments::from_parts(n, 0.75, 1e3);
        assert_triple(&actual, expected, &n);
        assert_same_f64(actual.variance(), expected.variance(), "variance", &n);

        let values = [2.0, -1e20, 3.5, 0.25, 1e9];
        let (mut pushed, mut extended) = (actual, actual);
        let mut after = expected;
        for value in values {
            pushed.push(value);
            after = after.pushed(value);
            assert_triple(&pushed, after, &(n, value));
        }
        extended.extend(values);
        assert_triple(&extended, after, &(n, "extended"));
        assert_eq!(after.n, n.saturating_add(5));

        for other in [1, 3, (1 << 53) + 1, u64::MAX - 1, u64::MAX] {
            let mut merged = actual;
            merged.merge(&Moments::from_parts(other, -4.0, 7.0));
            let part = Triple::from_parts(other, -4.0, 7.0);
            assert_triple(&merged, expected.merged(part), &(n, other));
        }
    }
}
