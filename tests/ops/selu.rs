//! SELU: forward and backward.

use crate::call::{Args, Case, Holds, Op, Slot, decorated, elements};
use evenkeel::{Backend, Error, Selu};

pub struct Forward;

impl Op for Forward {
    const NAME: &'static str = "Selu::forward";
    type Options = ();
    const SLOTS: &'static [Slot<()>] = &[Slot::x().unchecked(), Slot::y(), Slot::residual()];

    fn call(case: &Case<()>, backend: Backend, args: Args<'_>) -> Result<(), Error> {
        let [x, y, residual, ..] = args;
        Selu::new().backend(backend).forward(decorated(case, x, y, residual))
    }
}

pub struct Backward;

impl Op for Backward {
    const NAME: &'static str = "Selu::backward";
    type Options = ();
    const SLOTS: &'static [Slot<()>] = &[
        Slot::read("dy", Holds::Gradient, elements).unchecked(),
        Slot::result("dx", elements),
        Slot::residual(),
        Slot::x(),
    ];

    fn call(case: &Case<()>, backend: Backend, args: Args<'_>) -> Result<(), Error> {
        let [dy, dx, residual, x, ..] = args;
        Selu::new().backend(backend).backward(decorated(case, dy, dx, residual), x.f32())
    }
}

#[cfg(feature = "judges")]
mod judged {
    use super::{Backward, Forward};
    use crate::call::Case;
    use crate::oracle::{self, within_f32};
    use crate::reference::selu as reference;
    use crate::subject::{Expected, Limits, Subject};
    use crate::{Arrays, Source};
    use evenkeel::Layout;

    impl Subject for Forward {
        const LIMITS: &'static [(&'static str, Limits)] = &[("y", [2.0; 17])];

        fn options(_: &Layout, _: &mut Source<'_>) {}

        fn reference(_: &Case<()>, arrays: &mut Arrays) {
            arrays.write("y", reference::forward(arrays.f32("x")));
        }

        fn oracle(_: &Case<()>, arrays: &Arrays) -> Vec<Expected> {
            let y = arrays.wide("x").into_iter().map(|x| within_f32(oracle::selu(x)));
            vec![Expected::new("y", y.map(|y| (y, y)))]
        }
    }

    impl Subject for Backward {
        const LIMITS: &'static [(&'static str, Limits)] = &[("dx", [2.5; 17])];
        const KINK: bool = true;

        fn options(_: &Layout, _: &mut Source<'_>) {}

        fn reference(_: &Case<()>, arrays: &mut Arrays) {
            arrays.write("dx", reference::backward(arrays.f32("dy"), arrays.f32("x")));
        }

        /// A slope that is subnormal has been rounded as one: the error is that of the smallest one
        /// that is not.
        fn oracle(_: &Case<()>, arrays: &Arrays) -> Vec<Expected> {
            let (dy, x) = (arrays.wide("dy"), arrays.wide("x"));
            let each = dy.into_iter().zip(x).map(|(dy, x)| {
                let slope = oracle::selu_slope(x);
                (within_f32(dy * slope), dy.abs() * slope.max(f64::from(f32::MIN_POSITIVE)))
            });
            vec![Expected::new("dx", each)]
        }

        fn forward(_: &Case<()>, _: &Arrays, [x, _, _]: [&[f64]; 3]) -> Option<Vec<f64>> {
            Some(x.iter().map(|&x| oracle::selu(x)).collect())
        }
    }
}
