//! The tests that every subject goes through.

use ops::draw::{ALL, How, KINDS, Kind, ORDINARY};
use ops::{Case, Holds, Subject, for_every_subject};

use crate::judge::{case, check, how};
use crate::shapes;

fn has_gradient<S: Subject>() -> bool {
    S::SLOTS.iter().any(|slot| slot.holds == Holds::Gradient)
}

fn every_shape<S: Subject>() {
    for (turn, layout) in shapes::all().into_iter().enumerate() {
        let kind =
            [Kind::Normal, Kind::Mean(1e6), Kind::Scale(1e-20), Kind::Scale(1e-30)][turn % 4];
        check::<S>(&case::<S>(layout, turn), &how(kind, turn), turn);
    }
}

fn every_kind_of_data<S: Subject>() {
    let mut turn = 0;
    for layout in shapes::few() {
        for kind in KINDS {
            // The data and the gradients of this kind, one of them and both; or else two choices of
            // options.
            let normal = Kind::Normal;
            let kinds = match has_gradient::<S>() {
                true => vec![(kind, normal), (normal, kind), (kind, kind)],
                false => vec![(kind, normal); 2],
            };
            for (x, dy) in kinds {
                let how = How { dy, ..how(x, turn) };
                check::<S>(&case::<S>(layout, turn), &how, turn);
                turn += 1;
            }
            turn += 5;
        }
    }
}

fn every_option<S: Subject>() {
    for layout in [shapes::few()[0], shapes::few()[3], shapes::few()[5]] {
        for turn in 0..60 {
            check::<S>(&case::<S>(layout, turn), &how(Kind::Normal, turn), turn);
        }
    }
}

/// Parameters and statistics of any bits, beside data of which not everything becomes infinite.
fn odd_parameters<S: Subject>() {
    let kinds = [
        Kind::Normal,
        Kind::AnyFinite,
        Kind::Scale(1e15),
        Kind::Scale(1e-15),
        Kind::Scale(1e-40),
        Kind::Scale(1e38),
    ];
    let mut turn = 0;
    for layout in shapes::few() {
        for x in kinds {
            for eps in [0.0, 1e-5, 1e30] {
                let how = How { x, dy: kinds[turn % 6], odd: true, ..how(x, turn) };
                check::<S>(&with_eps::<S>(case::<S>(layout, turn), eps), &how, turn);
                turn += 1;
            }
        }
    }
}

fn with_eps<S: Subject>(case: Case<S::Options>, eps: f64) -> Case<S::Options> {
    Case { options: S::with_eps(case.options, eps).unwrap_or(case.options), ..case }
}

/// An eps that is subnormal, zero or infinite once it is rounded to f32, and a large one.
fn odd_eps<S: Subject>() {
    for (turn, layout) in shapes::few().into_iter().enumerate() {
        let case = case::<S>(layout, turn);
        if S::with_eps(case.options, 1.0).is_none() {
            return;
        }
        for kind in [Kind::Normal, Kind::Constant(2.0), Kind::Scale(1e-30), Kind::Scale(1e30)] {
            for eps in [1e-300, 1e-46, 1e-44, 1e-38, 1e-30, 1.0, 1e30, 1e38, 3e38, 1e39, 1e300] {
                check::<S>(&with_eps::<S>(case, eps), &how(kind, turn), turn);
            }
        }
    }
}

fn every_alignment<S: Subject>() {
    for (batch, channels, spatial) in [(2, 1, 40), (2, 4, 19), (3, 21, 1), (2, 18, 3)] {
        for layout in shapes::layouts(batch, channels, spatial) {
            for turn in 0..256 {
                check::<S>(&case::<S>(layout, turn), &how(Kind::Normal, turn), turn);
            }
        }
    }
    for layout in shapes::full_blocks() {
        for turn in shapes::ALIGNMENTS {
            let how = How { present: ALL, ..ORDINARY };
            check::<S>(&case::<S>(layout, turn), &how, turn);
        }
    }
}

macro_rules! tests {
    ($($name:ident: $subject:ty,)*) => {
        $(mod $name {
            #[test]
            fn every_shape() {
                super::every_shape::<$subject>();
            }

            #[test]
            fn every_kind_of_data() {
                super::every_kind_of_data::<$subject>();
            }

            #[test]
            fn every_option() {
                super::every_option::<$subject>();
            }

            #[test]
            fn odd_parameters() {
                super::odd_parameters::<$subject>();
            }

            #[test]
            fn odd_eps() {
                super::odd_eps::<$subject>();
            }

            #[test]
            fn every_alignment() {
                super::every_alignment::<$subject>();
            }

            #[test]
            fn many_blocks() {
                crate::deep::every_number_of_blocks::<$subject>();
            }
        })*
    };
}

for_every_subject!(tests);
