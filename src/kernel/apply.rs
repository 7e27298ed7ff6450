//! The centred apply: y = ((x − mean_hi) − mean_lo)·g + β, element by element, with g = γ·rstd.

use super::columns::{Band, STRIPS, Strip, load_lanes};
use super::finish::{Centred, CentredStrip, Constants};
use super::lanes::{LANES, Lanes, Value, Wide, padded, widened};
use super::rows::Segments;
use crate::backend::dispatch;
use crate::{Affine, Backend};
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
    ///
    /// Where elements are left over, the last sixteen are one more step, which overlaps the one before
    /// and writes some elements twice; they are read before anything is written.
    #[inline(always)]
    pub(crate) fn map<S: Simd>(self, simd: S, f: impl Fn(usize, f32x16<S>) -> f32x16<S>) {
        let (last, len) = (last_lanes(simd, self.input()), self.input().len());
        let y = match self {
            Self::Apart(x, y) => {
                let ys = y.as_chunks_mut::<LANES>().0;
                for (i, (x, y)) in x.as_chunks::<LANES>().0.iter().zip(ys).enumerate() {
                    f(i * LANES, Lanes::load(simd, x)).store_array(y);
                }
                y
            }
            Self::InPlace(x) => {
                for (i, x) in x.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
                    f(i * LANES, Lanes::load(simd, x)).store_array(x);
                }
                x
            }
        };
        if let Some(last) = last {
            store_last(y, f(len.saturating_sub(LANES), last));
        }
    }
}

/// The last sixteen elements, or all if there are fewer, where they are not taken by whole vectors.
#[inline(always)]
pub(crate) fn last_lanes<S: Simd, V: Lanes<S>>(simd: S, x: &[f32]) -> Option<V> {
    if x.len().is_multiple_of(LANES) {
        return None;
    }
    Some(match x.last_chunk::<LANES>() {
        Some(last) => V::load(simd, last),
        None => V::load(simd, &padded(x)),
    })
}

/// Writes the last sixteen elements, or all if there are fewer.
#[inline(always)]
pub(crate) fn store_last<S: Simd>(y: &mut [f32], value: f32x16<S>) {
    match y.last_chunk_mut::<LANES>() {
        Some(y) => value.store_array(y),
        None => store_first(y, value),
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

impl<'a> Affine<'a> {
    /// The same from a channel on.
    #[inline(always)]
    pub(crate) fn from(self, channel: usize) -> Self {
        let rest = |values: &'a [f32]| values.get(channel..).unwrap_or(&[]);
        Self { gamma: self.gamma.map(rest), beta: self.beta.map(rest) }
    }

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

/// Adds x to a residual.
pub(crate) fn accumulate(backend: Backend, x: &[f32], residual: &mut [f32]) {
    dispatch!(backend, simd => {
        let lanes = |x: &[f32; LANES]| <f32x16<_>>::load_array_ref(simd, x);
        let (xs, rest) = x.as_chunks::<LANES>();
        let (sums, last) = residual.as_chunks_mut::<LANES>();
        for (sum, x) in sums.iter_mut().zip(xs) {
            (lanes(x) + lanes(sum)).store_array(sum);
        }
        for (sum, x) in last.iter_mut().zip(rest) {
            *sum += *x;
        }
    });
}

/// Sets what is not above zero to zero; NaN stays.
pub(crate) fn rectify(backend: Backend, y: &mut [f32]) {
    dispatch!(backend, simd => Tensor::InPlace(y).map(
        simd,
        #[inline(always)]
        |_, y| {
            let zero = <f32x16<_>>::filled(simd, 0.0);
            Value::select(zero.greater(y) | y.equal(zero), zero, y)
        },
    ));
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
        || match constants.with_gamma(gamma) {
            Centred::Narrow { hi, lo, factor } => {
                let filled = |value| <f32x16<S>>::filled(simd, value);
                let (hi, lo, factor, beta) = (filled(hi), filled(lo), filled(factor), filled(beta));
                for start in segments.starts() {
                    tensor.piece(start, segments.len).map(
                        simd,
                        #[inline(always)]
                        |_, x| ((x - hi) - lo) * factor + beta,
                    );
                }
            }
            Centred::Wide { mean, rstd } => {
                let filled = |value| <f32x16<S>>::filled(simd, value);
                let affine = (filled(gamma), filled(beta));
                for start in segments.starts() {
                    apply_wide(
                        simd,
                        tensor.piece(start, segments.len),
                        (mean, rstd),
                        #[inline(always)]
                        |_| affine,
                    );
                }
            }
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
        || match constants.without_gamma() {
            Centred::Narrow { hi, lo, factor } => {
                let filled = |value| <f32x16<S>>::filled(simd, value);
                let (hi, lo, factor) = (filled(hi), filled(lo), filled(factor));
                tensor.piece(start, len).map(
                    simd,
                    #[inline(always)]
                    |i, x| {
                        let (gamma, beta) = affine.lanes(simd, channel + i);
                        (((x - hi) - lo) * factor) * gamma + beta
                    },
                );
            }
            Centred::Wide { mean, rstd } => apply_wide(
                simd,
                tensor.piece(start, len),
                (mean, rstd),
                #[inline(always)]
                |i| affine.lanes(simd, channel + i),
            ),
        },
    );
}

/// The apply in f64.
#[inline(always)]
fn apply_wide<S: Simd>(
    simd: S,
    tensor: Tensor<'_>,
    (mean, rstd): (f64, f64),
    affine: impl Fn(usize) -> (f32x16<S>, f32x16<S>),
) {
    let (mean, rstd) = (Wide::filled(simd, mean), Wide::filled(simd, rstd));
    tensor.map(
        simd,
        #[inline(always)]
        |i, x| {
            let (gamma, beta) = affine(i);
            let y = ((widened(simd, x) - mean) * rstd) * widened(simd, gamma);
            (y + widened(simd, beta)).narrow()
        },
    );
}

/// Constants, γ and β of sixteen channels.
#[derive(Clone, Copy)]
pub(crate) struct StripApply<S: Simd> {
    centred: CentredStrip<S>,
    gamma: f32x16<S>,
    beta: f32x16<S>,
}

impl<S: Simd> StripApply<S> {
    #[inline(always)]
    pub(crate) const fn new(
        centred: CentredStrip<S>,
        (gamma, beta): (f32x16<S>, f32x16<S>),
    ) -> Self {
        Self { centred, gamma, beta }
    }

    /// Room for the strips of a band.
    #[inline(always)]
    pub(crate) fn nothing(simd: S) -> [Self; STRIPS] {
        let zero = <f32x16<S>>::filled(simd, 0.0);
        let centred = CentredStrip { hi: zero, lo: zero, factor: zero, wide: None };
        [Self { centred, gamma: zero, beta: zero }; STRIPS]
    }
}

/// Applies the constants of every strip of a band to all its rows.
#[inline(always)]
pub(crate) fn apply_band<S: Simd>(
    simd: S,
    tensor: &mut Tensor<'_>,
    band: Band,
    strips: &[StripApply<S>; STRIPS],
) {
    for tile in band.tiles() {
        for (apply, (_, strip)) in strips.iter().zip(tile.strips()) {
            apply_strip(simd, tensor, strip, apply);
        }
    }
}

/// Applies the constants of up to sixteen channels to all rows of a strip.
#[inline(never)]
fn apply_strip<S: Simd>(simd: S, tensor: &mut Tensor<'_>, strip: Strip, apply: &StripApply<S>) {
    simd.vectorize(
        #[inline(always)]
        || {
            let StripApply { centred: CentredStrip { hi, lo, factor, wide }, gamma, beta } = *apply;
            let Some(wide) = wide else {
                return map_strip(
                    simd,
                    tensor,
                    strip,
                    #[inline(always)]
                    |x| ((x - hi) - lo) * factor + beta,
                );
            };
            let (wide_gamma, wide_beta) = (widened(simd, gamma), widened(simd, beta));
            map_strip(
                simd,
                tensor,
                strip,
                #[inline(always)]
                |x| {
                    let narrow = ((x - hi) - lo) * factor + beta;
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
    let mask = strip.mask(simd);
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
