//! Backward of rows, each normalized by its own statistics, with a γ for each place in a row.
//!
//! It is two reductions that have nothing in common. dx needs sums along each row, of dy·γ instead of
//! dy: that is backward of channels ([`super::backward`]) with a factor. dγ and dβ need sums over
//! the rows: every place in a row is a column, and what is known of a row is known along it. Where both are
//! wanted of rows that do not stay in the second-level cache, a block of rows is taken through the one and
//! then the other while it is there.

use super::backward::{ParameterGradients, Pass, StripGradient, tile_sums, write_tile};
use super::columns::{ALL_STRIPS, BLOCK_ROWS, Band, MOST_STRIPS, with_strips};
use super::gradient::{Channel, Gradients, Mode};
use super::lanes::{LANES, Lanes as _, One, Sixteen, load_lanes};
use super::reduce::{Found, are_far, merge_band, reduce_band};
use super::sets::Reductions;
use super::small;
use super::statistic::Statistic;
use super::statistic::gradient::ParameterSums;
use super::tree::{FEW_BLOCKS, FEW_LEVELS};
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

impl<'a> KnownRows<'a> {
    #[inline(always)]
    pub(crate) const fn mode(&self) -> Mode {
        if self.mean.is_some() { Mode::Train } else { Mode::Uncentred }
    }

    /// What is known of one row. γ is not: it is within the sums.
    pub(crate) fn row(&self, number: usize) -> Channel<f32> {
        let mean = self.mean.map_or(0.0, |mean| get(mean, number));
        Channel { mean, rstd: get(self.rstd, number), gamma: 1.0 }
    }

    /// The same of the rows from one on.
    #[inline(always)]
    fn from(self, row: usize) -> Self {
        let rest = |values: &'a [f32]| values.get(row..).unwrap_or(&[]);
        Self { mean: self.mean.map(rest), rstd: rest(self.rstd), gamma: self.gamma }
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
    let wanted = slots.are_wanted();
    let (matrix, rows, mut pass) = (rows.matrix(), rows.reductions(), Pass { dy, x, dx });
    let mut record = |gradients: &ParameterGradients| slots.write(gradients);
    // One dispatch for each: in one, the frames of all would lie on the stack together.
    if pass.dx.is_some() && wanted {
        let tensors = (rows, matrix, &mut pass);
        if dispatch!(backend, simd => in_one_sweep(simd, tensors, known, &mut record)) {
            return;
        }
    }
    if pass.dx.is_some() {
        dispatch!(backend, simd => input(simd, rows, &mut pass, known));
    }
    if wanted {
        dispatch!(backend, simd => parameters(simd, matrix, [dy, x], known, &mut record));
    }
}

/// Writes dx and hands out dγ and dβ, a block of rows after the other, if that saves anything; otherwise it
/// does nothing, and says so.
#[inline(always)]
fn in_one_sweep<S: Target>(
    simd: S,
    (rows, matrix, pass): (Reductions, Band, &mut Pass<'_>),
    known: KnownRows<'_>,
    record: &mut impl FnMut(&ParameterGradients),
) -> bool {
    /// Elements of a tensor of which two fill a second-level cache.
    const CACHED: usize = (1 << 19) / size_of::<f32>();
    // The sums of a row must have room on the stack.
    let has_room = matrix.channels <= ALL_STRIPS * LANES && matrix.rows <= BLOCK_ROWS * FEW_BLOCKS;
    if S::SCALAR || !has_room || matrix.channels.saturating_mul(matrix.rows) < CACHED {
        return false;
    }
    let Pass { dy, x, .. } = *pass;
    match known.mean {
        Some(mean) => sweep(simd, [dy, x, mean, known.rstd], (rows, matrix, pass), known, record),
        None => sweep(simd, [dy, x, known.rstd], (rows, matrix, pass), known, record),
    }
    true
}

/// [`in_one_sweep`] with the inputs of the sums over rows.
#[inline(always)]
fn sweep<S: Target, const INPUTS: usize>(
    simd: S,
    inputs: [&[f32]; INPUTS],
    (rows, matrix, pass): (Reductions, Band, &mut Pass<'_>),
    known: KnownRows<'_>,
    record: &mut impl FnMut(&ParameterGradients),
) where
    ParameterSums: Statistic<Sixteen<S>, INPUTS, 2, 2>,
{
    let found = merge_band::<S, _, ALL_STRIPS, INPUTS, 2, 2, FEW_LEVELS>(
        simd,
        &[ParameterSums; ALL_STRIPS],
        matrix,
        inputs,
        #[inline(always)]
        |block| input(simd, rows.part(block.row, block.rows), pass, known.from(block.row)),
    );
    hand_out(matrix, 0, &found, record);
}

/// Hands out dγ and dβ of a band whose first channel has a number.
#[inline(always)]
fn hand_out<S: Simd>(
    band: Band,
    channel: usize,
    found: &[Found<Sixteen<S>, 2, 2>],
    record: &mut impl FnMut(&ParameterGradients),
) {
    for (i, (found, strip)) in found.iter().zip(band.strips()).enumerate() {
        record(&ParameterGradients::of_sums((channel + i * LANES, strip.lanes), found));
    }
}

/// Writes dx.
#[inline(always)]
fn input<S: Target>(simd: S, rows: Reductions, pass: &mut Pass<'_>, known: KnownRows<'_>) {
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
        write_tile(simd, pass, (mode, known.gamma), &tile, &strip);
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
        hand_out(band, channel, &found, &mut record);
    }
}
