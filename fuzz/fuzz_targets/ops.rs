//! Every subject: every backend against the reference bit for bit, apart and in place, whatever the
//! shapes, options and bits are; and a wrong length must be refused with all slices as they were.
#![no_main]

use evenkeel::{Backend, Error};
use libfuzzer_sys::fuzz_target;
use ops::draw::{How, KINDS, draw};
use ops::{Array, Arrays, Case, Fused, Role, Source, Subject, for_every_subject};

macro_rules! judges {
    ($($name:ident: $subject:ty,)*) => {
        [$(judge::<$subject>),*]
    };
}

fuzz_target!(|bytes: &[u8]| {
    let mut source = Source::of(bytes);
    let judges: &[fn(&mut Source<'_>)] = &for_every_subject!(judges);
    source.choose(judges)(&mut source);
});

fn judge<S: Subject>(source: &mut Source<'_>) {
    let layout = source.layout();
    let options = S::options(&layout, source);
    let eps = f64::from_bits(source.bits() >> 1);
    let valid = eps.is_finite() && source.one_in(4);
    let options = if valid { S::with_eps(options, eps).unwrap_or(options) } else { options };
    let case = Case { layout, options, fused: Fused::default() };
    let how = How {
        x: source.choose(&KINDS),
        dy: source.choose(&KINDS),
        odd: source.one_in(4),
        present: source.bits() as u32 & ops::draw::ALL,
    };
    let arrays = draw::<S>(&case, &how, source);
    let mut expected = arrays.clone();
    S::reference(&case, &mut expected);
    for backend in Backend::available() {
        let mut found = arrays.clone();
        call::<S>(&case, backend, &mut found);
        assert_same::<S>(&found, &expected, None, backend);
        if let Some(result) = S::SLOTS.iter().position(|slot| slot.role == Role::Result) {
            let mut found = arrays.clone();
            *found.at_mut(result) = arrays.at(0).clone();
            *found.at_mut(0) = Array::Absent;
            call::<S>(&case, backend, &mut found);
            assert_same::<S>(&found, &expected, Some(0), backend);
        }
    }
    a_wrong_length_is_refused::<S>(&case, &arrays, source);
}

fn call<S: Subject>(case: &Case<S::Options>, backend: Backend, arrays: &mut Arrays) {
    S::call(case, backend, arrays.args()).expect("a correct call");
}

fn assert_same<S: Subject>(
    found: &Arrays,
    expected: &Arrays,
    but: Option<usize>,
    backend: Backend,
) {
    for (i, ((name, found), (_, expected))) in found.iter().zip(expected.iter()).enumerate() {
        let (found, expected) = (found.bits(), expected.bits());
        let first = found.iter().zip(&expected).position(|(f, e)| f != e);
        if but != Some(i) && (first.is_some() || found.len() != expected.len()) {
            panic!("{name} of {} on {backend} differs at {first:?}", S::NAME);
        }
    }
}

fn a_wrong_length_is_refused<S: Subject>(
    case: &Case<S::Options>,
    arrays: &Arrays,
    source: &mut Source<'_>,
) {
    let slot = source.below(S::SLOTS.len());
    if !S::SLOTS[slot].checked || arrays.at(slot).is_absent() {
        return;
    }
    let found = arrays.at(slot).len();
    let found = if source.one_in(2) || found == 0 { found + 1 } else { found - 1 };
    let mut wrong = arrays.clone();
    *wrong.at_mut(slot) = arrays.at(slot).resized(found);
    let before = wrong.clone();
    match S::call(case, Backend::detect(), wrong.args()) {
        Err(Error::Length { argument, found: reported, .. }) => {
            assert_eq!((argument, reported), (S::SLOTS[slot].name, found));
        }
        other => panic!("{} of {} of a wrong length gave {other:?}", S::SLOTS[slot].name, S::NAME),
    }
    assert_same::<S>(&wrong, &before, None, Backend::detect());
}
