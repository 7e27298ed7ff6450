//! Every way to call an operation wrongly: the right error, in the right order, and no output
//! touched.

mod common {
    pub(crate) mod data;
    pub(crate) mod oracle;
}

use common::data::{Rng, layout};
use common::oracle::Shape;
use evenkeel::{
    Affine, BatchNorm, Dropout, Error, Given, Gradients, GroupNorm, Keep, Key, Layout, Moments,
    Momentum, Philox, Running, Saved, Standardize, Statistics, Weight, apart, in_place,
};

/// What a call is configured with.
#[derive(Clone, Copy)]
struct Options {
    eps: f64,
    momentum: Momentum,
}

const FINE: Options = Options { eps: 1e-5, momentum: Momentum::Exponential(0.1) };

type Call = fn(Shape, Options, &mut [Vec<f32>]) -> Result<(), Error>;

/// A method and its slices in order, with the lengths that they must have.
struct Method {
    name: &'static str,
    arguments: Vec<(&'static str, usize)>,
    /// Gets one buffer for each argument.
    call: Call,
    uses_eps: bool,
}

/// Different values everywhere, so that every write shows.
fn buffers(lengths: impl Iterator<Item = usize>) -> Vec<Vec<f32>> {
    (1..).zip(lengths).map(|(seed, len)| Rng::new(seed).uniforms(len, 0.5, 1.5)).collect()
}

impl Method {
    fn right_lengths(&self) -> Vec<usize> {
        self.arguments.iter().map(|&(_, len)| len).collect()
    }

    fn run(&self, shape: Shape, options: Options, lengths: &[usize]) -> Result<(), Error> {
        let before = buffers(lengths.iter().copied());
        let mut after = before.clone();
        let result = (self.call)(shape, options, &mut after);
        if result.is_err() || shape.len() == 0 {
            for ((b, a), (argument, _)) in before.iter().zip(&after).zip(&self.arguments) {
                if result.is_ok() && ["dgamma", "dbeta"].contains(argument) {
                    // Sums over nothing.
                    assert!(a.iter().all(|a| a.to_bits() == 0), "{}: {argument}", self.name);
                    continue;
                }
                let same = b.iter().zip(a).all(|(b, a)| b.to_bits() == a.to_bits());
                assert!(same, "{} wrote to {argument}: {shape:?}, {result:?}", self.name);
            }
        }
        result
    }

    #[track_caller]
    fn refuses(&self, shape: Shape, lengths: &[usize], wrong: usize) {
        let (argument, expected) = self.arguments[wrong];
        let error = Error::Length { argument, expected, found: lengths[wrong] };
        assert_eq!(self.run(shape, FINE, lengths), Err(error), "{} {shape:?}", self.name);
    }
}

fn norm(shape: Shape, options: Options) -> BatchNorm {
    BatchNorm::new(layout(shape)).eps(options.eps).momentum(options.momentum)
}

/// The buffers as an array, to name them by a pattern.
fn take<const N: usize>(args: &mut [Vec<f32>]) -> &mut [Vec<f32>; N] {
    args.try_into().expect("one buffer for each argument")
}

/// Runs `call` on moments made from `values`, and changes those where the moments changed.
fn with_moments(
    values: &mut [f32],
    call: impl FnOnce(&mut [Moments]) -> Result<(), Error>,
) -> Result<(), Error> {
    let before: Vec<Moments> =
        values.iter().map(|&v| Moments::from_parts(2, f64::from(v), 1.0)).collect();
    let mut moments = before.clone();
    let result = call(&mut moments);
    for ((value, b), m) in values.iter_mut().zip(&before).zip(&moments) {
        if b != m {
            *value = f32::NAN;
        }
    }
    result
}

fn train(shape: Shape, options: Options, args: &mut [Vec<f32>]) -> Result<(), Error> {
    let [x, y, gamma, beta, mean, var, saved_mean, saved_rstd] = take(args);
    let running = Some(Running { mean, var });
    let saved = Some(Saved { mean: saved_mean, rstd: saved_rstd });
    norm(shape, options).train(apart(x, y), Affine::new(gamma, beta), Keep { running, saved })
}

fn train_in_place(shape: Shape, options: Options, args: &mut [Vec<f32>]) -> Result<(), Error> {
    let [x, gamma, beta, mean, var, saved_mean, saved_rstd] = take(args);
    let running = Some(Running { mean, var });
    let saved = Some(Saved { mean: saved_mean, rstd: saved_rstd });
    norm(shape, options).train(in_place(x), Affine::new(gamma, beta), Keep { running, saved })
}

fn infer(shape: Shape, options: Options, args: &mut [Vec<f32>]) -> Result<(), Error> {
    let [x, y, gamma, beta, mean, var] = take(args);
    norm(shape, options).infer(apart(x, y), Affine::new(gamma, beta), Given::Running { mean, var })
}

fn infer_in_place(shape: Shape, options: Options, args: &mut [Vec<f32>]) -> Result<(), Error> {
    let [x, gamma, beta, mean, var] = take(args);
    norm(shape, options).infer(in_place(x), Affine::new(gamma, beta), Given::Running { mean, var })
}

fn collect(shape: Shape, options: Options, args: &mut [Vec<f32>]) -> Result<(), Error> {
    let [x, moments] = take(args);
    with_moments(moments, |m| norm(shape, options).collect(x, m))
}

fn infer_population(shape: Shape, options: Options, args: &mut [Vec<f32>]) -> Result<(), Error> {
    let [x, y, gamma, beta, moments] = take(args);
    with_moments(moments, |m| {
        norm(shape, options).infer(apart(x, y), Affine::new(gamma, beta), Given::Population(m))
    })
}

fn infer_population_in_place(
    shape: Shape,
    options: Options,
    args: &mut [Vec<f32>],
) -> Result<(), Error> {
    let [x, gamma, beta, moments] = take(args);
    with_moments(moments, |m| {
        norm(shape, options).infer(in_place(x), Affine::new(gamma, beta), Given::Population(m))
    })
}

fn backward(shape: Shape, options: Options, args: &mut [Vec<f32>]) -> Result<(), Error> {
    let [dy, x, gamma, mean, rstd, dx, dgamma, dbeta] = take(args);
    let gradients = Gradients { x: Some(dx), gamma: Some(dgamma), beta: Some(dbeta) };
    norm(shape, options).backward(dy, x, Some(gamma), Statistics { mean, rstd }, gradients)
}

fn backward_inference(shape: Shape, options: Options, args: &mut [Vec<f32>]) -> Result<(), Error> {
    let [dy, x, gamma, mean, var, dx, dgamma, dbeta] = take(args);
    let gradients = Gradients { x: Some(dx), gamma: Some(dgamma), beta: Some(dbeta) };
    norm(shape, options).backward(dy, x, Some(gamma), Given::Running { mean, var }, gradients)
}

/// One weight a channel is allowed, so that `weight` has one right length here.
fn fold(shape: Shape, options: Options, args: &mut [Vec<f32>]) -> Result<(), Error> {
    let [gamma, beta, mean, var, weight, bias] = take(args);
    norm(shape, options).fold(
        Affine::new(gamma, beta),
        Given::Running { mean, var },
        Weight::OutputFirst(weight),
        bias,
    )
}

fn fold_transposed(shape: Shape, options: Options, args: &mut [Vec<f32>]) -> Result<(), Error> {
    let [gamma, beta, mean, var, weight, bias] = take(args);
    norm(shape, options).fold(
        Affine::new(gamma, beta),
        Given::Running { mean, var },
        Weight::Transposed { weight, groups: 1, kernel: 2 },
        bias,
    )
}

const GROUPS: usize = 2;

fn group_norm(shape: Shape, options: Options, args: &mut [Vec<f32>]) -> Result<(), Error> {
    let [x, y, gamma, beta, mean, rstd] = take(args);
    GroupNorm::new(layout(shape), GROUPS).eps(options.eps).forward(
        apart(x, y),
        Affine::new(gamma, beta),
        Some(Saved { mean, rstd }),
    )
}

fn group_norm_in_place(shape: Shape, options: Options, args: &mut [Vec<f32>]) -> Result<(), Error> {
    let [x, gamma, beta, mean, rstd] = take(args);
    GroupNorm::new(layout(shape), GROUPS).eps(options.eps).forward(
        in_place(x),
        Affine::new(gamma, beta),
        Some(Saved { mean, rstd }),
    )
}

fn fit(shape: Shape, options: Options, args: &mut [Vec<f32>]) -> Result<(), Error> {
    let [x, moments] = take(args);
    with_moments(moments, |m| Standardize::new(layout(shape)).eps(options.eps).fit(x, m))
}

fn apply(shape: Shape, options: Options, args: &mut [Vec<f32>]) -> Result<(), Error> {
    let [x, y, moments] = take(args);
    let op = Standardize::new(layout(shape)).eps(options.eps);
    with_moments(moments, |m| op.apply(apart(x, y), m))
}

fn apply_in_place(shape: Shape, options: Options, args: &mut [Vec<f32>]) -> Result<(), Error> {
    let [x, moments] = take(args);
    let op = Standardize::new(layout(shape)).eps(options.eps);
    with_moments(moments, |m| op.apply(in_place(x), m))
}

/// The argument names of every method; a name says how long the slice must be.
#[rustfmt::skip]
const METHODS: [(&str, &[&str], Call, bool); 16] = [
    ("train", &["x", "y", "gamma", "beta", "running_mean", "running_var", "saved_mean", "saved_rstd"], train, true),
    ("train_in_place", &["x", "gamma", "beta", "running_mean", "running_var", "saved_mean", "saved_rstd"], train_in_place, true),
    ("infer", &["x", "y", "gamma", "beta", "mean", "var"], infer, true),
    ("infer_in_place", &["x", "gamma", "beta", "mean", "var"], infer_in_place, true),
    ("collect", &["x", "moments"], collect, false),
    ("infer_population", &["x", "y", "gamma", "beta", "moments"], infer_population, true),
    ("infer_population_in_place", &["x", "gamma", "beta", "moments"], infer_population_in_place, true),
    ("backward", &["dy", "x", "gamma", "saved_mean", "saved_rstd", "dx", "dgamma", "dbeta"], backward, true),
    ("backward_inference", &["dy", "x", "gamma", "mean", "var", "dx", "dgamma", "dbeta"], backward_inference, true),
    ("fold", &["gamma", "beta", "mean", "var", "weight", "bias"], fold, true),
    ("fold_transposed", &["gamma", "beta", "mean", "var", "weight", "bias"], fold_transposed, true),
    ("group_norm", &["x", "y", "gamma", "beta", "saved_mean", "saved_rstd"], group_norm, true),
    ("group_norm_in_place", &["x", "gamma", "beta", "saved_mean", "saved_rstd"], group_norm_in_place, true),
    ("fit", &["x", "moments"], fit, false),
    ("apply", &["x", "y", "moments"], apply, true),
    ("apply_in_place", &["x", "moments"], apply_in_place, true),
];

fn methods(shape: Shape) -> Vec<Method> {
    let length = |method: &str, argument: &str| match argument {
        "x" | "y" | "dy" | "dx" => shape.len(),
        "saved_mean" | "saved_rstd" if method.starts_with("group") => shape.batch * GROUPS,
        "weight" => 2 * shape.channels,
        _ => shape.channels,
    };
    let method =
        |&(name, arguments, call, uses_eps): &(&'static str, &[&'static str], Call, bool)| {
            let arguments = arguments.iter().map(|&a| (a, length(name, a))).collect();
            Method { name, arguments, call, uses_eps }
        };
    METHODS.iter().map(method).collect()
}

const SHAPES: [Shape; 4] =
    [Shape::dense(3, 4), Shape::first(2, 4, 5), Shape::last(2, 5, 4), Shape::first(1, 2, 40)];

/// No element in any of them.
const EMPTY: [Shape; 8] = [
    Shape::dense(0, 4),
    Shape::dense(3, 0),
    Shape::first(0, 4, 5),
    Shape::first(2, 0, 5),
    Shape::first(2, 4, 0),
    Shape::last(0, 5, 4),
    Shape::last(2, 0, 4),
    Shape::last(2, 5, 0),
];

#[test]
fn right_lengths_are_accepted() {
    for shape in SHAPES {
        for method in methods(shape) {
            assert_eq!(method.run(shape, FINE, &method.right_lengths()), Ok(()), "{}", method.name);
        }
    }
}

#[test]
fn every_wrong_length_is_refused() {
    for shape in SHAPES {
        for method in methods(shape) {
            let right = method.right_lengths();
            for i in (0..right.len()).filter(|&i| method.arguments[i].0 != "weight") {
                for found in [right[i] - 1, right[i] + 1, 0] {
                    let mut lengths = right.clone();
                    lengths[i] = found;
                    method.refuses(shape, &lengths, i);
                }
            }
        }
    }
}

#[test]
fn the_first_wrong_argument_is_reported() {
    for shape in SHAPES {
        for method in methods(shape) {
            let mut lengths = method.right_lengths();
            for i in (0..lengths.len()).rev() {
                // From the last argument to the first, each one more that is wrong.
                lengths[i] += 1;
                if method.arguments[i].0 != "weight" {
                    method.refuses(shape, &lengths, i);
                }
            }
        }
    }
}

#[test]
fn empty_tensors_are_fine_and_write_only_gradients_of_parameters() {
    for shape in EMPTY {
        for method in methods(shape) {
            // Folding is about parameters, which are there without a batch.
            let folds = method.name.starts_with("fold") && shape.channels > 0;
            // Two groups do not divide into no channels in every reading: tested elsewhere.
            let groups = method.name.starts_with("group") && shape.channels == 0;
            if !folds && !groups {
                let lengths = method.right_lengths();
                assert_eq!(method.run(shape, FINE, &lengths), Ok(()), "{} {shape:?}", method.name);
            }
        }
    }
}

#[test]
fn lengths_are_checked_for_empty_tensors_too() {
    for shape in EMPTY {
        for method in methods(shape) {
            let right = method.right_lengths();
            let groups = method.name.starts_with("group") && shape.channels == 0;
            for i in (0..right.len()).filter(|&i| method.arguments[i].0 != "weight" && !groups) {
                let mut lengths = right.clone();
                lengths[i] += 1;
                method.refuses(shape, &lengths, i);
            }
        }
    }
}

/// A weight has to be a whole number of slices, one for each output channel.
#[test]
fn weights_that_do_not_divide_are_refused() {
    let shape = Shape::dense(1, 4);
    for method in methods(shape).iter().filter(|m| m.name.starts_with("fold")) {
        let weight = method.arguments.iter().position(|a| a.0 == "weight");
        let weight = weight.expect("folding has weights");
        let unit = if method.name == "fold" { 4 } else { 8 };
        for (found, expected) in [(1, unit), (unit + 1, unit), (3 * unit - 1, 2 * unit)] {
            let mut lengths = method.right_lengths();
            lengths[weight] = found;
            let error = Error::Length { argument: "weight", expected, found };
            assert_eq!(method.run(shape, FINE, &lengths), Err(error), "{}", method.name);
            // The weight comes before the bias, and after all else.
            lengths[weight + 1] += 1;
            assert_eq!(method.run(shape, FINE, &lengths), Err(error), "{}", method.name);
            lengths[weight - 1] += 1;
            method.refuses(shape, &lengths, weight - 1);
        }
    }
}

#[test]
fn groups_of_a_transposed_layer_must_divide() {
    let norm = BatchNorm::new(layout(Shape::dense(1, 6)));
    let (mut weight, mut bias) = (vec![1.0; 36], vec![1.0; 6]);
    for groups in [0, 4, 5, 7, 12] {
        let result = norm.fold(
            Affine::NONE,
            Given::Running { mean: &[0.0; 6], var: &[1.0; 6] },
            Weight::Transposed { weight: &mut weight, groups, kernel: 1 },
            &mut bias,
        );
        assert_eq!(result, Err(Error::Groups { channels: 6, groups }));
    }
    assert!(weight.iter().chain(&bias).all(|&v| v == 1.0));
}

#[test]
fn a_bad_eps_is_refused() {
    for eps in [f64::NAN, -1e-5, f64::INFINITY, f64::NEG_INFINITY] {
        for shape in SHAPES {
            for method in methods(shape).iter().filter(|m| m.uses_eps) {
                // An option comes before all arguments.
                let mut lengths = method.right_lengths();
                for wrong in [0, 1] {
                    lengths[0] += wrong;
                    match method.run(shape, Options { eps, ..FINE }, &lengths) {
                        Err(Error::Epsilon { found }) => assert_eq!(found.to_bits(), eps.to_bits()),
                        other => panic!("{}: {other:?}", method.name),
                    }
                }
            }
        }
    }
}

#[test]
fn a_bad_momentum_is_refused() {
    let shape = SHAPES[1];
    for method in methods(shape).iter().filter(|m| m.name.starts_with("train")) {
        for factor in [f64::NAN, -0.1, 1.1, f64::INFINITY] {
            let options = Options { momentum: Momentum::Exponential(factor), ..FINE };
            let mut lengths = method.right_lengths();
            for wrong in [0, 1] {
                lengths[0] += wrong;
                match method.run(shape, options, &lengths) {
                    Err(Error::Momentum { found }) => assert_eq!(found.to_bits(), factor.to_bits()),
                    other => panic!("{}: {other:?}", method.name),
                }
            }
            let both = Options { eps: -1.0, ..options };
            let error = method.run(shape, both, &lengths);
            assert_eq!(error, Err(Error::Epsilon { found: -1.0 }), "eps comes first");
        }
        let options = Options { momentum: Momentum::Cumulative { batches: 0 }, ..FINE };
        assert_eq!(method.run(shape, options, &method.right_lengths()), Err(Error::Batches));
    }
}

#[test]
fn groups_must_divide_the_channels() {
    for shape in [Shape::dense(3, 6), Shape::first(2, 6, 5), Shape::last(2, 5, 6)] {
        for groups in [0, 4, 5, 7, 12, usize::MAX] {
            let norm = GroupNorm::new(layout(shape), groups);
            let error = Err(Error::Groups { channels: 6, groups });
            let (x, mut y) = (vec![0.5; shape.len()], vec![0.25; shape.len()]);
            assert_eq!(norm.forward(apart(&x, &mut y), Affine::NONE, None), error);
            assert_eq!(norm.forward(apart(&x[1..], &mut y), Affine::NONE, None), error);
            assert_eq!(norm.forward(in_place(&mut y), Affine::NONE, None), error);
            assert!(y.iter().all(|&v| v == 0.25));
        }
    }
}

#[test]
fn products_of_sizes_may_not_overflow() {
    const HALF: usize = 1 << (usize::BITS / 2);
    for (a, b, c) in [
        (usize::MAX, 2, 1),
        (2, usize::MAX, 1),
        (1, 2, usize::MAX),
        (HALF, HALF, 1),
        (HALF, 1, HALF),
        (1, HALF, HALF),
        (HALF, HALF, HALF),
        (usize::MAX, usize::MAX, usize::MAX),
    ] {
        assert_eq!(Layout::channels_first(a, b, c), Err(Error::TooLarge));
        assert_eq!(Layout::channels_last(a, c, b), Err(Error::TooLarge));
    }
    assert_eq!(Layout::dense(usize::MAX, 2), Err(Error::TooLarge));
    assert_eq!(Layout::dense(usize::MAX, 1).map(|l| l.len()), Ok(usize::MAX));
    assert_eq!(Layout::channels_first(HALF, HALF - 1, 1).map(|l| l.len()), Ok(HALF * (HALF - 1)));
}

/// Every number of groups divides no channels, so that the statistics' length can overflow.
#[test]
fn groups_times_samples_may_not_overflow() {
    let shape = Shape::dense(2, 0);
    for groups in [usize::MAX, usize::MAX / 2 + 1] {
        let norm = GroupNorm::new(layout(shape), groups);
        let (mut mean, mut rstd) = ([0.25], [0.25]);
        let saved = Saved { mean: &mut mean, rstd: &mut rstd };
        let result = norm.forward(apart(&[], &mut []), Affine::NONE, Some(saved));
        assert_eq!(result, Err(Error::TooLarge));
        let saved = Saved { mean: &mut mean, rstd: &mut rstd };
        let result = norm.forward(in_place(&mut []), Affine::NONE, Some(saved));
        assert_eq!(result, Err(Error::TooLarge));
        assert_eq!((mean, rstd), ([0.25], [0.25]));
        // Without statistics nothing has that length. Wrong parameters come before it.
        assert_eq!(norm.forward(apart(&[], &mut []), Affine::NONE, None), Ok(()));
        let saved = Saved { mean: &mut mean, rstd: &mut rstd };
        let wrong = norm.forward(
            apart(&[], &mut []),
            Affine { gamma: Some(&[1.0]), beta: None },
            Some(saved),
        );
        assert_eq!(wrong, Err(Error::Length { argument: "gamma", expected: 0, found: 1 }));
    }
}

#[test]
fn channels_times_kernel_may_not_overflow() {
    let norm = BatchNorm::new(layout(Shape::dense(1, 6)));
    let (mut weight, mut bias) = (vec![1.0; 36], vec![1.0; 6]);
    for kernel in [usize::MAX, usize::MAX / 6 + 1] {
        for groups in [1, 3] {
            // The sizes are checked before the weight's length: there is no right one.
            let result = norm.fold(
                Affine::NONE,
                Given::Running { mean: &[0.0; 6], var: &[1.0; 6] },
                Weight::Transposed { weight: &mut weight, groups, kernel },
                &mut bias,
            );
            assert_eq!(result, Err(Error::TooLarge));
        }
    }
    assert!(weight.iter().chain(&bias).all(|&v| v == 1.0));
}

/// An empty tensor whose other sizes are huge is refused or works, but nothing overflows.
#[test]
fn huge_empty_tensors_do_not_panic() {
    let sizes = [0, 1, 2, usize::MAX];
    for (n, c, s) in sizes.iter().flat_map(|&n| sizes.iter().map(move |&c| (n, c, 0))) {
        for layout in [Layout::channels_first(n, c, s), Layout::channels_last(n, s, c)] {
            let Ok(layout) = layout else { continue };
            assert_eq!(layout.len(), 0);
            assert_eq!(
                BatchNorm::new(layout).train(apart(&[], &mut []), Affine::NONE, Keep::NOTHING),
                Ok(())
            );
            for groups in [1, c] {
                let saved = Saved { mean: &mut [], rstd: &mut [] };
                let norm = GroupNorm::new(layout, groups);
                let result = norm.forward(apart(&[], &mut []), Affine::NONE, Some(saved));
                let expected = match (groups, n * groups) {
                    (0, _) => Err(Error::Groups { channels: 0, groups: 0 }),
                    (_, 0) => Ok(()),
                    (_, expected) => {
                        Err(Error::Length { argument: "saved_mean", expected, found: 0 })
                    }
                };
                assert_eq!(result, expected, "{layout:?}, {groups} groups");
            }
        }
    }
}

#[test]
fn a_probability_lies_between_zero_and_one() {
    for p in [f64::NAN, -0.1, 1.1, -f64::MIN_POSITIVE, 1.0 + f64::EPSILON, f64::INFINITY] {
        match Dropout::new(p) {
            Err(Error::Probability { found }) => assert_eq!(found.to_bits(), p.to_bits()),
            other => panic!("{p}: {other:?}"),
        }
    }
    for p in [0.0, -0.0, f64::MIN_POSITIVE, 0.5, 1.0] {
        assert!(Dropout::new(p).is_ok(), "{p}");
    }
}

#[test]
fn a_stream_lies_below_2_to_the_62() {
    for stream in [1 << 62, (1 << 62) + 1, u64::MAX] {
        assert_eq!(Key::with_stream(3, stream), Err(Error::Stream { found: stream }));
        let mut philox = Philox::new(Key::new(3));
        philox.set_word_pos(5);
        assert_eq!(philox.set_stream(stream), Err(Error::Stream { found: stream }));
        assert_eq!((philox.get_stream(), philox.get_word_pos()), (0, 5));
    }
    let last = (1 << 62) - 1;
    assert_eq!(Key::with_stream(3, last).map(Key::stream), Ok(last));
    assert_eq!(Philox::new(Key::new(3)).set_stream(last), Ok(()));
}

#[test]
fn dropout_checks_lengths() {
    let (dropout, key) = (Dropout::new(0.5).unwrap(), Key::new(1));
    let x = vec![1.0; 20];
    for found in [0, 19, 21] {
        let mut out = vec![0.25; found];
        let wrong = |argument| Err(Error::Length { argument, expected: 20, found });
        assert_eq!(dropout.forward(apart(&x, &mut out), key), wrong("y"));
        assert_eq!(dropout.backward(apart(&x, &mut out), key), wrong("dx"));
        assert_eq!(dropout.infer(apart(&x, &mut out)), wrong("y"));
        assert!(out.iter().all(|&v| v == 0.25));
    }
    for found in [0, 2, 4] {
        let mut mask = vec![0xA5; found];
        let error = Error::Length { argument: "mask", expected: 3, found };
        assert_eq!(dropout.write_mask(20, key, &mut mask), Err(error));
        assert!(mask.iter().all(|&b| b == 0xA5));
    }
    assert_eq!(dropout.forward(apart(&[], &mut []), key), Ok(()));
    assert_eq!(dropout.backward(apart(&[], &mut []), key), Ok(()));
    assert_eq!(dropout.write_mask(0, key, &mut []), Ok(()));
}

#[test]
fn dropout_offsets_may_not_overflow() {
    let (dropout, key) = (Dropout::new(0.5).unwrap(), Key::new(1));
    let mut y = vec![0.25; 4];
    for offset in [u64::MAX - 3, u64::MAX - 2, u64::MAX] {
        let dropout = dropout.offset(offset);
        assert_eq!(dropout.forward(apart(&[1.0; 4], &mut y), key), Err(Error::TooLarge));
        assert_eq!(dropout.forward(in_place(&mut y), key), Err(Error::TooLarge));
        assert_eq!(dropout.backward(apart(&[1.0; 4], &mut y), key), Err(Error::TooLarge));
        assert_eq!(dropout.backward(in_place(&mut y), key), Err(Error::TooLarge));
        assert_eq!(dropout.write_mask(4, key, &mut [0]), Err(Error::TooLarge));
        assert!(y.iter().all(|&v| v == 0.25));
        // Inference draws nothing.
        assert_eq!(dropout.infer(apart(&[1.0; 4], &mut [0.0; 4])), Ok(()));
    }
    let last = dropout.offset(u64::MAX - 4);
    assert_eq!(last.forward(apart(&[1.0; 4], &mut y), key), Ok(()));
}

#[test]
fn messages_name_what_is_wrong() {
    let errors = [
        (Error::Length { argument: "gamma", expected: 4, found: 5 }, "gamma"),
        (Error::TooLarge, "overflow"),
        (Error::Epsilon { found: -2.5 }, "-2.5"),
        (Error::Momentum { found: 1.5 }, "1.5"),
        (Error::Batches, "0"),
        (Error::Probability { found: 7.25 }, "7.25"),
        (Error::Groups { channels: 6, groups: 4 }, "4"),
        (Error::Stream { found: 1 << 63 }, "9223372036854775808"),
    ];
    for (error, part) in errors {
        let message = error.to_string();
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn fold_refuses_a_variance_without_a_root() {
    for (var, eps) in [(-1.0, 0.5), (f32::NAN, 1e-5), (-1e-30, 0.0)] {
        let op = BatchNorm::new(layout(Shape::dense(1, 3))).eps(eps);
        let (mut weight, mut bias) = ([1.0, 2.0, 3.0], [4.0, 5.0, 6.0]);
        let variances = [1.0, var, var];
        let given = Given::Running { mean: &[0.0; 3], var: &variances };
        let result = op.fold(Affine::NONE, given, Weight::OutputFirst(&mut weight), &mut bias);
        let Err(Error::Variance { channel: 1, found }) = result else { panic!("{result:?}") };
        assert!(found.is_nan() || found == f64::from(var) + eps);
        assert_eq!((weight, bias), ([1.0, 2.0, 3.0], [4.0, 5.0, 6.0]));
    }
    // What cancels exactly counts as no deviation, as it does at inference.
    let op = BatchNorm::new(layout(Shape::dense(1, 1))).eps(0.5);
    let given = Given::Running { mean: &[0.0], var: &[-0.5] };
    let (mut weight, mut bias) = ([1.0], [4.0]);
    assert_eq!(op.fold(Affine::NONE, given, Weight::OutputFirst(&mut weight), &mut bias), Ok(()));
    assert_eq!((weight, bias), ([0.0], [0.0]));
}
