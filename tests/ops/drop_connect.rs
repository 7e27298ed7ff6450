//! DropConnect: all its calls. A sample's inputs are its channels and positions, and it has as many
//! outputs as channels.

use crate::call::{Arg, Args, Case, Holds, Op, Slot, elements};
use evenkeel::{Backend, DropConnect, Error, Key, WeightGradients, Weights};

#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub p: f64,
    pub key: Key,
    pub offset: u64,
}

fn inputs(case: &Case<Options>) -> usize {
    case.layout.channels() * case.layout.spatial()
}

fn outputs(case: &Case<Options>) -> usize {
    case.layout.channels()
}

/// A layer without inputs has an empty batch.
fn batch(case: &Case<Options>) -> usize {
    if inputs(case) == 0 { 0 } else { case.layout.batch() }
}

fn weights(case: &Case<Options>) -> usize {
    outputs(case) * inputs(case)
}

fn results(case: &Case<Options>) -> usize {
    batch(case) * outputs(case)
}

fn op(case: &Case<Options>, backend: Backend) -> Result<DropConnect, Error> {
    let Options { p, offset, .. } = case.options;
    Ok(DropConnect::new(inputs(case), outputs(case), p)?.offset(offset).backend(backend))
}

/// Gives the batch, so that its length is not checked but for being a multiple.
const X: Slot<Options> = Slot::x().unchecked();
const MATRIX: Slot<Options> = Slot::read("matrix", Holds::Gamma, weights);
const BIAS: Slot<Options> = Slot::read("bias", Holds::Beta, outputs).optional(0);

fn layer<'a>(matrix: Arg<'a>, bias: Arg<'a>) -> Weights<'a> {
    Weights { matrix: matrix.f32(), bias: bias.maybe_read() }
}

pub struct Forward;

impl Op for Forward {
    const NAME: &'static str = "DropConnect::forward";
    type Options = Options;
    const SLOTS: &'static [Slot<Options>] = &[X, MATRIX, BIAS, Slot::write("y", results)];

    fn call(case: &Case<Options>, backend: Backend, args: Args<'_>) -> Result<(), Error> {
        let [x, matrix, bias, y, ..] = args;
        op(case, backend)?.forward(x.f32(), layer(matrix, bias), y.f32(), case.options.key)
    }
}

pub struct Backward;

impl Op for Backward {
    const NAME: &'static str = "DropConnect::backward";
    type Options = Options;
    const SLOTS: &'static [Slot<Options>] = &[
        Slot::read("dy", Holds::Gradient, results),
        X,
        MATRIX,
        BIAS,
        Slot::write("dx", elements).optional(2),
        Slot::write("dmatrix", weights).optional(3),
        Slot::write("dbias", outputs).optional(4),
    ];

    fn call(case: &Case<Options>, backend: Backend, args: Args<'_>) -> Result<(), Error> {
        let [dy, x, matrix, bias, dx, dmatrix, dbias, ..] = args;
        let into = WeightGradients { x: dx.maybe(), matrix: dmatrix.maybe(), bias: dbias.maybe() };
        let weights = layer(matrix, bias);
        op(case, backend)?.backward(dy.f32(), x.f32(), weights, into, case.options.key)
    }
}

pub struct Infer;

impl Op for Infer {
    const NAME: &'static str = "DropConnect::infer";
    type Options = Options;
    const SLOTS: &'static [Slot<Options>] = &[X, MATRIX, BIAS, Slot::write("y", results)];

    fn call(case: &Case<Options>, backend: Backend, args: Args<'_>) -> Result<(), Error> {
        let [x, matrix, bias, y, ..] = args;
        op(case, backend)?.infer(x.f32(), layer(matrix, bias), y.f32())
    }
}

pub struct Moments;

impl Op for Moments {
    const NAME: &'static str = "DropConnect::moments";
    type Options = Options;
    const SLOTS: &'static [Slot<Options>] =
        &[X, MATRIX, BIAS, Slot::write("mean", results), Slot::write("variance", results)];

    fn call(case: &Case<Options>, backend: Backend, args: Args<'_>) -> Result<(), Error> {
        let [x, matrix, bias, mean, variance, ..] = args;
        let weights = layer(matrix, bias);
        op(case, backend)?.moments(x.f32(), weights, mean.f32(), variance.f32())
    }
}

pub struct Sample;

impl Op for Sample {
    const NAME: &'static str = "DropConnect::sample";
    type Options = Options;
    const SLOTS: &'static [Slot<Options>] = &[
        Slot::read("mean", Holds::Any, results).unchecked(),
        Slot::read("variance", Holds::Positive, results),
        Slot::write("y", results),
    ];

    fn call(case: &Case<Options>, backend: Backend, args: Args<'_>) -> Result<(), Error> {
        let [mean, variance, y, ..] = args;
        op(case, backend)?.sample(mean.f32(), variance.f32(), y.f32(), case.options.key)
    }
}

#[cfg(feature = "judges")]
mod judged {
    use super::{Backward, Forward, Infer, Moments, Options, Sample, batch, inputs, outputs};
    use crate::call::Case;
    use crate::dropout::{KEYS, probabilities, stream};
    use crate::oracle::{self, within_f32};
    use crate::reference::drop_connect::{self as reference, Layer};
    use crate::reference::dropout::threshold;
    use crate::reference::numbers;
    use crate::subject::{Expected, Limits, Subject};
    use crate::{Arrays, Source};
    use evenkeel::{Error, Key, Layout};

    fn layer(case: &Case<Options>) -> Layer {
        let Options { p, key, offset } = case.options;
        Layer {
            inputs: inputs(case),
            outputs: outputs(case),
            batch: batch(case),
            threshold: threshold(p),
            key: stream(key),
            offset,
        }
    }

    /// The largest offset with which all numbers fit, where a sample takes so many.
    fn last_offset(layout: &Layout, each: usize) -> u64 {
        let most = (1_u128 << 64) / each.max(1) as u128;
        u64::try_from(most).unwrap_or(u64::MAX) - layout.batch() as u64
    }

    fn decisions(layout: &Layout) -> usize {
        layout.channels() * (layout.channels() * layout.spatial() + 1)
    }

    impl Options {
        fn drawn(layout: &Layout, source: &mut Source<'_>) -> Self {
            let (seed, stream) = source.choose(&KEYS);
            let last = last_offset(layout, decisions(layout));
            let far = [last, last - 3, last / 2, (1 << 36) / decisions(layout).max(1) as u64];
            let near = source.below(40) as u64;
            Self {
                p: source.choose(&probabilities()),
                key: Key::with_stream(seed, stream).expect("a stream below 2^62"),
                offset: if source.one_in(2) { near } else { source.choose(&far) },
            }
        }

        /// Wrong probabilities; offsets that overflow, if a sample takes some numbers.
        fn refused(layout: &Layout, each: Option<usize>) -> Vec<(Self, Error)> {
            let good = Self { p: 0.5, ..Self::drawn(layout, &mut Source::new(0)) };
            let bad = [f64::NAN, -0.1, 1.1, f64::INFINITY];
            let bad = bad.map(|p| (Self { p, ..good }, Error::Probability { found: p }));
            let far = each.into_iter().flat_map(|each| [last_offset(layout, each) + 1, u64::MAX]);
            bad.into_iter()
                .chain(far.map(|o| (Self { offset: o, ..good }, Error::TooLarge)))
                .collect()
        }
    }

    /// What a term's error is measured by: one that is subnormal in f32 loses bits there.
    fn size(term: f64) -> f64 {
        if term == 0.0 { 0.0 } else { term.abs().max(f32::MIN_POSITIVE.into()) }
    }

    /// A sum times a factor, and what its error is measured by.
    fn scaled(factor: f64, terms: &[f64]) -> (f64, f64) {
        let sum = oracle::sum(terms.iter().copied());
        let size: f64 = terms.iter().map(|term| size(*term)).sum();
        (within_f32(factor * sum), factor * size)
    }

    /// The terms of one output.
    fn terms(
        layer: &Layer,
        [x, matrix, bias]: [&[f64]; 3],
        (sample, output): (usize, usize),
    ) -> Vec<f64> {
        let row = |all: &[f64], number: usize| {
            all[number * layer.inputs..(number + 1) * layer.inputs].to_vec()
        };
        let mut terms = row(matrix, output);
        for (term, x) in terms.iter_mut().zip(row(x, sample)) {
            *term *= x;
        }
        terms.push(bias.get(output).copied().unwrap_or(0.0));
        terms
    }

    /// Every sample and output.
    fn places(layer: &Layer) -> impl Iterator<Item = (usize, usize)> + use<> {
        let Layer { batch, outputs, .. } = *layer;
        (0..batch).flat_map(move |sample| (0..outputs).map(move |output| (sample, output)))
    }

    /// The kept terms of every output.
    fn kept<'a>(layer: &'a Layer, point: [&'a [f64]; 3]) -> impl Iterator<Item = Vec<f64>> + 'a {
        let mask = layer.mask();
        places(layer).map(move |(sample, output)| {
            let mut terms = terms(layer, point, (sample, output));
            for (i, term) in terms.iter_mut().enumerate() {
                *term = if mask[layer.place(sample, output, i)] { *term } else { 0.0 };
            }
            terms
        })
    }

    fn wide(arrays: &Arrays) -> [Vec<f64>; 3] {
        let bias = arrays.maybe_wide("bias").unwrap_or_default();
        [arrays.wide("x"), arrays.wide("matrix"), bias]
    }

    impl Subject for Forward {
        #[rustfmt::skip]
        const LIMITS: &'static [(&'static str, Limits)] = &[
            ("y", [1.25, 1.25, 1.00, 1.25, 1.00, 1.00, 1.00, 1.00, 1.00, 4.50, 1.00, 1.00, 0.75, 1.50, 1.25, 1.25, 2.75]),
        ];
        const BY_ROW: bool = true;
        const BY_PLACE: bool = true;

        fn options(layout: &Layout, source: &mut Source<'_>) -> Options {
            Options::drawn(layout, source)
        }

        fn refused(layout: &Layout) -> Vec<(Options, Error)> {
            Options::refused(layout, Some(decisions(layout)))
        }

        fn reference(case: &Case<Options>, arrays: &mut Arrays) {
            let (x, matrix) = (arrays.f32("x"), arrays.f32("matrix"));
            let y = reference::forward(&layer(case), x, matrix, arrays.maybe("bias"));
            arrays.write("y", y);
        }

        fn oracle(case: &Case<Options>, arrays: &Arrays) -> Vec<Expected> {
            let [x, matrix, bias] = wide(arrays);
            let layer = layer(case);
            let y = kept(&layer, [&x, &matrix, &bias]).map(|terms| scaled(1.0, &terms));
            vec![Expected::new("y", y)]
        }

        fn meets(_: &Case<Options>, from: (usize, usize), to: (usize, usize)) -> bool {
            from.0 == to.0
        }
    }

    impl Subject for Backward {
        #[rustfmt::skip]
        const LIMITS: &'static [(&'static str, Limits)] = &[
            ("dx",      [1.50, 1.75, 1.50, 1.50, 1.50, 1.50, 1.50, 1.50, 1.50, 1.50, 1.50, 1.50, 1.50, 1.50, 2.00, 2.00, 1.75]),
            ("dmatrix", [2.00, 2.00, 1.75, 1.75, 1.75, 2.00, 2.00, 1.75, 1.75, 4.50, 2.00, 2.00, 2.00, 1.50, 1.75, 1.75, 2.00]),
            ("dbias",   [1.00, 0.75, 1.00, 1.00, 1.00, 1.00, 1.00, 1.00, 1.00, 1.00, 1.00, 1.00, 1.00, 1.00, 0.75, 0.75, 0.75]),
        ];
        const BY_ROW: bool = true;
        const BY_PLACE: bool = true;
        const PARAMETERS: [&'static str; 2] = ["matrix", "bias"];

        fn options(layout: &Layout, source: &mut Source<'_>) -> Options {
            Options::drawn(layout, source)
        }

        fn refused(layout: &Layout) -> Vec<(Options, Error)> {
            Options::refused(layout, Some(decisions(layout)))
        }

        fn reference(case: &Case<Options>, arrays: &mut Arrays) {
            let [dy, x, matrix] = ["dy", "x", "matrix"].map(|name| arrays.f32(name));
            let [dx, dmatrix, dbias] = reference::backward(&layer(case), dy, x, matrix);
            arrays.write("dx", dx);
            arrays.write("dmatrix", dmatrix);
            arrays.write("dbias", dbias);
        }

        fn oracle(case: &Case<Options>, arrays: &Arrays) -> Vec<Expected> {
            let layer = layer(case);
            let ([x, matrix, _], dy) = (wide(arrays), arrays.wide("dy"));
            let Layer { inputs, outputs, .. } = layer;
            let lengths = [x.len(), matrix.len(), outputs];
            // Sum and size of every element, connection by connection.
            let mut sums = lengths.map(|len| vec![(0.0, 0.0); len]);
            let mask = layer.mask();
            for (s, o) in places(&layer) {
                let dy = dy[s * outputs + o];
                let mut add = |result: usize, place: usize, term: f64| {
                    let (sum, all) = &mut sums[result][place];
                    (*sum, *all) = (*sum + term, *all + size(term));
                };
                for i in (0..=inputs).filter(|&i| mask[layer.place(s, o, i)]) {
                    if i == inputs {
                        add(2, o, dy);
                    } else {
                        add(0, s * inputs + i, matrix[o * inputs + i] * dy);
                        add(1, o * inputs + i, x[s * inputs + i] * dy);
                    }
                }
            }
            let named = ["dx", "dmatrix", "dbias"].into_iter().zip(sums);
            let each = |(sum, size)| (within_f32(sum), size);
            named.map(|(name, sums)| Expected::new(name, sums.into_iter().map(each))).collect()
        }

        fn forward(case: &Case<Options>, _: &Arrays, point: [&[f64]; 3]) -> Option<Vec<f64>> {
            let layer = layer(case);
            Some(kept(&layer, point).map(|terms| terms.iter().sum()).collect())
        }

        fn meets(_: &Case<Options>, from: (usize, usize), to: (usize, usize)) -> bool {
            from.0 == to.0
        }
    }

    /// The mean in f64.
    fn mean(case: &Case<Options>, arrays: &Arrays, name: &'static str) -> Expected {
        let ([x, matrix, bias], layer) = (wide(arrays), layer(case));
        let drop = layer.threshold as f64 / 2.0_f64.powi(40);
        let mean = |place| scaled(1.0 - drop, &terms(&layer, [&x, &matrix, &bias], place));
        Expected::new(name, places(&layer).map(mean))
    }

    /// Of the mean.
    #[rustfmt::skip]
    const MEAN: Limits = [0.75, 1.25, 1.00, 1.00, 1.00, 1.00, 0.75, 0.75, 0.75, 1.00, 0.75, 1.00, 0.75, 1.50, 1.25, 1.25, 4.50];

    impl Subject for Infer {
        const LIMITS: &'static [(&'static str, Limits)] = &[("y", MEAN)];
        const BY_ROW: bool = true;

        fn options(layout: &Layout, source: &mut Source<'_>) -> Options {
            Options::drawn(layout, source)
        }

        fn refused(layout: &Layout) -> Vec<(Options, Error)> {
            Options::refused(layout, None)
        }

        fn reference(case: &Case<Options>, arrays: &mut Arrays) {
            let (x, matrix) = (arrays.f32("x"), arrays.f32("matrix"));
            let [y, _] = reference::moments(&layer(case), x, matrix, arrays.maybe("bias"));
            arrays.write("y", y);
        }

        fn oracle(case: &Case<Options>, arrays: &Arrays) -> Vec<Expected> {
            vec![mean(case, arrays, "y")]
        }

        fn meets(_: &Case<Options>, from: (usize, usize), to: (usize, usize)) -> bool {
            from.0 == to.0
        }
    }

    impl Subject for Moments {
        const LIMITS: &'static [(&'static str, Limits)] =
            &[("mean", MEAN), ("variance", [0.75; 17])];
        const BY_ROW: bool = true;

        fn options(layout: &Layout, source: &mut Source<'_>) -> Options {
            Options::drawn(layout, source)
        }

        fn refused(layout: &Layout) -> Vec<(Options, Error)> {
            Options::refused(layout, None)
        }

        fn reference(case: &Case<Options>, arrays: &mut Arrays) {
            let (x, matrix) = (arrays.f32("x"), arrays.f32("matrix"));
            let [mean, variance] =
                reference::moments(&layer(case), x, matrix, arrays.maybe("bias"));
            arrays.write("mean", mean);
            arrays.write("variance", variance);
        }

        fn oracle(case: &Case<Options>, arrays: &Arrays) -> Vec<Expected> {
            let ([x, matrix, bias], layer) = (wide(arrays), layer(case));
            let drop = layer.threshold as f64 / 2.0_f64.powi(40);
            let variance = |place| {
                let terms = terms(&layer, [&x, &matrix, &bias], place);
                let squares: Vec<f64> = terms.iter().map(|term| term * term).collect();
                scaled(drop * (1.0 - drop), &squares)
            };
            let variance = Expected::new("variance", places(&layer).map(variance));
            vec![mean(case, arrays, "mean"), variance]
        }

        fn meets(_: &Case<Options>, from: (usize, usize), to: (usize, usize)) -> bool {
            from.0 == to.0
        }
    }

    impl Subject for Sample {
        const LIMITS: &'static [(&'static str, Limits)] = &[("y", [2.5; 17])];
        const BY_ROW: bool = true;
        const BY_PLACE: bool = true;

        fn options(layout: &Layout, source: &mut Source<'_>) -> Options {
            Options::drawn(layout, source)
        }

        fn refused(layout: &Layout) -> Vec<(Options, Error)> {
            Options::refused(layout, Some(layout.channels()))
        }

        fn reference(case: &Case<Options>, arrays: &mut Arrays) {
            let (mean, variance) = (arrays.f32("mean"), arrays.f32("variance"));
            let y = reference::sample(&layer(case), mean, variance);
            arrays.write("y", y);
        }

        /// The standard normal number is the reference's (tests/fill.rs judges it).
        fn oracle(case: &Case<Options>, arrays: &Arrays) -> Vec<Expected> {
            let layer = layer(case);
            let (mean, variance) = (arrays.wide("mean"), arrays.wide("variance"));
            let y = mean.iter().zip(variance).enumerate().map(|(i, (mean, variance))| {
                let number = layer.offset * layer.outputs as u64 + i as u64;
                let z = numbers::standard_normal(numbers::word(layer.key, number));
                let term = variance.sqrt() * f64::from(z);
                (mean + term, mean.abs().max(term.abs()))
            });
            vec![Expected::new("y", y)]
        }
    }
}
