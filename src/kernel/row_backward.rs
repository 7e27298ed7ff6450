//! Backward of rows, each normalized by its own statistics, with a γ for each place in a row.
//!
//! It is two reductions that have nothing in common. dx needs sums along each row, of dy·γ instead of
//! dy: that is backward of channels ([`super::backward`]) with a factor. dγ and dβ need sums over
//! the rows: every place in a row is a column, and what is known of a row is known along it.

use super::backward::{ParameterGradients, Pass, StripGradient, tile_sums, write_tile};
use super::columns::{ALL_STRIPS, Band, MOST_STRIPS, with_strips};
use super::gradient::{Channel, Gradients, Mode};
use super::lanes::{LANES, Lanes as _, One, Sixteen, load_lanes};
use super::reduce::{Found, are_far, reduce_band};
use super::sets::Reductions;
use super::small;
use super::statistic::Statistic;
use super::statistic::gradient::ParameterSums;
use crate::backend::{Target, dispatch};
use crate::io::get;
use crate::{Backend, Gradients as Outputs, Rows};
use fearless_simd::{Simd, f32x16};

/// What is known of rows before backward.
#[derive(Clone, Copy)]
pub(crate) struct KnownRows<'a> {
    /// `None`: rows are not centred.
    pub(crate) mean: Option<&'a [f32]>,
    pub(crate) rstd: &'a [f32],
    pub(crate) gamma: Option<&'a [f32]>,
}

impl KnownRows<'_> {
    #[inline(always)]
    pub(crate) const fn mode(&self) -> Mode {
        if self.mean.is_some() { Mode::Train } else { Mode::Uncentred }
    }

    /// What is known of one row. γ is not: it is within the sums.
    pub(crate) fn row(&self, number: usize) -> Channel<f32> {
        let mean = self.mean.map_or(0.0, |mean| get(mean, number));
        Channel { mean, rstd: get(self.rstd, number), gamma: 1.0 }
    }

    /// What is known of sixteen rows.
    #[inline(always)]
    fn lanes<S: Simd>(&self, simd: S, number: usize) -> Channel<f32x16<S>> {
        let mean = match self.mean {
            Some(mean) => load_lanes(simd, mean, number),
            None => f32x16::filled(simd, 0.0),
        };
        let rstd = load_lanes(simd, self.rstd, number);
        Channel { mean, rstd, gamma: f32x16::filled(simd, 1.0) }
    }
}

/// Backward of rows.
#[inline(always)]
pub(crate) fn run(
    backend: Backend,
    rows: Rows,
    [dy, x]: [&[f32]; 2],
    known: KnownRows<'_>,
    outputs: Outputs<'_>,
) {
    let (dx, mut slots) = outputs.split();
    if rows.is_empty() {
        return slots.zero();
    }
    // Two dispatches: in one, the frames of both would lie on the stack together.
    if dx.is_some() {
        let (rows, pass) = (rows.reductions(), Pass { dy, x, dx });
        dispatch!(backend, simd => input(simd, rows, pass, known));
    }
    if slots.are_wanted() {
        let (matrix, record) =
            (rows.matrix(), |gradients: &ParameterGradients| slots.write(gradients));
        dispatch!(backend, simd => parameters(simd, matrix, [dy, x], known, record));
    }
}

/// Writes dx.
#[inline(always)]
fn input<S: Target>(simd: S, rows: Reductions, mut pass: Pass<'_>, known: KnownRows<'_>) {
    if S::SCALAR {
        return small::backward_rows(simd, rows, pass, known);
    }
    let mode = known.mode();
    for tile in rows.tiles() {
        let channel = known.lanes(simd, tile.number);
        let statistics = (channel.mean, channel.rstd);
        let found = match known.gamma {
            Some(gamma) => tile_sums(simd, &tile, [pass.dy, pass.x, gamma], statistics),
            None => tile_sums(simd, &tile, [pass.dy, pass.x], statistics),
        };
        let gradients = Gradients::new(mode, &found, channel);
        let strip = StripGradient { gradients, channel };
        write_tile(simd, &mut pass, (mode, known.gamma), &tile, &strip);
    }
}

/// Hands out dγ and dβ. `matrix` is the rows as a matrix.
#[inline(always)]
fn parameters<S: Target>(
    simd: S,
    matrix: Band,
    [dy, x]: [&[f32]; 2],
    known: KnownRows<'_>,
    record: impl FnMut(&ParameterGradients),
) {
    match known.mean {
        Some(mean) => sum_columns(simd, matrix, [dy, x, mean, known.rstd], record),
        None => sum_columns(simd, matrix, [dy, x, known.rstd], record),
    }
}

#[inline(always)]
fn sum_columns<S: Target, const INPUTS: usize>(
    simd: S,
    matrix: Band,
    inputs: [&[f32]; INPUTS],
    record: impl FnMut(&ParameterGradients),
) where
    ParameterSums: Statistic<Sixteen<S>, INPUTS, 2, 2> + Statistic<One, INPUTS, 2, 2>,
{
    if S::SCALAR {
        return small::sum_columns(simd, matrix, inputs, record);
    }
    if are_far(inputs) && matrix.strips_together() == MOST_STRIPS {
        // All of most rows, since less would be read in pieces.
        return sum_bands::<S, ALL_STRIPS, INPUTS>(simd, matrix, inputs, record);
    }
    with_strips!(matrix, STRIPS => sum_bands::<S, STRIPS, INPUTS>(simd, matrix, inputs, record));
}

#[inline(always)]
fn sum_bands<S: Simd, const STRIPS: usize, const INPUTS: usize>(
    simd: S,
    matrix: Band,
    inputs: [&[f32]; INPUTS],
    mut record: impl FnMut(&ParameterGradients),
) where
    ParameterSums: Statistic<Sixteen<S>, INPUTS, 2, 2>,
{
    for (channel, band) in matrix.bands(STRIPS) {
        let found: [Found<Sixteen<S>, 2, 2>; STRIPS] =
            reduce_band(simd, &[ParameterSums; STRIPS], band, inputs);
        for (i, (found, strip)) in found.iter().zip(band.strips()).enumerate() {
            record(&ParameterGradients::of_sums((channel + i * LANES, strip.lanes), found));
        }
    }
}
