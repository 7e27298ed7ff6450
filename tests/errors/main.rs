//! Every way to call an operation wrongly: the right error, in the right order, and no slice
//! touched.

mod special;

use evenkeel::{Backend, Error, Layout};
use ops::draw::{How, ORDINARY, draw};
use ops::{Array, Arrays, Case, Fused, Role, Source, Subject, for_every_subject};

/// All optional slots, residuals too.
const EVERYTHING: How = How { present: u32::MAX, ..ORDINARY };

fn case<S: Subject>(layout: Layout) -> Case<S::Options> {
    let options = S::options(&layout, &mut Source::new(layout.len()));
    Case { layout, options, fused: Fused::default() }
}

fn layouts() -> Vec<Layout> {
    [
        Layout::dense(3, 4),
        Layout::channels_first(2, 4, 5),
        Layout::channels_last(2, 5, 4),
        Layout::channels_first(1, 2, 40),
    ]
    .map(|layout| layout.expect("a small layout"))
    .to_vec()
}

/// No element in any of them.
fn empty_layouts() -> Vec<Layout> {
    let sizes = [(0, 4, 5), (2, 0, 5), (2, 4, 0), (0, 4, 1), (3, 0, 1)].into_iter();
    sizes
        .flat_map(|(n, c, s)| [Layout::channels_first(n, c, s), Layout::channels_last(n, s, c)])
        .map(|layout| layout.expect("an empty layout"))
        .collect()
}

/// The slices of a correct call.
fn right<S: Subject>(case: &Case<S::Options>) -> Arrays {
    draw::<S>(case, &EVERYTHING, &mut Source::new(1))
}

/// Makes a call that must fail, and leave everything as it was.
#[track_caller]
fn refused<S: Subject>(case: &Case<S::Options>, arrays: &Arrays) -> Error {
    let mut after = arrays.clone();
    let result = S::call(case, Backend::detect(), after.args());
    for ((name, before), (_, after)) in arrays.iter().zip(after.iter()) {
        assert!(before.bits() == after.bits(), "{} wrote to {name}: {case:?}, {result:?}", S::NAME);
    }
    match result {
        Err(error) => error,
        Ok(()) => panic!("{} accepted {case:?}, {arrays:?}", S::NAME),
    }
}

/// The same, because of the length of one slice: of the first that is wrong.
#[track_caller]
fn refuses<S: Subject>(case: &Case<S::Options>, arrays: &Arrays, wrong: usize) {
    let slot = &S::SLOTS[wrong];
    // What gives the length, or what the layout asks for.
    let expected = match slot.role {
        Role::Result if !S::SLOTS[0].checked => arrays.at(0).len(),
        _ => (slot.len)(case),
    };
    let error = Error::Length { argument: slot.name, expected, found: arrays.at(wrong).len() };
    assert_eq!(refused::<S>(case, arrays), error, "{} {case:?}", S::NAME);
}

/// The places of slices whose length is checked.
fn checked<S: Subject>() -> impl DoubleEndedIterator<Item = usize> {
    (0..S::SLOTS.len()).filter(|&i| S::SLOTS[i].checked)
}

/// Another length for one slice.
fn resize(arrays: &mut Arrays, slot: usize, len: usize) {
    *arrays.at_mut(slot) = arrays.at(slot).resized(len);
}

fn every_wrong_length_is_refused<S: Subject>() {
    for case in layouts().into_iter().map(case::<S>) {
        let right = right::<S>(&case);
        for slot in checked::<S>() {
            let len = right.at(slot).len();
            for found in [len - 1, len + 1, 0] {
                let mut arrays = right.clone();
                resize(&mut arrays, slot, found);
                refuses::<S>(&case, &arrays, slot);
            }
        }
    }
}

fn the_first_wrong_length_is_reported<S: Subject>() {
    for case in layouts().into_iter().map(case::<S>) {
        let mut arrays = right::<S>(&case);
        // From the last argument to the first, each one more that is wrong. What gives the length
        // itself stays.
        for slot in (0..S::SLOTS.len()).rev().filter(|&i| i > 0 || S::SLOTS[0].checked) {
            let len = arrays.at(slot).len() + 1;
            resize(&mut arrays, slot, len);
            if S::SLOTS[slot].checked {
                refuses::<S>(&case, &arrays, slot);
            }
        }
    }
}

/// In place there is one slice, which has the name of the input.
fn a_wrong_length_in_place_is_refused<S: Subject>() {
    let Some(result) = S::SLOTS.iter().position(|slot| slot.role == Role::Result) else { return };
    for case in layouts().into_iter().map(case::<S>).filter(|_| S::SLOTS[0].checked) {
        let (mut arrays, slot) = (right::<S>(&case), &S::SLOTS[0]);
        let expected = (slot.len)(&case);
        *arrays.at_mut(0) = Array::Absent;
        for found in [expected - 1, expected + 1, 0] {
            resize(&mut arrays, result, found);
            let error = Error::Length { argument: slot.name, expected, found };
            assert_eq!(refused::<S>(&case, &arrays), error, "{} in place", S::NAME);
        }
    }
}

/// Nothing is written but sums over nothing: what the reference says.
fn empty_tensors_are_fine<S: Subject>() {
    for case in empty_layouts().into_iter().map(case::<S>) {
        let mut found = draw::<S>(&case, &ORDINARY, &mut Source::new(1));
        let mut expected = found.clone();
        S::reference(&case, &mut expected);
        let result = S::call(&case, Backend::detect(), found.args());
        assert_eq!(result, Ok(()), "{} {case:?}", S::NAME);
        for ((name, expected), (_, found)) in expected.iter().zip(found.iter()) {
            assert_eq!(found.bits(), expected.bits(), "{name} of {} {case:?}", S::NAME);
        }
    }
}

fn lengths_of_empty_tensors_are_checked<S: Subject>() {
    for case in empty_layouts().into_iter().map(case::<S>) {
        for slot in checked::<S>() {
            let mut arrays = right::<S>(&case);
            let len = arrays.at(slot).len() + 1;
            resize(&mut arrays, slot, len);
            refuses::<S>(&case, &arrays, slot);
        }
    }
}

/// An option comes before all arguments. (Compared as text: a NaN equals nothing.)
fn bad_options_are_refused<S: Subject>() {
    for layout in layouts() {
        let fine = case::<S>(layout);
        for (options, error) in S::refused(&layout) {
            let mut arrays = right::<S>(&fine);
            for wrong in [false, true] {
                if wrong && S::SLOTS[0].checked {
                    let len = arrays.at(0).len() + 1;
                    resize(&mut arrays, 0, len);
                }
                let found = refused::<S>(&Case { options, ..fine }, &arrays);
                assert_eq!(format!("{found:?}"), format!("{error:?}"), "{}", S::NAME);
            }
        }
    }
}

macro_rules! tests {
    ($($name:ident: $subject:ty,)*) => {
        $(#[test]
        fn $name() {
            every_wrong_length_is_refused::<$subject>();
            the_first_wrong_length_is_reported::<$subject>();
            a_wrong_length_in_place_is_refused::<$subject>();
            empty_tensors_are_fine::<$subject>();
            lengths_of_empty_tensors_are_checked::<$subject>();
            bad_options_are_refused::<$subject>();
        })*
    };
}

for_every_subject!(tests);
