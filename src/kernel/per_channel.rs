//! Normalization with one mean and one deviation a channel, over both memory orders.

use super::apply::{StripApply, Tensor, apply_band, apply_planes};
use super::columns::{Band, Strip, load_lanes};
use super::finish::{Constants, StripConstants};
use super::lanes::{LANES, Lanes, Value as _};
use super::moments::{NEIGHBOURS, reduce_neighbours};
use super::rows::{BLOCK, Segments};
use super::strip::{StripMoments, reduce_band};
use crate::layout::PerChannel;
use crate::{Affine, Given, Moments};
use fearless_simd::{Simd, SimdMask as _, f32x16, mask32x16};

/// The planes of one channel.
#[inline(always)]
pub(crate) const fn planes(channel: usize, batch: usize, channels: usize, len: usize) -> Segments {
    Segments { start: channel * len, stride: channels * len, len, count: batch }
}

/// How many channels are walked together, sample by sample. A few where planes of some kilobytes come
/// from memory: a core reads the start of a plane at half its speed, and neighbouring planes have
/// one start.
#[inline(always)]
fn together(batch: usize, channels: usize, len: usize) -> usize {
    let near = planes(0, batch, channels, len).are_near();
    if near || !(1 << 10..1 << 14).contains(&len) { 1 } else { NEIGHBOURS }
}

/// All channels of a matrix.
#[inline(always)]
pub(crate) const fn matrix(rows: usize, channels: usize) -> Band {
    Band { start: 0, stride: channels, rows, channels }
}

/// What is kept of the statistics of neighbouring channels.
pub(crate) struct Summary<'a> {
    pub(crate) mean: &'a [f32],
    pub(crate) rstd: &'a [f32],
    pub(crate) variance: &'a [f32],
}

/// Reduces every channel and normalizes it with what was found. `record` is told the first channel
/// and the statistics of one or more, before they are written; the variances there are
/// M2 / (n − `ddof`).
#[inline(always)]
pub(crate) fn train<S: Simd>(
    simd: S,
    shape: PerChannel,
    mut tensor: Tensor<'_>,
    affine: Affine<'_>,
    eps: f64,
    ddof: u8,
    record: impl FnMut(usize, Summary<'_>),
) {
    match shape {
        PerChannel::Planes { batch, channels, len } => {
            let shape = (batch, channels, len);
            train_planes(simd, shape, &mut tensor, affine, eps, ddof, record);
        }
        PerChannel::Columns { rows, channels } => {
            train_columns(simd, matrix(rows, channels), &mut tensor, affine, eps, ddof, record);
        }
    }
}

/// [`train`] for channels whose values lie in planes. Out of line, so that only it takes stack for a
/// block.
#[inline(never)]
fn train_planes<S: Simd>(
    simd: S,
    (batch, channels, len): (usize, usize, usize),
    tensor: &mut Tensor<'_>,
    affine: Affine<'_>,
    eps: f64,
    ddof: u8,
    mut record: impl FnMut(usize, Summary<'_>),
) {
    let mut copy = [0.0; BLOCK];
    let together = together(batch, channels, len);
    let mut first = 0;
    while first < channels {
        let count = together.min(channels - first);
        let segments = planes(first, batch, channels, len);
        let stats = reduce_neighbours(simd, tensor.input(), segments, count, &mut copy);
        let mut constants = [Constants::NOTHING; NEIGHBOURS];
        let slots = constants.iter_mut().zip(&stats).take(count);
        for (i, (constants, stats)) in slots.enumerate() {
            *constants = stats.constants(eps);
            let (mean, rstd) = (&[stats.mean()], &[constants.saved_rstd()]);
            record(first + i, Summary { mean, rstd, variance: &[stats.variance(ddof)] });
        }
        apply_neighbours(simd, tensor, segments, constants, affine.from(first), count);
        first += count;
    }
}

/// [`train`] for channels that are interleaved. Out of line, so that planes do not take its stack.
#[inline(never)]
fn train_columns<S: Simd>(
    simd: S,
    matrix: Band,
    tensor: &mut Tensor<'_>,
    affine: Affine<'_>,
    eps: f64,
    ddof: u8,
    mut record: impl FnMut(usize, Summary<'_>),
) {
    simd.vectorize(
        #[inline(always)]
        || {
            for (first, band) in matrix.bands() {
                let mut apply = StripApply::nothing(simd);
                let stats = reduce_band(simd, tensor.input(), band);
                for ((apply, stats), (channel, strip)) in
                    apply.iter_mut().zip(&stats).zip(band.strips())
                {
                    let channel = first + channel;
                    let constants = stats.constants(simd, eps);
                    let (mean, rstd) = (stats.mean().values(), constants.saved_rstd().values());
                    let variance = stats.variance(ddof).values();
                    let (mean, rstd) = (channels_of(&mean, strip), channels_of(&rstd, strip));
                    let variance = channels_of(&variance, strip);
                    record(channel, Summary { mean, rstd, variance });
                    let affine = affine.lanes(simd, channel);
                    *apply = StripApply::new(constants.with_gamma(simd, affine.0), affine);
                }
                apply_band(simd, tensor, band, &apply);
            }
        },
    );
}

/// Normalizes the planes of one channel or a few.
#[inline(always)]
fn apply_neighbours<S: Simd>(
    simd: S,
    tensor: &mut Tensor<'_>,
    segments: Segments,
    constants: [Constants; NEIGHBOURS],
    affine: Affine<'_>,
    count: usize,
) {
    let [only, ..] = constants;
    if count == 1 {
        return apply_planes(simd, tensor, segments, only, affine.of(0));
    }
    for start in segments.starts() {
        for (i, constants) in constants.iter().enumerate().take(count) {
            let plane = Segments::one(start + i * segments.len, segments.len);
            apply_planes(simd, tensor, plane, *constants, affine.of(i));
        }
    }
}

/// The values of those lanes that are channels.
#[inline(always)]
pub(crate) fn channels_of(values: &[f32; LANES], strip: Strip) -> &[f32] {
    values.get(..strip.lanes).unwrap_or(values)
}

impl Given<'_> {
    #[inline(always)]
    fn channel(&self, channel: usize, eps: f64) -> Constants {
        match self {
            Self::Running { mean, var } => {
                Constants::narrow(at(mean, channel), 0.0, at(var, channel), eps)
            }
            Self::Population(moments) => Constants::from_moments(&at(moments, channel), eps),
        }
    }

    #[inline(always)]
    fn strip<S: Simd>(&self, simd: S, channel: usize, eps: f64) -> StripConstants<S> {
        match self {
            Self::Running { mean, var } => {
                let mean: f32x16<S> = load_lanes(simd, mean, channel, None);
                let var = load_lanes(simd, var, channel, None);
                StripConstants::narrow(simd, mean, mean.all(0.0), var, eps)
            }
            Self::Population(moments) => {
                let (mut mean, mut var) = ([0.0; LANES], [0.0; LANES]);
                let slots = mean.iter_mut().zip(&mut var);
                for ((mean, var), moments) in slots.zip(moments.get(channel..).unwrap_or(&[])) {
                    (*mean, *var) = (moments.mean(), moments.variance());
                }
                let (mean, var) = (Lanes::from_array(simd, mean), Lanes::from_array(simd, var));
                StripConstants::merged(simd, mean, var, mask32x16::splat(simd, false), eps)
            }
        }
    }
}

/// An element that the op's checks have shown to be there.
#[inline(always)]
fn at<T: Copy + Default>(values: &[T], index: usize) -> T {
    values.get(index).copied().unwrap_or_default()
}

/// Normalizes every channel with statistics that are given.
#[inline(always)]
pub(crate) fn infer<S: Simd>(
    simd: S,
    shape: PerChannel,
    mut tensor: Tensor<'_>,
    affine: Affine<'_>,
    given: Given<'_>,
    eps: f64,
) {
    match shape {
        PerChannel::Planes { batch, channels, len } => {
            for channel in 0..channels {
                let segments = planes(channel, batch, channels, len);
                let constants = given.channel(channel, eps);
                apply_planes(simd, &mut tensor, segments, constants, affine.of(channel));
            }
        }
        PerChannel::Columns { rows, channels } => {
            for (first, band) in matrix(rows, channels).bands() {
                let mut apply = StripApply::nothing(simd);
                for (apply, (channel, _)) in apply.iter_mut().zip(band.strips()) {
                    let channel = first + channel;
                    let constants = given.strip(simd, channel, eps);
                    let affine = affine.lanes(simd, channel);
                    *apply = StripApply::new(constants.with_gamma(simd, affine.0), affine);
                }
                apply_band(simd, &mut tensor, band, &apply);
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
            reduce_planes(simd, (batch, channels, len), x, record);
        }
        PerChannel::Columns { rows, channels } => {
            for (first, band) in matrix(rows, channels).bands() {
                let stats = reduce_band(simd, x, band);
                for (stats, (channel, strip)) in stats.iter().zip(band.strips()) {
                    let StripMoments { count, mean, m2 } = stats.moments(simd);
                    let lanes = mean.values().into_iter().zip(m2.values()).take(strip.lanes);
                    for (lane, (mean, m2)) in lanes.enumerate() {
                        record(first + channel + lane, Moments::from_parts(count, mean, m2));
                    }
                }
            }
        }
    }
}

/// [`reduce`] for channels whose values lie in planes. Out of line, so that only it takes stack for a
/// block.
#[inline(never)]
fn reduce_planes<S: Simd>(
    simd: S,
    (batch, channels, len): (usize, usize, usize),
    x: &[f32],
    mut record: impl FnMut(usize, Moments),
) {
    let mut copy = [0.0; BLOCK];
    let together = together(batch, channels, len);
    let mut first = 0;
    while first < channels {
        let count = together.min(channels - first);
        let segments = planes(first, batch, channels, len);
        let stats = reduce_neighbours(simd, x, segments, count, &mut copy);
        for (i, stats) in stats.iter().enumerate().take(count) {
            record(first + i, stats.moments());
        }
        first += count;
    }
}
