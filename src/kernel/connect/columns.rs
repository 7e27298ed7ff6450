//! Sums over outputs or samples: the gradients.

use super::super::block::{add_chains, chains_at_once};
use super::super::columns::BLOCK_ROWS;
use super::super::lanes::{F32, F64, LANES, Lanes, Precision, Real, load_lanes, narrow};
use super::super::mask::{Draw, GROUP, PER_BLOCK, Packer};
use super::first_decision;
use crate::backend::Target;
use crate::io::get;
use fearless_simd::{Simd, SimdMask as _, mask32x16};

/// Strips of a band. With what lies before them in a Philox block, their decisions are two groups.
const STRIPS: usize = 2 * GROUP / LANES - 1;
/// The same without vectors: three Philox blocks.
const FEW_STRIPS: usize = 2;

/// A matrix of `rows` × `inputs`, of which sums over the rows are formed, `sums` of them for every column.
/// In sum t row r is multiplied by dy at place t·`sum_step` + r·`row_step`, which is also the number of
/// the output (counted through all samples) that the decisions belong to.
pub(crate) struct Columns<'a> {
    pub(crate) matrix: &'a [f32],
    pub(crate) inputs: usize,
    pub(crate) rows: usize,
    pub(crate) dy: &'a [f32],
    pub(crate) sums: usize,
    pub(crate) sum_step: usize,
    pub(crate) row_step: usize,
    /// `sums` × `inputs`.
    pub(crate) into: Option<&'a mut [f32]>,
    /// `sums`: those of one more column, which holds ones.
    pub(crate) bias: Option<&'a mut [f32]>,
}

/// Forms all sums.
#[inline(always)]
pub(crate) fn run<S: Target>(simd: S, draw: Draw, columns: Columns<'_>) {
    if S::SCALAR {
        columns.run_by::<S, FEW_STRIPS>(simd, draw);
    } else {
        columns.run_by::<S, STRIPS>(simd, draw);
    }
}

/// Neighbouring columns.
#[derive(Clone, Copy)]
struct Band {
    first: usize,
    /// How many are columns of the matrix.
    width: usize,
    /// Whether that of the ones is behind them.
    bias: bool,
}

impl Columns<'_> {
    #[inline(always)]
    fn run_by<S: Target, const STRIPS: usize>(mut self, simd: S, draw: Draw) {
        let packer = Packer::new(simd, draw);
        let first = if self.into.is_some() { 0 } else { self.inputs };
        let end = self.inputs + usize::from(self.bias.is_some());
        for first in (first..end).step_by((STRIPS * LANES).max(1)) {
            let all = (STRIPS * LANES).min(end - first);
            let width = all.min(self.inputs - first);
            let band = Band { first, width, bias: all > width };
            for sum in 0..self.sums {
                let (totals, bias) = self.totals::<S, STRIPS>(simd, (&packer, draw), band, sum);
                self.write(totals.as_flattened(), bias, band, sum);
            }
        }
    }

    /// The sums of a band: of its columns, and of the ones.
    #[inline(always)]
    fn totals<S: Target, const STRIPS: usize>(
        &self,
        simd: S,
        (packer, draw): (&Packer<S>, Draw),
        band: Band,
        sum: usize,
    ) -> ([[f64; LANES]; STRIPS], f64) {
        let mut totals = [[0.0; LANES]; STRIPS];
        let mut bias = 0.0;
        for row in (0..self.rows).step_by(BLOCK_ROWS) {
            let rows = BLOCK_ROWS.min(self.rows - row);
            let factor = sum * self.sum_step + row * self.row_step;
            let mut kept = [[0; BLOCK_ROWS]; STRIPS];
            for row in 0..rows {
                let number = first_decision(draw, self.inputs, factor + row * self.row_step);
                let number = number.wrapping_add(band.first as u64);
                let bits = bits(simd, packer, number, band.width + usize::from(band.bias));
                for (strip, slots) in kept.iter_mut().enumerate() {
                    if let Some(slot) = slots.get_mut(row) {
                        *slot = sixteen(&bits, number, strip);
                    }
                }
            }
            for (i, (kept, totals)) in kept.iter().zip(&mut totals).enumerate() {
                let lanes = band.width.saturating_sub(i * LANES).min(LANES);
                if lanes > 0 {
                    let start = row * self.inputs + band.first + i * LANES;
                    let block = Block { columns: self, kept, rows, start, factor, lanes };
                    block.add_to(simd, totals);
                }
            }
            if band.bias
                && let Some(kept) = kept.get(band.width / LANES)
            {
                let block = Block { columns: self, kept, rows, start: 0, factor, lanes: 0 };
                bias += block.sum_of(
                    #[inline(always)]
                    |_| 1.0,
                    band.width % LANES,
                );
            }
        }
        (totals, bias)
    }

    #[inline(always)]
    fn write(&mut self, totals: &[f64], bias: f64, band: Band, sum: usize) {
        if let Some(into) = &mut self.into {
            let slots = into.iter_mut().skip(sum * self.inputs + band.first);
            for (slot, total) in slots.zip(totals).take(band.width) {
                *slot = narrow(*total);
            }
        }
        if band.bias
            && let Some(slot) = self.bias.as_mut().and_then(|bias| bias.get_mut(sum))
        {
            *slot = narrow(bias);
        }
    }
}

/// Decisions of a row: as many bytes as two groups have.
type Row = [u8; 2 * GROUP / 8];

/// The decisions of `count` columns from `number` on, behind those before them in their Philox block.
#[inline(always)]
fn bits<S: Target>(simd: S, packer: &Packer<S>, number: u64, count: usize) -> Row {
    let before = number % PER_BLOCK;
    let count = before as usize + count;
    let count = if S::SCALAR { count } else { count.div_ceil(GROUP) * GROUP };
    let mut bits = [0; 2 * GROUP / 8];
    packer.pack(simd, number - before, count, &mut bits);
    bits
}

/// The bits of a strip.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "sixteen of the bits are asked for")]
fn sixteen(bits: &Row, number: u64, strip: usize) -> u16 {
    let bytes = bits.get(strip * (LANES / 8)..).and_then(<[u8]>::first_chunk);
    (u32::from_le_bytes(bytes.copied().unwrap_or_default()) >> (number % PER_BLOCK)) as u16
}

/// At most 64 rows of a strip.
#[derive(Clone, Copy)]
struct Block<'a> {
    columns: &'a Columns<'a>,
    /// Which of the columns are kept, a bit each; of every row.
    kept: &'a [u16; BLOCK_ROWS],
    rows: usize,
    /// Where the first row starts, and its factor's place.
    start: usize,
    factor: usize,
    /// How many of the lanes are columns of the band.
    lanes: usize,
}

impl Block<'_> {
    /// Adds the sums of the strip to what there is.
    #[inline(always)]
    fn add_to<S: Target>(self, simd: S, totals: &mut [f64; LANES]) {
        if S::SCALAR {
            for (lane, total) in totals.iter_mut().enumerate().take(self.lanes) {
                *total += self.sum_of(
                    #[inline(always)]
                    |row| self.element(row, lane),
                    lane,
                );
            }
            return;
        }
        let sums = self.sums::<S, F32>(simd).values();
        if sums.iter().all(|sum| sum.is_finite()) {
            for (total, sum) in totals.iter_mut().zip(sums) {
                *total += f64::from(sum);
            }
        } else {
            self.add_rescued(simd, sums, totals);
        }
    }

    /// The same with sums in f64 where those in f32 are not finite. Out of line, since few need it.
    #[inline(never)]
    fn add_rescued<S: Target>(self, simd: S, sums: [f32; LANES], totals: &mut [f64; LANES]) {
        let wide = simd.vectorize(
            #[inline(always)]
            || self.sums::<S, F64>(simd).values(),
        );
        for ((total, sum), wide) in totals.iter_mut().zip(sums).zip(wide) {
            *total += if sum.is_finite() { f64::from(sum) } else { wide };
        }
    }

    /// The sums of the strip's columns.
    #[inline(always)]
    fn sums<S: Simd, P: Precision>(self, simd: S) -> P::Lanes<S> {
        let mut chains = [[P::Lanes::<S>::filled(simd, P::Scalar::ZERO)]; 4];
        if chains_at_once::<S>(1) == 4 {
            chains = self.chains(simd, 0);
        } else {
            for (first, chain) in chains.iter_mut().enumerate() {
                [*chain] = self.chains(simd, first);
            }
        }
        let [sum] = add_chains(chains);
        sum
    }

    /// The sums of `SIDE` chains, the first of them number `first`.
    #[inline(always)]
    fn chains<S: Simd, V: Lanes<S>, const SIDE: usize>(
        self,
        simd: S,
        first: usize,
    ) -> [[V; 1]; SIDE] {
        let mut chains = [[V::filled(simd, V::Scalar::ZERO)]; SIDE];
        let live = (1_u32 << self.lanes) - 1;
        for row in (0..self.rows).step_by(4) {
            let rows = row + first..self.rows;
            for ([chain], row) in chains.iter_mut().zip(rows) {
                let kept = self.kept.get(row).map_or(0, |kept| u32::from(*kept) & live);
                let place = self.start + row * self.columns.inputs;
                let elements: V = load_lanes(simd, self.columns.matrix, place);
                let factor = V::filled(simd, V::Scalar::of(self.factor(row)));
                let mask = mask32x16::from_bitmask(simd, u64::from(kept));
                *chain = *chain + (elements * factor).keep(mask);
            }
        }
        chains
    }

    /// The sum of one column with these elements, whose decisions are bits of this number.
    #[inline(always)]
    fn sum_of(self, element: impl Fn(usize) -> f32 + Copy, bit: usize) -> f64 {
        let sum: f32 = self.column(element, bit);
        if sum.is_finite() { f64::from(sum) } else { self.column(element, bit) }
    }

    #[inline(always)]
    fn column<R: Real>(self, element: impl Fn(usize) -> f32, bit: usize) -> R {
        let mut chains = [[R::ZERO]; 4];
        for (chain, [sum]) in chains.iter_mut().enumerate() {
            for row in (chain..self.rows).step_by(4) {
                if self.kept.get(row).is_some_and(|kept| kept >> bit & 1 == 1) {
                    *sum = *sum + R::of(element(row)) * R::of(self.factor(row));
                }
            }
        }
        let [sum] = add_chains(chains);
        sum
    }

    #[inline(always)]
    fn element(self, row: usize, lane: usize) -> f32 {
        get(self.columns.matrix, self.start + row * self.columns.inputs + lane)
    }

    #[inline(always)]
    fn factor(self, row: usize) -> f32 {
        get(self.columns.dy, self.factor + row * self.columns.row_step)
    }
}
