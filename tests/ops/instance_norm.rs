//! Instance normalization.

use crate::batch_norm::{self, Options};
use crate::call::{Args, Case, Holds, Op, Slot, affine, channels, decorated, elements, gradients};
use evenkeel::{Backend, Error, Given, InstanceNorm, Keep, Running, Saved, Statistics};

fn op(case: &Case<Options>, backend: Backend) -> InstanceNorm {
    let Options { eps, momentum, running_variance } = case.options;
    InstanceNorm::new(case.layout)
        .eps(eps)
        .momentum(momentum)
        .running_variance(running_variance)
        .backend(backend)
}

/// One a channel of a sample.
fn instances(case: &Case<Options>) -> usize {
    case.layout.batch() * case.layout.channels()
}

pub struct Forward;

impl Op for Forward {
    const NAME: &'static str = "InstanceNorm::forward";
    type Options = Options;
    const SLOTS: &'static [Slot<Options>] = &[
        Slot::x(),
        Slot::y(),
        Slot::residual(),
        Slot::gamma(),
        Slot::beta(),
        Slot::update("running_mean", Holds::Mean, channels).optional(2),
        Slot::update("running_var", Holds::Variance, channels).optional(2),
        Slot::write("saved_mean", instances).optional(3),
        Slot::write("saved_rstd", instances).optional(3),
    ];

    fn call(case: &Case<Options>, backend: Backend, args: Args<'_>) -> Result<(), Error> {
        let [x, y, residual, gamma, beta, mean, var, saved_mean, saved_rstd, _] = args;
        let running = mean.pair(var).map(|[mean, var]| Running { mean, var });
        let saved = saved_mean.pair(saved_rstd).map(|[mean, rstd]| Saved { mean, rstd });
        let io = decorated(case, x, y, residual);
        op(case, backend).forward(io, affine(gamma, beta), Keep { running, saved })
    }
}

pub struct Infer;

impl Op for Infer {
    const NAME: &'static str = "InstanceNorm::infer";
    type Options = Options;
    const SLOTS: &'static [Slot<Options>] = batch_norm::Infer::SLOTS;

    fn call(case: &Case<Options>, backend: Backend, args: Args<'_>) -> Result<(), Error> {
        let [x, y, residual, gamma, beta, mean, var, ..] = args;
        let given = Given::Running { mean: mean.f32(), var: var.f32() };
        op(case, backend).infer(decorated(case, x, y, residual), affine(gamma, beta), given)
    }
}

pub struct Backward;

impl Op for Backward {
    const NAME: &'static str = "InstanceNorm::backward";
    type Options = Options;
    const SLOTS: &'static [Slot<Options>] = &[
        Slot::read("dy", Holds::Gradient, elements),
        Slot::x(),
        Slot::gamma(),
        Slot::read("saved_mean", Holds::SavedMean, instances),
        Slot::read("saved_rstd", Holds::SavedRstd, instances),
        Slot::write("dx", elements).optional(2),
        Slot::write("dgamma", channels).optional(3),
        Slot::write("dbeta", channels).optional(4),
    ];

    fn call(case: &Case<Options>, backend: Backend, args: Args<'_>) -> Result<(), Error> {
        let [dy, x, gamma, mean, rstd, dx, dgamma, dbeta, ..] = args;
        let statistics = Statistics { mean: mean.f32(), rstd: rstd.f32() };
        let into = gradients(dx, dgamma, dbeta);
        op(case, backend).backward(dy.f32(), x.f32(), gamma.maybe_read(), statistics, into)
    }
}

#[cfg(feature = "judges")]
mod judged {
    use super::{Backward, Forward, Infer, Options};
    use crate::batch_norm::{self, normalized, reference_affine, running_after, saved};
    use crate::call::Case;
    use crate::group_norm;
    use crate::oracle::{self, Stats};
    use crate::reference::batch_norm::instance_norm;
    use crate::subject::{Expected, Limits, Subject, shape};
    use crate::{Arrays, Source};
    use evenkeel::{Error, Layout};

    /// Each channel of a sample by itself, all of one sample together.
    fn stats(case: &Case<Options>, x: &[f64]) -> Vec<Stats> {
        let shape = shape(&case.layout);
        let all = (0..shape.batch).flat_map(|n| (0..shape.channels).map(move |c| (n, c)));
        all.map(|(n, c)| oracle::moments(shape.group(n, c, shape.channels).map(|i| x[i]))).collect()
    }

    impl Subject for Forward {
        #[rustfmt::skip]
        const LIMITS: &'static [(&'static str, Limits)] = &[
            ("y",            [2.75, 3.50, 2.50, 2.75, 2.00, 0.25, 0.25, 3.25, 0.50, 0.50, 3.00, 0.50, 0.50, 0.50, 0.25, 0.25, 4.25]),
            ("saved_mean",   [0.50, 0.75, 0.75, 0.75, 0.25, 0.25, 0.25, 0.50, 0.25, 0.25, 0.25, 0.25, 0.25, 0.75, 0.25, 0.25, 0.25]),
            ("saved_rstd",   [0.75, 1.25, 1.00, 0.75, 0.75, 0.50, 0.50, 0.75, 0.75, 0.50, 1.00, 0.75, 0.50, 0.25, 0.50, 0.25, 4.25]),
            ("running_mean", [0.75, 1.25, 1.25, 1.00, 0.75, 1.25, 1.25, 0.25, 0.25, 0.25, 1.25, 1.25, 1.25, 1.25, 1.50, 1.50, 0.25]),
            ("running_var",  [1.25, 1.75, 1.25, 1.25, 1.25, 1.25, 1.25, 1.25, 0.50, 0.50, 1.25, 1.25, 1.25, 1.25, 1.25, 1.25, 6.25]),
        ];
        const NORMALIZES: bool = true;

        fn options(layout: &Layout, source: &mut Source<'_>) -> Options {
            batch_norm::Train::options(layout, source)
        }

        fn with_eps(options: Options, eps: f64) -> Option<Options> {
            Some(Options { eps, ..options })
        }

        fn refused(layout: &Layout) -> Vec<(Options, Error)> {
            batch_norm::Train::refused(layout)
        }

        fn reference(case: &Case<Options>, arrays: &mut Arrays) {
            if case.layout.is_empty() {
                return;
            }
            let zeros = vec![0.0; case.layout.channels()];
            let old = |name| arrays.maybe(name).unwrap_or(&zeros);
            let running = (old("running_mean"), old("running_var"));
            let (options, x) = (case.options.reference(), arrays.f32("x"));
            let out = instance_norm(&case.layout, options, x, reference_affine(arrays), running);
            arrays.write("y", out.y);
            arrays.write("running_mean", out.running_mean);
            arrays.write("running_var", out.running_var);
            arrays.write("saved_mean", out.saved_mean);
            arrays.write("saved_rstd", out.saved_rstd);
        }

        fn oracle(case: &Case<Options>, arrays: &Arrays) -> Vec<Expected> {
            let (shape, eps) = (shape(&case.layout), case.options.eps);
            let stats = stats(case, &arrays.wide("x"));
            let instance = |i: usize| shape.sample_of(i) * shape.channels + shape.channel_of(i);
            let of = |i: usize| (&stats[instance(i)], shape.channel_of(i));
            let mut out = vec![normalized(arrays, of, eps)];
            if arrays.has("saved_mean") {
                out.extend(saved(&stats, eps));
            }
            if arrays.has("running_mean") && !case.layout.is_empty() {
                let per_channel: Vec<Vec<Stats>> = (0..shape.channels)
                    .map(|c| stats.iter().skip(c).step_by(shape.channels).copied().collect())
                    .collect();
                out.extend(running_after(case, arrays, &per_channel));
            }
            out
        }

        fn meets(_: &Case<Options>, from: (usize, usize), to: (usize, usize)) -> bool {
            from == to
        }
    }

    impl Subject for Infer {
        const LIMITS: &'static [(&'static str, Limits)] = batch_norm::Infer::LIMITS;

        fn options(layout: &Layout, source: &mut Source<'_>) -> Options {
            batch_norm::Infer::options(layout, source)
        }

        fn with_eps(options: Options, eps: f64) -> Option<Options> {
            Some(Options { eps, ..options })
        }

        fn refused(layout: &Layout) -> Vec<(Options, Error)> {
            batch_norm::Infer::refused(layout)
        }

        fn reference(case: &Case<Options>, arrays: &mut Arrays) {
            batch_norm::Infer::reference(case, arrays);
        }

        fn oracle(case: &Case<Options>, arrays: &Arrays) -> Vec<Expected> {
            batch_norm::Infer::oracle(case, arrays)
        }
    }

    impl Subject for Backward {
        #[rustfmt::skip]
        const LIMITS: &'static [(&'static str, Limits)] = &[
            ("dx",     [2.75, 2.50, 2.75, 2.75, 2.25, 2.25, 2.25, 3.00, 2.50, 2.25, 2.50, 2.50, 2.25, 0.25, 2.50, 0.25, 3.75]),
            ("dgamma", [0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0.50, 0.50, 0.25, 0.50, 0.25, 0.50, 0.25, 0.25, 0.25, 0.25, 0.50]),
            ("dbeta",  [0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0.50, 0.50, 0.25]),
        ];

        fn options(layout: &Layout, source: &mut Source<'_>) -> Options {
            batch_norm::Backward::options(layout, source)
        }

        fn with_eps(options: Options, eps: f64) -> Option<Options> {
            Some(Options { eps, ..options })
        }

        fn refused(layout: &Layout) -> Vec<(Options, Error)> {
            batch_norm::Backward::refused(layout)
        }

        fn prepare(case: &Case<Options>, arrays: &mut Arrays) {
            let groups = case.layout.channels();
            group_norm::prepare(&case.layout, (groups, case.options.eps), arrays);
        }

        fn reference(case: &Case<Options>, arrays: &mut Arrays) {
            group_norm::reference_backward(&case.layout, case.layout.channels(), arrays);
        }

        fn oracle(case: &Case<Options>, arrays: &Arrays) -> Vec<Expected> {
            let groups = case.layout.channels();
            group_norm::expected_backward(&case.layout, (groups, case.options.eps), arrays)
        }

        fn forward(
            case: &Case<Options>,
            _: &Arrays,
            [x, gamma, beta]: [&[f64]; 3],
        ) -> Option<Vec<f64>> {
            let (shape, eps) = (shape(&case.layout), case.options.eps);
            let y = oracle::group_norm(shape, shape.channels, x, Some(gamma), Some(beta), eps);
            Some(y.y)
        }

        fn meets(_: &Case<Options>, from: (usize, usize), to: (usize, usize)) -> bool {
            from == to
        }
    }
}
