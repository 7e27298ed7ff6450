//! DropConnect: a linear layer of an MLP, forward and backward, beside a plain loop with a stored mask.

use std::hint::black_box;

use evenkeel::{Backend, DropConnect, Key, WeightGradients, Weights};

use super::{Case, Work};

const VALID: &str = "lengths agree";
const P: f64 = 0.5;

/// Batch, inputs, outputs: a hidden layer for MNIST, and one whose weights no second-level cache holds.
const SHAPES: [[usize; 3]; 3] = [[16, 784, 256], [64, 100, 64], [4, 2048, 1024]];

/// What a call works on.
struct Layer {
    op: DropConnect,
    x: Vec<f32>,
    matrix: Vec<f32>,
    bias: Vec<f32>,
    dy: Vec<f32>,
}

impl Layer {
    fn new(backend: Backend, [batch, inputs, outputs]: [usize; 3]) -> Self {
        let numbers = |len: usize| (0..len).map(|i| (i % 61) as f32 * 0.01 - 0.3).collect();
        Self {
            op: DropConnect::new(inputs, outputs, P).expect("p is a probability").backend(backend),
            x: numbers(batch * inputs),
            matrix: numbers(inputs * outputs),
            bias: numbers(outputs),
            dy: numbers(batch * outputs),
        }
    }

    fn weights(&self) -> Weights<'_> {
        Weights { matrix: &self.matrix, bias: Some(&self.bias) }
    }
}

/// Makes a call ready to run.
type Build = fn(Layer) -> Work;

/// The cases: an element is a connection of a sample.
pub fn cases(backend: Backend) -> Vec<Case> {
    let ops: [(&str, Build); 5] = [
        ("forward", forward),
        ("backward, dx", backward_x),
        ("backward, dW and db", backward_weights),
        ("infer", infer),
        ("moments", moments),
    ];
    let mut cases = Vec::new();
    for shape in SHAPES {
        for (op, build) in ops {
            cases.push(case(backend, backend.name(), op, build, shape));
        }
        cases.push(case(backend, "plain Rust", "forward", plain, shape));
    }
    cases
}

fn case(backend: Backend, name: &'static str, op: &str, build: Build, shape: [usize; 3]) -> Case {
    let [batch, inputs, outputs] = shape;
    Case {
        op: format!("drop_connect/{op}, p = {P}"),
        shape: format!("{batch}x{inputs}x{outputs}"),
        layout: "-",
        backend: name,
        elements: batch * inputs * outputs,
        build: Box::new(move || build(Layer::new(backend, shape))),
    }
}

/// Runs a call on a layer and as many results, with a new key every time.
fn work(layer: Layer, results: usize, call: impl Fn(&Layer, &mut [f32], Key) + 'static) -> Work {
    let mut results = vec![0.0; results];
    let mut step = 0;
    // A copy of as many elements as there are weights, to be beside.
    Work::new(layer.matrix.len(), move |_, _| {
        step += 1;
        call(&layer, &mut results, Key::new(1).fold_in(step));
        black_box(&mut results);
    })
}

fn forward(layer: Layer) -> Work {
    let results = layer.dy.len();
    work(layer, results, |layer, y, key| {
        layer.op.forward(&layer.x, layer.weights(), y, key).expect(VALID);
    })
}

fn backward_x(layer: Layer) -> Work {
    let results = layer.x.len();
    work(layer, results, |layer, dx, key| {
        let into = WeightGradients { x: Some(dx), ..WeightGradients::default() };
        layer.op.backward(&layer.dy, &layer.x, layer.weights(), into, key).expect(VALID);
    })
}

fn backward_weights(layer: Layer) -> Work {
    let (results, weights) = (layer.matrix.len() + layer.bias.len(), layer.matrix.len());
    work(layer, results, move |layer, into, key| {
        let (matrix, bias) = into.split_at_mut(weights);
        let into = WeightGradients { x: None, matrix: Some(matrix), bias: Some(bias) };
        layer.op.backward(&layer.dy, &layer.x, layer.weights(), into, key).expect(VALID);
    })
}

fn infer(layer: Layer) -> Work {
    let results = layer.dy.len();
    work(layer, results, |layer, y, _| {
        layer.op.infer(&layer.x, layer.weights(), y).expect(VALID);
    })
}

fn moments(layer: Layer) -> Work {
    let results = layer.dy.len();
    work(layer, 2 * results, move |layer, into, _| {
        let (mean, variance) = into.split_at_mut(results);
        layer.op.moments(&layer.x, layer.weights(), mean, variance).expect(VALID);
    })
}

/// A loop over a mask that is there already, a byte a connection: sixteen sums side by side, which the
/// compiler turns into vectors.
fn plain(layer: Layer) -> Work {
    let (results, inputs) = (layer.dy.len(), layer.op.inputs());
    let mask: Vec<u8> = (0..results * inputs).map(|i| u8::from(i * 7 % 13 > 5)).collect();
    work(layer, results, move |layer, y, _| {
        let outputs = layer.op.outputs();
        for (i, (y, mask)) in y.iter_mut().zip(mask.chunks_exact(inputs)).enumerate() {
            let (sample, output) = (i / outputs, i % outputs);
            let x = &layer.x[sample * inputs..][..inputs];
            let weights = &layer.matrix[output * inputs..][..inputs];
            *y = masked(x, weights, mask) + layer.bias[output];
        }
    })
}

fn masked(x: &[f32], weights: &[f32], mask: &[u8]) -> f32 {
    let mut sums = [0.0_f32; 16];
    let ((xs, x), (ws, w)) = (x.as_chunks::<16>(), weights.as_chunks::<16>());
    let (masks, m) = mask.as_chunks::<16>();
    for ((x, w), m) in xs.iter().zip(ws).zip(masks) {
        for (lane, sum) in sums.iter_mut().enumerate() {
            *sum += if m[lane] == 1 { w[lane] * x[lane] } else { 0.0 };
        }
    }
    let rest = x.iter().zip(w).zip(m).map(|((x, w), m)| w * x * f32::from(*m));
    sums.iter().sum::<f32>() + rest.sum::<f32>()
}
