//! Normalization with one mean and one deviation a channel, over both memory orders.

use super::apply::{Affine, Tensor, apply_planes, apply_strip};
use super::columns::{Strip, load_lanes};
use super::finish::{Constants, StripConstants};
use super::lanes::{LANES, Lanes, Value as _};
use super::moments::reduce_rows;
use super::rows::Segments;
use super::strip::{StripMoments, reduce_strip};
use crate::Moments;
use crate::layout::PerChannel;
use fearless_simd::{Simd, SimdMask as _, f32x16, mask32x16};

/// The planes of one channel.
#[inline(always)]
pub(crate) const fn planes(channel: usize, batch: usize, channels: usize, len: usize) -> Segments {
    Segments { start: channel * len, stride: channels * len, len, count: batch }
}

/// What is kept of the statistics of neighbouring channels.
pub(crate) struct Summary<'a> {
    pub(crate) mean: &'a [f32],
    pub(crate) rstd: &'a [f32],
    pub(crate) variance: &'a [f32],
}

/// Reduces every channel and normalizes it with what was found. `record` is told the first channel
/// and the statistics of one or more, before they are written; the variances there are
/// M2 / (n − `less`).
#[inline(always)]
pub(crate) fn train<S: Simd>(
    simd: S,
    shape: PerChannel,
    mut tensor: Tensor<'_>,
    affine: Affine<'_>,
    eps: f64,
    less: u8,
    mut record: impl FnMut(usize, Summary<'_>),
) {
    match shape {
        PerChannel::Planes { batch, channels, len } => {
            for channel in 0..channels {
                let segments = planes(channel, batch, channels, len);
                let Some(stats) = reduce_rows(simd, tensor.input(), segments) else { return };
                let constants = stats.constants(eps);
                let (mean, rstd) = (&[stats.mean()], &[constants.rstd()]);
                record(channel, Summary { mean, rstd, variance: &[stats.variance(less)] });
                apply_planes(simd, &mut tensor, segments, constants, affine.of(channel));
            }
        }
        PerChannel::Columns { rows, channels } => {
            for (channel, strip) in Strip::all(0, rows, channels, channels) {
                let Some(stats) = reduce_strip(simd, tensor.input(), strip) else { return };
                let constants = stats.constants(simd, eps);
                let (mean, rstd) = (stats.mean().values(), constants.saved_rstd().values());
                let variance = stats.variance(less).values();
                let (mean, rstd) = (first(&mean, strip), first(&rstd, strip));
                record(channel, Summary { mean, rstd, variance: first(&variance, strip) });
                let affine = affine.lanes(simd, channel);
                apply_strip(simd, &mut tensor, strip, &constants, affine);
            }
        }
    }
}

/// The values of those lanes that are channels.
#[inline(always)]
pub(crate) fn first(values: &[f32; LANES], strip: Strip) -> &[f32] {
    values.get(..strip.lanes).unwrap_or(values)
}

/// Statistics that are known before.
#[derive(Clone, Copy)]
pub(crate) enum Known<'a> {
    /// Mean and variance a channel.
    Given { mean: &'a [f32], var: &'a [f32] },
    /// Moments a channel.
    Population(&'a [Moments]),
}

impl Known<'_> {
    #[inline(always)]
    fn channel(&self, channel: usize, eps: f64) -> Constants {
        match self {
            Self::Given { mean, var } => {
                Constants::narrow(at(mean, channel), 0.0, at(var, channel), eps)
            }
            Self::Population(moments) => Constants::from_moments(&at(moments, channel), eps),
        }
    }

    #[inline(always)]
    fn strip<S: Simd>(&self, simd: S, channel: usize, eps: f64) -> StripConstants<S> {
        match self {
            Self::Given { mean, var } => {
                let mean: f32x16<S> = load_lanes(simd, mean, channel, None);
                let var = load_lanes(simd, var, channel, None);
                StripConstants::narrow(mean, mean.all(0.0), var, eps)
            }
            Self::Population(moments) => {
                let (mut mean, mut var) = ([0.0; LANES], [0.0; LANES]);
                let slots = mean.iter_mut().zip(&mut var);
                for ((mean, var), moments) in slots.zip(moments.get(channel..).unwrap_or(&[])) {
                    (*mean, *var) = (moments.mean(), moments.variance());
                }
                let (mean, var) = (Lanes::from_array(simd, mean), Lanes::from_array(simd, var));
                StripConstants::wide(simd, mean, var, mask32x16::splat(simd, false), eps)
            }
        }
    }
}

/// An element that the op's checks have shown to be there.
#[inline(always)]
fn at<T: Copy + Default>(values: &[T], index: usize) -> T {
    values.get(index).copied().unwrap_or_default()
}

/// Normalizes every channel with statistics that are known.
#[inline(always)]
pub(crate) fn infer<S: Simd>(
    simd: S,
    shape: PerChannel,
    mut tensor: Tensor<'_>,
    affine: Affine<'_>,
    known: Known<'_>,
    eps: f64,
) {
    match shape {
        PerChannel::Planes { batch, channels, len } => {
            for channel in 0..channels {
                let segments = planes(channel, batch, channels, len);
                let constants = known.channel(channel, eps);
                apply_planes(simd, &mut tensor, segments, constants, affine.of(channel));
            }
        }
        PerChannel::Columns { rows, channels } => {
            for (channel, strip) in Strip::all(0, rows, channels, channels) {
                let constants = known.strip(simd, channel, eps);
                let affine = affine.lanes(simd, channel);
                apply_strip(simd, &mut tensor, strip, &constants, affine);
            }
        }
    }
}

/// Reduces every channel and hands out its moments.
#[inline(always)]
pub(crate) fn reduce<S: Simd>(
    simd: S,
    shape: PerChannel,
    x: &[f32],
    mut record: impl FnMut(usize, Moments),
) {
    match shape {
        PerChannel::Planes { batch, channels, len } => {
            for channel in 0..channels {
                let segments = planes(channel, batch, channels, len);
                let Some(stats) = reduce_rows(simd, x, segments) else { return };
                record(channel, stats.moments());
            }
        }
        PerChannel::Columns { rows, channels } => {
            for (channel, strip) in Strip::all(0, rows, channels, channels) {
                let Some(stats) = reduce_strip(simd, x, strip) else { return };
                let StripMoments { count, mean, m2 } = stats.moments(simd);
                let lanes = mean.values().into_iter().zip(m2.values()).take(strip.lanes);
                for (lane, (mean, m2)) in lanes.enumerate() {
                    record(channel + lane, Moments::from_parts(count, mean, m2));
                }
            }
        }
    }
}
