//! What is fused around an operation: the same bits as doing it step by step, on every backend; and
//! what is refused.

use evenkeel::{Activation, Backend, Dropout, Error, Key, Layout, in_place};
use ops::arrays::bits;
use ops::draw::{ALL, How, Kind, ORDINARY, draw};
use ops::reference::selu as reference;
use ops::{Array, Arrays, Case, Fused, Role, Source, Subject, for_every_subject};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

/// The same cases in every run.
fn config() -> ProptestConfig {
    ProptestConfig {
        rng_seed: RngSeed::Fixed(7),
        failure_persistence: None,
        ..ProptestConfig::with_cases(64)
    }
}

/// With a residual, of numbers with zeros, infinities and NaN among them.
const DECORATED: How = How { x: Kind::WithOdd, present: u32::MAX, ..ORDINARY };

/// Place of the result and of the residual, if this call can be decorated.
fn places<S: Subject>() -> Option<(usize, usize)> {
    let residual = S::SLOTS.iter().position(|slot| slot.name == "residual")?;
    Some((S::SLOTS.iter().position(|slot| slot.role == Role::Result)?, residual))
}

fn sum(x: &Array, residual: &Array) -> Vec<f32> {
    let (Array::F32(x), Array::F32(residual)) = (x, residual) else { panic!("two tensors") };
    x.iter().zip(residual).map(|(x, r)| x + r).collect()
}

/// All of them.
const ACTIVATIONS: [Activation; 2] = [Activation::Relu, Activation::Selu];

/// By the contract.
fn activated(activation: Activation, y: f32) -> f32 {
    match activation {
        Activation::Relu if y <= 0.0 => 0.0,
        Activation::Relu => y,
        Activation::Selu => reference::selu(y),
        _ => panic!("{activation:?} has no reference"),
    }
}

/// Residual, operation, activation, dropout, one after the other.
fn step_by_step<S: Subject>(case: &Case<S::Options>, backend: Backend, arrays: &Arrays) -> Arrays {
    let Some((result, residual)) = places::<S>() else { panic!("{} is not decorated", S::NAME) };
    let mut all = arrays.clone();
    let sum = sum(arrays.at(0), arrays.at(residual));
    *all.at_mut(0) = sum.clone().into();
    *all.at_mut(residual) = Array::Absent;
    let plain = Case { fused: Fused::default(), ..*case };
    S::call(&plain, backend, all.args()).expect("a correct call");
    let Array::F32(y) = all.at_mut(result) else { panic!("a tensor") };
    let activation = case.fused.activation.expect("an activation follows");
    y.iter_mut().for_each(|y| *y = activated(activation, *y));
    let (dropout, key) = case.fused.dropout.expect("dropout follows");
    dropout.forward(in_place(y), key).expect("a correct call");
    *all.at_mut(0) = arrays.at(0).clone();
    *all.at_mut(residual) = sum.into();
    all
}

fn assert_same<S: Subject>(found: &Arrays, expected: &Arrays, backend: Backend, how: &str) {
    for ((name, found), (_, expected)) in found.iter().zip(expected.iter()) {
        let place = (S::NAME, how, backend.name());
        assert!(found.is_absent() || found.bits() == expected.bits(), "{name} of {place:?}");
    }
}

fn decorated_is_step_by_step<S: Subject>(seed: u64) {
    let Some((result, _)) = places::<S>() else { return };
    let mut source = Source::seeded(seed);
    let layout = source.layout();
    let dropout = Dropout::new(0.4).expect("a probability");
    let activation = Some(source.choose(&ACTIVATIONS));
    let fused = Fused { activation, dropout: Some((dropout, Key::new(seed))) };
    let options = S::options(&layout, &mut source);
    let case = Case { layout, options, fused };
    let arrays = draw::<S>(&case, &DECORATED, &mut source);
    for backend in Backend::available() {
        let expected = step_by_step::<S>(&case, backend, &arrays);
        let mut apart = arrays.clone();
        S::call(&case, backend, apart.args()).expect("a correct call");
        assert_same::<S>(&apart, &expected, backend, "apart");
        let mut in_place = arrays.clone();
        *in_place.at_mut(result) = arrays.at(0).clone();
        *in_place.at_mut(0) = Array::Absent;
        S::call(&case, backend, in_place.args()).expect("a correct call");
        assert_same::<S>(&in_place, &expected, backend, "in place");
    }
}

/// A residual of another length is an error of the table (tests/errors); so is a dropout whose
/// indices overflow, and neither writes anything.
fn a_wrong_dropout_changes_nothing<S: Subject>() {
    let Some((result, _)) = places::<S>() else { return };
    let layout = Layout::dense(2, 3).expect("a small layout");
    let far = Dropout::new(0.5).expect("a probability").offset(u64::MAX - 2);
    let activation = Some(Activation::Relu);
    let fused = Fused { activation, dropout: Some((far, Key::new(1))) };
    let case = Case { layout, options: S::options(&layout, &mut Source::new(1)), fused };
    for present in [ALL, u32::MAX] {
        let before = draw::<S>(&case, &How { present, ..ORDINARY }, &mut Source::new(1));
        let mut after = before.clone();
        let error = S::call(&case, Backend::detect(), after.args());
        assert_eq!(error, Err(Error::TooLarge), "{}", S::NAME);
        assert_same::<S>(&after, &before, Backend::detect(), "a wrong dropout");
        // The lengths of input and output come first.
        *after.at_mut(result) = before.at(result).resized(4);
        let error = S::call(&case, Backend::detect(), after.args());
        let wrong = matches!(error, Err(Error::Length { found: 4, expected: 6, .. }));
        assert!(wrong, "{}: {error:?}", S::NAME);
    }
}

macro_rules! tests {
    ($($name:ident: $subject:ty,)*) => {
        proptest! {
            #![proptest_config(config())]

            $(#[test]
            fn $name(seed in any::<u64>()) {
                decorated_is_step_by_step::<$subject>(seed);
            })*
        }

        #[test]
        fn a_wrong_dropout() {
            $(a_wrong_dropout_changes_nothing::<$subject>();)*
        }
    };
}

for_every_subject!(tests);

/// The activation's own rule, of which the steps above are made.
#[test]
fn a_rectified_nan_stays_and_a_negative_zero_does_not() {
    let mut y = [f32::NAN, -0.0, -1.0, 2.0, f32::NEG_INFINITY];
    let dropout = Dropout::new(0.0).expect("a probability");
    dropout.forward(in_place(&mut y).then(Activation::Relu), Key::new(1)).expect("a correct call");
    assert_eq!(y.map(bits), [f32::NAN, 0.0, 0.0, 2.0, 0.0].map(bits));
}
