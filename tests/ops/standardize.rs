//! Standardization: fit and apply.

use crate::call::{Args, Case, Holds, Op, Slot, channels, decorated};
use evenkeel::{Backend, Constant, Error, Standardize};

#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub eps: f64,
    pub constant: Constant,
}

fn op(case: &Case<Options>, backend: Backend) -> Standardize {
    let Options { eps, constant } = case.options;
    Standardize::new(case.layout).eps(eps).constant(constant).backend(backend)
}

pub struct Fit;

impl Op for Fit {
    const NAME: &'static str = "Standardize::fit";
    type Options = Options;
    const SLOTS: &'static [Slot<Options>] =
        &[Slot::x(), Slot::update("moments", Holds::Moments, channels)];

    fn call(case: &Case<Options>, backend: Backend, args: Args<'_>) -> Result<(), Error> {
        let [x, moments, ..] = args;
        op(case, backend).fit(x.f32(), moments.moments())
    }
}

pub struct Apply;

impl Op for Apply {
    const NAME: &'static str = "Standardize::apply";
    type Options = Options;
    const SLOTS: &'static [Slot<Options>] =
        &[Slot::x(), Slot::y(), Slot::residual(), Slot::moments()];

    fn call(case: &Case<Options>, backend: Backend, args: Args<'_>) -> Result<(), Error> {
        let [x, y, residual, moments, ..] = args;
        op(case, backend).apply(decorated(case, x, y, residual), moments.moments())
    }
}

#[cfg(feature = "judges")]
mod judged {
    use super::{Apply, Fit, Options};
    use crate::batch_norm::{collected, collected_moments, normalized, prepare_moments, triple};
    use crate::call::Case;
    use crate::oracle;
    use crate::reference::batch_norm::standardize;
    use crate::subject::{Expected, Limits, Subject, shape};
    use crate::{Arrays, Source};
    use evenkeel::{Constant, Error, Layout};

    impl Subject for Fit {
        #[rustfmt::skip]
        const LIMITS: &'static [(&'static str, Limits)] = &[
            ("moments", [0.75, 0.50, 0.75, 0.25, 0.25, 0.25, 0.50, 1.25, 0.25, 0.25, 0.50, 0.25, 0.25, 0.25, 0.25, 0.25, 3.25]),
        ];

        fn options(_: &Layout, source: &mut Source<'_>) -> Options {
            Options { eps: source.eps(), constant: Constant::Zero }
        }

        fn reference(case: &Case<Options>, arrays: &mut Arrays) {
            let (x, old) = (arrays.f32("x"), arrays.moments("moments"));
            let new = collected(&case.layout, x, old);
            arrays.write("moments", new);
        }

        fn oracle(case: &Case<Options>, arrays: &Arrays) -> Vec<Expected> {
            vec![collected_moments(&case.layout, arrays)]
        }

        fn meets(_: &Case<Options>, from: (usize, usize), to: (usize, usize)) -> bool {
            from.1 == to.1
        }
    }

    impl Subject for Apply {
        #[rustfmt::skip]
        const LIMITS: &'static [(&'static str, Limits)] = &[
            ("y", [2.00, 2.00, 2.00, 2.00, 1.50, 0.25, 0.25, 2.50, 0.50, 0.50, 2.00, 0.50, 0.50, 0.50, 0.25, 0.25, 2.50]),
        ];
        const NORMALIZES: bool = true;

        /// The default eps is 0.
        fn options(_: &Layout, source: &mut Source<'_>) -> Options {
            Options {
                eps: source.choose(&[0.0, 0.0, 0.0, 1e-5]),
                constant: source.choose(&[Constant::Zero, Constant::Center]),
            }
        }

        fn with_eps(options: Options, eps: f64) -> Option<Options> {
            Some(Options { eps, ..options })
        }

        fn refused(_: &Layout) -> Vec<(Options, Error)> {
            let bad = [f64::NAN, -1e-5, f64::INFINITY, f64::NEG_INFINITY];
            let options = |eps| Options { eps, constant: Constant::Zero };
            bad.map(|eps| (options(eps), Error::Epsilon { found: eps })).into()
        }

        fn prepare(case: &Case<Options>, arrays: &mut Arrays) {
            prepare_moments(&case.layout, arrays);
        }

        /// The population form without γ and β, and a choice for constant features.
        fn reference(case: &Case<Options>, arrays: &mut Arrays) {
            if case.layout.is_empty() {
                return;
            }
            let Options { eps, constant } = case.options;
            let moments: Vec<_> = arrays.moments("moments").iter().map(triple).collect();
            let y = standardize(&case.layout, eps, constant, arrays.f32("x"), &moments);
            arrays.write("y", y);
        }

        fn oracle(case: &Case<Options>, arrays: &Arrays) -> Vec<Expected> {
            let shape = shape(&case.layout);
            let stats = oracle::channel_stats(shape, &arrays.wide("x"));
            let of = |i| (&stats[shape.channel_of(i)], shape.channel_of(i));
            vec![normalized(arrays, of, case.options.eps)]
        }

        fn meets(_: &Case<Options>, from: (usize, usize), to: (usize, usize)) -> bool {
            from.1 == to.1
        }
    }
}
