//! The list of what is measured.

pub mod batch_norm;
pub mod drop_connect;
pub mod dropout;
pub mod group_norm;
pub mod moments;
pub mod philox;
pub mod row_norm;
pub mod selu;
pub mod standardize;

use std::hint::black_box;

use evenkeel::{Backend, Layout};

use crate::Tensors;

/// An op with its shape and layout, not yet allocated: listing and filtering cases costs nothing.
pub struct Case {
    /// Name of the op and its mode, such as `batch_norm/train`.
    pub op: String,
    /// Sizes as one would write them for channels first, such as `32x64x56x56`.
    pub shape: String,
    /// `channels first`, `channels last`, `dense` or `-`.
    pub layout: &'static str,
    /// What does the arithmetic: a backend's name, or `plain Rust` for a baseline.
    pub backend: &'static str,
    /// Elements of the tensor.
    pub elements: usize,
    build: Box<dyn Fn() -> Work>,
}

impl Case {
    /// What filters match: op, shape and layout, joined by spaces.
    pub fn name(&self) -> String {
        format!("{} {} {}", self.op, self.shape, self.layout)
    }

    /// Allocates the tensors and everything else that the op needs.
    pub fn build(&self) -> Work {
        (self.build)()
    }
}

/// A case ready to run.
pub struct Work {
    tensors: Tensors,
    op: Op,
}

/// Runs an op from two inputs to an output. What the op needs beside them, it owns.
type Op = Box<dyn FnMut([&[f32]; 2], &mut [f32])>;

impl Work {
    fn new(len: usize, op: impl FnMut([&[f32]; 2], &mut [f32]) + 'static) -> Self {
        Self { tensors: Tensors::new(len), op: Box::new(op) }
    }

    /// Runs the op once.
    pub fn run(&mut self) {
        let (inputs, output) = self.tensors.split();
        (self.op)(black_box(inputs), black_box(&mut *output));
        black_box(output);
    }

    /// Copies the first input to the output once.
    pub fn copy(&mut self) {
        let ([x, _], output) = self.tensors.split();
        black_box(&mut *output).copy_from_slice(black_box(x));
        black_box(output);
    }
}

/// All cases of all ops.
pub fn all(backend: Backend) -> Vec<Case> {
    let mut cases = batch_norm::cases(backend);
    cases.extend(batch_norm::baselines());
    cases.extend(group_norm::cases(backend));
    cases.extend(row_norm::cases(backend));
    cases.extend(moments::cases(backend));
    cases.extend(standardize::cases(backend));
    cases.extend(selu::cases(backend));
    cases.extend(dropout::cases(backend));
    cases.extend(drop_connect::cases(backend));
    cases.extend(philox::cases());
    cases
}

/// Name and layout of every shape that the normalization ops are measured on: four out of
/// ResNets (with a batch that no cache holds, two that L2 doesn't, and a single image), two
/// dense activations, and one so small that only the cost of a call is left.
fn shapes() -> Vec<(String, &'static str, Layout)> {
    let mut shapes = Vec::new();
    let valid = "the product of the sizes fits";
    let images: [(usize, usize, &[usize]); 5] = [
        (32, 64, &[56, 56]),
        (8, 256, &[14, 14]),
        (16, 512, &[7, 7]),
        (1, 32, &[64, 64]),
        (1, 8, &[16]),
    ];
    for (batch, channels, sizes) in images {
        let spatial = sizes.iter().product();
        let mut name = format!("{batch}x{channels}");
        for size in sizes {
            name += &format!("x{size}");
        }
        let first = Layout::channels_first(batch, channels, spatial).expect(valid);
        let last = Layout::channels_last(batch, spatial, channels).expect(valid);
        shapes.push((name.clone(), "channels first", first));
        shapes.push((name, "channels last", last));
    }
    for (batch, channels) in [(32, 128), (128, 64)] {
        let layout = Layout::dense(batch, channels).expect(valid);
        shapes.push((format!("{batch}x{channels}"), "dense", layout));
    }
    shapes
}

/// Some of [`shapes`], for calls that differ little from those measured on all of them: an image in
/// both layouts, and a dense activation.
fn few_shapes() -> Vec<(String, &'static str, Layout)> {
    let mut shapes = shapes();
    shapes.retain(|(name, ..)| ["8x256x14x14", "32x128"].contains(&name.as_str()));
    shapes
}
