//! DropConnect beyond what every operation is asked: its mask, and that inference is the mean over it.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "sizes are small, and rounding is the subject"
)]

use evenkeel::{Backend, DropConnect, Error, Fill, Key, WeightGradients, Weights};
use ops::Source;

fn layer(inputs: usize, outputs: usize, p: f64) -> DropConnect {
    DropConnect::new(inputs, outputs, p).expect("a small layer")
}

/// x, matrix, bias and dy of ordinary numbers.
fn drawn(batch: usize, inputs: usize, outputs: usize) -> [Vec<f32>; 4] {
    let mut source = Source::new(batch + inputs);
    [batch * inputs, outputs * inputs, outputs, batch * outputs].map(|len| source.normals(len))
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// dx, dW and db.
fn gradients(op: DropConnect, [x, matrix, bias, dy]: [&[f32]; 4], key: Key) -> [Vec<f32>; 3] {
    let mut out = [x.len(), matrix.len(), bias.len()].map(|len| vec![f32::NAN; len]);
    let [dx, dmatrix, dbias] = out.each_mut().map(|v| Some(v.as_mut_slice()));
    let into = WeightGradients { x: dx, matrix: dmatrix, bias: dbias };
    let weights = Weights { matrix, bias: Some(bias) };
    op.backward(dy, x, weights, into, key).expect("all lengths are right");
    out
}

/// The mean and the variance of 10^5 samples with a mask each are those of `moments`, within four
/// standard errors.
#[test]
fn moments_are_those_of_many_masks() {
    const SAMPLES: usize = 100_000;
    let (inputs, outputs, p) = (20, 4, 0.3);
    let [x, matrix, bias, _] = drawn(1, inputs, outputs);
    let op = layer(inputs, outputs, p);
    let weights = Weights { matrix: &matrix, bias: Some(&bias) };
    let (mut mean, mut variance) = (vec![0.0; outputs], vec![0.0; outputs]);
    op.moments(&x, weights, &mut mean, &mut variance).expect("all lengths are right");

    let mut y = vec![0.0; SAMPLES * outputs];
    op.forward(&x.repeat(SAMPLES), weights, &mut y, Key::new(3)).expect("all lengths are right");
    for output in 0..outputs {
        let (mean, variance) = (f64::from(mean[output]), f64::from(variance[output]));
        let off = || y.iter().skip(output).step_by(outputs).map(|&y| f64::from(y) - mean);
        let moment = |power: i32| off().map(|off| off.powi(power)).sum::<f64>() / SAMPLES as f64;
        let errors = SAMPLES as f64;
        let error_of_mean = (variance / errors).sqrt();
        let error_of_variance = ((moment(4) - variance * variance) / errors).sqrt();
        assert!(moment(1).abs() <= 4.0 * error_of_mean, "mean {mean}: off by {}", moment(1));
        let difference = moment(2) - variance;
        assert!(difference.abs() <= 4.0 * error_of_variance, "{variance}: off by {difference}");
    }
}

/// The numbers of decisions are those that the documentation names.
#[test]
fn masks_are_those_of_the_key() {
    let (inputs, outputs) = (37, 5);
    let key = Key::new(9).fold_in(1);
    let numbers = evenkeel::Dropout::new(0.4).expect("a probability");
    for backend in Backend::available() {
        let op = layer(inputs, outputs, 0.4).offset(7).backend(backend);
        for output in 0..outputs {
            for input in 0..=inputs {
                let number = (8 * outputs + output) * (inputs + 1) + input;
                let keep = numbers.keep(key, number as u64);
                assert_eq!(op.keep(key, 8, output, input), keep);
                // One connection that is not zero, of the second sample of a call.
                let (mut x, mut matrix) = (vec![0.0; 2 * inputs], vec![0.0; outputs * inputs]);
                let mut bias = vec![0.0; outputs];
                if input == inputs {
                    bias[output] = 1.0;
                } else {
                    x[inputs + input] = 1.0;
                    matrix[output * inputs + input] = 1.0;
                }
                let mut y = vec![f32::NAN; 2 * outputs];
                let weights = Weights { matrix: &matrix, bias: Some(&bias) };
                op.forward(&x, weights, &mut y, key).expect("all lengths are right");
                assert_eq!(y[outputs + output], f32::from(u8::from(keep)), "{backend}");
            }
        }
    }
}

/// A batch in pieces is the batch: y and dx to the bit.
#[test]
fn a_batch_may_be_cut() {
    let (batch, inputs, outputs) = (23, 250, 9);
    let [x, matrix, bias, dy] = drawn(batch, inputs, outputs);
    let weights = Weights { matrix: &matrix, bias: Some(&bias) };
    let (op, key) = (layer(inputs, outputs, 0.5).offset(1000), Key::new(4));
    let mut whole = vec![0.0; batch * outputs];
    op.forward(&x, weights, &mut whole, key).expect("all lengths are right");
    let [dx, ..] = gradients(op, [&x, &matrix, &bias, &dy], key);
    let mut sampled = vec![0.0; batch * outputs];
    let variance: Vec<f32> = dy.iter().map(|dy| dy * dy).collect();
    op.sample(&whole, &variance, &mut sampled, key).expect("all lengths are right");
    for cut in [0, 1, 10, 22, 23] {
        let mut y = vec![f32::NAN; batch * outputs];
        let (left, right) = y.split_at_mut(cut * outputs);
        let ((x0, x1), later) = (x.split_at(cut * inputs), op.offset(1000 + cut as u64));
        op.forward(x0, weights, left, key).expect("all lengths are right");
        later.forward(x1, weights, right, key).expect("all lengths are right");
        assert_eq!(bits(&y), bits(&whole), "{cut}");

        let (dy0, dy1) = dy.split_at(cut * outputs);
        let [mut first, ..] = gradients(op, [x0, &matrix, &bias, dy0], key);
        let [second, ..] = gradients(later, [x1, &matrix, &bias, dy1], key);
        first.extend(second);
        assert_eq!(bits(&first), bits(&dx), "{cut}");

        let mut y = vec![f32::NAN; batch * outputs];
        let at = cut * outputs;
        op.sample(&whole[..at], &variance[..at], &mut y[..at], key).expect("right lengths");
        later.sample(&whole[at..], &variance[at..], &mut y[at..], key).expect("right lengths");
        assert_eq!(bits(&y), bits(&sampled), "{cut}");
    }
}

/// What is not a number reaches what its connection reaches, if that is kept.
#[test]
fn dropped_connections_are_not_seen() {
    let (inputs, outputs) = (300, 70);
    let [x, matrix, bias, dy] = drawn(1, inputs, outputs);
    let key = Key::new(5);
    for backend in Backend::available() {
        let op = layer(inputs, outputs, 0.6).backend(backend);
        for (output, input) in [(0, 0), (3, 17), (64, 241), (69, 299)] {
            for bad in [f32::NAN, f32::INFINITY] {
                let mut matrix = matrix.clone();
                matrix[output * inputs + input] = bad;
                let weights = Weights { matrix: &matrix, bias: Some(&bias) };
                let mut y = vec![0.0; outputs];
                op.forward(&x, weights, &mut y, key).expect("all lengths are right");
                let keep = op.keep(key, 0, output, input);
                for (o, y) in y.iter().enumerate() {
                    assert_eq!(y.is_finite(), o != output || !keep, "{backend}: y[{o}]");
                }
                let [dx, ..] = gradients(op, [&x, &matrix, &bias, &dy], key);
                for (i, dx) in dx.iter().enumerate() {
                    assert_eq!(dx.is_finite(), i != input || !keep, "{backend}: dx[{i}]");
                }
            }
        }
    }
}

/// p = 0 is a linear layer: the mean network, and on small integers the exact product.
#[test]
fn nothing_dropped_is_a_product() {
    let (batch, inputs, outputs) = (3, 1500, 20);
    let whole = |v: Vec<f32>| v.iter().map(|v| (v * 3.0).round()).collect::<Vec<f32>>();
    let [x, matrix, bias, dy] = drawn(batch, inputs, outputs).map(whole);
    let op = layer(inputs, outputs, 0.0);
    let weights = Weights { matrix: &matrix, bias: Some(&bias) };
    let (mut y, mut mean, mut variance) =
        (vec![0.0; dy.len()], vec![0.0; dy.len()], vec![1.0; dy.len()]);
    op.forward(&x, weights, &mut y, Key::new(1)).expect("all lengths are right");
    op.moments(&x, weights, &mut mean, &mut variance).expect("all lengths are right");
    assert_eq!((&y, variance), (&mean, vec![0.0; dy.len()]));
    for (place, y) in y.iter().enumerate() {
        let (s, o) = (place / outputs, place % outputs);
        let rows = matrix[o * inputs..].iter().zip(&x[s * inputs..]).take(inputs);
        assert_eq!(*y, rows.map(|(w, x)| w * x).sum::<f32>() + bias[o]);
    }
    let [dx, dmatrix, dbias] = gradients(op, [&x, &matrix, &bias, &dy], Key::new(1));
    for (i, dx) in dx.iter().enumerate().take(inputs) {
        assert_eq!(*dx, (0..outputs).map(|o| matrix[o * inputs + i] * dy[o]).sum::<f32>());
    }
    for (i, dw) in dmatrix.iter().enumerate().take(inputs) {
        let terms = (0..batch).map(|s| x[s * inputs + i] * dy[s * outputs]);
        assert_eq!(*dw, terms.sum::<f32>());
    }
    assert_eq!(dbias[1], (0..batch).map(|s| dy[s * outputs + 1]).sum::<f32>());
}

/// p = 1 gives zeros, be there what may.
#[test]
fn everything_dropped_is_zero() {
    let op = layer(3, 2, 1.0);
    let (x, matrix, bias, dy) = ([f32::NAN; 6], [f32::INFINITY; 6], [f32::NAN; 2], [1.0; 4]);
    let weights = Weights { matrix: &matrix, bias: Some(&bias) };
    let (mut y, mut mean, mut variance) = ([1.0; 4], [1.0; 4], [1.0; 4]);
    op.forward(&x, weights, &mut y, Key::new(1)).expect("all lengths are right");
    op.moments(&x, weights, &mut mean, &mut variance).expect("all lengths are right");
    assert_eq!([y, mean, variance], [[0.0; 4]; 3]);
    op.infer(&x, weights, &mut y).expect("all lengths are right");
    assert_eq!(y, [0.0; 4]);
    for gradient in gradients(op, [&x, &matrix, &bias, &dy], Key::new(1)) {
        assert!(gradient.iter().all(|&v| v == 0.0));
    }
}

/// A product that overflows where the sum does not.
#[test]
fn overflow_on_the_way() {
    for backend in Backend::available() {
        let op = layer(3, 1, 0.0).backend(backend);
        let weights = Weights { matrix: &[2.0, -2.0, 0.5], bias: None };
        let mut y = [0.0];
        op.forward(&[3e38; 3], weights, &mut y, Key::new(1)).expect("all lengths are right");
        assert_eq!(y, [1.5e38], "{backend}");
        let op = layer(2, 3, 0.0).backend(backend);
        let matrix = [2.0, 1.0, -2.0, 1.0, 0.5, 1.0];
        let [dx, ..] = gradients(op, [&[1.0; 2], &matrix, &[0.0; 3], &[3e38; 3]], Key::new(1));
        assert_eq!(dx, [1.5e38, f32::INFINITY], "{backend}");
    }
}

#[test]
fn samples_have_the_numbers_of_fill() {
    let key = Key::new(8);
    let op = layer(4, 3, 0.5).offset(2);
    let mut z = [0.0; 6];
    Fill::new(key).offset(6).normal(&mut z, 0.0, 1.0).expect("all numbers fit");
    let mut y = [0.0; 6];
    op.sample(&[1.0; 6], &[4.0; 6], &mut y, key).expect("all lengths are right");
    assert_eq!(y, z.map(|z| 1.0 + 2.0 * z));
}

fn length(argument: &'static str, expected: usize, found: usize) -> Result<(), Error> {
    Err(Error::Length { argument, expected, found })
}

/// Lengths that are no whole number of samples.
#[test]
fn broken_samples_are_refused() {
    let op = layer(3, 2, 0.5);
    let (weights, key) = (Weights { matrix: &[0.0; 6], bias: None }, Key::new(1));
    for (found, expected) in [(1, 3), (2, 3), (4, 3), (5, 3), (7, 6)] {
        let (x, mut y) = (vec![0.0; found], vec![1.0; found / 3 * 2]);
        let refused = length("x", expected, found);
        assert_eq!(op.forward(&x, weights, &mut y, key), refused);
        assert_eq!(op.infer(&x, weights, &mut y), refused);
        let dy = y.clone();
        assert_eq!(op.backward(&dy, &x, weights, WeightGradients::default(), key), refused);
        assert!(y.iter().all(|&y| y == 1.0));
    }
    for (found, expected) in [(1, 2), (3, 2), (5, 4)] {
        let mut y = vec![1.0; found];
        let mean = y.clone();
        assert_eq!(op.sample(&mean, &mean, &mut y, key), length("mean", expected, found));
    }
}

/// No inputs: no samples. No outputs: gradients of the inputs that are zero.
#[test]
fn layers_of_nothing() {
    let (nothing, key) = (Weights { matrix: &[], bias: None }, Key::new(1));
    let op = layer(0, 2, 0.5);
    assert_eq!(op.forward(&[], nothing, &mut [], key), Ok(()));
    assert_eq!(op.forward(&[1.0], nothing, &mut [], key), length("x", 0, 1));
    assert_eq!(op.forward(&[], nothing, &mut [0.0; 2], key), length("y", 0, 2));
    let mut dbias = [1.0; 2];
    let into = WeightGradients { bias: Some(&mut dbias), ..WeightGradients::default() };
    assert_eq!(op.backward(&[], &[], nothing, into, key), Ok(()));
    assert_eq!(dbias, [0.0; 2]);

    let op = layer(2, 0, 0.5);
    assert_eq!(op.forward(&[1.0; 4], nothing, &mut [], key), Ok(()));
    let mut dx = [1.0; 4];
    let into = WeightGradients { x: Some(&mut dx), ..WeightGradients::default() };
    assert_eq!(op.backward(&[], &[1.0; 4], nothing, into, key), Ok(()));
    assert_eq!(dx, [0.0; 4]);
}

#[test]
fn sizes_and_offsets_that_overflow() {
    let half = 1 << (usize::BITS / 2);
    for (inputs, outputs) in [(usize::MAX, 0), (usize::MAX, 1), (half, half)] {
        assert_eq!(DropConnect::new(inputs, outputs, 0.5), Err(Error::TooLarge));
    }
    assert_eq!(DropConnect::new(1, 1, 1.5), Err(Error::Probability { found: 1.5 }));
    // A sample takes two numbers: the last that has both.
    let (op, weights) = (layer(1, 1, 0.5), Weights { matrix: &[1.0], bias: None });
    let (last, key) = (u64::MAX / 2, Key::new(1));
    for (offset, batch, expected) in [
        (last, 1, Ok(())),
        (last - 1, 2, Ok(())),
        (last, 2, Err(Error::TooLarge)),
        (last + 1, 1, Err(Error::TooLarge)),
        (u64::MAX, 0, Ok(())),
    ] {
        let (x, mut y) = (vec![1.0; batch], vec![0.0; batch]);
        assert_eq!(op.offset(offset).forward(&x, weights, &mut y, key), expected, "{offset}");
    }
}
