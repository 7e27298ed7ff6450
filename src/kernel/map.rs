//! The loops that store. An output is a function of the input at the same place and of others there.

use super::block::{each, each_pair};
use super::columns::Band;
use super::lanes::{LANES, Lanes as _, Value as _, load_lanes, padded};
use super::rows::{part, part_mut};
use crate::io::get;
use fearless_simd::{Simd, SimdBase as _, f32x16};

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

    /// Writes f(x) at one place.
    #[inline(always)]
    pub(crate) fn set(&mut self, place: usize, f: impl Fn(f32) -> f32) {
        let x = get(self.input(), place);
        if let Some(y) = self.output().get_mut(place) {
            *y = f(x);
        }
    }

    /// Writes f(x) for every element, one by one.
    #[inline(always)]
    pub(crate) fn map_each(self, f: impl Fn(f32) -> f32) {
        match self {
            Self::Apart(x, y) => y.iter_mut().zip(x).for_each(|(y, x)| *y = f(*x)),
            Self::InPlace(x) => x.iter_mut().for_each(|x| *x = f(*x)),
        }
    }

    /// The output, with the input copied to it: where one loop is worth more than a pass saved.
    #[inline(always)]
    pub(crate) fn copied<'b>(self) -> &'b mut [f32]
    where
        Self: 'b,
    {
        match self {
            Self::Apart(x, y) => {
                y.iter_mut().zip(x).for_each(|(y, x)| *y = *x);
                y
            }
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

    /// Writes f(x, others) for every element, sixteen at a time. The others are as long as the
    /// tensor.
    ///
    /// Where elements are left over, the last sixteen are one more step, which overlaps the one
    /// before and writes some elements twice; they are read before anything is written.
    #[inline(always)]
    pub(crate) fn map<S: Simd, const OTHERS: usize>(
        self,
        simd: S,
        others: [&[f32]; OTHERS],
        f: impl Fn(f32x16<S>, [f32x16<S>; OTHERS]) -> f32x16<S>,
    ) {
        let zero = f32x16::filled(simd, 0.0);
        let groups = each(
            others,
            [].as_slice(),
            #[inline(always)]
            |x| x.as_chunks::<LANES>().0,
        );
        let last = last_lanes(simd, self.input());
        let y = match self {
            Self::Apart(x, y) => {
                let ys = y.as_chunks_mut::<LANES>().0;
                for (i, (x, y)) in x.as_chunks::<LANES>().0.iter().zip(ys).enumerate() {
                    f(f32x16::load_array_ref(simd, x), group_of(simd, groups, i)).store_array(y);
                }
                y
            }
            Self::InPlace(x) => {
                for (i, x) in x.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
                    f(f32x16::load_array_ref(simd, x), group_of(simd, groups, i)).store_array(x);
                }
                x
            }
        };
        if let Some(last) = last {
            let others = each(
                others,
                zero,
                #[inline(always)]
                |x| last_lanes(simd, x).unwrap_or(zero),
            );
            store_last(y, f(last, others));
        }
    }

    /// Writes f(strip, x, others) for the elements of every strip of a band. The others have the shape of
    /// the tensor.
    ///
    /// It goes row by row, in the order of memory, and what is known of the strips is read again for
    /// every row: it lies in the first-level cache, and a load is cheaper than a walk down a strip.
    #[inline(always)]
    pub(crate) fn map_band<S: Simd, C, const OTHERS: usize>(
        &mut self,
        simd: S,
        others: [&[f32]; OTHERS],
        band: Band,
        strips: Strips<'_, C>,
        f: impl Fn(&C, f32x16<S>, [f32x16<S>; OTHERS]) -> f32x16<S> + Copy,
    ) {
        let Band { start, stride, rows, channels, .. } = band;
        let mut others = each(
            others,
            [].as_slice(),
            #[inline(always)]
            |x| x.get(start..).unwrap_or(&[]),
        );
        let (mut x, y) = match self {
            Self::Apart(x, y) => (x.get(start..), y),
            Self::InPlace(y) => (None, y),
        };
        let ys = y.get_mut(start..).unwrap_or(&mut []).chunks_mut(stride.max(1));
        for y in ys.take(rows) {
            let y = y.get_mut(..channels).unwrap_or(&mut []);
            let row = match x {
                Some(x) => Tensor::Apart(x, y),
                None => Tensor::InPlace(y),
            };
            row.map_row(simd, others, &strips, f);
            x = x.map(|x| x.get(stride..).unwrap_or(&[]));
            others = each(
                others,
                [].as_slice(),
                #[inline(always)]
                |x| x.get(stride..).unwrap_or(&[]),
            );
        }
    }

    /// [`map_band`](Self::map_band) of strips that are vectors.
    ///
    /// Narrow rows that lie side by side are taken as few wide ones, in which the channels come again
    /// and again: so many rows that the last ends with a vector. Nothing is then done for each row, and
    /// no lane is empty.
    #[inline(always)]
    pub(crate) fn map_vectors<S: Simd, const N: usize, const OTHERS: usize>(
        &mut self,
        simd: S,
        others: [&[f32]; OTHERS],
        band: Band,
        strips: &[[f32x16<S>; N]],
        f: impl Fn(&[f32x16<S>; N], f32x16<S>, [f32x16<S>; OTHERS]) -> f32x16<S> + Copy,
    ) {
        let Band { start, stride, rows, channels, .. } = band;
        let together = rows_together(channels);
        if channels != stride || together < 2 || rows < 4 * together {
            let last = last_channels(simd, strips, channels);
            let strips = Strips { strips, last: last.as_ref() };
            return self.map_band(simd, others, band, strips, f);
        }
        let wide = repeated(simd, strips, channels);
        let (rows, rest) = (rows / together, rows % together);
        let row = together * channels;
        let band = Band { stride: row, rows, channels: row, ..band };
        self.map_band(simd, others, band, Strips { strips: &wide, last: None }, f);
        let (start, row) = (start + rows * row, rest * channels);
        let last = last_channels(simd, &wide, row);
        let band = Band { start, stride: row, rows: rest.min(1), channels: row, ..band };
        self.map_band(simd, others, band, Strips { strips: &wide, last: last.as_ref() }, f);
    }

    /// Writes f(strip, x, others) for the elements of a row: of the output. The inputs may go on behind
    /// it.
    #[inline(always)]
    fn map_row<S: Simd, C, const OTHERS: usize>(
        self,
        simd: S,
        others: [&[f32]; OTHERS],
        &Strips { strips, last }: &Strips<'_, C>,
        f: impl Fn(&C, f32x16<S>, [f32x16<S>; OTHERS]) -> f32x16<S> + Copy,
    ) {
        let whole = each(
            others,
            [].as_slice(),
            #[inline(always)]
            |x| x.as_chunks::<LANES>().0,
        );
        // Before anything is written, as in `map`.
        let channels = match &self {
            Self::Apart(_, y) => y.len(),
            Self::InPlace(y) => y.len(),
        };
        let end = last.and_then(|_| self.input().get(channels.checked_sub(LANES)?..));
        let end: Option<f32x16<S>> = end.map(|end| load_lanes(simd, end, 0));
        let y = match self {
            Self::Apart(x, y) => {
                let ys = y.as_chunks_mut::<LANES>().0;
                for (i, ((x, y), strip)) in x.as_chunks().0.iter().zip(ys).zip(strips).enumerate() {
                    let x = f32x16::load_array_ref(simd, x);
                    f(strip, x, group_of(simd, whole, i)).store_array(y);
                }
                if end.is_none() && !channels.is_multiple_of(LANES) {
                    let (ys, y) = y.as_chunks_mut::<LANES>();
                    let (i, x) = (ys.len(), load_lanes(simd, x, ys.len() * LANES));
                    return map_rest(simd, (x, y), others, (strips, i), f);
                }
                y
            }
            Self::InPlace(y) => {
                let (ys, rest) = y.as_chunks_mut::<LANES>();
                let i = ys.len();
                for (i, (y, strip)) in ys.iter_mut().zip(strips).enumerate() {
                    let x = f32x16::load_array_ref(simd, y);
                    f(strip, x, group_of(simd, whole, i)).store_array(y);
                }
                if end.is_none() && !channels.is_multiple_of(LANES) {
                    let x = load_lanes(simd, rest, 0);
                    return map_rest(simd, (x, rest), others, (strips, i), f);
                }
                y
            }
        };
        if let (Some(strip), Some(x), Some(y)) = (last, end, y.last_chunk_mut::<LANES>()) {
            let others = each(
                others,
                x.all(0.0),
                #[inline(always)]
                |x| load_lanes(simd, x, channels.saturating_sub(LANES)),
            );
            f(strip, x, others).store_array(y);
        }
    }
}

/// What is known of the strips of a band.
pub(crate) struct Strips<'a, C> {
    pub(crate) strips: &'a [C],
    /// Where the last strip is not whole, it may be one more step that overlaps the one before: this is
    /// what is known of the last sixteen channels.
    pub(crate) last: Option<&'a C>,
}

/// Strips of a wide row.
const WIDE: usize = 32;

/// How many rows of so many channels are a wide row: as many as there is room for, all vectors whole.
#[inline(always)]
const fn rows_together(channels: usize) -> usize {
    let Some(most) = (WIDE * LANES).checked_div(channels) else { return 0 };
    // The least number of rows that are whole vectors: 16, 8, 4, 2 or 1.
    let least = LANES >> if channels.trailing_zeros() < 4 { channels.trailing_zeros() } else { 4 };
    most / least * least
}

/// The strips of a wide row: the channels again and again.
#[inline(always)]
fn repeated<S: Simd, const N: usize>(
    simd: S,
    strips: &[[f32x16<S>; N]],
    channels: usize,
) -> [[f32x16<S>; N]; WIDE] {
    let mut wide = [[f32x16::filled(simd, 0.0); N]; WIDE];
    for i in 0..N {
        let mut values = [0.0; WIDE * LANES];
        let slots = values.as_chunks_mut::<LANES>().0;
        for (slot, strip) in slots.iter_mut().zip(strips) {
            if let Some(vector) = strip.get(i) {
                *slot = vector.values();
            }
        }
        // Each value is the one a row before it.
        for place in channels..values.len() {
            let value = get(&values, place - channels);
            if let Some(slot) = values.get_mut(place) {
                *slot = value;
            }
        }
        for (strip, values) in wide.iter_mut().zip(values.as_chunks::<LANES>().0) {
            if let Some(vector) = strip.get_mut(i) {
                *vector = f32x16::load_array_ref(simd, values);
            }
        }
    }
    wide
}

/// Writes what is no whole strip: f(strip, x, others) for the elements behind strip i − 1.
#[inline(always)]
fn map_rest<S: Simd, C, const OTHERS: usize>(
    simd: S,
    (x, y): (f32x16<S>, &mut [f32]),
    others: [&[f32]; OTHERS],
    (strips, i): (&[C], usize),
    f: impl Fn(&C, f32x16<S>, [f32x16<S>; OTHERS]) -> f32x16<S>,
) {
    let Some(strip) = strips.get(i) else { return };
    let others = each(
        others,
        f32x16::filled(simd, 0.0),
        #[inline(always)]
        |x| load_lanes(simd, x, i * LANES),
    );
    store_first(y, f(strip, x, others));
}

/// The last sixteen of so many channels, from the vectors of all strips; zeros where there are fewer.
#[inline(always)]
fn last_channels<S: Simd, const N: usize>(
    simd: S,
    strips: &[[f32x16<S>; N]],
    channels: usize,
) -> Option<[f32x16<S>; N]> {
    let first = channels.checked_sub(LANES)?;
    let shift = first % LANES;
    if shift == 0 {
        return None;
    }
    let (Some(low), Some(high)) = (strips.get(first / LANES), strips.get(first / LANES + 1)) else {
        return None;
    };
    Some(each_pair(
        *low,
        *high,
        f32x16::filled(simd, 0.0),
        #[inline(always)]
        |_, low, high| {
            let mut lanes = [0.0; LANES];
            let (low, high) = (low.values(), high.values());
            for (lane, value) in lanes.iter_mut().zip(low.iter().skip(shift).chain(&high)) {
                *lane = *value;
            }
            f32x16::from_array(simd, lanes)
        },
    ))
}

/// An element of each of some slices.
#[inline(always)]
pub(crate) fn element_of<const N: usize>(slices: [&[f32]; N], place: usize) -> [f32; N] {
    each(
        slices,
        0.0,
        #[inline(always)]
        |x| get(x, place),
    )
}

/// A group of each of some slices.
#[inline(always)]
pub(crate) fn group_of<S: Simd, const N: usize>(
    simd: S,
    slices: [&[[f32; LANES]]; N],
    i: usize,
) -> [f32x16<S>; N] {
    let zero = f32x16::filled(simd, 0.0);
    each(
        slices,
        zero,
        #[inline(always)]
        |x| match x.get(i) {
            Some(group) => f32x16::load_array_ref(simd, group),
            None => zero,
        },
    )
}

/// The last sixteen elements, or all if there are fewer, where they are not taken by whole vectors.
#[inline(always)]
fn last_lanes<S: Simd>(simd: S, x: &[f32]) -> Option<f32x16<S>> {
    if x.len().is_multiple_of(LANES) {
        return None;
    }
    Some(match x.last_chunk::<LANES>() {
        Some(last) => f32x16::load_array_ref(simd, last),
        None => f32x16::load_array(simd, padded(x)),
    })
}

/// Writes the last sixteen elements, or all if there are fewer.
#[inline(always)]
fn store_last<S: Simd>(y: &mut [f32], value: f32x16<S>) {
    match y.last_chunk_mut::<LANES>() {
        Some(y) => value.store_array(y),
        None => store_first(y, value),
    }
}

/// Writes the first lanes, as many as there is room for; in few pieces.
#[inline(always)]
fn store_first<S: Simd>(y: &mut [f32], value: f32x16<S>) {
    let values = value.values();
    let (mut y, mut values) = (y, values.as_slice());
    store_piece::<8>(&mut y, &mut values);
    store_piece::<4>(&mut y, &mut values);
    store_piece::<2>(&mut y, &mut values);
    store_piece::<1>(&mut y, &mut values);
}

/// Writes `N` values, if there is room for them.
#[inline(always)]
fn store_piece<const N: usize>(y: &mut &mut [f32], values: &mut &[f32]) {
    if y.len() < N {
        return;
    }
    let Some((piece, rest)) = core::mem::take(y).split_first_chunk_mut::<N>() else { return };
    if let Some((new, others)) = values.split_first_chunk::<N>() {
        *piece = *new;
        *values = others;
    }
    *y = rest;
}
