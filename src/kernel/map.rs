//! The loops that store. An output is a function of the input at the same place and of others there.

use super::block::each;
use super::columns::{Band, load_lanes};
use super::lanes::{LANES, Lanes as _, padded};
use super::rows::{part, part_mut};
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
        let x = crate::io::get(self.input(), place);
        if let Some(y) = self.output().get_mut(place) {
            *y = f(x);
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

    /// Writes f(i)(x, others) for the elements of every strip i of a band. The others have the shape
    /// of the tensor.
    ///
    /// What f knows of a strip is loaded for a few rows at a time, so that memory is read and written
    /// nearly in its order.
    #[inline(always)]
    pub(crate) fn map_band<
        S: Simd,
        F: Fn(f32x16<S>, [f32x16<S>; OTHERS]) -> f32x16<S> + Copy,
        const OTHERS: usize,
    >(
        &mut self,
        simd: S,
        others: [&[f32]; OTHERS],
        band: Band,
        f: impl Fn(usize) -> F,
    ) {
        let Band { start, stride, rows, channels, .. } = band;
        let (mut x, y): (&[f32], _) = match self {
            Self::Apart(x, y) => (x.get(start..).unwrap_or(&[]), y),
            Self::InPlace(y) => (&[], y),
        };
        let mut others = each(others, [].as_slice(), |x| x.get(start..).unwrap_or(&[]));
        let mut ys = y.get_mut(start..).unwrap_or(&mut []).chunks_mut(stride.max(1)).take(rows);
        for _ in 0..rows.div_ceil(WINDOW) {
            let mut window = [Row::empty(), Row::empty(), Row::empty(), Row::empty()];
            for (row, y) in window.iter_mut().zip(&mut ys) {
                *row = Row::new(x, others, y.get_mut(..channels).unwrap_or(&mut []));
                x = x.get(stride..).unwrap_or(&[]);
                others = each(others, [].as_slice(), |x| x.get(stride..).unwrap_or(&[]));
            }
            let whole = channels / LANES;
            for i in 0..whole {
                let f = f(i);
                for row in &mut window {
                    row.write(simd, i, f);
                }
            }
            if whole * LANES < channels {
                let f = f(whole);
                for row in &mut window {
                    row.write_last(simd, whole, f);
                }
            }
        }
    }
}

/// Rows for which a strip's constants are loaded at a time. With 64 rows, inference from memory takes
/// nearly twice as long as with 4.
const WINDOW: usize = 4;

/// One row of a band, from its first channel on. Inputs go on behind it.
struct Row<'a, const OTHERS: usize> {
    /// Empty where y is the input as well.
    x: &'a [f32],
    xs: &'a [[f32; LANES]],
    others: [&'a [f32]; OTHERS],
    ys: &'a mut [[f32; LANES]],
    /// What is no whole strip.
    last: &'a mut [f32],
}

impl<'a, const OTHERS: usize> Row<'a, OTHERS> {
    #[inline(always)]
    fn empty() -> Self {
        Self { x: &[], xs: &[], others: [&[]; OTHERS], ys: &mut [], last: &mut [] }
    }

    #[inline(always)]
    fn new(x: &'a [f32], others: [&'a [f32]; OTHERS], y: &'a mut [f32]) -> Self {
        let (ys, last) = y.as_chunks_mut();
        Self { x, xs: x.as_chunks().0, others, ys, last }
    }

    /// Writes a whole strip.
    #[inline(always)]
    fn write<S: Simd>(
        &mut self,
        simd: S,
        i: usize,
        f: impl Fn(f32x16<S>, [f32x16<S>; OTHERS]) -> f32x16<S>,
    ) {
        let Some(y) = self.ys.get_mut(i) else { return };
        let groups = each(self.others, [].as_slice(), |x| x.as_chunks::<LANES>().0);
        let x = f32x16::load_array_ref(simd, self.xs.get(i).unwrap_or(y));
        f(x, group_of(simd, groups, i)).store_array(y);
    }

    /// Writes the last strip, which is not whole.
    #[inline(always)]
    fn write_last<S: Simd>(
        &mut self,
        simd: S,
        i: usize,
        f: impl Fn(f32x16<S>, [f32x16<S>; OTHERS]) -> f32x16<S>,
    ) {
        let x = match self.x.get(i * LANES..) {
            Some(x) if !self.x.is_empty() => load_lanes(simd, x, 0),
            _ => load_lanes(simd, self.last, 0),
        };
        let others = each(
            self.others,
            f32x16::filled(simd, 0.0),
            #[inline(always)]
            |x| load_lanes(simd, x, i * LANES),
        );
        store_first(self.last, f(x, others));
    }
}

/// A group of each of some slices.
#[inline(always)]
fn group_of<S: Simd, const N: usize>(
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
