//! Plain layers and what trains them: parameters, the dense layer, and one matrix product.
//!
//! Nothing here comes from `evenkeel`. The loops add in a fixed order and never fuse a product with
//! a sum, so the whole example gives the same numbers on every machine.

use evenkeel::{Key, Philox};
use rand_core::Rng;

/// How much of the last step each step repeats.
const MOMENTUM: f32 = 0.9;

/// Numbers that are learned, with their gradient and the velocity of the descent.
pub(crate) struct Parameter {
    pub(crate) value: Vec<f32>,
    pub(crate) gradient: Vec<f32>,
    velocity: Vec<f32>,
}

impl Parameter {
    pub(crate) fn new(value: Vec<f32>) -> Self {
        let zeros = vec![0.0; value.len()];
        Self { value, gradient: zeros.clone(), velocity: zeros }
    }

    /// Takes one step of stochastic gradient descent with momentum.
    pub(crate) fn descend(&mut self, rate: f32) {
        let slopes = self.gradient.iter().zip(&mut self.velocity);
        for (value, (slope, velocity)) in self.value.iter_mut().zip(slopes) {
            *velocity = MOMENTUM * *velocity + slope;
            *value -= rate * *velocity;
        }
    }
}

/// A dense layer, `y = x · W + b`, with `W` of shape inputs × outputs.
pub(crate) struct Dense {
    inputs: usize,
    outputs: usize,
    pub(crate) weight: Parameter,
    pub(crate) bias: Parameter,
}

impl Dense {
    /// Draws weights from ±1/√inputs, the default of PyTorch's `Linear`; biases start at 0.
    ///
    /// Activations then shrink from layer to layer, which BatchNorm undoes. With ±√(6 / inputs),
    /// made for ReLU (He et al. 2015), the plain network starts better and loses by less.
    pub(crate) fn new(inputs: usize, outputs: usize, key: Key) -> Self {
        let bound = 1.0 / small(inputs).sqrt();
        let mut random = Philox::new(key);
        let weight = (0..inputs * outputs).map(|_| bound * symmetric(&mut random)).collect();
        let (weight, bias) = (Parameter::new(weight), Parameter::new(vec![0.0; outputs]));
        Self { inputs, outputs, weight, bias }
    }

    /// Returns `x · W + b`, a row for each row of `x`.
    pub(crate) fn forward(&self, x: &[f32]) -> Vec<f32> {
        let rows = x.len() / self.inputs;
        let mut y = self.bias.value.repeat(rows);
        add_product(x, &self.weight.value, [self.inputs, self.outputs], &mut y);
        y
    }

    /// Stores the gradients of weights and biases, given the gradient of the output.
    pub(crate) fn backward(&mut self, x: &[f32], dy: &[f32]) {
        let rows = x.len() / self.inputs;
        self.weight.gradient.fill(0.0);
        let x_transposed = transpose(x, self.inputs);
        add_product(&x_transposed, dy, [rows, self.outputs], &mut self.weight.gradient);

        self.bias.gradient.fill(0.0);
        for row in dy.chunks_exact(self.outputs) {
            add_scaled(1.0, row, &mut self.bias.gradient);
        }
    }

    /// Returns the gradient of the input, given the gradient of the output.
    pub(crate) fn backward_input(&self, dy: &[f32]) -> Vec<f32> {
        let rows = dy.len() / self.outputs;
        let mut dx = vec![0.0; rows * self.inputs];
        let weight_transposed = transpose(&self.weight.value, self.outputs);
        add_product(dy, &weight_transposed, [self.outputs, self.inputs], &mut dx);
        dx
    }

    pub(crate) fn descend(&mut self, rate: f32) {
        self.weight.descend(rate);
        self.bias.descend(rate);
    }
}

/// Adds the product `a · b` to `out`; `b` has the given shape `[inner, columns]`.
///
/// The inner loop runs along a row of `out`, whose elements don't depend on each other: the
/// compiler can take them many at a time without changing the order of any sum. Four rows of `b`
/// at once, so that a sum is loaded and stored once for four products.
fn add_product(a: &[f32], b: &[f32], [inner, columns]: [usize; 2], out: &mut [f32]) {
    for (a_row, out_row) in a.chunks_exact(inner).zip(out.chunks_exact_mut(columns)) {
        let (factors, last_factors) = a_row.as_chunks::<4>();
        let (blocks, last_rows) = b.split_at(factors.len() * 4 * columns);
        for (factors, rows) in factors.iter().zip(blocks.chunks_exact(4 * columns)) {
            add_four_scaled(*factors, rows, out_row);
        }
        for (&factor, row) in last_factors.iter().zip(last_rows.chunks_exact(columns)) {
            add_scaled(factor, row, out_row);
        }
    }
}

/// Adds four rows, each with its factor, one after the other.
fn add_four_scaled(factors: [f32; 4], rows: &[f32], out: &mut [f32]) {
    let [f0, f1, f2, f3] = factors;
    let (r0, rows) = rows.split_at(out.len());
    let (r1, rows) = rows.split_at(out.len());
    let (r2, r3) = rows.split_at(out.len());
    let rows = r0.iter().zip(r1).zip(r2.iter().zip(r3));
    for (sum, ((x0, x1), (x2, x3))) in out.iter_mut().zip(rows) {
        *sum = (((*sum + f0 * x0) + f1 * x1) + f2 * x2) + f3 * x3;
    }
}

fn add_scaled(factor: f32, row: &[f32], out: &mut [f32]) {
    for (sum, value) in out.iter_mut().zip(row) {
        *sum += factor * value;
    }
}

fn transpose(matrix: &[f32], columns: usize) -> Vec<f32> {
    let column = |j| matrix.iter().skip(j).step_by(columns);
    (0..columns).flat_map(column).copied().collect()
}

/// A random number in -1..1, from the upper 24 bits of a word: all that a `f32` holds.
fn symmetric(random: &mut impl Rng) -> f32 {
    let word = random.next_u32();
    #[expect(clippy::cast_precision_loss, reason = "24 bits fit")]
    let unit = (word >> 8) as f32 / (1 << 24) as f32;
    2.0 * unit - 1.0
}

/// A size as a number to compute with; all sizes here are far below 2^24.
#[expect(clippy::cast_precision_loss, reason = "sizes below 2^24 are exact")]
pub(crate) fn small(size: usize) -> f32 {
    size as f32
}
