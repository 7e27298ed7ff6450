//! What must hold for every input: invariances, and different ways to the same result.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "test data are made in f64, and lengths are small"
)]

mod special;

use evenkeel::{Backend, Layout};
use ops::draw::{How, Kind, ORDINARY, draw};
use ops::oracle::Shape;
use ops::rows::ANY_ORDINARY;
use ops::subject::{layout as layout_of, shape};
use ops::{Array, Arrays, Case, Fused, Role, Slot, Source, Subject, for_every_subject};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

/// The same cases in every run: these tests compare with tolerances, and a failure that comes and
/// goes helps nobody. Fuzzing looks for the unexpected; `PROPTEST_CASES` asks for more cases.
fn config() -> ProptestConfig {
    ProptestConfig {
        rng_seed: RngSeed::Fixed(0x_ec5_ee1),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// Two results that are each this close to the same truth.
const TWICE: f64 = 2.0 * ANY_ORDINARY;

/// Channels of different means and deviations.
const BATCH: How = How { x: Kind::ManyChannels, ..ORDINARY };

/// A tensor that is not empty, ordinary data, and options with this eps where there is one.
fn drawn<S: Subject>(seed: u64, eps: f64) -> (Case<S::Options>, Arrays) {
    let mut source = Source::seeded(seed);
    let layout = source.layout();
    let layout = if layout.is_empty() { Layout::dense(5, 3).expect("small") } else { layout };
    let options = S::options(&layout, &mut source);
    let options = S::with_eps(options, eps).unwrap_or(options);
    let case = Case { layout, options, fused: Fused::default() };
    (case, draw::<S>(&case, &BATCH, &mut source))
}

/// Completes the inputs, and makes the call.
fn run<S: Subject>(case: &Case<S::Options>, arrays: &Arrays) -> Arrays {
    let mut arrays = arrays.clone();
    S::prepare(case, &mut arrays);
    S::call(case, Backend::detect(), arrays.args()).expect("a correct call");
    arrays
}

/// The same options for another layout.
fn with_layout<O: Copy>(case: &Case<O>, layout: Layout) -> Case<O> {
    Case { layout, ..*case }
}

/// Whether a slot grows with the batch: its elements belong to samples.
fn per_sample<O: Copy>(case: &Case<O>, slot: &Slot<O>) -> bool {
    let shape = shape(&case.layout);
    let twice = with_layout(case, layout_of(Shape { batch: 2 * shape.batch, ..shape }));
    let len = (slot.len)(case);
    len > 0 && (slot.len)(&twice) == 2 * len
}

/// Whether a slot grows with the positions: it is a tensor.
fn is_tensor<O: Copy>(case: &Case<O>, slot: &Slot<O>) -> bool {
    let shape = shape(&case.layout);
    let twice = with_layout(case, layout_of(Shape { spatial: 2 * shape.spatial, ..shape }));
    let len = (slot.len)(case);
    len > 0 && (slot.len)(&twice) == 2 * len && per_sample(case, slot)
}

fn is_output<O>(slot: &Slot<O>) -> bool {
    slot.role != Role::Read
}

/// Places and slots of all outputs.
fn outputs<S: Subject>() -> impl Iterator<Item = (usize, &'static Slot<S::Options>)> {
    S::SLOTS.iter().enumerate().filter(|(_, slot)| is_output(slot) && slot.name != "residual")
}

/// Whether results depend on other samples.
fn samples_meet<S: Subject>(case: &Case<S::Options>) -> bool {
    S::meets(case, (0, 0), (1, 0))
}

fn assert_same<S: Subject>(left: &Array, right: &Array, what: &str) {
    assert_eq!(left.bits(), right.bits(), "{what} of {}", S::NAME);
}

/// All outputs of two runs, up to errors that each may have.
fn assert_close<S: Subject>(
    case: &Case<S::Options>,
    left: &Arrays,
    right: &Arrays,
    inputs: &Arrays,
) {
    for expected in S::oracle(case, inputs) {
        let (l, r) = (left.wide(expected.name), right.wide(expected.name));
        for (i, (&l, &r)) in l.iter().zip(&r).enumerate() {
            let (error, place) = (expected.apart(i, l, r), (S::NAME, expected.name, i, case));
            assert!(error <= TWICE, "{l} and {r} are {error:.1} ulp apart: {place:?}");
        }
    }
}

/// Inputs as the call finds them, before it overwrites some.
fn prepared<S: Subject>(case: &Case<S::Options>, arrays: &Arrays) -> Arrays {
    let mut arrays = arrays.clone();
    S::prepare(case, &mut arrays);
    arrays
}

fn in_place_has_the_same_bits<S: Subject>(seed: u64) {
    let (case, arrays) = drawn::<S>(seed, 1e-5);
    let Some(result) = S::SLOTS.iter().position(|slot| slot.role == Role::Result) else { return };
    let apart = run::<S>(&case, &arrays);
    let mut in_place = prepared::<S>(&case, &arrays);
    *in_place.at_mut(result) = arrays.at(0).clone();
    *in_place.at_mut(0) = Array::Absent;
    S::call(&case, Backend::detect(), in_place.args()).expect("a correct call");
    for (i, slot) in outputs::<S>() {
        assert_same::<S>(apart.at(i), in_place.at(i), slot.name);
    }
}

/// No γ is γ = 1, no β or bias is 0, and what else is left out changes nothing.
fn what_is_left_out_changes_nothing<S: Subject>(seed: u64) {
    let (case, mut arrays) = drawn::<S>(seed, 1e-5);
    for (i, slot) in S::SLOTS.iter().enumerate() {
        match slot.name {
            "gamma" => *arrays.at_mut(i) = vec![1.0; (slot.len)(&case)].into(),
            "beta" | "bias" => *arrays.at_mut(i) = vec![0.0; (slot.len)(&case)].into(),
            _ => {}
        }
    }
    let with = run::<S>(&case, &arrays);
    // Gradients are asked for one by one; what is no output is left out altogether.
    for alone in outputs::<S>().map(|(i, _)| i) {
        let mut arrays = prepared::<S>(&case, &arrays);
        for (i, slot) in S::SLOTS.iter().enumerate() {
            if slot.optional.is_some() && slot.optional != S::SLOTS[alone].optional {
                *arrays.at_mut(i) = Array::Absent;
            }
        }
        S::call(&case, Backend::detect(), arrays.args()).expect("a correct call");
        assert_same::<S>(with.at(alone), arrays.at(alone), S::SLOTS[alone].name);
    }
}

/// Changes every element of x.
fn map_x(arrays: &Arrays, change: impl Fn(f32) -> f32) -> Arrays {
    let mut changed = arrays.clone();
    let x: Vec<f32> = arrays.f32("x").iter().map(|&x| change(x)).collect();
    changed.write("x", x);
    changed
}

/// A power of two changes no rounding: with eps = 0 the output has the same bits.
fn output_does_not_depend_on_scale<S: Subject>(seed: u64) {
    if S::NORMALIZES {
        let (case, arrays) = drawn::<S>(seed, 0.0);
        let before = run::<S>(&case, &arrays);
        let factor = 2.0_f32.powi((seed % 37) as i32 - 18);
        let after = run::<S>(&case, &map_x(&arrays, |x| x * factor));
        assert_same::<S>(before.get("y"), after.get("y"), "y");
    }
}

/// The data are multiples of 1/64, so that the shift rounds nothing.
fn output_does_not_depend_on_shift<S: Subject>(seed: u64) {
    if S::NORMALIZES {
        let (case, arrays) = drawn::<S>(seed, 1e-5);
        let arrays = map_x(&arrays, |x| (x * 64.0).round() / 64.0);
        let before = run::<S>(&case, &arrays);
        let shift = (seed % 4001) as f32 - 2000.0;
        let after = run::<S>(&case, &map_x(&arrays, |x| x + shift));
        let inputs = prepared::<S>(&case, &arrays);
        let oracle = S::oracle(&case, &inputs);
        let (y, l, r) = (&oracle[0], before.wide("y"), after.wide("y"));
        for (i, (&l, &r)) in l.iter().zip(&r).enumerate() {
            assert!(y.apart(i, l, r) <= TWICE, "{}: {l} and {r}", S::NAME);
        }
    }
}

/// Samples in another order. A slot that belongs to samples is cut into as many pieces.
fn permuted<S: Subject>(case: &Case<S::Options>, arrays: &Arrays, order: &[usize]) -> Arrays {
    let mut out = arrays.clone();
    for (i, _) in S::SLOTS.iter().enumerate().filter(|(_, slot)| per_sample(case, slot)) {
        let piece = arrays.at(i).len() / case.layout.batch();
        let indices: Vec<usize> = order.iter().flat_map(|&n| n * piece..(n + 1) * piece).collect();
        if !arrays.at(i).is_absent() {
            *out.at_mut(i) = arrays.at(i).picked(&indices);
        }
    }
    out
}

fn permuting_samples_permutes_the_output<S: Subject>(seed: u64) {
    if S::BY_PLACE {
        return;
    }
    let (case, arrays) = drawn::<S>(seed, 1e-5);
    let mut order: Vec<usize> = (0..case.layout.batch()).collect();
    let mut source = Source::seeded(seed);
    for i in (1..order.len()).rev() {
        order.swap(i, source.below(i + 1));
    }
    let before = permuted::<S>(&case, &run::<S>(&case, &arrays), &order);
    let changed = permuted::<S>(&case, &arrays, &order);
    let after = run::<S>(&case, &changed);
    assert_close::<S>(&case, &before, &after, &prepared::<S>(&case, &changed));
    if !samples_meet::<S>(&case) {
        for (i, slot) in outputs::<S>().filter(|(_, slot)| per_sample(&case, slot)) {
            assert_same::<S>(before.at(i), after.at(i), slot.name);
        }
    }
}

/// A row's bits do not depend on the batch: a batch may be cut anywhere.
fn split_work_is_the_whole<S: Subject>(seed: u64) {
    let (case, arrays) = drawn::<S>(seed, 1e-5);
    if S::BY_PLACE || samples_meet::<S>(&case) {
        return;
    }
    let whole = run::<S>(&case, &arrays);
    let (shape, mut source) = (shape(&case.layout), Source::seeded(seed));
    let cut = source.below(shape.batch + 1);
    for samples in [0..cut, cut..shape.batch] {
        let part = with_layout(&case, layout_of(Shape { batch: samples.len(), ..shape }));
        let order: Vec<usize> = samples.collect();
        let expected = permuted::<S>(&case, &whole, &order);
        let found = run::<S>(&part, &permuted::<S>(&case, &arrays, &order));
        for (i, slot) in outputs::<S>().filter(|(_, slot)| per_sample(&case, slot)) {
            assert_same::<S>(expected.at(i), found.at(i), slot.name);
        }
    }
}

/// What an element holds reaches nothing that it does not meet; a NaN reaches all that it meets.
fn only_those_that_meet_see_each_other<S: Subject>(seed: u64) {
    let (case, arrays) = drawn::<S>(seed, 1e-5);
    if S::SLOTS[0].name != "x" && S::SLOTS.get(1).is_none_or(|slot| slot.name != "x") {
        return;
    }
    let (shape, mut source) = (shape(&case.layout), Source::seeded(seed));
    let [n, c, s] = [shape.batch, shape.channels, shape.spatial].map(|size| source.below(size));
    let bad = source.choose(&[f32::NAN, f32::INFINITY, 1e30]);
    let mut x = arrays.f32("x").to_vec();
    x[shape.index(n, c, s)] = bad;
    let mut poisoned = arrays.clone();
    poisoned.write("x", x);
    let (before, after) = (run::<S>(&case, &arrays), run::<S>(&case, &poisoned));
    let meets = |i: usize| S::meets(&case, (n, c), (shape.sample_of(i), shape.channel_of(i)));
    for (i, slot) in outputs::<S>() {
        let (left, right) = (before.at(i).bits(), after.at(i).bits());
        let safe = |i: usize| match (is_tensor(&case, slot), per_sample(&case, slot)) {
            (true, _) => !meets(i),
            (false, true) => i / (left.len() / shape.batch) != n && !samples_meet::<S>(&case),
            (false, false) => {
                left.len() == shape.channels && i != c && !S::meets(&case, (n, c), (n, i))
            }
        };
        let reached = (0..left.len()).filter(|&i| safe(i)).find(|&i| left[i] != right[i]);
        assert_eq!(reached, None, "{} of {} {case:?}, {bad} at {n}, {c}", slot.name, S::NAME);
        if S::NORMALIZES && bad.is_nan() && slot.role == Role::Result {
            let y = after.at(i).wide();
            assert!((0..y.len()).all(|i| !meets(i) || y[i].is_nan()), "{} {case:?}", S::NAME);
        }
    }
}

/// (N, C, S) as (N, S, C), or the other way: every tensor.
fn transposed<S: Subject>(case: &Case<S::Options>, arrays: &Arrays) -> (Case<S::Options>, Arrays) {
    let from = shape(&case.layout);
    let to = Shape { channels_last: !from.channels_last, ..from };
    let mut indices = vec![0; from.len()];
    for n in 0..from.batch {
        for c in 0..from.channels {
            for s in 0..from.spatial {
                indices[to.index(n, c, s)] = from.index(n, c, s);
            }
        }
    }
    let mut out = arrays.clone();
    for (i, _) in S::SLOTS.iter().enumerate().filter(|(_, slot)| is_tensor(case, slot)) {
        if !arrays.at(i).is_absent() {
            *out.at_mut(i) = arrays.at(i).picked(&indices);
        }
    }
    (with_layout(case, layout_of(to)), out)
}

fn both_layouts_agree<S: Subject>(seed: u64) {
    if S::BY_ROW {
        return;
    }
    if S::BY_PLACE {
        return;
    }
    let (case, arrays) = drawn::<S>(seed, 1e-5);
    let (other, swapped) = transposed::<S>(&case, &arrays);
    let found = transposed::<S>(&other, &run::<S>(&other, &swapped)).1;
    let expected = run::<S>(&case, &arrays);
    assert_close::<S>(&case, &expected, &found, &prepared::<S>(&case, &arrays));
}

macro_rules! tests {
    ($($name:ident: $subject:ty,)*) => {
        $(mod $name {
            use super::*;

            proptest! {
                #![proptest_config(config())]

                #[test]
                fn in_place(seed in any::<u64>()) {
                    in_place_has_the_same_bits::<$subject>(seed);
                }

                #[test]
                fn left_out(seed in any::<u64>()) {
                    what_is_left_out_changes_nothing::<$subject>(seed);
                }

                #[test]
                fn scale(seed in any::<u64>()) {
                    output_does_not_depend_on_scale::<$subject>(seed);
                }

                #[test]
                fn shift(seed in any::<u64>()) {
                    output_does_not_depend_on_shift::<$subject>(seed);
                }

                #[test]
                fn permutation(seed in any::<u64>()) {
                    permuting_samples_permutes_the_output::<$subject>(seed);
                }

                #[test]
                fn split(seed in any::<u64>()) {
                    split_work_is_the_whole::<$subject>(seed);
                }

                #[test]
                fn poison(seed in any::<u64>()) {
                    only_those_that_meet_see_each_other::<$subject>(seed);
                }

                #[test]
                fn layouts(seed in any::<u64>()) {
                    both_layouts_agree::<$subject>(seed);
                }
            }
        })*
    };
}

for_every_subject!(tests);
