//! The loops that store. An output is a function of the input at the same place and of others there.

use super::block::each;
use super::columns::Band;
use super::lanes::{LANES, Lanes as _, load_lanes, padded};
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

    /// Hands out pieces of `len` elements each, in turn, and the number of each.
    #[inline(always)]
    pub(crate) fn each_piece(self, len: usize, mut f: impl FnMut(usize, Tensor<'_>)) {
        // Never 0, which would panic.
        let len = len.max(1);
        match self {
            Self::Apart(x, y) => {
                let pieces = x.chunks_exact(len).zip(y.chunks_exact_mut(len));
                for (i, (x, y)) in pieces.enumerate() {
                    f(i, Tensor::Apart(x, y));
                }
            }
            Self::InPlace(x) => {
                for (i, x) in x.chunks_exact_mut(len).enumerate() {
                    f(i, Tensor::InPlace(x));
                }
            }
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
        let groups = groups_of(others);
        let last = last_lanes(simd, self.input());
        let y = match self {
            Self::Apart(x, y) => {
                let ys = y.as_chunks_mut::<LANES>().0;
                for (i, (x, y)) in x.as_chunks::<LANES>().0.iter().zip(ys).enumerate() {
                    let Some(others) = group_of(simd, groups, i) else { break };
                    f(f32x16::load_array_ref(simd, x), others).store_array(y);
                }
                y
            }
            Self::InPlace(x) => {
                for (i, x) in x.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
                    let Some(others) = group_of(simd, groups, i) else { break };
                    f(f32x16::load_array_ref(simd, x), others).store_array(x);
                }
                x
            }
        };
        if let Some(last) = last {
            store_last(y, f(last, last_of(simd, others)));
        }
    }

    /// Writes f(constants, x, others) for the elements of every row of a band. The others have the shape
    /// of the tensor, and a constant has a value for each channel.
    ///
    /// It goes row by row, in the order of memory, and the constants are read again for every row: they
    /// lie in the first-level cache. Each lies for itself, not side by side with the others of its
    /// channel: where rows come from memory, a core then keeps up with twice as many.
    ///
    /// Narrow rows that lie side by side are taken as few wide ones, in which the channels come again
    /// and again, so many rows that the last ends with a vector: nothing is then done for each row, and
    /// no lane is empty.
    #[inline(always)]
    pub(crate) fn map_rows<
        S: Simd,
        const STRIPS: usize,
        const CONSTANTS: usize,
        const OTHERS: usize,
    >(
        &mut self,
        simd: S,
        constants: &[[f32x16<S>; STRIPS]; CONSTANTS],
        others: [&[f32]; OTHERS],
        band: Band,
        f: impl Fn([f32x16<S>; CONSTANTS], f32x16<S>, [f32x16<S>; OTHERS]) -> f32x16<S> + Copy,
    ) {
        let Band { start, stride, rows, channels, .. } = band;
        let together = if channels == stride { rows_together(channels, rows) } else { 0 };
        if together < 2 {
            return self.map_each_row(simd, constants, others, band, f);
        }
        let mut wide = [[f32x16::filled(simd, 0.0); WIDE]; CONSTANTS];
        for (wide, narrow) in wide.iter_mut().zip(constants) {
            repeat(simd, wide, narrow, channels);
        }
        let row = together * channels;
        let (rows, rest) = (rows / together, rows % together);
        let band = Band { stride: row, rows, channels: row, ..band };
        self.map_each_row(simd, &wide, others, band, f);
        let (start, row) = (start + rows * row, rest * channels);
        let band = Band { start, stride: row, rows: rest.min(1), channels: row, ..band };
        self.map_each_row(simd, &wide, others, band, f);
    }

    /// [`map_rows`](Self::map_rows), whatever the number of channels.
    #[inline(always)]
    fn map_each_row<S: Simd, const STRIPS: usize, const CONSTANTS: usize, const OTHERS: usize>(
        &mut self,
        simd: S,
        constants: &[[f32x16<S>; STRIPS]; CONSTANTS],
        others: [&[f32]; OTHERS],
        band: Band,
        f: impl Fn([f32x16<S>; CONSTANTS], f32x16<S>, [f32x16<S>; OTHERS]) -> f32x16<S> + Copy,
    ) {
        let Band { start, stride, rows, channels, .. } = band;
        let last = last_channels(simd, constants, channels);
        for row in 0..rows {
            let start = start + row * stride;
            let others = each(
                others,
                [].as_slice(),
                #[inline(always)]
                |x| part(x, start, channels),
            );
            self.piece(start, channels).map_row(simd, (constants, last), others, f);
        }
    }

    /// Writes f(constants, x, others) for the elements of a row, as [`map`](Self::map) does. The second of
    /// the constants are those of the last sixteen elements.
    #[inline(always)]
    fn map_row<S: Simd, const STRIPS: usize, const CONSTANTS: usize, const OTHERS: usize>(
        self,
        simd: S,
        (constants, of_last): (&[[f32x16<S>; STRIPS]; CONSTANTS], [f32x16<S>; CONSTANTS]),
        others: [&[f32]; OTHERS],
        f: impl Fn([f32x16<S>; CONSTANTS], f32x16<S>, [f32x16<S>; OTHERS]) -> f32x16<S>,
    ) {
        let groups = groups_of(others);
        let last = last_lanes(simd, self.input());
        let y = match self {
            Self::Apart(x, y) => {
                let ys = y.as_chunks_mut::<LANES>().0;
                for (i, (x, y)) in x.as_chunks::<LANES>().0.iter().zip(ys).enumerate() {
                    // So that the compiler sees that there are constants.
                    if i >= STRIPS {
                        break;
                    }
                    let x = f32x16::load_array_ref(simd, x);
                    let Some(others) = group_of(simd, groups, i) else { break };
                    f(strip_of(simd, constants, i), x, others).store_array(y);
                }
                y
            }
            Self::InPlace(y) => {
                for (i, y) in y.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
                    if i >= STRIPS {
                        break;
                    }
                    let x = f32x16::load_array_ref(simd, y);
                    let Some(others) = group_of(simd, groups, i) else { break };
                    f(strip_of(simd, constants, i), x, others).store_array(y);
                }
                y
            }
        };
        if let Some(last) = last {
            store_last(y, f(of_last, last, last_of(simd, others)));
        }
    }

    /// Writes f(strip, x, others) for the elements of every strip of a band, where more is known of a
    /// strip than some vectors. The others have the shape of the tensor.
    #[inline(always)]
    pub(crate) fn map_strips<S: Simd, C, const OTHERS: usize>(
        &mut self,
        simd: S,
        strips: &[C],
        others: [&[f32]; OTHERS],
        band: Band,
        f: impl Fn(&C, f32x16<S>, [f32x16<S>; OTHERS]) -> f32x16<S> + Copy,
    ) {
        for row in band.tiles(1) {
            for (strip, lanes) in strips.iter().zip(row.strips()) {
                let (start, len) = (lanes.start, lanes.lanes);
                let others = each(
                    others,
                    [].as_slice(),
                    #[inline(always)]
                    |x| part(x, start, len),
                );
                self.piece(start, len).map(
                    simd,
                    others,
                    #[inline(always)]
                    |x, others| f(strip, x, others),
                );
            }
        }
    }
}

/// Fills the rows that [`Tensor::map_rows`] wants: one for each value that is known of a strip. Row by row,
/// since strip by strip took as long as a short tensor does.
macro_rules! gather_rows {
    ($rows:ident, $strips:ident, $strip:ident => [$($value:expr),+ $(,)?]) => {
        let mut rows = $rows.iter_mut();
        $(
            if let Some(row) = rows.next() {
                for (slot, $strip) in row.iter_mut().zip($strips) {
                    *slot = $value;
                }
            }
        )+
    };
}
pub(crate) use gather_rows;

/// Strips of a wide row.
const WIDE: usize = 32;

/// How many of some rows of so many channels are a wide row: enough to make it worth it, all vectors
/// whole. 0 if there is no room for them, or too few rows to make up for what is set up.
#[inline(always)]
fn rows_together(channels: usize, rows: usize) -> usize {
    const ENOUGH: usize = 16 * LANES;
    // The least number of rows that are whole vectors: 16, 8, 4, 2 or 1.
    let least = LANES >> channels.trailing_zeros().min(4);
    let times = ENOUGH.checked_div(channels.saturating_mul(least)).unwrap_or(0).max(1);
    let together = least * times;
    if together * channels > WIDE * LANES || rows < 4 * together { 0 } else { together }
}

/// Fills a row with the channels again and again.
#[inline(always)]
fn repeat<S: Simd>(simd: S, row: &mut [f32x16<S>; WIDE], strips: &[f32x16<S>], channels: usize) {
    let mut values = [0.0; WIDE * LANES];
    for (slot, strip) in values.as_chunks_mut::<LANES>().0.iter_mut().zip(strips) {
        *slot = strip.values();
    }
    let mut done = channels.max(1);
    while done < values.len() {
        let (first, rest) = values.split_at_mut_checked(done).unwrap_or_default();
        for (slot, value) in rest.iter_mut().zip(first) {
            *slot = *value;
        }
        done *= 2;
    }
    for (slot, values) in row.iter_mut().zip(values.as_chunks::<LANES>().0) {
        *slot = f32x16::load_array_ref(simd, values);
    }
}

/// What is known of strip i.
#[inline(always)]
fn strip_of<S: Simd, const STRIPS: usize, const N: usize>(
    simd: S,
    constants: &[[f32x16<S>; STRIPS]; N],
    i: usize,
) -> [f32x16<S>; N] {
    let mut values = [f32x16::filled(simd, 0.0); N];
    for (value, strips) in values.iter_mut().zip(constants) {
        if let Some(strip) = strips.get(i) {
            *value = *strip;
        }
    }
    values
}

/// What is known of the last sixteen of so many channels, or of all if there are fewer.
#[inline(always)]
fn last_channels<S: Simd, const STRIPS: usize, const N: usize>(
    simd: S,
    constants: &[[f32x16<S>; STRIPS]; N],
    channels: usize,
) -> [f32x16<S>; N] {
    let mut last = [f32x16::filled(simd, 0.0); N];
    let first = channels.saturating_sub(LANES);
    for (last, strips) in last.iter_mut().zip(constants) {
        let mut values = [[0.0; LANES]; 2];
        for (slot, strip) in values.iter_mut().zip(strips.iter().skip(first / LANES)) {
            *slot = strip.values();
        }
        *last = load_lanes(simd, values.as_flattened(), first % LANES);
    }
    last
}

/// The whole groups of each of some slices.
#[inline(always)]
fn groups_of<const N: usize>(slices: [&[f32]; N]) -> [&[[f32; LANES]]; N] {
    each(
        slices,
        [].as_slice(),
        #[inline(always)]
        |x| x.as_chunks::<LANES>().0,
    )
}

/// The last sixteen elements of each of some slices.
#[inline(always)]
fn last_of<S: Simd, const N: usize>(simd: S, slices: [&[f32]; N]) -> [f32x16<S>; N] {
    let zero = f32x16::filled(simd, 0.0);
    each(
        slices,
        zero,
        #[inline(always)]
        |x| last_lanes(simd, x).unwrap_or(zero),
    )
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

/// Group `i` of each of some slices, if all have one.
#[inline(always)]
pub(crate) fn group_of<S: Simd, const N: usize>(
    simd: S,
    slices: [&[[f32; LANES]]; N],
    i: usize,
) -> Option<[f32x16<S>; N]> {
    let mut values = [f32x16::filled(simd, 0.0); N];
    for (value, groups) in values.iter_mut().zip(slices) {
        *value = f32x16::load_array_ref(simd, groups.get(i)?);
    }
    Some(values)
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
