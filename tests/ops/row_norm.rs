//! Layer and RMS normalization. A row is a sample.

use crate::call::{Args, Case, Holds, Op, Slot, affine, decorated, elements, gradients};
use evenkeel::{Backend, Error, Gradients, LayerNorm, RmsNorm, Rows, Saved, Statistics};

#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub eps: f64,
}

fn row_len(case: &Case<Options>) -> usize {
    case.layout.channels() * case.layout.spatial()
}

fn row_count(case: &Case<Options>) -> usize {
    case.layout.batch()
}

fn rows(case: &Case<Options>) -> Result<Rows, Error> {
    Rows::new(row_count(case), row_len(case))
}

pub struct Layer;

impl Op for Layer {
    const NAME: &'static str = "LayerNorm::forward";
    type Options = Options;
    const SLOTS: &'static [Slot<Options>] = &[
        Slot::x(),
        Slot::y(),
        Slot::residual(),
        Slot::read("gamma", Holds::Gamma, row_len).optional(0),
        Slot::read("beta", Holds::Beta, row_len).optional(1),
        Slot::write("saved_mean", row_count).optional(3),
        Slot::write("saved_rstd", row_count).optional(3),
    ];

    fn call(case: &Case<Options>, backend: Backend, args: Args<'_>) -> Result<(), Error> {
        let [x, y, residual, gamma, beta, mean, rstd, ..] = args;
        let saved = mean.pair(rstd).map(|[mean, rstd]| Saved { mean, rstd });
        LayerNorm::new(rows(case)?).eps(case.options.eps).backend(backend).forward(
            decorated(case, x, y, residual),
            affine(gamma, beta),
            saved,
        )
    }
}

pub struct Rms;

impl Op for Rms {
    const NAME: &'static str = "RmsNorm::forward";
    type Options = Options;
    const SLOTS: &'static [Slot<Options>] = &[
        Slot::x(),
        Slot::y(),
        Slot::residual(),
        Slot::read("gamma", Holds::Gamma, row_len).optional(0),
        Slot::write("saved_rstd", row_count).optional(3),
    ];

    fn call(case: &Case<Options>, backend: Backend, args: Args<'_>) -> Result<(), Error> {
        let [x, y, residual, gamma, rstd, ..] = args;
        RmsNorm::new(rows(case)?).eps(case.options.eps).backend(backend).forward(
            decorated(case, x, y, residual),
            gamma.maybe_read(),
            rstd.maybe(),
        )
    }
}

const DY: Slot<Options> = Slot::read("dy", Holds::Gradient, elements);
const GAMMA: Slot<Options> = Slot::read("gamma", Holds::Gamma, row_len).optional(0);
const RSTD: Slot<Options> = Slot::read("saved_rstd", Holds::SavedRstd, row_count);
const DX: Slot<Options> = Slot::write("dx", elements).optional(2);
const DGAMMA: Slot<Options> = Slot::write("dgamma", row_len).optional(3);

pub struct LayerBackward;

impl Op for LayerBackward {
    const NAME: &'static str = "LayerNorm::backward";
    type Options = Options;
    const SLOTS: &'static [Slot<Options>] = &[
        DY,
        Slot::x(),
        GAMMA,
        Slot::read("saved_mean", Holds::SavedMean, row_count),
        RSTD,
        DX,
        DGAMMA,
        Slot::write("dbeta", row_len).optional(4),
    ];

    fn call(case: &Case<Options>, backend: Backend, args: Args<'_>) -> Result<(), Error> {
        let [dy, x, gamma, mean, rstd, dx, dgamma, dbeta, ..] = args;
        let statistics = Statistics { mean: mean.f32(), rstd: rstd.f32() };
        let into = gradients(dx, dgamma, dbeta);
        LayerNorm::new(rows(case)?).eps(case.options.eps).backend(backend).backward(
            dy.f32(),
            x.f32(),
            gamma.maybe_read(),
            statistics,
            into,
        )
    }
}

pub struct RmsBackward;

impl Op for RmsBackward {
    const NAME: &'static str = "RmsNorm::backward";
    type Options = Options;
    const SLOTS: &'static [Slot<Options>] = &[DY, Slot::x(), GAMMA, RSTD, DX, DGAMMA];

    fn call(case: &Case<Options>, backend: Backend, args: Args<'_>) -> Result<(), Error> {
        let [dy, x, gamma, rstd, dx, dgamma, ..] = args;
        let into = Gradients { x: dx.maybe(), gamma: dgamma.maybe(), beta: None };
        RmsNorm::new(rows(case)?).eps(case.options.eps).backend(backend).backward(
            dy.f32(),
            x.f32(),
            gamma.maybe_read(),
            rstd.f32(),
            into,
        )
    }
}

#[cfg(feature = "judges")]
mod judged {
    use super::{Layer, LayerBackward, Options, Rms, RmsBackward, row_len};
    use crate::batch_norm::{
        expected_gradients, normalized, reference_affine, saved, write_gradients,
    };
    use crate::call::Case;
    use crate::oracle::{self, Reduced, Stats};
    use crate::reference::backward::{Rows, backward_rows};
    use crate::reference::batch_norm::Affine;
    use crate::reference::row_norm as reference;
    use crate::subject::{Expected, Limits, NONE, Subject};
    use crate::{Arrays, Source};
    use evenkeel::{Error, Layout};

    fn refused() -> Vec<(Options, Error)> {
        let bad = [f64::NAN, -1e-5, f64::INFINITY, f64::NEG_INFINITY];
        bad.map(|eps| (Options { eps }, Error::Epsilon { found: eps })).into()
    }

    /// What each row comes to.
    fn row_stats(
        case: &Case<Options>,
        arrays: &Arrays,
        stats: impl Fn(&[f64]) -> Stats,
    ) -> Vec<Stats> {
        arrays.wide("x").chunks(row_len(case).max(1)).map(stats).collect()
    }

    /// The mean square in the place of the variance, about 0.
    fn mean_square(row: &[f64]) -> Stats {
        let squares = oracle::sum(row.iter().map(|x| x * x));
        Stats::given(0.0, squares / row.len() as f64)
    }

    fn moments(row: &[f64]) -> Stats {
        oracle::moments(row.iter().copied())
    }

    /// y of rows in f64, from x, γ and, where there is one, β.
    fn forward(
        case: &Case<Options>,
        [x, gamma, beta]: [&[f64]; 3],
        stats: impl Fn(&[f64]) -> Stats,
    ) -> Vec<f64> {
        let row = |row: &[f64]| {
            let stats = stats(row);
            let rstd = stats.rstd(case.options.eps);
            let y = row.iter().zip(gamma).zip(beta);
            y.map(|((x, gamma), beta)| stats.centred(*x) * rstd * gamma + beta).collect::<Vec<_>>()
        };
        x.chunks(row_len(case).max(1)).flat_map(row).collect()
    }

    /// The gradients in f64.
    fn backward(
        case: &Case<Options>,
        arrays: &Arrays,
        centred: bool,
        stats: impl Fn(&[f64]) -> Stats,
    ) -> Vec<Expected> {
        let (dy, x, gamma) = (arrays.wide("dy"), arrays.wide("x"), arrays.maybe_wide("gamma"));
        let len = row_len(case);
        let rows = x.chunks(len.max(1)).enumerate().map(|(i, row)| Reduced {
            indices: (i * len..(i + 1) * len).collect(),
            stats: stats(row),
            centred,
        });
        let rows: Vec<_> = rows.collect();
        let parameters = (len, |i: usize| i % len);
        expected_gradients(oracle::backward_of(
            &rows,
            parameters,
            &dy,
            &x,
            gamma.as_deref(),
            case.options.eps,
        ))
    }

    impl Subject for LayerBackward {
        #[rustfmt::skip]
        const LIMITS: &'static [(&'static str, Limits)] = &[
            ("dx",     [2.50, 2.50, 2.50, 2.50, 2.75, 2.25, 2.25, 3.00, 2.50, 2.25, 2.50, 2.50, 2.50, NONE, 2.50, 3.00, 3.75]),
            ("dgamma", [2.25, 2.50, 0.50, 0.75, 0.25, 2.50, 2.75, 2.75, 2.25, 2.75, 2.25, 2.50, 2.50, NONE, 2.00, 2.50, 2.25]),
            ("dbeta",  [1.25, 1.25, 1.25, 1.25, 1.25, 1.25, 1.25, 1.25, 1.25, 1.25, 1.25, 1.25, 1.25, NONE, 1.25, 1.25, 1.25]),
        ];
        const BY_ROW: bool = true;

        fn options(_: &Layout, source: &mut Source<'_>) -> Options {
            Options { eps: source.eps() }
        }

        fn with_eps(_: Options, eps: f64) -> Option<Options> {
            Some(Options { eps })
        }

        fn refused(_: &Layout) -> Vec<(Options, Error)> {
            refused()
        }

        /// What the forward pass saves.
        fn prepare(case: &Case<Options>, arrays: &mut Arrays) {
            if case.layout.is_empty() {
                return;
            }
            let none = Affine { gamma: None, beta: None };
            let (len, eps) = (row_len(case), case.options.eps);
            let out = reference::layer_norm(len, eps, arrays.f32("x"), none);
            arrays.write("saved_mean", out.saved_mean);
            arrays.write("saved_rstd", out.saved_rstd);
        }

        fn reference(case: &Case<Options>, arrays: &mut Arrays) {
            let [dy, x, mean, rstd] =
                ["dy", "x", "saved_mean", "saved_rstd"].map(|name| arrays.f32(name));
            let gamma = arrays.maybe("gamma");
            let rows = Rows { len: row_len(case), gamma, mean: Some(mean), rstd };
            let out = backward_rows(rows, dy, x);
            write_gradients(arrays, out);
        }

        fn oracle(case: &Case<Options>, arrays: &Arrays) -> Vec<Expected> {
            backward(case, arrays, true, moments)
        }

        fn forward(case: &Case<Options>, _: &Arrays, point: [&[f64]; 3]) -> Option<Vec<f64>> {
            Some(forward(case, point, moments))
        }

        fn meets(_: &Case<Options>, from: (usize, usize), to: (usize, usize)) -> bool {
            from.0 == to.0
        }
    }

    impl Subject for RmsBackward {
        #[rustfmt::skip]
        const LIMITS: &'static [(&'static str, Limits)] = &[
            ("dx",     [2.75, 3.00, 2.50, 2.50, 2.50, 2.00, 2.00, 3.00, 2.50, 2.25, 3.25, 2.50, 2.50, NONE, 2.25, 2.50, 3.00]),
            ("dgamma", [2.25, 2.25, 2.25, 2.50, 1.50, 2.25, 2.50, 2.25, 2.00, 2.50, 2.00, 2.00, 2.00, NONE, 1.75, 1.75, 2.00]),
        ];
        const BY_ROW: bool = true;

        fn options(_: &Layout, source: &mut Source<'_>) -> Options {
            Options { eps: source.eps() }
        }

        fn with_eps(_: Options, eps: f64) -> Option<Options> {
            Some(Options { eps })
        }

        fn refused(_: &Layout) -> Vec<(Options, Error)> {
            refused()
        }

        /// What the forward pass gives.
        fn prepare(case: &Case<Options>, arrays: &mut Arrays) {
            if case.layout.is_empty() {
                return;
            }
            let (len, eps) = (row_len(case), case.options.eps);
            let out = reference::rms_norm(len, eps, arrays.f32("x"), None);
            arrays.write("saved_rstd", out.saved_rstd);
        }

        fn reference(case: &Case<Options>, arrays: &mut Arrays) {
            let [dy, x, rstd] = ["dy", "x", "saved_rstd"].map(|name| arrays.f32(name));
            let gamma = arrays.maybe("gamma");
            let rows = Rows { len: row_len(case), gamma, mean: None, rstd };
            let out = backward_rows(rows, dy, x);
            arrays.write("dx", out.x);
            arrays.write("dgamma", out.gamma);
        }

        fn oracle(case: &Case<Options>, arrays: &Arrays) -> Vec<Expected> {
            let mut all = backward(case, arrays, false, mean_square);
            all.retain(|expected| expected.name != "dbeta");
            all
        }

        fn forward(
            case: &Case<Options>,
            _: &Arrays,
            [x, gamma, _]: [&[f64]; 3],
        ) -> Option<Vec<f64>> {
            Some(forward(case, [x, gamma, &vec![0.0; gamma.len()]], mean_square))
        }

        fn meets(_: &Case<Options>, from: (usize, usize), to: (usize, usize)) -> bool {
            from.0 == to.0
        }
    }

    impl Subject for Layer {
        #[rustfmt::skip]
        const LIMITS: &'static [(&'static str, Limits)] = &[
            ("y",          [3.25, 3.25, 3.25, 3.75, 3.00, 0.25, 0.25, 3.75, 0.75, 0.75, 3.25, 0.75, 0.75, 0.75, 2.00, 2.00, 3.25]),
            ("saved_mean", [0.25, 0.50, 0.50, 0.50, 0.25, 0.25, 0.25, 0.50, 0.25, 0.25, 0.25, 0.25, 0.25, 0.50, 0.25, 0.25, 0.75]),
            ("saved_rstd", [0.75, 0.75, 1.00, 0.75, 0.50, 0.50, 0.50, 0.75, 0.75, 0.50, 0.75, 0.50, 0.75, 0.25, 1.25, 1.25, 2.75]),
        ];
        const NORMALIZES: bool = true;
        const BY_ROW: bool = true;

        fn options(_: &Layout, source: &mut Source<'_>) -> Options {
            Options { eps: source.eps() }
        }

        fn with_eps(_: Options, eps: f64) -> Option<Options> {
            Some(Options { eps })
        }

        fn refused(_: &Layout) -> Vec<(Options, Error)> {
            refused()
        }

        fn reference(case: &Case<Options>, arrays: &mut Arrays) {
            if case.layout.is_empty() {
                return;
            }
            let (x, affine) = (arrays.f32("x"), reference_affine(arrays));
            let out = reference::layer_norm(row_len(case), case.options.eps, x, affine);
            arrays.write("y", out.y);
            arrays.write("saved_mean", out.saved_mean);
            arrays.write("saved_rstd", out.saved_rstd);
        }

        fn oracle(case: &Case<Options>, arrays: &Arrays) -> Vec<Expected> {
            let (len, eps) = (row_len(case), case.options.eps);
            let stats = row_stats(case, arrays, moments);
            let mut out = vec![normalized(arrays, |i| (&stats[i / len], i % len), eps)];
            if arrays.has("saved_mean") {
                out.extend(saved(&stats, eps));
            }
            out
        }

        fn meets(_: &Case<Options>, from: (usize, usize), to: (usize, usize)) -> bool {
            from.0 == to.0
        }
    }

    impl Subject for Rms {
        #[rustfmt::skip]
        const LIMITS: &'static [(&'static str, Limits)] = &[
            ("y",          [2.75, 2.50, 3.00, 3.00, 2.75, 0.25, 0.25, 2.75, 0.75, 0.75, 2.50, 0.75, 0.75, 0.75, 1.00, 1.25, 2.75]),
            ("saved_rstd", [1.50, 1.50, 1.00, 1.00, 1.50, 0.50, 0.50, 1.25, 0.75, 0.75, 1.50, 0.75, 0.75, 0.25, 0.50, 0.50, 1.50]),
        ];
        const BY_ROW: bool = true;

        fn options(_: &Layout, source: &mut Source<'_>) -> Options {
            Options { eps: source.eps() }
        }

        fn with_eps(_: Options, eps: f64) -> Option<Options> {
            Some(Options { eps })
        }

        fn refused(_: &Layout) -> Vec<(Options, Error)> {
            refused()
        }

        fn reference(case: &Case<Options>, arrays: &mut Arrays) {
            if case.layout.is_empty() {
                return;
            }
            let (x, gamma) = (arrays.f32("x"), arrays.maybe("gamma"));
            let out = reference::rms_norm(row_len(case), case.options.eps, x, gamma);
            arrays.write("y", out.y);
            arrays.write("saved_rstd", out.saved_rstd);
        }

        fn oracle(case: &Case<Options>, arrays: &Arrays) -> Vec<Expected> {
            let (len, eps) = (row_len(case), case.options.eps);
            let stats = row_stats(case, arrays, mean_square);
            let mut out = vec![normalized(arrays, |i| (&stats[i / len], i % len), eps)];
            if arrays.has("saved_rstd") {
                let [_, rstd] = saved(&stats, eps);
                out.push(rstd);
            }
            out
        }

        fn meets(_: &Case<Options>, from: (usize, usize), to: (usize, usize)) -> bool {
            from.0 == to.0
        }
    }
}
