//! Whether one decision says something about another: of the same mask, or of the mask of a key nearby.

use crate::chi::{Chi, accept_all};
use crate::mask::{BITS, of, ones, shifted};
use evenkeel::Key;

/// Half, where one bit decides; and where all eight bits and the ties do.
const PS: [f64; 2] = [0.5, 0.3];

/// Numbers of 64 elements in one long mask: 2^26 elements.
const LONG: usize = 1 << 20;
/// And in each of many: 2^20 elements.
const SHORT: usize = 1 << 14;
/// Pairs of keys of one kind.
const PAIRS: u64 = 64;

const KEY: Key = Key::new(0x00C0_FFEE);

/// χ² of the four ways in which two elements of the same number in two masks can be kept and dropped.
fn joint(a: impl Iterator<Item = u64> + Clone, b: impl Iterator<Item = u64> + Clone) -> Chi {
    let both = a.clone().zip(b.clone()).map(|(a, b)| a & b);
    let trials = both.clone().count() * BITS;
    // A shifted mask is shorter, and then only the elements count that have a partner.
    let first = a.zip(b.clone()).map(|(a, _)| a);
    Chi::joint(ones(first), ones(b), ones(both), trials as u64)
}

/// An element and the one that comes `lag` later.
fn at_lag(mask: &[u64], lag: usize) -> Chi {
    joint(mask.iter().copied(), shifted(mask, lag))
}

/// The masks of two keys.
fn between(p: f64, a: Key, b: Key) -> Chi {
    let (a, b) = (of(p, a, SHORT), of(p, b, SHORT));
    joint(a.iter().copied(), b.iter().copied())
}

/// Pairs of keys that must have nothing in common.
#[track_caller]
fn accept_pairs(what: &str, pairs: impl Iterator<Item = [Key; 2]> + Clone) {
    for p in PS {
        let all: Vec<Chi> = pairs.clone().map(|[a, b]| between(p, a, b)).collect();
        accept_all(&format!("{what}, p = {p}"), &all);
    }
}

fn stream(number: u64) -> Key {
    Key::with_stream(KEY.seed(), number).expect("it is below 2^62")
}

/// Within a word, a block, the group of eight blocks that vectors take, and across.
#[test]
fn elements_are_independent_of_those_after_them() {
    const LAGS: [usize; 14] = [1, 2, 3, 4, 5, 8, 12, 15, 16, 17, 64, 127, 128, 1024];
    for p in [0.1, 0.3, 0.5] {
        let mask = of(p, KEY, LONG);
        let all = LAGS.map(|lag| at_lag(&mask, lag));
        accept_all(&format!("lags of p = {p}"), &all);
    }
}

#[test]
fn masks_of_neighbouring_seeds_are_independent() {
    accept_pairs("seeds s, s + 1", (0..PAIRS).map(|s| [s, s + 1].map(Key::new)));
    let bit = |bit| [KEY, Key::new(KEY.seed() ^ 1_u64 << bit)];
    accept_pairs("seeds that differ in one bit", (0..64).map(bit));
}

#[test]
fn masks_of_neighbouring_streams_are_independent() {
    accept_pairs("streams n, n + 1", (0..PAIRS).map(|n| [n, n + 1].map(stream)));
    accept_pairs(
        "streams that differ in one bit",
        (0..62).map(|bit| [stream(0), stream(1 << bit)]),
    );
    // The two halves of a key: what is added to one is taken from the other.
    let key = |seed, stream| Key::with_stream(seed, stream).unwrap();
    accept_pairs("seed and stream swapped", (0..PAIRS).map(|n| [key(n, n + 1), key(n + 1, n)]));
}

#[test]
fn masks_of_derived_keys_are_independent() {
    accept_pairs(
        "fold_in(i), fold_in(i + 1)",
        (0..PAIRS).map(|i| [i, i + 1].map(|i| KEY.fold_in(i))),
    );
    accept_pairs("a key and its child", (0..PAIRS).map(|i| [KEY, KEY.fold_in(i)]));
    accept_pairs(
        "children of neighbouring seeds",
        (0..PAIRS).map(|s| [s, s + 1].map(|s| Key::new(s).fold_in(0))),
    );
    accept_pairs(
        "children of neighbouring streams",
        (0..PAIRS).map(|n| [n, n + 1].map(|n| stream(n).fold_in(0))),
    );
    accept_pairs(
        "children that differ in one bit",
        (0..64).map(|bit| [KEY.fold_in(0), KEY.fold_in(1 << bit)]),
    );
}

#[test]
fn masks_of_nested_keys_are_independent() {
    let nested = |a, b| KEY.fold_in(a).fold_in(b);
    accept_pairs("other order", (0..PAIRS).map(|i| [nested(i, i + 1), nested(i + 1, i)]));
    accept_pairs("steps of a layer", (0..PAIRS).map(|i| [nested(3, i), nested(3, i + 1)]));
    accept_pairs("layers of a step", (0..PAIRS).map(|i| [nested(i, 1000), nested(i + 1, 1000)]));
    accept_pairs("the same sum", (0..PAIRS).map(|i| [nested(i + 1, 1), nested(i, 2)]));
    accept_pairs("once and twice", (0..PAIRS).map(|i| [KEY.fold_in(i), nested(i, i)]));
}

/// Control: each second element is that before it, or one in a thousand is.
#[test]
fn copied_elements_are_noticed() {
    const EVEN: u64 = 0x5555_5555_5555_5555;
    for p in [0.1, 0.3, 0.5] {
        let mask = of(p, KEY, LONG);
        let copied: Vec<u64> = mask.iter().map(|x| x & EVEN | (x & EVEN) << 1).collect();
        at_lag(&copied, 1).reject("each second element copied");
        let mut rare = mask;
        // 64 of the elements of 500 numbers are copies, each of one that comes 64 later.
        for i in (0..LONG - 1).step_by(500) {
            rare[i] = rare[i + 1];
        }
        at_lag(&rare, 64).reject("one element in 500 copied");
    }
}

/// Control: keys that are the same, or whose masks have one element in 100 in common.
#[test]
fn masks_with_something_in_common_are_noticed() {
    for p in PS {
        between(p, KEY, KEY).reject("the same key");
        let (a, mut b) = (of(p, KEY, SHORT), of(p, KEY.fold_in(0), SHORT));
        for (b, a) in b.iter_mut().zip(&a).step_by(100) {
            *b = *a;
        }
        joint(a.iter().copied(), b.iter().copied()).reject("one element in 100 in common");
        // And where it is the opposite that they have in common.
        b.iter_mut().zip(&a).step_by(100).for_each(|(b, a)| *b = !*a);
        joint(a.iter().copied(), b.iter().copied()).reject("one element in 100 the opposite");
    }
}
