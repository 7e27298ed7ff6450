//! Normalization with one mean and one deviation a channel, over both memory orders.

use super::apply::{Affine, Tensor, apply_planes, apply_strip};
use super::columns::Strip;
use super::finish::{Constants, StripConstants};
use super::lanes::LANES;
use super::moments::{Stats, reduce_rows, reduce_strip};
use super::rows::Segments;
use crate::layout::PerChannel;
use fearless_simd::Simd;

/// The planes of one channel.
#[inline(always)]
pub(crate) const fn planes(channel: usize, batch: usize, channels: usize, len: usize) -> Segments {
    Segments { start: channel * len, stride: channels * len, len, count: batch }
}

/// Reduces every channel and normalizes it with what was found. `record` is told each channel's
/// statistics before the channel is written.
#[inline(always)]
pub(crate) fn train<S: Simd>(
    simd: S,
    shape: PerChannel,
    mut tensor: Tensor<'_>,
    affine: Affine<'_>,
    eps: f64,
    mut record: impl FnMut(usize, &Stats, f32),
) {
    match shape {
        PerChannel::Planes { batch, channels, len } => {
            for channel in 0..channels {
                let segments = planes(channel, batch, channels, len);
                let Some(stats) = reduce_rows(simd, tensor.input(), segments) else { return };
                let constants = stats.constants(eps);
                record(channel, &stats, constants.rstd());
                apply_planes(simd, &mut tensor, segments, constants, affine.of(channel));
            }
        }
        PerChannel::Columns { rows, channels } => {
            for (channel, strip) in Strip::all(0, rows, channels, channels) {
                let Some(stats) = reduce_strip(simd, tensor.input(), strip) else { return };
                let constants = stats.constants(simd, eps);
                let rstd = constants.saved_rstd();
                let lanes = stats.lanes().into_iter().zip(rstd).take(strip.lanes);
                for (lane, (stats, rstd)) in lanes.enumerate() {
                    record(channel + lane, &stats, rstd);
                }
                let affine = affine.lanes(simd, channel);
                apply_strip(simd, &mut tensor, strip, &constants, affine);
            }
        }
    }
}

/// Normalizes every channel with constants that are known.
#[inline(always)]
pub(crate) fn infer<S: Simd>(
    simd: S,
    shape: PerChannel,
    mut tensor: Tensor<'_>,
    affine: Affine<'_>,
    constants: impl Fn(usize) -> Constants,
) {
    match shape {
        PerChannel::Planes { batch, channels, len } => {
            for channel in 0..channels {
                let segments = planes(channel, batch, channels, len);
                let constants = constants(channel);
                apply_planes(simd, &mut tensor, segments, constants, affine.of(channel));
            }
        }
        PerChannel::Columns { rows, channels } => {
            for (channel, strip) in Strip::all(0, rows, channels, channels) {
                let constants = gather_lanes(simd, channel, strip.lanes, &constants);
                let affine = affine.lanes(simd, channel);
                apply_strip(simd, &mut tensor, strip, &constants, affine);
            }
        }
    }
}

/// Reduces every channel and hands out its statistics.
#[inline(always)]
pub(crate) fn reduce<S: Simd>(
    simd: S,
    shape: PerChannel,
    x: &[f32],
    mut record: impl FnMut(usize, &Stats),
) {
    match shape {
        PerChannel::Planes { batch, channels, len } => {
            for channel in 0..channels {
                let segments = planes(channel, batch, channels, len);
                let Some(stats) = reduce_rows(simd, x, segments) else { return };
                record(channel, &stats);
            }
        }
        PerChannel::Columns { rows, channels } => {
            for (channel, strip) in Strip::all(0, rows, channels, channels) {
                let Some(stats) = reduce_strip(simd, x, strip) else { return };
                for (lane, stats) in stats.lanes().iter().take(strip.lanes).enumerate() {
                    record(channel + lane, stats);
                }
            }
        }
    }
}

/// The constants of `lanes` channels from `channel` on; zeros in the lanes that are no channels.
#[inline(always)]
pub(crate) fn gather_lanes<S: Simd>(
    simd: S,
    channel: usize,
    lanes: usize,
    constants: impl Fn(usize) -> Constants,
) -> StripConstants<S> {
    let mut gathered = [Constants::Narrow { hi: 0.0, lo: 0.0, rstd: 0.0 }; LANES];
    for (lane, slot) in gathered.iter_mut().take(lanes).enumerate() {
        *slot = constants(channel + lane);
    }
    StripConstants::gather(simd, &gathered)
}
