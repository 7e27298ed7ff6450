//! Group normalization.

use crate::call::{Args, Case, Holds, Op, Slot, affine, channels, decorated, elements, gradients};
use evenkeel::{Backend, Error, GroupNorm, Saved, Statistics};

#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub groups: usize,
    pub eps: f64,
}

fn statistics(case: &Case<Options>) -> usize {
    case.layout.batch() * case.options.groups
}

pub struct Forward;

impl Op for Forward {
    const NAME: &'static str = "GroupNorm::forward";
    type Options = Options;
    const SLOTS: &'static [Slot<Options>] = &[
        Slot::x(),
        Slot::y(),
        Slot::residual(),
        Slot::gamma(),
        Slot::beta(),
        Slot::write("saved_mean", statistics).optional(3),
        Slot::write("saved_rstd", statistics).optional(3),
    ];

    fn call(case: &Case<Options>, backend: Backend, args: Args<'_>) -> Result<(), Error> {
        let [x, y, residual, gamma, beta, mean, rstd, ..] = args;
        let saved = mean.pair(rstd).map(|[mean, rstd]| Saved { mean, rstd });
        GroupNorm::new(case.layout, case.options.groups)
            .eps(case.options.eps)
            .backend(backend)
            .forward(decorated(case, x, y, residual), affine(gamma, beta), saved)
    }
}

pub struct Backward;

impl Op for Backward {
    const NAME: &'static str = "GroupNorm::backward";
    type Options = Options;
    const SLOTS: &'static [Slot<Options>] = &[
        Slot::read("dy", Holds::Gradient, elements),
        Slot::x(),
        Slot::gamma(),
        Slot::read("saved_mean", Holds::SavedMean, statistics),
        Slot::read("saved_rstd", Holds::SavedRstd, statistics),
        Slot::write("dx", elements).optional(2),
        Slot::write("dgamma", channels).optional(3),
        Slot::write("dbeta", channels).optional(4),
    ];

    fn call(case: &Case<Options>, backend: Backend, args: Args<'_>) -> Result<(), Error> {
        let [dy, x, gamma, mean, rstd, dx, dgamma, dbeta, ..] = args;
        let statistics = Statistics { mean: mean.f32(), rstd: rstd.f32() };
        let into = gradients(dx, dgamma, dbeta);
        GroupNorm::new(case.layout, case.options.groups)
            .eps(case.options.eps)
            .backend(backend)
            .backward(dy.f32(), x.f32(), gamma.maybe_read(), statistics, into)
    }
}

#[cfg(feature = "judges")]
mod judged {
    use super::{Backward, Forward, Options};
    use crate::batch_norm::{
        expected_gradients, normalized, reference_affine, saved, write_gradients,
    };
    use crate::call::Case;
    use crate::oracle::{self, Reduced};
    use crate::reference::backward::{Groups, backward_groups};
    use crate::reference::batch_norm::Affine;
    use crate::reference::group_norm as reference;
    use crate::subject::{Expected, Limits, Subject, shape};
    use crate::{Arrays, Source};
    use evenkeel::{Error, Layout};

    /// The gradients in f64, of any number of groups.
    pub(crate) fn expected_backward(
        layout: &Layout,
        (groups, eps): (usize, f64),
        arrays: &Arrays,
    ) -> Vec<Expected> {
        let (dy, x, gamma) = (arrays.wide("dy"), arrays.wide("x"), arrays.maybe_wide("gamma"));
        let shape = shape(layout);
        let numbers = (0..shape.batch).flat_map(|n| (0..groups).map(move |g| (n, g)));
        let each = numbers.map(|(n, g)| {
            let indices: Vec<usize> = shape.group(n, g, groups).collect();
            let stats = oracle::moments(indices.iter().map(|&i| x[i]));
            Reduced { indices, stats, centred: true }
        });
        let each: Vec<_> = each.filter(|group| !group.indices.is_empty()).collect();
        let parameters = (shape.channels, |i| shape.channel_of(i));
        expected_gradients(oracle::backward_of(&each, parameters, &dy, &x, gamma.as_deref(), eps))
    }

    /// What the forward pass saves.
    pub(crate) fn prepare(layout: &Layout, (groups, eps): (usize, f64), arrays: &mut Arrays) {
        if layout.is_empty() {
            return;
        }
        let none = Affine { gamma: None, beta: None };
        let out = reference::forward(layout, groups, eps, arrays.f32("x"), none);
        arrays.write("saved_mean", out.saved_mean);
        arrays.write("saved_rstd", out.saved_rstd);
    }

    /// The gradients by the reference.
    pub(crate) fn reference_backward(layout: &Layout, groups: usize, arrays: &mut Arrays) {
        let [dy, x, mean, rstd] =
            ["dy", "x", "saved_mean", "saved_rstd"].map(|name| arrays.f32(name));
        let known = Groups { groups, gamma: arrays.maybe("gamma"), mean, rstd };
        let out = backward_groups(layout, known, dy, x);
        write_gradients(arrays, out);
    }

    impl Subject for Backward {
        #[rustfmt::skip]
        const LIMITS: &'static [(&'static str, Limits)] = &[
            ("dx",     [2.75, 2.50, 2.50, 2.75, 2.25, 2.25, 2.25, 2.75, 2.50, 2.25, 2.50, 2.50, 2.25, 0.25, 2.25, 3.00, 3.50]),
            ("dgamma", [0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0.50, 0.50, 0.25, 0.50, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0.50]),
            ("dbeta",  [0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0.50, 0.50, 0.25]),
        ];

        fn options(layout: &Layout, source: &mut Source<'_>) -> Options {
            Forward::options(layout, source)
        }

        fn with_eps(options: Options, eps: f64) -> Option<Options> {
            Forward::with_eps(options, eps)
        }

        fn refused(layout: &Layout) -> Vec<(Options, Error)> {
            Forward::refused(layout)
        }

        fn prepare(case: &Case<Options>, arrays: &mut Arrays) {
            prepare(&case.layout, (case.options.groups, case.options.eps), arrays);
        }

        fn reference(case: &Case<Options>, arrays: &mut Arrays) {
            reference_backward(&case.layout, case.options.groups, arrays);
        }

        fn oracle(case: &Case<Options>, arrays: &Arrays) -> Vec<Expected> {
            expected_backward(&case.layout, (case.options.groups, case.options.eps), arrays)
        }

        fn forward(
            case: &Case<Options>,
            _: &Arrays,
            [x, gamma, beta]: [&[f64]; 3],
        ) -> Option<Vec<f64>> {
            let (shape, Options { groups, eps }) = (shape(&case.layout), case.options);
            Some(oracle::group_norm(shape, groups, x, Some(gamma), Some(beta), eps).y)
        }

        fn meets(case: &Case<Options>, from: (usize, usize), to: (usize, usize)) -> bool {
            Forward::meets(case, from, to)
        }
    }

    impl Subject for Forward {
        #[rustfmt::skip]
        const LIMITS: &'static [(&'static str, Limits)] = &[
            ("y",          [3.50, 2.75, 2.75, 2.50, 2.50, 0.25, 0.25, 3.25, 0.50, 0.50, 3.25, 0.50, 0.50, 0.50, 1.50, 1.50, 3.00]),
            ("saved_mean", [0.50, 0.75, 0.75, 0.50, 0.50, 0.25, 0.50, 0.50, 0.25, 0.25, 0.50, 0.25, 0.25, 0.75, 0.50, 0.50, 1.00]),
            ("saved_rstd", [1.00, 1.00, 1.00, 0.75, 0.75, 0.50, 0.50, 1.00, 0.75, 0.50, 1.25, 0.75, 0.50, 0.25, 0.50, 0.50, 3.00]),
        ];
        const NORMALIZES: bool = true;

        fn options(layout: &Layout, source: &mut Source<'_>) -> Options {
            let channels = layout.channels();
            let groups: Vec<usize> =
                (1..=channels.max(1)).filter(|&g| channels.is_multiple_of(g)).collect();
            Options { groups: source.choose(&groups), eps: source.eps() }
        }

        fn with_eps(options: Options, eps: f64) -> Option<Options> {
            Some(Options { eps, ..options })
        }

        fn refused(layout: &Layout) -> Vec<(Options, Error)> {
            let channels = layout.channels();
            let groups =
                |groups, eps| (Options { groups, eps }, Error::Groups { channels, groups });
            let divides = |groups: &usize| channels.is_multiple_of(*groups);
            let bad = (0..channels + 9).filter(|groups| !divides(groups)).chain([usize::MAX]);
            // The groups come first.
            let bad_groups = bad.flat_map(|g| [groups(g, 1e-5), groups(g, -1.0)]);
            let bad_eps = [f64::NAN, -1e-5, f64::INFINITY, f64::NEG_INFINITY];
            let bad_eps =
                bad_eps.map(|eps| (Options { groups: 1, eps }, Error::Epsilon { found: eps }));
            bad_groups.filter(|_| channels > 0).chain(bad_eps).collect()
        }

        fn reference(case: &Case<Options>, arrays: &mut Arrays) {
            if case.layout.is_empty() {
                return;
            }
            let (Options { groups, eps }, affine) = (case.options, reference_affine(arrays));
            let out = reference::forward(&case.layout, groups, eps, arrays.f32("x"), affine);
            arrays.write("y", out.y);
            arrays.write("saved_mean", out.saved_mean);
            arrays.write("saved_rstd", out.saved_rstd);
        }

        fn oracle(case: &Case<Options>, arrays: &Arrays) -> Vec<Expected> {
            let (shape, Options { groups, eps }) = (shape(&case.layout), case.options);
            let x = arrays.wide("x");
            let rows = (0..shape.batch).flat_map(|n| (0..groups).map(move |g| (n, g)));
            let stats: Vec<_> = rows
                .map(|(n, g)| oracle::moments(shape.group(n, g, groups).map(|i| x[i])))
                .collect();
            let width = shape.channels / groups;
            let row = |i: usize| shape.sample_of(i) * groups + shape.channel_of(i) / width;
            let mut out = vec![normalized(arrays, |i| (&stats[row(i)], shape.channel_of(i)), eps)];
            if arrays.has("saved_mean") {
                out.extend(saved(&stats, eps));
            }
            out
        }

        fn meets(case: &Case<Options>, from: (usize, usize), to: (usize, usize)) -> bool {
            let width = case.layout.channels() / case.options.groups;
            from.0 == to.0 && from.1 / width == to.1 / width
        }
    }
}

#[cfg(feature = "judges")]
pub(crate) use judged::{expected_backward, prepare, reference_backward};
