//! Layer and RMS normalization. A row is a sample.

use crate::call::{Args, Case, Holds, Op, Slot, affine, decorated};
use evenkeel::{Backend, Error, LayerNorm, RmsNorm, Rows, Saved};

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

#[cfg(feature = "judges")]
mod judged {
    use super::{Layer, Options, Rms, row_len};
    use crate::batch_norm::{normalized, reference_affine, saved};
    use crate::call::Case;
    use crate::oracle::{self, Stats};
    use crate::reference::row_norm as reference;
    use crate::subject::{Expected, Limits, Subject};
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
            let stats = row_stats(case, arrays, |row| oracle::moments(row.iter().copied()));
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
            let stats = row_stats(case, arrays, |row| {
                let squares = oracle::sum(row.iter().map(|x| x * x));
                Stats::given(0.0, squares / row.len() as f64)
            });
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
