//! The golden cases: small fixed problems whose output bits are pinned in `tests/golden/v1.txt`.
//!
//! This one file runs in two places: `tests/golden.rs` includes it on the host and runs it on every
//! backend, `firmware/golden` includes it on microcontrollers. So it needs no `std`, allocates
//! nothing, and every case fits into [`MEMORY`] values.
//!
//! Inputs come from an integer generator and at most one multiplication and one addition in
//! binary32 per value, so they are the same bits everywhere.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "exact for the numbers that occur, or the lower word on purpose"
)]

use core::num::NonZero;
use evenkeel::philox::philox4x32;
use evenkeel::stream::Stream;
use evenkeel::{
    Affine, AlphaDropout, Backend, BatchNorm, DropConnect, Dropout, Error, FeatureAlphaDropout,
    FeatureDropout, Fill, GaussianDropout, Given, Gradients, GroupNorm, InstanceNorm, Keep, Key,
    LayerNorm, Layout, Moments, Momentum, Philox, RmsNorm, Rows, Running, RunningVariance, Saved,
    Selu, SeluAlphaDropout, Standardize, Statistics, Weight, WeightGradients, Weights, apart,
    in_place,
};
use rand_core::Rng;

/// How many `f32` of work memory the largest case takes.
pub(crate) const MEMORY: usize = 1984;

/// The largest number of channels of a case that keeps [`Moments`] (on the stack).
const MOMENTS: usize = 17;

/// Mask bytes on the stack: enough for 512 elements.
const MASK: usize = 64;

/// One pinned problem.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) op: Op,
    pub(crate) shape: Shape,
    pub(crate) data: Data,
    pub(crate) eps: f64,
}

/// Which operation a case runs, and the options that only this operation has.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Op {
    /// `train_in_place` with γ, β, running and saved statistics.
    Train,
    /// `train` without parameters or statistics.
    TrainBare,
    /// `train_in_place` with a cumulative average and the biased running variance.
    TrainCumulative,
    /// `infer` from given statistics.
    Infer,
    /// `collect` of two batches, then `infer_population_in_place` of the second.
    Population,
    /// `train`, then `backward` from what it saved.
    Backward,
    /// `backward_inference` from given statistics.
    BackwardInference,
    /// `GroupNorm::forward_in_place` with γ, β and saved statistics.
    Group { groups: usize },
    /// `GroupNorm::forward`, then `backward` from what it saved.
    GroupBackward { groups: usize },
    /// `InstanceNorm::forward` in place with γ, β, running and saved statistics.
    Instance,
    /// `LayerNorm::forward` with γ, β and saved statistics, and `backward` from those; rows
    /// are the samples.
    Layer,
    /// `RmsNorm::forward` with γ, and `backward` from what it gave; rows are the samples.
    Rms,
    /// `Standardize::fit`, then `apply_in_place`.
    Standard,
    /// `Moments::of` two parts, `merge`, and a few `push`.
    Moments,
    /// `fold` into a weight of `shape` (output channels first).
    Fold { inputs: usize },
    /// `fold_transposed` into a weight of inputs × channels / groups × kernel.
    FoldTransposed { inputs: usize, groups: usize, kernel: usize },
    /// `Dropout::forward` and `write_mask`.
    Dropout { p: f64, offset: u64 },
    /// Alpha dropout both ways, feature dropout and feature alpha dropout.
    Drops { p: f64 },
    /// Words, uniform and normal numbers, and Gaussian dropout.
    Numbers { offset: u64 },
    /// `Selu::forward`, and `backward` of ones.
    Selu,
    /// DropConnect with bias: forward, backward, moments, and a draw from these; the samples' inputs are
    /// all their elements.
    Connect { outputs: usize, p: f64, offset: u64 },
    /// Generator words, from the block function and from [`Philox`], and [`Key::fold_in`].
    Words,
}

/// The sizes of a [`Layout`].
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shape {
    /// Channels first: batch, channels, spatial.
    First(usize, usize, usize),
    /// Channels last: batch, spatial, channels.
    Last(usize, usize, usize),
    /// Dense: batch, channels.
    Dense(usize, usize),
}

impl Shape {
    pub(crate) fn layout(self) -> Result<Layout, Error> {
        match self {
            Self::First(batch, channels, spatial) => {
                Layout::channels_first(batch, channels, spatial)
            }
            Self::Last(batch, spatial, channels) => Layout::channels_last(batch, spatial, channels),
            Self::Dense(batch, channels) => Layout::dense(batch, channels),
        }
    }
}

/// What the input holds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Data {
    /// Evenly distributed over `offset` ± `scale`.
    Uniform { scale: f32, offset: f32 },
    /// The same value everywhere.
    Constant(f32),
    /// Evenly distributed over ±1, but for one element.
    Outlier(f32),
    /// Evenly distributed over ±1, but the first channel is constant.
    ConstantChannel(f32),
}

/// Evenly distributed over ±1.
const UNIT: Data = uniform(1.0, 0.0);

const fn uniform(scale: f32, offset: f32) -> Data {
    Data::Uniform { scale, offset }
}

const fn case(name: &'static str, op: Op, shape: Shape, data: Data) -> Case {
    Case { name, op, shape, data, eps: 1e-5 }
}

impl Case {
    const fn eps(self, eps: f64) -> Self {
        Self { eps, ..self }
    }
}

use Shape::{Dense, First, Last};

/// All cases, in the order of the golden file.
#[rustfmt::skip]
pub(crate) const CASES: &[Case] = &[
    // One block a channel, and less.
    case("train-dense-20x5", Op::Train, Dense(20, 5), UNIT),
    case("train-dense-1x3", Op::Train, Dense(1, 3), UNIT),
    case("train-first-3x4x4", Op::Train, First(3, 4, 4), UNIT),
    case("train-first-6x4x49", Op::Train, First(6, 4, 49), UNIT),
    case("train-first-2x3x196", Op::Train, First(2, 3, 196), UNIT),
    case("train-first-1x2x256", Op::Train, First(1, 2, 256), UNIT),
    case("train-first-1x1x1024", Op::Train, First(1, 1, 1024), UNIT),
    case("train-last-2x9x5", Op::Train, Last(2, 9, 5), UNIT),
    case("train-bare-first-2x3x50", Op::TrainBare, First(2, 3, 50), UNIT),
    case("train-bare-last-3x30x7", Op::TrainBare, Last(3, 30, 7), UNIT),
    case("train-cumulative-first-2x3x50", Op::TrainCumulative, First(2, 3, 50), UNIT),
    // Several blocks a channel: a long plane, whole planes that share blocks, rows.
    case("train-first-1x1x1300", Op::Train, First(1, 1, 1300), UNIT),
    case("train-first-3x1x400", Op::Train, First(3, 1, 400), UNIT),
    case("train-first-13x1x129", Op::Train, First(13, 1, 129), UNIT),
    case("train-first-300x1x4", Op::Train, First(300, 1, 4), UNIT),
    case("train-dense-70x17", Op::Train, Dense(70, 17), UNIT),
    case("train-last-2x40x3", Op::Train, Last(2, 40, 3), UNIT),
    case("train-last-1x500x3", Op::Train, Last(1, 500, 3), UNIT),
    case("train-last-3x35x16", Op::Train, Last(3, 35, 16), UNIT),
    case("train-last-2x35x17", Op::Train, Last(2, 35, 17), UNIT),
    // No variance.
    case("train-constant-first", Op::Train, First(2, 2, 30), Data::Constant(7.3)),
    case("train-constant-first-eps-0", Op::Train, First(2, 2, 30), Data::Constant(7.3)).eps(0.0),
    case("train-constant-last-eps-0", Op::Train, Last(2, 40, 3), Data::Constant(-1e7)).eps(0.0),
    case("train-constant-channel", Op::Train, Dense(80, 4), Data::ConstantChannel(0.1)).eps(0.0),
    // Scales at both ends of the range.
    case("train-first-1e-20", Op::Train, First(2, 3, 50), uniform(1e-20, 0.0)),
    case("train-first-1e-20-eps-0", Op::Train, First(2, 3, 50), uniform(1e-20, 0.0)).eps(0.0),
    case("train-first-1e-20-blocks", Op::Train, First(1, 1, 1300), uniform(1e-20, 0.0)).eps(0.0),
    case("train-last-1e-20-eps-0", Op::Train, Last(2, 40, 3), uniform(1e-20, 0.0)).eps(0.0),
    case("train-first-1e-30-eps-0", Op::Train, First(2, 3, 50), uniform(1e-30, 0.0)).eps(0.0),
    case("train-last-1e-30-eps-0", Op::Train, Last(2, 40, 3), uniform(1e-30, 0.0)).eps(0.0),
    case("train-first-1e-40-eps-0", Op::Train, First(2, 3, 50), uniform(1e-40, 0.0)).eps(0.0),
    case("train-first-1e30", Op::Train, First(2, 3, 50), uniform(1e30, 0.0)),
    case("train-last-1e30", Op::Train, Last(2, 40, 3), uniform(1e30, 0.0)),
    case("train-first-1e38", Op::Train, First(2, 3, 50), uniform(1e38, 0.0)),
    case("train-first-3e38-blocks", Op::Train, First(1, 1, 1300), uniform(3e38, 0.0)),
    case("train-last-3e38", Op::Train, Last(2, 40, 3), uniform(3e38, 0.0)),
    // A mean that is large beside the deviation.
    case("train-first-mean-1e6", Op::Train, First(2, 3, 50), uniform(1.0, 1e6)),
    case("train-first-mean-1e6-blocks", Op::Train, First(1, 1, 1300), uniform(1.0, 1e6)),
    case("train-first-mean-1e7", Op::Train, First(2, 3, 50), uniform(1.0, -1e7)),
    case("train-dense-mean-1e6", Op::Train, Dense(80, 5), uniform(1.0, 1e6)),
    case("train-first-outlier", Op::Train, First(1, 1, 700), Data::Outlier(1e6)),
    // Inference.
    case("infer-first-2x3x50", Op::Infer, First(2, 3, 50), UNIT),
    case("infer-last-2x20x17", Op::Infer, Last(2, 20, 17), UNIT),
    case("infer-dense-9x33", Op::Infer, Dense(9, 33), uniform(1.0, 1e6)),
    case("infer-first-1e-15", Op::Infer, First(2, 3, 50), uniform(1e-15, 0.0)).eps(0.0),
    case("infer-last-1e15", Op::Infer, Last(2, 20, 5), uniform(1e15, 0.0)),
    case("population-first-2x3x50", Op::Population, First(2, 3, 50), UNIT),
    case("population-first-1x1x1300", Op::Population, First(1, 1, 1300), uniform(1.0, 1e6)),
    case("population-last-2x40x16", Op::Population, Last(2, 40, 16), UNIT),
    case("population-dense-70x17", Op::Population, Dense(70, 17), uniform(1e30, 0.0)),
    // Gradients.
    case("backward-dense-20x5", Op::Backward, Dense(20, 5), UNIT),
    case("backward-first-3x4x49", Op::Backward, First(3, 4, 49), UNIT),
    case("backward-first-5x1x129", Op::Backward, First(5, 1, 129), UNIT),
    case("backward-first-1x2x300", Op::Backward, First(1, 2, 300), uniform(1.0, 1e6)),
    case("backward-last-2x35x9", Op::Backward, Last(2, 35, 9), UNIT),
    case("backward-last-1x36x16", Op::Backward, Last(1, 36, 16), uniform(1.0, 1e6)),
    case("backward-last-1x33x17", Op::Backward, Last(1, 33, 17), UNIT),
    case("backward-first-1e-20-eps-0", Op::Backward, First(2, 3, 50), uniform(1e-20, 0.0)).eps(0.0),
    case("backward-last-1e30", Op::Backward, Last(2, 40, 3), uniform(1e30, 0.0)),
    case("backward-constant-eps-0", Op::Backward, First(2, 2, 30), Data::Constant(7.3)).eps(0.0),
    case("backward-inference-first", Op::BackwardInference, First(2, 3, 50), UNIT),
    case("backward-inference-last", Op::BackwardInference, Last(2, 35, 8), uniform(1.0, 1e6)),
    // The other operations on statistics.
    case("group-first-2x6x25-3", Op::Group { groups: 3 }, First(2, 6, 25), UNIT),
    case("group-first-1x4x300-1", Op::Group { groups: 1 }, First(1, 4, 300), UNIT),
    case("group-first-2x5x49-5", Op::Group { groups: 5 }, First(2, 5, 49), uniform(1.0, 1e6)),
    case("group-last-2x25x6-3", Op::Group { groups: 3 }, Last(2, 25, 6), UNIT),
    case("group-last-1x300x4-2", Op::Group { groups: 2 }, Last(1, 300, 4), UNIT),
    case("group-last-1x130x10-1", Op::Group { groups: 1 }, Last(1, 130, 10), uniform(1e30, 0.0)),
    case("group-dense-3x48-4", Op::Group { groups: 4 }, Dense(3, 48), UNIT),
    case("group-backward-first-2x6x25-3", Op::GroupBackward { groups: 3 }, First(2, 6, 25), UNIT),
    case("group-backward-first-3x4x49-1", Op::GroupBackward { groups: 1 }, First(3, 4, 49), uniform(1.0, 1e6)),
    case("group-backward-last-2x25x6-3", Op::GroupBackward { groups: 3 }, Last(2, 25, 6), UNIT),
    case("group-backward-last-1x70x7-1", Op::GroupBackward { groups: 1 }, Last(1, 70, 7), uniform(1e30, 0.0)),
    case("group-backward-dense-3x40-4", Op::GroupBackward { groups: 4 }, Dense(3, 40), UNIT),
    case("instance-first-3x5x49", Op::Instance, First(3, 5, 49), UNIT),
    case("instance-last-2x70x9", Op::Instance, Last(2, 70, 9), uniform(1.0, 1e6)),
    case("instance-dense-3x5", Op::Instance, Dense(3, 5), UNIT),
    case("layer-5x33", Op::Layer, Dense(5, 33), UNIT),
    case("layer-70x5", Op::Layer, Dense(70, 5), uniform(1.0, 1e3)),
    case("layer-1x240", Op::Layer, Dense(1, 240), uniform(1e-20, 0.0)).eps(0.0),
    case("layer-2x120", Op::Layer, Dense(2, 120), uniform(1e30, 0.0)),
    case("rms-5x33", Op::Rms, Dense(5, 33), UNIT),
    case("rms-70x5", Op::Rms, Dense(70, 5), uniform(1.0, 1e3)),
    case("rms-1x300", Op::Rms, Dense(1, 300), uniform(1e-20, 0.0)).eps(0.0),
    case("standardize-dense-80x7", Op::Standard, Dense(80, 7), uniform(3.0, 100.0)).eps(0.0),
    case("standardize-first-2x3x50", Op::Standard, First(2, 3, 50), UNIT).eps(0.0),
    case("standardize-constant", Op::Standard, Dense(80, 4), Data::ConstantChannel(0.1)).eps(0.0),
    case("moments-100", Op::Moments, Dense(1, 100), UNIT),
    case("moments-1900", Op::Moments, Dense(1, 1900), uniform(1.0, 1e6)),
    case("moments-1e-30", Op::Moments, Dense(1, 300), uniform(1e-30, 0.0)),
    case("moments-3e38", Op::Moments, Dense(1, 1500), uniform(3e38, 0.0)),
    case("fold-dense", Op::Fold { inputs: 13 }, Dense(1, 5), UNIT),
    case("fold-transposed", Op::FoldTransposed { inputs: 4, groups: 2, kernel: 5 }, Dense(1, 6), UNIT),
    // Random bits.
    case("dropout-0.3", Op::Dropout { p: 0.3, offset: 0 }, Dense(1, 500), UNIT),
    case("dropout-0.3-offset-5", Op::Dropout { p: 0.3, offset: 5 }, Dense(1, 300), UNIT),
    case("dropout-0.3-offset-2^36", Op::Dropout { p: 0.3, offset: (1 << 36) - 7 }, Dense(1, 100), UNIT),
    case("dropout-0.5", Op::Dropout { p: 0.5, offset: 3 }, Dense(1, 300), UNIT),
    case("dropout-0.001", Op::Dropout { p: 0.001, offset: 0 }, Dense(1, 500), UNIT),
    case("dropout-0", Op::Dropout { p: 0.0, offset: 1 }, Dense(1, 40), UNIT),
    case("dropout-1", Op::Dropout { p: 1.0, offset: 1 }, Dense(1, 40), UNIT),
    case("philox-words", Op::Words, Dense(1, 1), UNIT),
    case("drops-first", Op::Drops { p: 0.3 }, First(3, 5, 21), UNIT),
    case("drops-last", Op::Drops { p: 0.3 }, Last(2, 9, 19), UNIT),
    case("drops-dense", Op::Drops { p: 0.01 }, Dense(9, 37), UNIT),
    case("numbers", Op::Numbers { offset: 0 }, Dense(1, 400), UNIT),
    case("numbers-offset-2^36", Op::Numbers { offset: (1 << 36) - 7 }, Dense(1, 77), UNIT),
    // Activations: the polynomial alone, some powers of two, and down to where e^x is subnormal or none.
    case("selu-0.3", Op::Selu, Dense(1, 300), uniform(0.3, 0.0)),
    case("selu-20", Op::Selu, Dense(1, 500), uniform(20.0, -5.0)),
    case("selu-110", Op::Selu, Dense(1, 500), uniform(16.0, -95.0)),
    case("selu-1e-40", Op::Selu, Dense(1, 40), uniform(1e-40, 0.0)),
    case("selu-1e30", Op::Selu, Dense(1, 40), uniform(1e30, 0.0)),
    case("connect-5x33-7", Op::Connect { outputs: 7, p: 0.5, offset: 0 }, Dense(5, 33), UNIT),
    case("connect-70x3-5", Op::Connect { outputs: 5, p: 0.3, offset: 1 << 33 }, Dense(70, 3), UNIT),
    case("connect-1x400-1", Op::Connect { outputs: 1, p: 0.01, offset: 3 }, Dense(1, 400), UNIT),
    case("connect-2x20-20", Op::Connect { outputs: 20, p: 0.3, offset: 0 }, Dense(2, 20), uniform(3e38, 0.0)),
    // Groups whose rows are whole vectors.
    case("group-last-1x23x48-3", Op::Group { groups: 3 }, Last(1, 23, 48), UNIT),
    case("group-last-2x17x32-1", Op::Group { groups: 1 }, Last(2, 17, 32), uniform(1.0, 1e6)),
    case("group-last-1x17x64-1", Op::Group { groups: 1 }, Last(1, 17, 64), uniform(1e30, 0.0)),
    case("group-last-1x11x96-2", Op::Group { groups: 2 }, Last(1, 11, 96), UNIT),
    case("group-last-1x9x128-1", Op::Group { groups: 1 }, Last(1, 9, 128), uniform(1e-20, 0.0)).eps(0.0),
];

/// One array that a case read or wrote.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Values<'a> {
    F32(&'a [f32]),
    F64(&'a [f64]),
    U8(&'a [u8]),
    U32(&'a [u32]),
}

/// Sees what a case reads and writes.
pub(crate) trait Observer {
    /// Sees an input, before the operation overwrites it. Does not count for the hash.
    fn input(&mut self, name: &'static str, values: &[f32]);
    /// Sees an output.
    fn output(&mut self, name: &'static str, values: Values<'_>);
}

/// Hashes outputs: FNV-1a over the little-endian bytes, all NaNs made the same.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Digest {
    pub(crate) hash: u64,
    /// The first two values of the first output, as bits (of an `f64` the upper half).
    pub(crate) first: [u32; 2],
    seen: usize,
}

impl Digest {
    pub(crate) const fn new() -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325, first: [0; 2], seen: 0 }
    }

    pub(crate) fn add(&mut self, values: Values<'_>) {
        match values {
            Values::F32(values) => values.iter().for_each(|&v| self.word(bits32(v).into(), 4)),
            Values::F64(values) => values.iter().for_each(|&v| self.word(bits64(v), 8)),
            Values::U8(values) => values.iter().for_each(|&v| self.word(v.into(), 1)),
            Values::U32(values) => values.iter().for_each(|&v| self.word(v.into(), 4)),
        }
    }

    fn word(&mut self, bits: u64, bytes: usize) {
        if let Some(first) = self.first.get_mut(self.seen) {
            *first = (if bytes == 8 { bits >> 32 } else { bits }) as u32;
            self.seen += 1;
        }
        for byte in bits.to_le_bytes().into_iter().take(bytes) {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

fn bits32(value: f32) -> u32 {
    if value.is_nan() { 0x7fc0_0000 } else { value.to_bits() }
}

fn bits64(value: f64) -> u64 {
    if value.is_nan() { 0x7ff8_0000_0000_0000 } else { value.to_bits() }
}

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Generator(u64);

impl Generator {
    /// A generator of its own for every array of every case.
    fn new(case: &str, array: &str) -> Self {
        let mut digest = Digest::new();
        digest.add(Values::U8(case.as_bytes()));
        digest.add(Values::U8(array.as_bytes()));
        Self(digest.hash)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A multiple of 2^-23 in [-1, 1): the conversion and the scaling are exact.
    fn unit(&mut self) -> f32 {
        const HALF: i32 = 1 << 23;
        ((self.next() >> 40) as i32 - HALF) as f32 / HALF as f32
    }
}

/// Hands out pieces of the work memory, filled.
struct Arena<'a> {
    case: &'a Case,
    rest: &'a mut [f32],
}

impl<'a> Arena<'a> {
    fn take(&mut self, len: usize) -> &'a mut [f32] {
        let (piece, rest) = core::mem::take(&mut self.rest).split_at_mut(len);
        self.rest = rest;
        piece
    }

    /// `offset` + `scale` · [-1, 1).
    fn uniform(&mut self, name: &str, len: usize, scale: f32, offset: f32) -> &'a mut [f32] {
        let mut generator = Generator::new(self.case.name, name);
        let piece = self.take(len);
        piece.fill_with(|| generator.unit() * scale + offset);
        piece
    }

    /// The case's data.
    fn data(&mut self, name: &str, layout: Layout) -> &'a mut [f32] {
        let (scale, offset) = match self.case.data {
            Data::Uniform { scale, offset } => (scale, offset),
            Data::Constant(value) => (0.0, value),
            Data::Outlier(_) | Data::ConstantChannel(_) => (1.0, 0.0),
        };
        let data = self.uniform(name, layout.len(), scale, offset);
        match self.case.data {
            Data::Outlier(value) => data[layout.len() / 3] = value,
            Data::ConstantChannel(value) => fill_first_channel(data, layout, value),
            Data::Uniform { .. } | Data::Constant(_) => {}
        }
        data
    }

    /// Statistics near those that the data has: the mean, and a variance above 0.
    fn statistics(&mut self, channels: usize) -> (&'a mut [f32], &'a mut [f32]) {
        let (scale, offset) = match self.case.data {
            Data::Uniform { scale, offset } => (scale, offset),
            _ => (1.0, 0.0),
        };
        let mean = self.uniform("mean", channels, scale * 0.25, offset);
        let var = self.uniform("var", channels, scale * scale * 0.25, scale * scale * 0.5);
        (mean, var)
    }

    /// γ in [0.5, 1.5) and β in [-1, 1).
    fn parameters(&mut self, channels: usize) -> (&'a mut [f32], &'a mut [f32]) {
        (self.uniform("gamma", channels, 0.5, 1.0), self.uniform("beta", channels, 1.0, 0.0))
    }
}

fn fill_first_channel(data: &mut [f32], layout: Layout, value: f32) {
    for (i, x) in data.iter_mut().enumerate() {
        let index = if layout.is_channels_last() { i } else { i / layout.spatial() };
        if index % layout.channels() == 0 {
            *x = value;
        }
    }
}

/// Runs a case. `memory` has [`MEMORY`] values; what they are does not matter.
pub(crate) fn run(
    case: &Case,
    backend: Backend,
    memory: &mut [f32],
    observer: &mut impl Observer,
) -> Result<(), Error> {
    let layout = case.shape.layout()?;
    let arena = Arena { case, rest: memory };
    let op = BatchNorm::new(layout).eps(case.eps).backend(backend);
    match case.op {
        Op::Train => train(op, layout, arena, observer),
        Op::TrainBare => train_bare(op, layout, arena, observer),
        Op::TrainCumulative => {
            let op = op.momentum(Momentum::Cumulative { batches: 3 });
            train(op.running_variance(RunningVariance::Biased), layout, arena, observer)
        }
        Op::Infer => infer(op, layout, arena, observer),
        Op::Population => population(op, layout, arena, observer),
        Op::Backward => backward(op, layout, arena, observer),
        Op::BackwardInference => backward_inference(op, layout, arena, observer),
        Op::Group { groups } => {
            let op = GroupNorm::new(layout, groups).eps(case.eps).backend(backend);
            group(op, groups, layout, arena, observer)
        }
        Op::GroupBackward { groups } => {
            let op = GroupNorm::new(layout, groups).eps(case.eps).backend(backend);
            group_backward(op, groups, layout, arena, observer)
        }
        Op::Instance => {
            let op = InstanceNorm::new(layout).eps(case.eps).backend(backend);
            instance(op, layout, arena, observer)
        }
        Op::Layer => layer(case.eps, backend, layout, arena, observer),
        Op::Rms => rms(case.eps, backend, layout, arena, observer),
        Op::Standard => {
            let op = Standardize::new(layout).eps(case.eps).backend(backend);
            standardize(op, layout, arena, observer)
        }
        Op::Moments => moments(layout, arena, observer),
        Op::Fold { inputs } => {
            fold(layout.channels() * inputs, layout.channels(), arena, observer, |f| {
                op.fold(
                    Affine::new(f.gamma, f.beta),
                    Given::Running { mean: f.mean, var: f.var },
                    Weight::OutputFirst(f.weight),
                    f.bias,
                )
            })
        }
        Op::FoldTransposed { inputs, groups, kernel } => {
            let len = inputs * layout.channels() / groups * kernel;
            fold(len, layout.channels(), arena, observer, |f| {
                let (gamma, beta) = (Some(f.gamma), Some(f.beta));
                op.fold(
                    Affine { gamma, beta },
                    Given::Running { mean: f.mean, var: f.var },
                    Weight::Transposed { weight: f.weight, groups, kernel },
                    f.bias,
                )
            })
        }
        Op::Dropout { p, offset } => {
            let op = Dropout::new(p)?.offset(offset).backend(backend);
            dropout(op, layout, arena, observer)
        }
        Op::Drops { p } => drops(p, layout, (arena, backend), observer),
        Op::Numbers { offset } => numbers(offset, layout, (arena, backend), observer),
        Op::Selu => selu(Selu::new().backend(backend), layout, arena, observer),
        Op::Connect { outputs, p, offset } => {
            let inputs = layout.channels() * layout.spatial();
            let op = DropConnect::new(inputs, outputs, p)?.offset(offset).backend(backend);
            connect(op, layout, arena, observer)
        }
        Op::Words => words(observer),
    }
}

fn train(
    op: BatchNorm,
    layout: Layout,
    mut arena: Arena<'_>,
    observer: &mut impl Observer,
) -> Result<(), Error> {
    let channels = layout.channels();
    let x = arena.data("x", layout);
    let (gamma, beta) = arena.parameters(channels);
    let running_mean = arena.uniform("running_mean", channels, 1.0, 0.0);
    let running_var = arena.uniform("running_var", channels, 0.5, 1.0);
    let (saved_mean, saved_rstd) = (arena.take(channels), arena.take(channels));
    observer.input("x", x);
    observer.input("gamma", gamma);
    observer.input("beta", beta);
    observer.input("running_mean", running_mean);
    observer.input("running_var", running_var);

    let running = Running { mean: running_mean, var: running_var };
    let saved = Saved { mean: saved_mean, rstd: saved_rstd };
    op.train(
        in_place(x),
        Affine::new(gamma, beta),
        Keep { running: Some(running), saved: Some(saved) },
    )?;

    observer.output("y", Values::F32(x));
    observer.output("running_mean", Values::F32(running_mean));
    observer.output("running_var", Values::F32(running_var));
    observer.output("saved_mean", Values::F32(saved_mean));
    observer.output("saved_rstd", Values::F32(saved_rstd));
    Ok(())
}

fn train_bare(
    op: BatchNorm,
    layout: Layout,
    mut arena: Arena<'_>,
    observer: &mut impl Observer,
) -> Result<(), Error> {
    let x = arena.data("x", layout);
    let y = arena.take(layout.len());
    observer.input("x", x);
    op.train(apart(x, y), Affine::NONE, Keep::NOTHING)?;
    observer.output("y", Values::F32(y));
    Ok(())
}

fn infer(
    op: BatchNorm,
    layout: Layout,
    mut arena: Arena<'_>,
    observer: &mut impl Observer,
) -> Result<(), Error> {
    let x = arena.data("x", layout);
    let y = arena.take(layout.len());
    let (gamma, beta) = arena.parameters(layout.channels());
    let (mean, var) = arena.statistics(layout.channels());
    observer.input("x", x);
    observer.input("gamma", gamma);
    observer.input("beta", beta);
    observer.input("mean", mean);
    observer.input("var", var);
    op.infer(apart(x, y), Affine::new(gamma, beta), Given::Running { mean, var })?;
    observer.output("y", Values::F32(y));
    Ok(())
}

fn population(
    op: BatchNorm,
    layout: Layout,
    mut arena: Arena<'_>,
    observer: &mut impl Observer,
) -> Result<(), Error> {
    let (gamma, beta) = arena.parameters(layout.channels());
    let mut moments = [Moments::new(); MOMENTS];
    let moments = &mut moments[..layout.channels()];
    // The two batches take the same memory one after the other.
    {
        let mut arena = Arena { case: arena.case, rest: &mut *arena.rest };
        let first = arena.data("first", layout);
        observer.input("first", first);
        op.collect(first, moments)?;
    }
    let x = arena.data("x", layout);
    observer.input("x", x);
    observer.input("gamma", gamma);
    observer.input("beta", beta);
    op.collect(x, moments)?;
    op.infer(in_place(x), Affine::new(gamma, beta), Given::Population(moments))?;
    observer.output("y", Values::F32(x));
    moments.iter().for_each(|m| observe_moments(m, observer));
    Ok(())
}

fn observe_moments(moments: &Moments, observer: &mut impl Observer) {
    let count = moments.count() as f64;
    let values = [count, moments.mean(), moments.m2()];
    observer.output("moments", Values::F64(&values));
}

fn observe_gradients([dx, dgamma, dbeta]: [&[f32]; 3], observer: &mut impl Observer) {
    observer.output("dx", Values::F32(dx));
    observer.output("dgamma", Values::F32(dgamma));
    observer.output("dbeta", Values::F32(dbeta));
}

fn backward(
    op: BatchNorm,
    layout: Layout,
    mut arena: Arena<'_>,
    observer: &mut impl Observer,
) -> Result<(), Error> {
    let channels = layout.channels();
    let x = arena.data("x", layout);
    let dx = arena.take(layout.len());
    let (gamma, beta) = arena.parameters(channels);
    let (saved_mean, saved_rstd) = (arena.take(channels), arena.take(channels));
    let (dgamma, dbeta) = (arena.take(channels), arena.take(channels));
    let dy = arena.uniform("dy", layout.len(), 1.0, 0.0);
    observer.input("x", x);
    observer.input("dy", dy);
    observer.input("gamma", gamma);

    let saved = Saved { mean: saved_mean, rstd: saved_rstd };
    op.train(apart(x, dx), Affine::new(gamma, beta), Keep { running: None, saved: Some(saved) })?;
    let gradients = Gradients { x: Some(dx), gamma: Some(dgamma), beta: Some(dbeta) };
    op.backward(dy, x, Some(gamma), Statistics { mean: saved_mean, rstd: saved_rstd }, gradients)?;

    observe_gradients([dx, dgamma, dbeta], observer);
    Ok(())
}

fn backward_inference(
    op: BatchNorm,
    layout: Layout,
    mut arena: Arena<'_>,
    observer: &mut impl Observer,
) -> Result<(), Error> {
    let channels = layout.channels();
    let x = arena.data("x", layout);
    let dx = arena.take(layout.len());
    let (gamma, _) = arena.parameters(channels);
    let (mean, var) = arena.statistics(channels);
    let (dgamma, dbeta) = (arena.take(channels), arena.take(channels));
    let dy = arena.uniform("dy", layout.len(), 1.0, 0.0);
    observer.input("x", x);
    observer.input("dy", dy);
    observer.input("gamma", gamma);
    observer.input("mean", mean);
    observer.input("var", var);

    let gradients = Gradients { x: Some(dx), gamma: Some(dgamma), beta: Some(dbeta) };
    op.backward(dy, x, Some(gamma), Given::Running { mean, var }, gradients)?;

    observe_gradients([dx, dgamma, dbeta], observer);
    Ok(())
}

fn group(
    op: GroupNorm,
    groups: usize,
    layout: Layout,
    mut arena: Arena<'_>,
    observer: &mut impl Observer,
) -> Result<(), Error> {
    let x = arena.data("x", layout);
    let (gamma, beta) = arena.parameters(layout.channels());
    let saved_mean = arena.take(layout.batch() * groups);
    let saved_rstd = arena.take(layout.batch() * groups);
    observer.input("x", x);
    observer.input("gamma", gamma);
    observer.input("beta", beta);

    let saved = Saved { mean: saved_mean, rstd: saved_rstd };
    op.forward(in_place(x), Affine::new(gamma, beta), Some(saved))?;

    observer.output("y", Values::F32(x));
    observer.output("saved_mean", Values::F32(saved_mean));
    observer.output("saved_rstd", Values::F32(saved_rstd));
    Ok(())
}

fn group_backward(
    op: GroupNorm,
    groups: usize,
    layout: Layout,
    mut arena: Arena<'_>,
    observer: &mut impl Observer,
) -> Result<(), Error> {
    let (channels, statistics) = (layout.channels(), layout.batch() * groups);
    let x = arena.data("x", layout);
    let dx = arena.take(layout.len());
    let (gamma, beta) = arena.parameters(channels);
    let (mean, rstd) = (arena.take(statistics), arena.take(statistics));
    let (dgamma, dbeta) = (arena.take(channels), arena.take(channels));
    let dy = arena.uniform("dy", layout.len(), 1.0, 0.0);
    observer.input("x", x);
    observer.input("dy", dy);
    observer.input("gamma", gamma);

    op.forward(apart(x, dx), Affine::new(gamma, beta), Some(Saved { mean, rstd }))?;
    let gradients = Gradients { x: Some(dx), gamma: Some(dgamma), beta: Some(dbeta) };
    op.backward(dy, x, Some(gamma), Statistics { mean, rstd }, gradients)?;

    observe_gradients([dx, dgamma, dbeta], observer);
    Ok(())
}

fn instance(
    op: InstanceNorm,
    layout: Layout,
    mut arena: Arena<'_>,
    observer: &mut impl Observer,
) -> Result<(), Error> {
    let (channels, instances) = (layout.channels(), layout.batch() * layout.channels());
    let x = arena.data("x", layout);
    let (gamma, beta) = arena.parameters(channels);
    let (running_mean, running_var) = arena.statistics(channels);
    let (mean, rstd) = (arena.take(instances), arena.take(instances));
    observer.input("x", x);
    observer.input("gamma", gamma);
    observer.input("beta", beta);
    observer.input("running_mean", running_mean);
    observer.input("running_var", running_var);

    let running = Some(Running { mean: running_mean, var: running_var });
    let keep = Keep { running, saved: Some(Saved { mean, rstd }) };
    op.forward(in_place(x), Affine::new(gamma, beta), keep)?;

    observer.output("y", Values::F32(x));
    observer.output("running_mean", Values::F32(running_mean));
    observer.output("running_var", Values::F32(running_var));
    observer.output("saved_mean", Values::F32(mean));
    observer.output("saved_rstd", Values::F32(rstd));
    Ok(())
}

fn layer(
    eps: f64,
    backend: Backend,
    layout: Layout,
    mut arena: Arena<'_>,
    observer: &mut impl Observer,
) -> Result<(), Error> {
    let rows = Rows::new(layout.batch(), layout.channels() * layout.spatial())?;
    let op = LayerNorm::new(rows).eps(eps).backend(backend);
    let x = arena.data("x", layout);
    let (y, dx) = (arena.take(layout.len()), arena.take(layout.len()));
    let (gamma, beta) = arena.parameters(rows.row_len());
    let (mean, rstd) = (arena.take(rows.count()), arena.take(rows.count()));
    let (dgamma, dbeta) = (arena.take(rows.row_len()), arena.take(rows.row_len()));
    let dy = arena.uniform("dy", layout.len(), 1.0, 0.0);
    observer.input("x", x);
    observer.input("dy", dy);
    observer.input("gamma", gamma);
    observer.input("beta", beta);

    op.forward(apart(x, y), Affine::new(gamma, beta), Some(Saved { mean, rstd }))?;
    let gradients = Gradients { x: Some(dx), gamma: Some(dgamma), beta: Some(dbeta) };
    op.backward(dy, x, Some(gamma), Statistics { mean, rstd }, gradients)?;

    observer.output("y", Values::F32(y));
    observer.output("saved_mean", Values::F32(mean));
    observer.output("saved_rstd", Values::F32(rstd));
    observe_gradients([dx, dgamma, dbeta], observer);
    Ok(())
}

fn rms(
    eps: f64,
    backend: Backend,
    layout: Layout,
    mut arena: Arena<'_>,
    observer: &mut impl Observer,
) -> Result<(), Error> {
    let rows = Rows::new(layout.batch(), layout.channels() * layout.spatial())?;
    let op = RmsNorm::new(rows).eps(eps).backend(backend);
    let x = arena.data("x", layout);
    let (y, dx) = (arena.take(layout.len()), arena.take(layout.len()));
    let (gamma, _) = arena.parameters(rows.row_len());
    let (rstd, dgamma) = (arena.take(rows.count()), arena.take(rows.row_len()));
    observer.input("x", x);
    observer.input("gamma", gamma);

    op.forward(apart(x, y), Some(gamma), Some(rstd))?;
    // Its own output is as good a gradient as another.
    let gradients = Gradients { x: Some(dx), gamma: Some(dgamma), beta: None };
    op.backward(y, x, Some(gamma), rstd, gradients)?;

    observer.output("y", Values::F32(y));
    observer.output("saved_rstd", Values::F32(rstd));
    observer.output("dx", Values::F32(dx));
    observer.output("dgamma", Values::F32(dgamma));
    Ok(())
}

fn standardize(
    op: Standardize,
    layout: Layout,
    mut arena: Arena<'_>,
    observer: &mut impl Observer,
) -> Result<(), Error> {
    let x = arena.data("x", layout);
    let mut moments = [Moments::new(); MOMENTS];
    let moments = &mut moments[..layout.channels()];
    observer.input("x", x);
    op.fit(x, moments)?;
    op.apply(in_place(x), moments)?;
    observer.output("y", Values::F32(x));
    moments.iter().for_each(|m| observe_moments(m, observer));
    Ok(())
}

fn moments(
    layout: Layout,
    mut arena: Arena<'_>,
    observer: &mut impl Observer,
) -> Result<(), Error> {
    let x = arena.data("x", layout);
    observer.input("x", x);
    let (head, tail) = x.split_at(x.len() / 3);
    let (middle, last) = tail.split_at(tail.len() - 9);
    let mut moments = Moments::of(head);
    moments.merge(&Moments::of(middle));
    last.iter().for_each(|&v| moments.push(v.into()));
    observe_moments(&moments, observer);
    let derived = [moments.variance(), moments.sample_variance(), moments.std_dev()];
    observer.output("derived", Values::F64(&derived));
    Ok(())
}

/// The arguments of both foldings.
struct Folding<'a> {
    gamma: &'a [f32],
    beta: &'a [f32],
    mean: &'a [f32],
    var: &'a [f32],
    weight: &'a mut [f32],
    bias: &'a mut [f32],
}

fn fold(
    len: usize,
    channels: usize,
    mut arena: Arena<'_>,
    observer: &mut impl Observer,
    call: impl FnOnce(Folding<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let weight = arena.uniform("weight", len, 1.0, 0.0);
    let bias = arena.uniform("bias", channels, 1.0, 0.0);
    let (gamma, beta) = arena.parameters(channels);
    let (mean, var) = arena.statistics(channels);
    observer.input("weight", weight);
    observer.input("bias", bias);
    observer.input("gamma", gamma);
    observer.input("beta", beta);
    observer.input("mean", mean);
    observer.input("var", var);
    call(Folding { gamma, beta, mean, var, weight: &mut *weight, bias: &mut *bias })?;
    observer.output("weight", Values::F32(weight));
    observer.output("bias", Values::F32(bias));
    Ok(())
}

/// The key of the dropout cases.
pub(crate) fn dropout_key() -> Result<Key, Error> {
    Ok(Key::with_stream(0x0123_4567_89ab_cdef, 5)?.fold_in(9))
}

fn dropout(
    op: Dropout,
    layout: Layout,
    mut arena: Arena<'_>,
    observer: &mut impl Observer,
) -> Result<(), Error> {
    let x = arena.data("x", layout);
    let y = arena.take(layout.len());
    let key = dropout_key()?;
    let mut mask = [0; MASK];
    let mask = &mut mask[..layout.len().div_ceil(8)];
    observer.input("x", x);
    op.forward(apart(x, y), key)?;
    op.write_mask(layout.len(), key, mask)?;
    observer.output("y", Values::F32(y));
    observer.output("mask", Values::U8(mask));
    Ok(())
}

/// Other systems' masks.
pub(crate) const STREAMS: [(&str, Stream); 8] = [
    ("triton", Stream::Triton),
    ("inductor", Stream::Inductor),
    ("jax", Stream::Jax),
    ("jax original", Stream::JaxOriginal { len: 400 }),
    ("tensorflow", Stream::TensorFlow { seed1: -5 }),
    ("onednn", Stream::OneDnn),
    ("onednn offset", Stream::OneDnnOffset { offset: NonZero::<i64>::MIN }),
    ("pytorch", Stream::PyTorchCuda { len: 400, offset: 12, blocks: NonZero::<u32>::MIN }),
];

fn drops(
    p: f64,
    layout: Layout,
    (mut arena, backend): (Arena<'_>, Backend),
    observer: &mut impl Observer,
) -> Result<(), Error> {
    let x = arena.data("x", layout);
    let y = arena.take(layout.len());
    let key = dropout_key()?;
    let alpha = AlphaDropout::new(p)?.backend(backend);
    let feature = FeatureDropout::new(layout, p)?.backend(backend);
    let both = FeatureAlphaDropout::new(layout, p)?.backend(backend);
    observer.input("x", x);
    alpha.forward(apart(x, y), key)?;
    observer.output("alpha", Values::F32(y));
    alpha.backward(apart(x, y), key)?;
    observer.output("alpha dx", Values::F32(y));
    feature.forward(apart(x, y), key)?;
    observer.output("feature", Values::F32(y));
    both.forward(apart(x, y), key)?;
    observer.output("feature alpha", Values::F32(y));
    let fused = SeluAlphaDropout::new(p)?.backend(backend);
    fused.forward(apart(x, y), key)?;
    observer.output("selu alpha", Values::F32(y));
    y.fill(1.0);
    fused.backward(in_place(y), x, key)?;
    observer.output("selu alpha dx", Values::F32(y));
    for (name, stream) in STREAMS {
        let dropout = Dropout::new(p)?.stream(stream)?.backend(backend);
        dropout.forward(apart(x, y), Key::new(0x0123_4567_89ab_cdef))?;
        observer.output(name, Values::F32(y));
    }
    Ok(())
}

fn numbers(
    offset: u64,
    layout: Layout,
    (mut arena, backend): (Arena<'_>, Backend),
    observer: &mut impl Observer,
) -> Result<(), Error> {
    let x = arena.data("x", layout);
    let y = arena.take(layout.len());
    let key = dropout_key()?;
    let fill = Fill::new(key).offset(offset).backend(backend);
    observer.input("x", x);
    fill.uniform(y, -0.5, 1.5)?;
    observer.output("uniform", Values::F32(y));
    fill.normal(y, 0.5, 2.0)?;
    observer.output("normal", Values::F32(y));
    let gaussian = GaussianDropout::new(0.3)?.offset(offset).backend(backend);
    gaussian.forward(apart(x, y), key)?;
    observer.output("gaussian", Values::F32(y));
    let mut words = [0; 37];
    fill.words(&mut words)?;
    observer.output("words", Values::U32(&words));
    Ok(())
}

fn selu(
    op: Selu,
    layout: Layout,
    mut arena: Arena<'_>,
    observer: &mut impl Observer,
) -> Result<(), Error> {
    let x = arena.data("x", layout);
    let (y, dx) = (arena.take(layout.len()), arena.take(layout.len()));
    observer.input("x", x);
    op.forward(apart(x, y))?;
    dx.fill(1.0);
    op.backward(in_place(dx), x)?;
    observer.output("y", Values::F32(y));
    observer.output("dx", Values::F32(dx));
    Ok(())
}

fn connect(
    op: DropConnect,
    layout: Layout,
    mut arena: Arena<'_>,
    observer: &mut impl Observer,
) -> Result<(), Error> {
    let outputs = op.outputs();
    let (weights, results) = (outputs * op.inputs(), layout.batch() * outputs);
    let x = arena.data("x", layout);
    let matrix = arena.uniform("matrix", weights, 1.0, 0.0);
    let bias = arena.uniform("bias", outputs, 1.0, 0.0);
    let dy = arena.uniform("dy", results, 1.0, 0.0);
    observer.input("x", x);
    observer.input("matrix", matrix);
    observer.input("bias", bias);
    observer.input("dy", dy);
    let (y, dx) = (arena.take(results), arena.take(x.len()));
    let (dmatrix, dbias) = (arena.take(weights), arena.take(outputs));
    let (weights, key) = (Weights { matrix, bias: Some(bias) }, dropout_key()?);
    op.forward(x, weights, y, key)?;
    observer.output("y", Values::F32(y));
    let gradients =
        WeightGradients { x: Some(&mut *dx), matrix: Some(&mut *dmatrix), bias: Some(&mut *dbias) };
    op.backward(dy, x, weights, gradients, key)?;
    observer.output("dx", Values::F32(dx));
    observer.output("dmatrix", Values::F32(dmatrix));
    observer.output("dbias", Values::F32(dbias));
    let (mean, variance) = (y, dy);
    op.moments(x, weights, mean, variance)?;
    observer.output("mean", Values::F32(mean));
    observer.output("variance", Values::F32(variance));
    let sample = arena.take(results);
    op.sample(mean, variance, sample, key)?;
    observer.output("sample", Values::F32(sample));
    Ok(())
}

/// Counter and key of the block function's case: Random123's third known answer.
pub(crate) const BLOCK: ([u32; 4], [u32; 2]) =
    ([0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344], [0xa409_3822, 0x299f_31d0]);

/// Where the generator of the words' case starts: not at a block's first word, and where the
/// block number takes more than 32 bits.
pub(crate) const WORD_POSITION: u128 = (1 << 34) - 3;

fn words(observer: &mut impl Observer) -> Result<(), Error> {
    observer.output("block", Values::U32(&philox4x32(BLOCK.0, BLOCK.1)));

    let key = Key::with_stream(0x0123_4567_89ab_cdef, 5)?;
    let mut generator = Philox::new(key);
    generator.set_word_pos(WORD_POSITION);
    let words: [u32; 10] = core::array::from_fn(|_| generator.next_u32());
    observer.output("words", Values::U32(&words));

    let folded = key.fold_in(0xfedc_ba98_7654_3210);
    let halves = [folded.seed(), folded.seed() >> 32, folded.stream(), folded.stream() >> 32];
    observer.output("fold_in", Values::U32(&halves.map(|half| half as u32)));
    Ok(())
}
