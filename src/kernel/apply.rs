//! The centred apply: y = (((x − mean_hi) − mean_lo)·a)·b + β, element by element, with a·b = γ·rstd.

use super::columns::{Strip, load_lanes};
use super::finish::{Constants, StripConstants};
use super::lanes::{LANES, Lanes, Wide, first_lanes, padded, widened};
use super::rows::Segments;
use fearless_simd::{Select as _, Simd, SimdBase as _, f32x16};

/// An input and an output of the same shape, which may be the same memory.
pub(crate) enum Tensor<'a> {
    /// Two slices of equal length.
    Apart(&'a [f32], &'a mut [f32]),
    /// One slice that is overwritten.
    InPlace(&'a mut [f32]),
}

impl Tensor<'_> {
    /// The whole input.
    #[inline(always)]
    pub(crate) fn input(&self) -> &[f32] {
        match self {
            Self::Apart(x, _) => x,
            Self::InPlace(x) => x,
        }
    }

    /// The whole output.
    #[inline(always)]
    pub(crate) fn output(&mut self) -> &mut [f32] {
        match self {
            Self::Apart(_, y) => y,
            Self::InPlace(y) => y,
        }
    }

    /// The elements from `start` on, `len` of them.
    #[inline(always)]
    pub(crate) fn piece(&mut self, start: usize, len: usize) -> Tensor<'_> {
        match self {
            Self::Apart(x, y) => Tensor::Apart(part(x, start, len), part_mut(y, start, len)),
            Self::InPlace(x) => Tensor::InPlace(part_mut(x, start, len)),
        }
    }

    /// Writes f(i, x) for every element, sixteen at a time; i is the position of the first of them.
    #[inline(always)]
    pub(crate) fn map<S: Simd>(self, simd: S, f: impl Fn(usize, f32x16<S>) -> f32x16<S>) {
        match self {
            Self::Apart(x, y) => {
                let (xs, x_rest) = x.as_chunks::<LANES>();
                let (ys, y_rest) = y.as_chunks_mut::<LANES>();
                let end = xs.len() * LANES;
                for (i, (x, y)) in xs.iter().zip(ys).enumerate() {
                    f(i * LANES, Lanes::load(simd, x)).store_array(y);
                }
                if !x_rest.is_empty() {
                    store_first(y_rest, f(end, Lanes::load(simd, &padded(x_rest))));
                }
            }
            Self::InPlace(x) => {
                let (xs, rest) = x.as_chunks_mut::<LANES>();
                let end = xs.len() * LANES;
                for (i, x) in xs.iter_mut().enumerate() {
                    f(i * LANES, Lanes::load(simd, x)).store_array(x);
                }
                if !rest.is_empty() {
                    let last = padded(rest);
                    store_first(rest, f(end, Lanes::load(simd, &last)));
                }
            }
        }
    }
}

#[inline(always)]
pub(crate) fn part(x: &[f32], start: usize, len: usize) -> &[f32] {
    x.get(start..).and_then(|x| x.get(..len)).unwrap_or(&[])
}

#[inline(always)]
pub(crate) fn part_mut(x: &mut [f32], start: usize, len: usize) -> &mut [f32] {
    x.get_mut(start..).and_then(|x| x.get_mut(..len)).unwrap_or(&mut [])
}

/// Writes the first lanes, as many as there is room for.
#[inline(always)]
pub(crate) fn store_first<S: Simd>(y: &mut [f32], value: f32x16<S>) {
    for (slot, value) in y.iter_mut().zip(value.values()) {
        *slot = value;
    }
}

/// Optional scale and shift a channel.
#[derive(Clone, Copy)]
pub(crate) struct Affine<'a> {
    pub(crate) gamma: Option<&'a [f32]>,
    pub(crate) beta: Option<&'a [f32]>,
}

impl Affine<'_> {
    /// γ and β of one channel.
    #[inline(always)]
    pub(crate) fn of(&self, channel: usize) -> (f32, f32) {
        let pick = |values: Option<&[f32]>, missing| match values {
            Some(values) => values.get(channel).copied().unwrap_or(missing),
            None => missing,
        };
        (pick(self.gamma, 1.0), pick(self.beta, 0.0))
    }

    /// γ and β of sixteen channels from `channel` on.
    #[inline(always)]
    pub(crate) fn lanes<S: Simd>(&self, simd: S, channel: usize) -> (f32x16<S>, f32x16<S>) {
        let pick = |values: Option<&[f32]>, missing| match values {
            Some(values) => load_lanes(simd, values, channel, None),
            None => <f32x16<S>>::filled(simd, missing),
        };
        (pick(self.gamma, 1.0), pick(self.beta, 0.0))
    }
}

/// Applies one reduction's constants with one γ and β to contiguous segments.
#[inline(never)]
pub(crate) fn apply_planes<S: Simd>(
    simd: S,
    tensor: &mut Tensor<'_>,
    segments: Segments,
    constants: Constants,
    (gamma, beta): (f32, f32),
) {
    simd.vectorize(
        #[inline(always)]
        || {
            let (factor, gamma) = constants.factors(gamma);
            let affine = (<f32x16<S>>::filled(simd, gamma), <f32x16<S>>::filled(simd, beta));
            let pieces = segments.starts().map(|start| (start, segments.len));
            apply(
                simd,
                tensor,
                pieces,
                constants,
                factor,
                #[inline(always)]
                |_| affine,
            );
        },
    );
}

/// Applies one reduction's constants to `len` elements from `start` on, each with a γ and β of its
/// own, from `channel` on.
#[inline(never)]
pub(crate) fn apply_elements<S: Simd>(
    simd: S,
    tensor: &mut Tensor<'_>,
    (start, len): (usize, usize),
    constants: Constants,
    affine: Affine<'_>,
    channel: usize,
) {
    simd.vectorize(
        #[inline(always)]
        || {
            let piece = core::iter::once((start, len));
            apply(
                simd,
                tensor,
                piece,
                constants,
                constants.rstd(),
                #[inline(always)]
                |i| affine.lanes(simd, channel + i),
            );
        },
    );
}

#[inline(always)]
fn apply<S: Simd>(
    simd: S,
    tensor: &mut Tensor<'_>,
    pieces: impl Iterator<Item = (usize, usize)>,
    constants: Constants,
    factor: f32,
    affine: impl Fn(usize) -> (f32x16<S>, f32x16<S>),
) {
    match constants {
        Constants::Narrow { hi, lo, .. } => {
            let filled = |value| <f32x16<S>>::filled(simd, value);
            let (hi, lo, factor) = (filled(hi), filled(lo), filled(factor));
            for (start, len) in pieces {
                tensor.piece(start, len).map(
                    simd,
                    #[inline(always)]
                    |i, x| {
                        let (gamma, beta) = affine(i);
                        (((x - hi) - lo) * factor) * gamma + beta
                    },
                );
            }
        }
        Constants::Wide { mean, rstd } => {
            let (mean, rstd) = (Wide::filled(simd, mean), Wide::filled(simd, rstd));
            for (start, len) in pieces {
                tensor.piece(start, len).map(
                    simd,
                    #[inline(always)]
                    |i, x| {
                        let (gamma, beta) = affine(i);
                        let y = ((widened(simd, x) - mean) * rstd) * widened(simd, gamma);
                        (y + widened(simd, beta)).narrow()
                    },
                );
            }
        }
    }
}

/// Applies the constants of up to sixteen channels to all rows of a strip.
#[inline(never)]
pub(crate) fn apply_strip<S: Simd>(
    simd: S,
    tensor: &mut Tensor<'_>,
    strip: Strip,
    constants: &StripConstants<S>,
    (gamma, beta): (f32x16<S>, f32x16<S>),
) {
    simd.vectorize(
        #[inline(always)]
        || {
            let StripConstants { hi, lo, wide, .. } = *constants;
            let (a, b) = constants.factors(simd, gamma);
            let Some(wide) = wide else {
                return map_strip(
                    simd,
                    tensor,
                    strip,
                    #[inline(always)]
                    |x| (((x - hi) - lo) * a) * b + beta,
                );
            };
            let (wide_gamma, wide_beta) = (widened(simd, gamma), widened(simd, beta));
            map_strip(
                simd,
                tensor,
                strip,
                #[inline(always)]
                |x| {
                    let narrow = (((x - hi) - lo) * a) * b + beta;
                    let y = ((widened(simd, x) - wide.mean) * wide.rstd) * wide_gamma + wide_beta;
                    wide.lanes.select(y.narrow(), narrow)
                },
            );
        },
    );
}

/// Writes f(x) for every element of a strip, row by row.
#[inline(always)]
fn map_strip<S: Simd>(
    simd: S,
    tensor: &mut Tensor<'_>,
    strip: Strip,
    f: impl Fn(f32x16<S>) -> f32x16<S>,
) {
    let mask = (strip.lanes < LANES).then(|| first_lanes(simd, strip.lanes));
    for row in 0..strip.rows {
        let offset = strip.start + row * strip.stride;
        let value = f(load_lanes(simd, tensor.input(), offset, mask));
        store_strip(part_mut(tensor.output(), offset, strip.lanes), value);
    }
}

/// Writes one row of a strip: whole where it has sixteen channels.
#[inline(always)]
pub(crate) fn store_strip<S: Simd>(y: &mut [f32], value: f32x16<S>) {
    match y.first_chunk_mut::<LANES>() {
        Some(y) => value.store_array(y),
        None => store_first(y, value),
    }
}
