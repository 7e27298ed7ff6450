//! Gradients of normalization with one mean and one deviation a channel.
//!
//! With x̃ = (x − mean)·rstd, one pass forms Σdy, Σdy·x̃ and Σx̃. The last would be 0 if the saved
//! mean were exact; it was rounded to f32, and k = Σx̃ / n is what that left over. A second pass
//! writes dx = γ·rstd·((dy − Σdy/n) − (x̃ − k)·dγ/n).

mod planes;
mod strips;

use super::block::Block;
use super::columns::Strip;
use super::lanes::{Lanes, Real as _, Value, Wide, widened};
use super::per_channel;
use crate::layout::PerChannel;
use fearless_simd::{Simd, f32x16};
use planes::{PlaneGradient, sum_rows, write_planes};
use strips::{StripGradient, strip_channel, sum_strip, write_strip};

/// Whether the statistics came from the data (and so have gradients of their own) or were given.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Mode {
    Train,
    Inference,
}

/// The tensors of a backward pass.
pub(crate) struct Pass<'a> {
    pub(crate) mode: Mode,
    pub(crate) dy: &'a [f32],
    pub(crate) x: &'a [f32],
    pub(crate) dx: Option<&'a mut [f32]>,
}

/// What is known before the pass: of one channel, or of sixteen.
#[derive(Clone, Copy)]
pub(crate) struct Channel<V> {
    pub(crate) mean: V,
    pub(crate) rstd: V,
    pub(crate) gamma: V,
}

impl Channel<f32> {
    #[inline(always)]
    fn widened(self) -> Channel<f64> {
        let Self { mean, rstd, gamma } = self;
        Channel { mean: f64::from(mean), rstd: f64::from(rstd), gamma: f64::from(gamma) }
    }
}

impl<S: Simd> Channel<f32x16<S>> {
    #[inline(always)]
    fn widened(self, simd: S) -> Channel<Wide<S>> {
        let Self { mean, rstd, gamma } = self;
        let (mean, rstd) = (widened(simd, mean), widened(simd, rstd));
        Channel { mean, rstd, gamma: widened(simd, gamma) }
    }
}

/// dx = scale·((dy − offset) − (x̃ − k)·slope), and the gradients of γ and β: of one channel, or of
/// sixteen.
#[derive(Clone, Copy)]
struct Gradient<V> {
    k: V,
    offset: V,
    slope: V,
    scale: V,
    dgamma: V,
    dbeta: V,
}

impl<V: Value> Gradient<V> {
    /// From Σdy, Σdy·x̃ and Σx̃ over n elements.
    #[inline(always)]
    fn new(mode: Mode, n: usize, [dy, dy_x, x]: [V; 3], channel: Channel<V>) -> Self {
        let scale = channel.gamma * channel.rstd;
        let zero = scale.all(V::Scalar::ZERO);
        if mode == Mode::Inference {
            return Self { k: zero, offset: zero, slope: zero, scale, dgamma: dy_x, dbeta: dy };
        }
        let n = scale.all(V::Scalar::count(n));
        let k = x / n;
        let dgamma = dy_x - dy * k;
        Self { k, offset: dy / n, slope: dgamma / n, scale, dgamma, dbeta: dy }
    }

    /// The same with every number put through f.
    #[inline(always)]
    fn each<W>(self, f: impl Fn(V) -> W) -> Gradient<W> {
        Gradient {
            k: f(self.k),
            offset: f(self.offset),
            slope: f(self.slope),
            scale: f(self.scale),
            dgamma: f(self.dgamma),
            dbeta: f(self.dbeta),
        }
    }

    /// The gradient of one element.
    #[inline(always)]
    fn dx(&self, mode: Mode, mean: V, rstd: V, dy: V, x: V) -> V {
        if mode == Mode::Inference {
            return dy * self.scale;
        }
        let x = (x - mean) * rstd;
        self.scale * ((dy - self.offset) - (x - self.k) * self.slope)
    }
}

/// Computes dx and, through `record`, dγ and dβ of neighbouring channels.
#[inline(always)]
pub(crate) fn backward<S: Simd>(
    simd: S,
    shape: PerChannel,
    mut pass: Pass<'_>,
    channel_of: impl Fn(usize) -> Channel<f32>,
    mut record: impl FnMut(usize, &[f32], &[f32]),
) {
    match shape {
        PerChannel::Planes { batch, channels, len } => {
            for index in 0..channels {
                let segments = per_channel::planes(index, batch, channels, len);
                let channel = channel_of(index);
                let sums = sum_rows(simd, &pass, segments, channel);
                let gradient = PlaneGradient::new(pass.mode, batch * len, sums, channel);
                let (dgamma, dbeta) = gradient.affine();
                record(index, &[dgamma], &[dbeta]);
                write_planes(simd, &mut pass, segments, channel, gradient);
            }
        }
        PerChannel::Columns { rows, channels } => {
            for (first_channel, strip) in Strip::all(0, rows, channels, channels) {
                let channel = strip_channel(simd, first_channel, strip.lanes, &channel_of);
                let sums = sum_strip(simd, &pass, strip, channel);
                let gradient = StripGradient::new(simd, pass.mode, rows, sums, channel);
                let (dgamma, dbeta) = gradient.affine();
                let (dgamma, dbeta) = (dgamma.values(), dbeta.values());
                record(
                    first_channel,
                    per_channel::first(&dgamma, strip),
                    per_channel::first(&dbeta, strip),
                );
                write_strip(simd, &mut pass, strip, channel, &gradient);
            }
        }
    }
}

/// The three sums of a block, in the arithmetic of `V`.
#[inline(always)]
fn block_sums<S: Simd, V: Lanes<S>, B: Block<S>>(
    simd: S,
    block: B,
    inputs: [&[f32]; 2],
    mean: V,
    rstd: V,
) -> [B::Sum<V>; 3] {
    block.sums(
        simd,
        inputs,
        #[inline(always)]
        |[dy, x]: [V; 2]| {
            let x = (x - mean) * rstd;
            [dy, dy * x, x]
        },
    )
}

/// The same in f64, out of line: few blocks need it.
#[cold]
#[inline(never)]
fn rescue<S: Simd, B: Block<S>>(
    simd: S,
    block: B,
    inputs: [&[f32]; 2],
    mean: f32x16<S>,
    rstd: f32x16<S>,
) -> [B::Sum<Wide<S>>; 3] {
    simd.vectorize(
        #[inline(always)]
        || block_sums(simd, block, inputs, widened(simd, mean), widened(simd, rstd)),
    )
}
