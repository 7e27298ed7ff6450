//! Gradients of normalization with one mean and one deviation a channel.
//!
//! With x̃ = (x − mean)·rstd, one pass forms Σdy, Σdy·x̃ and Σx̃. The last would be 0 if the saved
//! mean were exact; it was rounded to f32, and k = Σx̃ / n is what that left over. A second pass
//! writes dx = γ·rstd·((dy − Σdy/n) − (x̃ − k)·dγ/n).

mod planes;
mod strips;

use super::block::Block;
use super::columns::{Band, STRIPS};
use super::finish::{Decisions, is_between, is_normal};
use super::lanes::{Lanes, Real as _, Value, Wide, widened};
use super::per_channel;
use super::rows::BLOCK;
use crate::layout::PerChannel;
use fearless_simd::{Simd, f32x16};
use planes::{PlaneGradient, sum_rows, write_planes};
use strips::{StripGradient, strip_channel, sum_band, write_band};

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

impl<V: Value<Scalar = f32, Mask: Decisions>> Gradient<V> {
    /// Whether nothing is lost or overflows if dx is computed in f32.
    #[inline(always)]
    fn fits(&self, mode: Mode, channel: Channel<V>) -> V::Mask {
        /// 2^64: no gradient plus two numbers below this overflows that did not before.
        const LIMIT: f32 = f32::from_bits((127 + 64) << 23);
        let zero = self.scale.all(0.0);
        let no_scale = channel.gamma.equal(zero) | channel.rstd.equal(zero);
        let fits = no_scale | is_normal(self.scale);
        if mode == Mode::Inference {
            return fits;
        }
        let moderate = |v: V| v.equal(zero) | (is_normal(v) & is_between(v, 0.0, LIMIT));
        fits & moderate(self.offset) & moderate(self.slope)
    }
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

    /// This one where the mask is true, another one elsewhere.
    #[inline(always)]
    fn select(self, mask: V::Mask, other: Self) -> Self {
        Self {
            k: V::select(mask, self.k, other.k),
            offset: V::select(mask, self.offset, other.offset),
            slope: V::select(mask, self.slope, other.slope),
            scale: V::select(mask, self.scale, other.scale),
            dgamma: V::select(mask, self.dgamma, other.dgamma),
            dbeta: V::select(mask, self.dbeta, other.dbeta),
        }
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
    record: impl FnMut(usize, &[f32], &[f32]),
) {
    match shape {
        PerChannel::Planes { batch, channels, len } => {
            let shape = (batch, channels, len);
            backward_planes(simd, shape, &mut pass, channel_of, record);
        }
        PerChannel::Columns { rows, channels } => {
            let matrix = per_channel::matrix(rows, channels);
            backward_columns(simd, matrix, &mut pass, channel_of, record);
        }
    }
}

/// [`backward`] for channels that are interleaved. Out of line, so that planes do not take its stack.
#[inline(never)]
fn backward_columns<S: Simd>(
    simd: S,
    matrix: Band,
    pass: &mut Pass<'_>,
    channel_of: impl Fn(usize) -> Channel<f32>,
    mut record: impl FnMut(usize, &[f32], &[f32]),
) {
    simd.vectorize(
        #[inline(always)]
        || {
            for (first, band) in matrix.bands() {
                let mut strips = [strip_channel(simd, 0, 0, &channel_of); STRIPS];
                for (strip_channels, (channel, strip)) in strips.iter_mut().zip(band.strips()) {
                    *strip_channels =
                        strip_channel(simd, first + channel, strip.lanes, &channel_of);
                }
                let sums = sum_band(simd, pass, band, &strips);
                let mut gradients = [StripGradient::nothing(simd); STRIPS];
                let slots = gradients.iter_mut().zip(&sums).zip(&strips);
                for (((gradient, sums), strip_channels), (channel, strip)) in
                    slots.zip(band.strips())
                {
                    *gradient =
                        StripGradient::new(simd, pass.mode, matrix.rows, *sums, *strip_channels);
                    let (dgamma, dbeta) = gradient.affine();
                    let (dgamma, dbeta) = (dgamma.values(), dbeta.values());
                    let dgamma = per_channel::channels_of(&dgamma, strip);
                    let dbeta = per_channel::channels_of(&dbeta, strip);
                    record(first + channel, dgamma, dbeta);
                }
                write_band(simd, pass, band, &strips, &gradients);
            }
        },
    );
}

/// [`backward`] for channels whose values lie in planes. Out of line, so that only it takes stack for
/// two blocks.
#[inline(never)]
fn backward_planes<S: Simd>(
    simd: S,
    (batch, channels, len): (usize, usize, usize),
    pass: &mut Pass<'_>,
    channel_of: impl Fn(usize) -> Channel<f32>,
    mut record: impl FnMut(usize, &[f32], &[f32]),
) {
    let mut copies = [[0.0; BLOCK]; 2];
    for index in 0..channels {
        let segments = per_channel::planes(index, batch, channels, len);
        let channel = channel_of(index);
        let sums = sum_rows(simd, pass, segments, channel, &mut copies);
        let gradient = PlaneGradient::new(pass.mode, batch * len, sums, channel);
        let (dgamma, dbeta) = gradient.affine();
        record(index, &[dgamma], &[dbeta]);
        write_planes(simd, pass, segments, channel, gradient);
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
