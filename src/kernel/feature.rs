//! Decisions about whole channels of samples.

use super::columns::ALL_STRIPS;
use super::lanes::{LANES, Lanes as _, Value};
use super::map::Tensor;
use super::mask::{Draw, Fate, is_kept, pack};
use crate::backend::Target;
use crate::layout::Samples;
use fearless_simd::{Simd, SimdBase as _, f32x16};

/// Decisions that are taken together.
const CHUNK: usize = ALL_STRIPS * LANES;

/// A bit each, 1 to keep.
struct Decisions {
    bits: [u8; CHUNK / 8],
}

impl Decisions {
    /// `count` of them, the first of them number `first` of the call.
    #[inline(always)]
    fn of<S: Simd>(simd: S, draw: Draw, (first, count): (usize, usize)) -> Self {
        let mut bits = [0; CHUNK / 8];
        pack(simd, draw.from(first), count.min(CHUNK), &mut bits);
        Self { bits }
    }

    #[inline(always)]
    fn keep(&self, i: usize) -> bool {
        is_kept(&self.bits, i)
    }

    /// Sixteen of them as 1 for keep and 0 for drop.
    #[inline(always)]
    fn lanes<S: Simd>(&self, simd: S, strip: usize) -> f32x16<S> {
        let mut lanes = [0.0; LANES];
        for (i, lane) in lanes.iter_mut().enumerate() {
            *lane = if self.keep(strip * LANES + i) { 1.0 } else { 0.0 };
        }
        f32x16::load_array(simd, lanes)
    }
}

/// Gives every channel of every sample its fate. Channel c of sample n has decision n·C + c.
#[inline(always)]
pub(crate) fn apply<S: Target>(
    simd: S,
    draw: Draw,
    fate: impl Fate<0>,
    samples: Samples,
    mut tensor: Tensor<'_>,
) {
    if S::SCALAR {
        one_by_one(draw, fate, samples, &mut tensor);
    } else if samples.planes {
        planes(simd, draw, fate, samples, &mut tensor);
    } else {
        matrices(simd, draw, fate, samples, &mut tensor);
    }
}

/// Without vectors: one channel after the other.
#[inline(always)]
fn one_by_one(draw: Draw, fate: impl Fate<0>, samples: Samples, tensor: &mut Tensor<'_>) {
    let Samples { batch, rows, channels, planes, .. } = samples;
    for sample in 0..batch {
        for channel in 0..channels {
            let keep = draw.keeps(sample * channels + channel);
            let value = |x| if keep { fate.kept(x, []) } else { fate.dropped() };
            if planes {
                tensor.piece(samples.plane(sample, channel), rows).map_each(value);
            } else {
                let first = samples.plane(sample, 0) + channel;
                for row in 0..rows {
                    tensor.set(first + row * channels, value);
                }
            }
        }
    }
}

/// Channels whose elements lie together.
#[inline(always)]
fn planes<S: Simd>(
    simd: S,
    draw: Draw,
    fate: impl Fate<0>,
    Samples { batch, rows, channels, .. }: Samples,
    tensor: &mut Tensor<'_>,
) {
    let all = batch * channels;
    for first in (0..all).step_by(CHUNK) {
        let count = CHUNK.min(all - first);
        let decisions = Decisions::of(simd, draw, (first, count));
        for i in 0..count {
            let mut plane = tensor.piece((first + i) * rows, rows);
            if decisions.keep(i) {
                plane.map(
                    simd,
                    [],
                    #[inline(always)]
                    |x, []| fate.kept(x, []),
                );
            } else {
                plane.output().fill(fate.dropped());
            }
        }
    }
}

/// Channels that are interleaved: a row has the same decisions as all other rows of its sample.
#[inline(always)]
fn matrices<S: Simd>(
    simd: S,
    draw: Draw,
    fate: impl Fate<0>,
    samples: Samples,
    tensor: &mut Tensor<'_>,
) {
    for sample in 0..samples.batch {
        for (channel, band) in samples.matrix(sample).bands(ALL_STRIPS) {
            let first = sample * samples.channels + channel;
            let decisions = Decisions::of(simd, draw, (first, band.channels));
            let mut keep = [[f32x16::filled(simd, 0.0); ALL_STRIPS]];
            let [lanes] = &mut keep;
            for (i, (slot, _)) in lanes.iter_mut().zip(band.strips()).enumerate() {
                *slot = decisions.lanes(simd, i);
            }
            tensor.map_rows(
                simd,
                &keep,
                [],
                band,
                #[inline(always)]
                |[keep], x, []| {
                    let kept = keep.greater(x.all(0.0));
                    Value::select(kept, fate.kept(x, []), x.all(fate.dropped()))
                },
            );
        }
    }
}
