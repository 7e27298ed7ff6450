//! Section 21: products in which connections are dropped.

use super::dropout;
use super::numbers;
use super::philox::{Domain, Stream};
use super::real::Real;
use super::reduction::{Block, Reduction, along, column};

/// Sizes, and what decides.
#[derive(Clone, Copy, Debug)]
pub struct Layer {
    pub inputs: usize,
    pub outputs: usize,
    pub batch: usize,
    pub threshold: u64,
    pub key: Stream,
    /// The number of the first sample.
    pub offset: u64,
}

const ONE: u64 = 1 << 40;

impl Layer {
    fn number(&self, sample: usize, output: usize, input: usize) -> u64 {
        let row = (self.offset + sample as u64) * self.outputs as u64 + output as u64;
        row * (self.inputs as u64 + 1) + input as u64
    }

    /// Every decision: sample by sample, output by output, the bias's behind those of the inputs. A block
    /// of random words is computed once for the sixteen that come of it.
    pub fn mask(&self) -> Vec<bool> {
        let count = self.batch * self.outputs * (self.inputs + 1);
        let first = if count == 0 { 0 } else { self.number(0, 0, 0) };
        let mut mask = Vec::with_capacity(count);
        let high = self.threshold >> 32;
        let mut at = (u64::MAX, [0; 4]);
        for i in (0..count as u64).map(|i| first + i) {
            if at.0 != i / 16 {
                at = (i / 16, self.key.block(Domain::Words, i / 16));
            }
            let byte = u64::from(at.1[(i % 16 / 4) as usize] >> (8 * (i % 4)) & 255);
            let tie = byte == high && self.threshold < ONE;
            mask.push(if tie { dropout::keep(self.threshold, self.key, i) } else { byte > high });
        }
        mask
    }

    /// The place of a decision in the mask.
    pub fn place(&self, sample: usize, output: usize, input: usize) -> usize {
        (sample * self.outputs + output) * (self.inputs + 1) + input
    }

    /// f(sample, output), all outputs of a sample together.
    fn each_output(&self, f: impl Fn(usize, usize) -> f32) -> Vec<f32> {
        (0..self.batch * self.outputs).map(|i| f(i / self.outputs, i % self.outputs)).collect()
    }

    fn keep(&self) -> f64 {
        (ONE - self.threshold) as f64 / ONE as f64
    }

    fn drop(&self) -> f64 {
        self.threshold as f64 / ONE as f64
    }
}

/// A block's sum in f32; in f64 if that is not finite.
fn block(block: &Block, factors: impl Fn(usize) -> Option<[f32; 2]>) -> f64 {
    fn term<F: Real>(factors: Option<[f32; 2]>) -> F {
        factors.map_or(F::ZERO, |[a, b]| F::from_f32(a) * F::from_f32(b))
    }
    let sum: f32 = block.sum(|i| term(factors(i)));
    if sum.is_finite() { f64::from(sum) } else { block.sum(|i| term(factors(i))) }
}

/// The sums of blocks, one after the other. The factors of an element are none if it is dropped.
fn sum(reduction: &Reduction, factors: impl Fn(usize) -> Option<[f32; 2]>) -> f64 {
    reduction.blocks.iter().fold(0.0, |sum, b| sum + block(b, &factors))
}

/// A sum over so many rows.
fn down(rows: usize) -> Reduction {
    column(&(0..rows).collect::<Vec<_>>())
}

fn inputs(layer: &Layer) -> Reduction {
    if layer.inputs == 0 {
        return Reduction { blocks: Vec::new() };
    }
    along(std::slice::from_ref(&(0..layer.inputs)))
}

pub fn forward(layer: &Layer, x: &[f32], matrix: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
    let (mask, reduction) = (layer.mask(), inputs(layer));
    layer.each_output(|s, o| {
        let factors = |i: usize| {
            let keep = mask[layer.place(s, o, i)];
            keep.then_some([matrix[o * layer.inputs + i], x[s * layer.inputs + i]])
        };
        let total = sum(&reduction, factors);
        match bias {
            Some(bias) if mask[layer.place(s, o, layer.inputs)] => total + f64::from(bias[o]),
            _ => total,
        }
        .to_f32()
    })
}

/// dx, dW and db.
pub fn backward(layer: &Layer, dy: &[f32], x: &[f32], matrix: &[f32]) -> [Vec<f32>; 3] {
    let Layer { inputs, outputs, batch, .. } = *layer;
    let mask = layer.mask();
    let (of_outputs, of_samples) = (down(outputs), down(batch));
    let dx = |place: usize| {
        let (s, i) = (place / inputs, place % inputs);
        let factors = |o: usize| {
            let keep = mask[layer.place(s, o, i)];
            keep.then(|| [matrix[o * inputs + i], dy[s * outputs + o]])
        };
        sum(&of_outputs, factors) as f32
    };
    let dw = |place: usize| {
        let (o, i) = (place / inputs, place % inputs);
        let factors = |s: usize| {
            let keep = mask[layer.place(s, o, i)];
            keep.then(|| [x[s * inputs + i], dy[s * outputs + o]])
        };
        sum(&of_samples, factors) as f32
    };
    let db = |o: usize| {
        let factors =
            |s: usize| mask[layer.place(s, o, inputs)].then(|| [1.0, dy[s * outputs + o]]);
        sum(&of_samples, factors) as f32
    };
    [
        (0..batch * inputs).map(dx).collect(),
        (0..outputs * inputs).map(dw).collect(),
        (0..outputs).map(db).collect(),
    ]
}

/// Mean and variance.
pub fn moments(layer: &Layer, x: &[f32], matrix: &[f32], bias: Option<&[f32]>) -> [Vec<f32>; 2] {
    let reduction = inputs(layer);
    let bias = |o: usize| bias.map_or(0.0, |bias| f64::from(bias[o]));
    let factors =
        |s: usize, o: usize, i: usize| [matrix[o * layer.inputs + i], x[s * layer.inputs + i]];
    let mean = |s: usize, o: usize| {
        let sum = sum(&reduction, |i| Some(factors(s, o, i)));
        (layer.keep() * (sum + bias(o))).to_f32()
    };
    let variance = |s: usize, o: usize| {
        let square = |i: usize| {
            let [weight, x] = factors(s, o, i).map(f64::from);
            (weight * x) * (weight * x)
        };
        let squares = reduction.blocks.iter().fold(0.0, |sum, block| sum + block.sum(square));
        ((layer.drop() * layer.keep()) * (squares + bias(o) * bias(o))).to_f32()
    };
    if layer.threshold == ONE {
        return [(); 2].map(|()| layer.each_output(|_, _| 0.0));
    }
    [layer.each_output(mean), layer.each_output(variance)]
}

pub fn sample(layer: &Layer, mean: &[f32], variance: &[f32]) -> Vec<f32> {
    layer.each_output(|s, o| {
        let place = s * layer.outputs + o;
        let number = layer.offset * layer.outputs as u64 + place as u64;
        let z = numbers::standard_normal(numbers::word(layer.key, number));
        mean[place] + variance[place].sqrt() * z
    })
}
