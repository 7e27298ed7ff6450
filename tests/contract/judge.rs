//! The judge: a call of any subject, on every backend, against the reference.

use evenkeel::{Backend, Layout};
use ops::draw::{ALL, How, Kind, ORDINARY, draw};
use ops::{Arg, Array, Arrays, Case, Fused, Role, Source, Subject};

use crate::guarded::Guarded;

/// A case whose options follow from `turn`, so that the axes that a test does not walk keep turning.
pub(crate) fn case<S: Subject>(layout: Layout, turn: usize) -> Case<S::Options> {
    let options = S::options(&layout, &mut Source::new(turn));
    Case { layout, options, fused: Fused::default() }
}

/// Which optional slots are there: all of them in the even turns, any choice in the others.
fn presence(turn: usize) -> u32 {
    if turn.is_multiple_of(2) { ALL } else { Source::new(turn).bits() as u32 & ALL }
}

/// Data of one kind everywhere.
pub(crate) fn how(x: Kind, turn: usize) -> How {
    How { x, present: presence(turn), ..ORDINARY }
}

/// Draws all slices and compares every backend with the reference: outputs, what is to stay as it
/// was, and what lies around the slices; apart and in place. Where slices begin follows from
/// `turn`: all 256 pairs of places in a vector, for input and output, within 256 turns.
pub(crate) fn check<S: Subject>(case: &Case<S::Options>, how: &How, turn: usize) {
    let arrays = draw::<S>(case, how, &mut Source::new(turn));
    let mut expected = arrays.clone();
    S::reference(case, &mut expected);
    check_against::<S>(case, &arrays, &expected, how, turn);
}

pub(crate) fn check_against<S: Subject>(
    case: &Case<S::Options>,
    arrays: &Arrays,
    expected: &Arrays,
    how: &How,
    turn: usize,
) {
    let result = S::SLOTS.iter().position(|slot| slot.role == Role::Result);
    for backend in Backend::available() {
        let context = (S::NAME, backend.name(), case, how);
        let mut buffers = guarded(arrays, turn);
        call::<S>(case, backend, &mut buffers, None);
        assert_all(&buffers, expected, None, &context);
        if let Some(result) = result {
            let mut buffers = guarded(arrays, turn);
            buffers[result] = Guarded::new(arrays.at(0), turn / 16 % 16);
            call::<S>(case, backend, &mut buffers, Some(0));
            assert_all(&buffers, expected, Some(0), &("in place", context));
        }
    }
}

/// Every slice in a buffer of its own: what is read `turn` elements into a vector, what is written
/// a sixteenth of that.
fn guarded(arrays: &Arrays, turn: usize) -> Vec<Guarded> {
    let places = [turn % 16, turn / 16 % 16, 15 - turn % 16];
    (0..arrays.len()).map(|i| Guarded::new(arrays.at(i), places[i % 3])).collect()
}

fn call<S: Subject>(
    case: &Case<S::Options>,
    backend: Backend,
    buffers: &mut [Guarded],
    absent: Option<usize>,
) {
    let mut args = ops::Args::default();
    for (i, (arg, buffer)) in args.iter_mut().zip(buffers).enumerate() {
        *arg = if absent == Some(i) { Arg::Absent } else { buffer.arg() };
    }
    S::call(case, backend, args).expect("a correct call");
}

/// Compares all slices but the input of a call in place.
fn assert_all(
    buffers: &[Guarded],
    expected: &Arrays,
    but: Option<usize>,
    context: &impl std::fmt::Debug,
) {
    for (i, (buffer, (name, expected))) in buffers.iter().zip(expected.iter()).enumerate() {
        if but != Some(i) && !matches!(expected, Array::Absent) {
            buffer.assert(expected, name, context);
        }
    }
}
