//! Batch normalization: training, inference, population statistics, gradients, folding.

use crate::call::{Args, Case, Holds, Op, Slot, affine, channels, decorated, elements, gradients};
use evenkeel::{
    Backend, BatchNorm, Error, Given, Keep, Momentum, Running, RunningVariance, Saved, Statistics,
    Weight,
};

#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub eps: f64,
    pub momentum: Momentum,
    pub running_variance: RunningVariance,
}

fn op(case: &Case<Options>, backend: Backend) -> BatchNorm {
    let Options { eps, momentum, running_variance } = case.options;
    BatchNorm::new(case.layout)
        .eps(eps)
        .momentum(momentum)
        .running_variance(running_variance)
        .backend(backend)
}

const MEAN: Slot<Options> = Slot::read("mean", Holds::Mean, channels);
const VAR: Slot<Options> = Slot::read("var", Holds::Variance, channels);

pub struct Train;

impl Op for Train {
    const NAME: &'static str = "BatchNorm::train";
    type Options = Options;
    const SLOTS: &'static [Slot<Options>] = &[
        Slot::x(),
        Slot::y(),
        Slot::residual(),
        Slot::gamma(),
        Slot::beta(),
        Slot::update("running_mean", Holds::Mean, channels).optional(2),
        Slot::update("running_var", Holds::Variance, channels).optional(2),
        Slot::write("saved_mean", channels).optional(3),
        Slot::write("saved_rstd", channels).optional(3),
    ];

    fn call(case: &Case<Options>, backend: Backend, args: Args<'_>) -> Result<(), Error> {
        let [x, y, residual, gamma, beta, mean, var, saved_mean, saved_rstd, _] = args;
        let running = mean.pair(var).map(|[mean, var]| Running { mean, var });
        let saved = saved_mean.pair(saved_rstd).map(|[mean, rstd]| Saved { mean, rstd });
        op(case, backend).train(
            decorated(case, x, y, residual),
            affine(gamma, beta),
            Keep { running, saved },
        )
    }
}

pub struct Infer;

impl Op for Infer {
    const NAME: &'static str = "BatchNorm::infer";
    type Options = Options;
    const SLOTS: &'static [Slot<Options>] =
        &[Slot::x(), Slot::y(), Slot::residual(), Slot::gamma(), Slot::beta(), MEAN, VAR];

    fn call(case: &Case<Options>, backend: Backend, args: Args<'_>) -> Result<(), Error> {
        let [x, y, residual, gamma, beta, mean, var, ..] = args;
        let given = Given::Running { mean: mean.f32(), var: var.f32() };
        op(case, backend).infer(decorated(case, x, y, residual), affine(gamma, beta), given)
    }
}

pub struct InferPopulation;

impl Op for InferPopulation {
    const NAME: &'static str = "BatchNorm::infer by moments";
    type Options = Options;
    const SLOTS: &'static [Slot<Options>] =
        &[Slot::x(), Slot::y(), Slot::residual(), Slot::gamma(), Slot::beta(), Slot::moments()];

    fn call(case: &Case<Options>, backend: Backend, args: Args<'_>) -> Result<(), Error> {
        let [x, y, residual, gamma, beta, moments, ..] = args;
        let given = Given::Population(moments.moments());
        op(case, backend).infer(decorated(case, x, y, residual), affine(gamma, beta), given)
    }
}

pub struct Collect;

impl Op for Collect {
    const NAME: &'static str = "BatchNorm::collect";
    type Options = Options;
    const SLOTS: &'static [Slot<Options>] =
        &[Slot::x(), Slot::update("moments", Holds::Moments, channels)];

    fn call(case: &Case<Options>, backend: Backend, args: Args<'_>) -> Result<(), Error> {
        let [x, moments, ..] = args;
        op(case, backend).collect(x.f32(), moments.moments())
    }
}

/// The slices that both backward passes begin and end with.
const DY: Slot<Options> = Slot::read("dy", Holds::Gradient, elements);
const DX: Slot<Options> = Slot::write("dx", elements).optional(2);
const DGAMMA: Slot<Options> = Slot::write("dgamma", channels).optional(3);
const DBETA: Slot<Options> = Slot::write("dbeta", channels).optional(4);

pub struct Backward;

impl Op for Backward {
    const NAME: &'static str = "BatchNorm::backward";
    type Options = Options;
    const SLOTS: &'static [Slot<Options>] = &[
        DY,
        Slot::x(),
        Slot::gamma(),
        Slot::read("saved_mean", Holds::SavedMean, channels),
        Slot::read("saved_rstd", Holds::SavedRstd, channels),
        DX,
        DGAMMA,
        DBETA,
    ];

    fn call(case: &Case<Options>, backend: Backend, args: Args<'_>) -> Result<(), Error> {
        let [dy, x, gamma, mean, rstd, dx, dgamma, dbeta, ..] = args;
        let statistics = Statistics { mean: mean.f32(), rstd: rstd.f32() };
        let into = gradients(dx, dgamma, dbeta);
        op(case, backend).backward(dy.f32(), x.f32(), gamma.maybe_read(), statistics, into)
    }
}

/// Through constants.
pub struct BackwardGiven;

impl Op for BackwardGiven {
    const NAME: &'static str = "BatchNorm::backward at given statistics";
    type Options = Options;
    const SLOTS: &'static [Slot<Options>] =
        &[DY, Slot::x(), Slot::gamma(), MEAN, VAR, DX, DGAMMA, DBETA];

    fn call(case: &Case<Options>, backend: Backend, args: Args<'_>) -> Result<(), Error> {
        let [dy, x, gamma, mean, var, dx, dgamma, dbeta, ..] = args;
        let given = Given::Running { mean: mean.f32(), var: var.f32() };
        let into = gradients(dx, dgamma, dbeta);
        op(case, backend).backward(dy.f32(), x.f32(), gamma.maybe_read(), given, into)
    }
}

pub struct Fold;

#[derive(Clone, Copy, Debug)]
pub struct FoldOptions {
    pub eps: f64,
    pub layer: Layer,
}

/// The layer that is folded into: weights are [channels, inputs · kernel] or
/// [groups · inputs, channels / groups, kernel].
#[derive(Clone, Copy, Debug)]
pub enum Layer {
    Forward { inputs: usize },
    Transposed { groups: usize, inputs: usize, kernel: usize },
}

fn weights(case: &Case<FoldOptions>) -> usize {
    let channels = case.layout.channels();
    match case.options.layer {
        Layer::Forward { inputs } => inputs * channels,
        Layer::Transposed { inputs, kernel, .. } => inputs * channels * kernel,
    }
}

impl Op for Fold {
    const NAME: &'static str = "BatchNorm::fold";
    type Options = FoldOptions;
    const SLOTS: &'static [Slot<FoldOptions>] = &[
        Slot::gamma(),
        Slot::beta(),
        Slot::read("mean", Holds::Mean, channels),
        Slot::read("var", Holds::Positive, channels),
        // Any multiple will do.
        Slot::update("weight", Holds::Any, weights).unchecked(),
        Slot::update("bias", Holds::Any, channels),
    ];

    fn call(case: &Case<FoldOptions>, backend: Backend, args: Args<'_>) -> Result<(), Error> {
        let [gamma, beta, mean, var, weight, bias, ..] = args;
        let given = Given::Running { mean: mean.f32(), var: var.f32() };
        let weight = match (case.options.layer, weight.f32()) {
            (Layer::Forward { .. }, weight) => Weight::OutputFirst(weight),
            (Layer::Transposed { groups, kernel, .. }, weight) => {
                Weight::Transposed { weight, groups, kernel }
            }
        };
        let op = BatchNorm::new(case.layout).eps(case.options.eps).backend(backend);
        op.fold(affine(gamma, beta), given, weight, bias.f32())
    }
}

#[cfg(feature = "judges")]
mod judged {
    use super::{
        Backward, BackwardGiven, Collect, Fold, FoldOptions, Infer, InferPopulation, Layer,
        Options, Train,
    };
    use crate::call::Case;
    use crate::oracle::{self, Stats, output_scale, widen};
    use crate::reference::backward::{self, Gradients};
    use crate::reference::batch_norm as reference;
    use crate::reference::moments::Triple;
    use crate::subject::{Expected, Limits, NONE, Subject, shape};
    use crate::{Arrays, Source};
    use evenkeel::{Error, Layout, Moments, Momentum, RunningVariance};

    const BAD_EPS: [f64; 4] = [f64::NAN, -1e-5, f64::INFINITY, f64::NEG_INFINITY];

    impl Options {
        /// What the crate begins with.
        pub const DEFAULT: Self = Self {
            eps: 1e-5,
            momentum: Momentum::Exponential(0.1),
            running_variance: RunningVariance::Unbiased,
        };

        fn drawn(source: &mut Source<'_>) -> Self {
            let momentum = [
                Momentum::Exponential(0.1),
                Momentum::Cumulative { batches: 3 },
                Momentum::Exponential(1.0),
                Momentum::Cumulative { batches: 1 },
                Momentum::Exponential(0.0),
            ];
            Self {
                eps: source.eps(),
                momentum: source.choose(&momentum),
                running_variance: source
                    .choose(&[RunningVariance::Unbiased, RunningVariance::Biased]),
            }
        }

        fn bad_eps() -> impl Iterator<Item = (Self, Error)> {
            BAD_EPS
                .map(|eps| (Self { eps, ..Self::DEFAULT }, Error::Epsilon { found: eps }))
                .into_iter()
        }

        fn bad_momentum() -> impl Iterator<Item = (Self, Error)> {
            let factors = [f64::NAN, -0.1, 1.1, f64::INFINITY];
            let factors =
                factors.map(|found| (Momentum::Exponential(found), Error::Momentum { found }));
            let count = (Momentum::Cumulative { batches: 0 }, Error::Batches);
            let with = |momentum, eps| Self { momentum, eps, ..Self::DEFAULT };
            factors.into_iter().chain([count]).flat_map(move |(momentum, error)| {
                // eps comes first.
                let both = Error::Epsilon { found: -1.0 };
                [(with(momentum, 1e-5), error), (with(momentum, -1.0), both)]
            })
        }

        pub(crate) fn reference(self) -> reference::Options {
            let Self { eps, momentum, running_variance } = self;
            reference::Options { eps, momentum, running_variance }
        }
    }

    pub(crate) fn reference_affine(arrays: &Arrays) -> reference::Affine<'_> {
        reference::Affine { gamma: arrays.maybe("gamma"), beta: arrays.maybe("beta") }
    }

    /// y of a normalization, from one (statistics, channel) an element.
    pub(crate) fn normalized<'a>(
        arrays: &Arrays,
        of: impl Fn(usize) -> (&'a Stats, usize),
        eps: f64,
    ) -> Expected {
        let parameter = |name: &str, missing: f64| {
            let values = arrays.iter().any(|(n, _)| n == name).then(|| arrays.maybe_wide(name));
            move |c: usize| values.as_ref().and_then(|v| v.as_ref()).map_or(missing, |v| v[c])
        };
        let (gamma, beta) = (parameter("gamma", 1.0), parameter("beta", 0.0));
        let x = arrays.f32("x").iter().enumerate();
        Expected::new(
            "y",
            x.map(|(i, &x)| {
                let (stats, c) = of(i);
                let (gamma, beta) = (gamma(c), beta(c));
                let y = stats.centred(x.into()) * stats.rstd(eps) * gamma + beta;
                (y, output_scale(y, gamma, beta))
            }),
        )
    }

    fn normalized_channels(case: &Case<Options>, arrays: &Arrays, stats: &[Stats]) -> Expected {
        let shape = shape(&case.layout);
        normalized(arrays, |i| (&stats[shape.channel_of(i)], shape.channel_of(i)), case.options.eps)
    }

    pub(crate) fn saved(stats: &[Stats], eps: f64) -> [Expected; 2] {
        let mean = |s: &Stats| (s.mean + s.low, s.mean.abs().max(s.std_dev()));
        // A reciprocal above the largest f32 is saved as that number.
        let rstd = |s: &Stats| s.rstd(eps).min(f32::MAX.into());
        [
            Expected::new("saved_mean", stats.iter().map(mean)),
            Expected::new("saved_rstd", stats.iter().map(|s| (rstd(s), rstd(s)))),
        ]
    }

    /// Running statistics after a step, from the statistics of each channel: one, or one a sample,
    /// of which the mean counts.
    pub(crate) fn running_after(
        case: &Case<Options>,
        arrays: &Arrays,
        stats: &[Vec<Stats>],
    ) -> [Expected; 2] {
        let factor = f64::from(match case.options.momentum {
            Momentum::Exponential(factor) => factor as f32,
            Momentum::Cumulative { batches } => (1.0 / batches as f64) as f32,
        });
        let [old_mean, old_var] = ["running_mean", "running_var"].map(|name| arrays.wide(name));
        let mean_of = |stats: &[Stats], of: &dyn Fn(&Stats) -> f64| {
            oracle::sum(stats.iter().map(of)) / stats.len() as f64
        };
        let means = stats.iter().zip(old_mean).map(move |(s, old)| {
            let size = mean_of(s, &|s| s.mean.abs().max(s.std_dev()));
            let value = (1.0 - factor) * old + factor * mean_of(s, &|s| s.mean + s.low);
            (value, (1.0 - factor) * old.abs() + factor * size)
        });
        // The variance saturates before and after it is mixed in.
        let most = f64::from(f32::MAX);
        let variances = stats.iter().zip(old_var).map(move |(s, old)| {
            let new = match case.options.running_variance {
                _ if s.iter().any(|s| s.count == 1) => return (old, old),
                RunningVariance::Biased => mean_of(s, &|s| s.var.min(most)),
                RunningVariance::Unbiased => mean_of(s, &|s| s.sample_var().min(most)),
            };
            let value = ((1.0 - factor) * old + factor * new).min(most);
            (value, value)
        });
        [Expected::new("running_mean", means), Expected::new("running_var", variances)]
    }

    fn channel_stats(case: &Case<Options>, arrays: &Arrays) -> Vec<Stats> {
        oracle::channel_stats(shape(&case.layout), &arrays.wide("x"))
    }

    impl Subject for Train {
        #[rustfmt::skip]
        const LIMITS: &'static [(&'static str, Limits)] = &[
            ("y",            [2.75, 2.25, 2.50, 2.00, 1.75, 0.25, 0.25, 3.25, 0.50, 0.50, 3.25, 0.50, 0.50, 0.50, 0.25, 0.25, 2.25]),
            ("saved_mean",   [0.75, 0.75, 0.75, 0.75, 0.25, 0.25, 0.50, 0.50, 0.25, 0.25, 0.50, 0.25, 0.25, 0.50, 0.25, 0.25, 0.50]),
            ("saved_rstd",   [1.00, 1.00, 1.00, 0.75, 0.75, 0.50, 0.50, 1.25, 0.75, 0.50, 1.00, 0.75, 0.75, 0.25, 0.50, 0.25, 3.00]),
            ("running_mean", [1.25, 1.00, 1.00, 1.00, 1.00, 1.25, 1.25, 0.50, 0.25, 0.25, 1.25, 1.25, 1.25, 1.25, 1.25, 1.25, 0.25]),
            ("running_var",  [1.75, 1.50, 1.25, 1.75, 1.25, 1.25, 1.25, 1.75, 0.50, 0.50, 1.25, 1.25, 1.25, 1.25, 1.25, 1.25, 4.75]),
        ];
        const NORMALIZES: bool = true;

        fn options(_: &Layout, source: &mut Source<'_>) -> Options {
            Options::drawn(source)
        }

        fn with_eps(options: Options, eps: f64) -> Option<Options> {
            Some(Options { eps, ..options })
        }

        fn refused(_: &Layout) -> Vec<(Options, Error)> {
            Options::bad_eps().chain(Options::bad_momentum()).collect()
        }

        fn reference(case: &Case<Options>, arrays: &mut Arrays) {
            if case.layout.is_empty() {
                return;
            }
            let zeros = vec![0.0; case.layout.channels()];
            let old = |name| arrays.maybe(name).unwrap_or(&zeros);
            let running = (old("running_mean"), old("running_var"));
            let options = case.options.reference();
            let x = arrays.f32("x");
            let out = reference::train(&case.layout, options, x, reference_affine(arrays), running);
            arrays.write("y", out.y);
            arrays.write("running_mean", out.running_mean);
            arrays.write("running_var", out.running_var);
            arrays.write("saved_mean", out.saved_mean);
            arrays.write("saved_rstd", out.saved_rstd);
        }

        fn oracle(case: &Case<Options>, arrays: &Arrays) -> Vec<Expected> {
            let stats = channel_stats(case, arrays);
            let mut out = vec![normalized_channels(case, arrays, &stats)];
            if arrays.has("saved_mean") {
                out.extend(saved(&stats, case.options.eps));
            }
            if arrays.has("running_mean") {
                let each: Vec<_> = stats.iter().map(|stats| vec![*stats]).collect();
                out.extend(running_after(case, arrays, &each));
            }
            out
        }

        fn meets(_: &Case<Options>, from: (usize, usize), to: (usize, usize)) -> bool {
            from.1 == to.1
        }
    }

    impl Subject for Infer {
        #[rustfmt::skip]
        const LIMITS: &'static [(&'static str, Limits)] = &[
            ("y", [3.00, 2.75, 2.00, 2.50, 1.75, 0.25, 0.25, 2.50, NONE, NONE, 2.75, 3.00, NONE, NONE, 0.25, 0.25, 1.25]),
        ];

        fn options(_: &Layout, source: &mut Source<'_>) -> Options {
            Options::drawn(source)
        }

        fn with_eps(options: Options, eps: f64) -> Option<Options> {
            Some(Options { eps, ..options })
        }

        fn refused(_: &Layout) -> Vec<(Options, Error)> {
            Options::bad_eps().collect()
        }

        fn reference(case: &Case<Options>, arrays: &mut Arrays) {
            let (mean, var) = (arrays.f32("mean"), arrays.f32("var"));
            let (eps, x, affine) = (case.options.eps, arrays.f32("x"), reference_affine(arrays));
            let y = reference::infer(&case.layout, eps, x, affine, mean, var);
            arrays.write("y", y);
        }

        fn oracle(case: &Case<Options>, arrays: &Arrays) -> Vec<Expected> {
            vec![normalized_channels(case, arrays, &given(arrays))]
        }
    }

    fn given(arrays: &Arrays) -> Vec<Stats> {
        let (mean, var) = (arrays.wide("mean"), arrays.wide("var"));
        mean.into_iter().zip(var).map(|(mean, var)| Stats::given(mean, var)).collect()
    }

    /// A channel's moments as the reference has them.
    pub(crate) fn triple(moments: &Moments) -> Triple {
        Triple::from_parts(moments.count(), moments.mean(), moments.m2())
    }

    fn moments(triple: &Triple) -> Moments {
        Moments::from_parts(triple.n, triple.mean, triple.m2)
    }

    /// The moments of x, by the reference.
    pub(crate) fn collected(layout: &Layout, x: &[f32], old: &[Moments]) -> Vec<Moments> {
        let mut triples: Vec<_> = old.iter().map(triple).collect();
        reference::collect(layout, x, &mut triples);
        triples.iter().map(moments).collect()
    }

    /// Inference by the moments that are given.
    fn population(layout: &Layout, eps: f64, arrays: &mut Arrays) {
        if layout.is_empty() {
            return;
        }
        let triples: Vec<_> = arrays.moments("moments").iter().map(triple).collect();
        let affine = reference_affine(arrays);
        let y = reference::infer_population(layout, eps, arrays.f32("x"), affine, &triples);
        arrays.write("y", y);
    }

    /// Moments of x itself, whose oracle is that of training.
    pub(crate) fn prepare_moments(layout: &Layout, arrays: &mut Arrays) {
        let empty = vec![Moments::new(); layout.channels()];
        let moments = collected(layout, arrays.f32("x"), &empty);
        arrays.write("moments", moments);
    }

    impl Subject for InferPopulation {
        #[rustfmt::skip]
        const LIMITS: &'static [(&'static str, Limits)] = &[
            ("y", [2.75, 2.75, 2.50, 2.00, 2.00, 0.25, 0.25, 3.00, 0.50, 0.50, 3.75, 0.50, 0.50, 0.50, 0.25, 0.25, 3.00]),
        ];
        const NORMALIZES: bool = true;

        fn options(_: &Layout, source: &mut Source<'_>) -> Options {
            Options::drawn(source)
        }

        fn with_eps(options: Options, eps: f64) -> Option<Options> {
            Some(Options { eps, ..options })
        }

        fn refused(_: &Layout) -> Vec<(Options, Error)> {
            Options::bad_eps().collect()
        }

        fn prepare(case: &Case<Options>, arrays: &mut Arrays) {
            prepare_moments(&case.layout, arrays);
        }

        fn reference(case: &Case<Options>, arrays: &mut Arrays) {
            population(&case.layout, case.options.eps, arrays);
        }

        fn oracle(case: &Case<Options>, arrays: &Arrays) -> Vec<Expected> {
            vec![normalized_channels(case, arrays, &channel_stats(case, arrays))]
        }

        fn meets(_: &Case<Options>, from: (usize, usize), to: (usize, usize)) -> bool {
            from.1 == to.1
        }
    }

    /// Count, mean and m2 of every channel, after those that were there.
    pub(crate) fn collected_moments(layout: &Layout, arrays: &Arrays) -> Expected {
        let stats = oracle::channel_stats(shape(layout), &arrays.wide("x"));
        let old = arrays.moments("moments");
        let each = stats.iter().zip(old).flat_map(|(s, old)| {
            let (n, m) = (s.count as f64, old.count() as f64);
            let total = (n + m).max(1.0);
            let delta = s.mean + s.low - old.mean();
            let mean = old.mean() + delta * n / total;
            let m2 = old.m2() + s.var * n + delta * delta * n * m / total;
            [(n + m, n + m), (mean, (m2 / total).sqrt().max(mean.abs() * 1e-8)), (m2, m2)]
        });
        Expected { wide: true, ..Expected::new("moments", each) }
    }

    impl Subject for Collect {
        #[rustfmt::skip]
        const LIMITS: &'static [(&'static str, Limits)] = &[
            ("moments", [0.75, 0.50, 0.75, 0.25, 0.25, 0.25, 0.50, 1.25, 0.25, 0.25, 0.50, 0.25, 0.25, 0.25, 0.25, 0.25, 3.25]),
        ];

        fn options(_: &Layout, source: &mut Source<'_>) -> Options {
            Options::drawn(source)
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

    pub(crate) fn write_gradients(arrays: &mut Arrays, out: Gradients) {
        arrays.write("dx", out.x);
        arrays.write("dgamma", out.gamma);
        arrays.write("dbeta", out.beta);
    }

    pub(crate) fn expected_gradients(out: oracle::Gradients) -> Vec<Expected> {
        let pairs = |values: Vec<f64>, scale: Vec<f64>| values.into_iter().zip(scale);
        vec![
            Expected::new("dx", pairs(out.dx, out.dx_scale)),
            Expected::new("dgamma", pairs(out.dgamma, out.dgamma_scale)),
            Expected::new("dbeta", pairs(out.dbeta, out.dbeta_scale)),
        ]
    }

    impl Subject for Backward {
        #[rustfmt::skip]
        const LIMITS: &'static [(&'static str, Limits)] = &[
            ("dx",     [2.25, 2.25, 2.25, 2.25, 2.00, 2.00, 2.00, 2.50, 2.00, 2.25, 2.25, 2.50, 2.00, NONE, 2.00, 0.25, 3.75]),
            ("dgamma", [1.00, 0.75, 0.75, 0.75, 0.50, 0.75, 0.50, 0.75, 0.75, 0.75, 0.50, 0.75, 0.50, NONE, 0.25, 0.25, 3.00]),
            ("dbeta",  [0.50, 0.75, 0.50, 0.50, 0.50, 0.50, 0.50, 0.50, 0.50, 0.50, 0.50, 0.50, 0.50, NONE, 0.50, 0.50, 0.50]),
        ];

        fn options(_: &Layout, source: &mut Source<'_>) -> Options {
            Options::drawn(source)
        }

        fn with_eps(options: Options, eps: f64) -> Option<Options> {
            Some(Options { eps, ..options })
        }

        fn refused(_: &Layout) -> Vec<(Options, Error)> {
            Options::bad_eps().collect()
        }

        /// What the forward pass saves.
        fn prepare(case: &Case<Options>, arrays: &mut Arrays) {
            if case.layout.is_empty() {
                return;
            }
            let none = reference::Affine { gamma: None, beta: None };
            let zeros = vec![0.0; case.layout.channels()];
            let (options, x) = (case.options.reference(), arrays.f32("x"));
            let out = reference::train(&case.layout, options, x, none, (&zeros, &zeros));
            arrays.write("saved_mean", out.saved_mean);
            arrays.write("saved_rstd", out.saved_rstd);
        }

        fn reference(case: &Case<Options>, arrays: &mut Arrays) {
            let [dy, x, mean, rstd] =
                ["dy", "x", "saved_mean", "saved_rstd"].map(|name| arrays.f32(name));
            let gamma = arrays.maybe("gamma");
            let out = backward::backward(&case.layout, dy, x, gamma, mean, rstd);
            write_gradients(arrays, out);
        }

        fn oracle(case: &Case<Options>, arrays: &Arrays) -> Vec<Expected> {
            let (dy, x, gamma) = (arrays.wide("dy"), arrays.wide("x"), arrays.maybe_wide("gamma"));
            let (shape, eps) = (shape(&case.layout), case.options.eps);
            expected_gradients(oracle::backward(shape, &dy, &x, gamma.as_deref(), eps))
        }

        fn forward(
            case: &Case<Options>,
            _: &Arrays,
            [x, gamma, beta]: [&[f64]; 3],
        ) -> Option<Vec<f64>> {
            let (shape, eps) = (shape(&case.layout), case.options.eps);
            Some(oracle::batch_norm_train(shape, x, Some(gamma), Some(beta), eps).y)
        }

        fn meets(_: &Case<Options>, from: (usize, usize), to: (usize, usize)) -> bool {
            from.1 == to.1
        }
    }

    impl Subject for BackwardGiven {
        #[rustfmt::skip]
        const LIMITS: &'static [(&'static str, Limits)] = &[
            ("dx",     [2.00, 2.00, 2.25, 2.00, 2.00, 2.00, 2.00, 2.25, NONE, NONE, 2.00, 2.00, NONE, NONE, 2.25, 0.25, 2.00]),
            ("dgamma", [0.75, 0.75, 0.75, 0.75, 0.75, 0.50, 0.75, 0.75, NONE, NONE, 0.75, 0.75, NONE, NONE, 0.25, 0.25, 2.00]),
            ("dbeta",  [0.50, 0.75, 0.50, 0.50, 0.50, 0.50, 0.50, 0.50, NONE, NONE, 0.50, 0.50, NONE, NONE, 0.50, 0.50, 0.50]),
        ];

        fn options(_: &Layout, source: &mut Source<'_>) -> Options {
            Options::drawn(source)
        }

        fn with_eps(options: Options, eps: f64) -> Option<Options> {
            Some(Options { eps, ..options })
        }

        fn refused(_: &Layout) -> Vec<(Options, Error)> {
            Options::bad_eps().collect()
        }

        fn reference(case: &Case<Options>, arrays: &mut Arrays) {
            let [dy, x, mean, var] = ["dy", "x", "mean", "var"].map(|name| arrays.f32(name));
            let (eps, gamma) = (case.options.eps, arrays.maybe("gamma"));
            let out = backward::backward_inference(&case.layout, eps, dy, x, gamma, mean, var);
            write_gradients(arrays, out);
        }

        fn oracle(case: &Case<Options>, arrays: &Arrays) -> Vec<Expected> {
            let [dy, x, mean, var] = ["dy", "x", "mean", "var"].map(|name| arrays.wide(name));
            let (shape, gamma, eps) =
                (shape(&case.layout), arrays.maybe_wide("gamma"), case.options.eps);
            let given = (&mean[..], &var[..]);
            expected_gradients(oracle::backward_inference(
                shape,
                &dy,
                &x,
                gamma.as_deref(),
                given,
                eps,
            ))
        }

        fn forward(
            case: &Case<Options>,
            arrays: &Arrays,
            [x, gamma, beta]: [&[f64]; 3],
        ) -> Option<Vec<f64>> {
            let (mean, var) = (arrays.wide("mean"), arrays.wide("var"));
            let (shape, eps) = (shape(&case.layout), case.options.eps);
            Some(oracle::infer(shape, x, Some(gamma), Some(beta), (&mean, &var), eps))
        }

        fn meets(_: &Case<Options>, from: (usize, usize), to: (usize, usize)) -> bool {
            from.1 == to.1
        }
    }

    impl Subject for Fold {
        /// Computed in f64 and rounded once.
        #[rustfmt::skip]
        const LIMITS: &'static [(&'static str, Limits)] = &[
            ("weight", [0.75, 0.75, 0.75, 0.75, 0.75, 0.75, 0.75, 0.75, NONE, NONE, 0.75, 0.75, NONE, NONE, 0.75, 0.75, 0.75]),
            ("bias",   [0.5001, 0.5001, 0.5001, 0.5001, 0.5001, 0.5001, 0.5001, 0.5001, NONE, NONE, 0.5001, 0.5001, NONE, NONE, 0.5001, 0.5001, 0.5001]),
        ];

        fn options(layout: &Layout, source: &mut Source<'_>) -> FoldOptions {
            let channels = layout.channels();
            let groups: Vec<usize> =
                (1..=channels.max(1)).filter(|&g| channels.is_multiple_of(g)).collect();
            let forward = Layer::Forward { inputs: source.choose(&[0, 1, 2, 9, 16, 25, 33, 300]) };
            let transposed = Layer::Transposed {
                groups: source.choose(&groups),
                inputs: 1 + source.below(4),
                kernel: source.choose(&[1, 3, 4, 9]),
            };
            FoldOptions { eps: source.eps(), layer: source.choose(&[forward, transposed]) }
        }

        fn with_eps(options: FoldOptions, eps: f64) -> Option<FoldOptions> {
            Some(FoldOptions { eps, ..options })
        }

        fn refused(layout: &Layout) -> Vec<(FoldOptions, Error)> {
            let layer = Layer::Forward { inputs: 2 };
            let bad_eps =
                BAD_EPS.map(|eps| (FoldOptions { eps, layer }, Error::Epsilon { found: eps }));
            let _ = layout;
            bad_eps.into()
        }

        fn reference(case: &Case<FoldOptions>, arrays: &mut Arrays) {
            let (mut weight, mut bias) = (widened(arrays, "weight"), widened(arrays, "bias"));
            crate::reference::fold::fold(
                case.options.eps,
                reference_affine(arrays),
                (arrays.f32("mean"), arrays.f32("var")),
                (&mut weight, &mut bias),
                channel_of(case),
            );
            arrays.write("weight", weight);
            arrays.write("bias", bias);
        }

        fn oracle(case: &Case<FoldOptions>, arrays: &Arrays) -> Vec<Expected> {
            let (gamma, beta) = (arrays.maybe_wide("gamma"), arrays.maybe_wide("beta"));
            let (gamma, beta) = (gamma.as_deref(), beta.as_deref());
            let [mean, var, weight, bias] =
                ["mean", "var", "weight", "bias"].map(|name| widen(arrays.f32(name)));
            if bias.is_empty() {
                return Vec::new();
            }
            let (eps, given) = (case.options.eps, (&mean[..], &var[..]));
            let (weight, bias) = match case.options.layer {
                Layer::Forward { .. } => oracle::fold(gamma, beta, given, eps, &weight, &bias),
                Layer::Transposed { groups, kernel, .. } => {
                    let sizes = (groups, kernel);
                    oracle::fold_transposed(sizes, gamma, beta, given, eps, &weight, &bias)
                }
            };
            vec![
                Expected::new("weight", weight.into_iter().map(|v| (v, v))),
                Expected::new("bias", bias.into_iter().map(|v| (v, v))),
            ]
        }

        fn meets(_: &Case<FoldOptions>, from: (usize, usize), to: (usize, usize)) -> bool {
            from.1 == to.1
        }
    }

    fn widened(arrays: &Arrays, name: &str) -> Vec<f32> {
        arrays.f32(name).to_vec()
    }

    /// The output channel of each weight.
    fn channel_of(case: &Case<FoldOptions>) -> impl Fn(usize) -> usize {
        let channels = case.layout.channels();
        let layer = case.options.layer;
        move |i| match layer {
            Layer::Forward { inputs } => i / inputs,
            Layer::Transposed { groups, inputs, kernel } => {
                let outputs = channels / groups;
                let (input, output) = (i / kernel / outputs, i / kernel % outputs);
                input / inputs * outputs + output
            }
        }
    }
}

#[cfg(feature = "judges")]
pub(crate) use judged::{
    collected, collected_moments, expected_gradients, normalized, prepare_moments,
    reference_affine, running_after, saved, triple, write_gradients,
};
