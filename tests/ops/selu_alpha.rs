//! SELU with alpha dropout, in one pass.

use crate::call::{Args, Case, Holds, Op, Slot, decorated, elements};
use crate::drops::Options;
use evenkeel::{Backend, Error, SeluAlphaDropout};

fn op(case: &Case<Options>, backend: Backend) -> Result<SeluAlphaDropout, Error> {
    let Options { p, offset, .. } = case.options;
    Ok(SeluAlphaDropout::new(p)?.offset(offset).backend(backend))
}

pub struct Forward;

impl Op for Forward {
    const NAME: &'static str = "SeluAlphaDropout::forward";
    type Options = Options;
    const SLOTS: &'static [Slot<Options>] = &[Slot::x().unchecked(), Slot::y(), Slot::residual()];

    fn call(case: &Case<Options>, backend: Backend, args: Args<'_>) -> Result<(), Error> {
        let [x, y, residual, ..] = args;
        op(case, backend)?.forward(decorated(case, x, y, residual), case.options.key)
    }
}

pub struct Backward;

impl Op for Backward {
    const NAME: &'static str = "SeluAlphaDropout::backward";
    type Options = Options;
    const SLOTS: &'static [Slot<Options>] = &[
        Slot::read("dy", Holds::Gradient, elements).unchecked(),
        Slot::result("dx", elements),
        Slot::residual(),
        Slot::x(),
    ];

    fn call(case: &Case<Options>, backend: Backend, args: Args<'_>) -> Result<(), Error> {
        let [dy, dx, residual, x, ..] = args;
        let io = decorated(case, dy, dx, residual);
        op(case, backend)?.backward(io, x.f32(), case.options.key)
    }
}

#[cfg(feature = "judges")]
mod judged {
    use super::{Backward, Forward, Options};
    use crate::call::Case;
    use crate::dropout::stream;
    use crate::drops::{Alpha, exact};
    use crate::oracle::{self, within_f32};
    use crate::reference::{dropout, selu};
    use crate::subject::{Expected, Limits, Subject};
    use crate::{Arrays, Source};
    use evenkeel::{Error, Layout};

    /// Whether each element is kept.
    fn kept(case: &Case<Options>) -> impl Iterator<Item = bool> + use<> {
        let Options { p, key, offset } = case.options;
        let threshold = dropout::threshold(p);
        (0..case.layout.len())
            .map(move |i| dropout::keep(threshold, stream(key), offset + i as u64))
    }

    impl Subject for Forward {
        const LIMITS: &'static [(&'static str, Limits)] = &[("y", [4.0; 17])];
        const BY_PLACE: bool = true;

        fn options(layout: &Layout, source: &mut Source<'_>) -> Options {
            Options::drawn::<Alpha>(layout, source)
        }

        fn refused(layout: &Layout) -> Vec<(Options, Error)> {
            Options::refused::<Alpha>(layout)
        }

        fn reference(case: &Case<Options>, arrays: &mut Arrays) {
            let threshold = dropout::threshold(case.options.p);
            let y = selu::forward(arrays.f32("x"));
            let value = |(y, keep): (f32, bool)| dropout::alpha_value(threshold, keep, y);
            arrays.write("y", y.into_iter().zip(kept(case)).map(value).collect::<Vec<f32>>());
        }

        fn oracle(case: &Case<Options>, arrays: &Arrays) -> Vec<Expected> {
            let [a, b, dropped] = exact::<Alpha>(case.options.p);
            let y = arrays.wide("x").into_iter().zip(kept(case)).map(|(x, keep)| {
                // What is infinite after SELU stays so, even if a product with `a` would not be.
                let term = within_f32(oracle::selu(x)) * a;
                let largest = term.abs().max(b.abs());
                if keep { (within_f32(term + b), largest) } else { (dropped, dropped) }
            });
            vec![Expected::new("y", y)]
        }
    }

    impl Subject for Backward {
        const LIMITS: &'static [(&'static str, Limits)] = &[("dx", [4.5; 17])];
        const BY_PLACE: bool = true;
        const KINK: bool = true;

        fn options(layout: &Layout, source: &mut Source<'_>) -> Options {
            Options::drawn::<Alpha>(layout, source)
        }

        fn refused(layout: &Layout) -> Vec<(Options, Error)> {
            Options::refused::<Alpha>(layout)
        }

        fn reference(case: &Case<Options>, arrays: &mut Arrays) {
            let threshold = dropout::threshold(case.options.p);
            let [factor, ..] = dropout::alpha(threshold);
            let scaled: Vec<f32> = arrays.f32("dy").iter().map(|dy| dy * factor).collect();
            let dx = selu::backward(&scaled, arrays.f32("x"));
            let dx = dx.into_iter().zip(kept(case));
            arrays
                .write("dx", dx.map(|(dx, keep)| if keep { dx } else { 0.0 }).collect::<Vec<_>>());
        }

        /// As of [`crate::selu::Backward`].
        fn oracle(case: &Case<Options>, arrays: &Arrays) -> Vec<Expected> {
            let [a, ..] = exact::<Alpha>(case.options.p);
            let (dy, x) = (arrays.wide("dy"), arrays.wide("x"));
            let each = dy.into_iter().zip(x).zip(kept(case)).map(|((dy, x), keep)| {
                let (slope, dy) = (oracle::selu_slope(x), dy * a);
                let least = f64::from(f32::MIN_POSITIVE);
                let scale = dy.abs().max(least) * slope.max(least);
                if keep {
                    (within_f32(dy * slope), scale.max(dy.abs() * slope))
                } else {
                    (0.0, 0.0)
                }
            });
            vec![Expected::new("dx", each)]
        }

        fn forward(case: &Case<Options>, _: &Arrays, [x, _, _]: [&[f64]; 3]) -> Option<Vec<f64>> {
            let [a, b, dropped] = exact::<Alpha>(case.options.p);
            let y = |(&x, keep)| if keep { oracle::selu(x) * a + b } else { dropped };
            Some(x.iter().zip(kept(case)).map(y).collect())
        }
    }
}
