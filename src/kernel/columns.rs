//! Blocks of rows in which a lane is a channel.

use super::block::{Block, add, add_chains, each};
use super::lanes::{LANES, Lanes, Real, first_lanes, padded};
use fearless_simd::{Simd, mask32x16};

/// Rows in a chain.
pub(crate) const CHAIN_ROWS: usize = 16;
/// Rows in a block: four chains.
pub(crate) const BLOCK_ROWS: usize = 4 * CHAIN_ROWS;

/// Up to sixteen neighbouring channels of a matrix: `rows` rows, each `stride` after the one
/// before, the first channel of the first row at `start`.
#[derive(Clone, Copy)]
pub(crate) struct Strip {
    pub(crate) start: usize,
    pub(crate) stride: usize,
    pub(crate) rows: usize,
    /// How many of the sixteen lanes are channels of this strip.
    pub(crate) lanes: usize,
}

impl Strip {
    /// Cuts a matrix of `rows` rows into strips; `first` is where the channels start.
    #[inline(always)]
    pub(crate) fn all(
        first: usize,
        rows: usize,
        stride: usize,
        channels: usize,
    ) -> impl Iterator<Item = (usize, Self)> {
        (0..channels).step_by(LANES).map(move |channel| {
            let lanes = (channels - channel).min(LANES);
            (channel, Self { start: first + channel, stride, rows, lanes })
        })
    }

    /// The blocks in their order.
    #[inline(always)]
    pub(crate) fn blocks<S: Simd>(self, simd: S) -> impl Iterator<Item = ColumnBlock<S>> {
        let mask = first_lanes(simd, self.lanes);
        (0..self.rows).step_by(BLOCK_ROWS).map(move |row| ColumnBlock {
            start: self.start + row * self.stride,
            stride: self.stride,
            rows: (self.rows - row).min(BLOCK_ROWS),
            mask: (self.lanes < LANES).then_some(mask),
        })
    }
}

/// Up to 64 rows of a strip.
#[derive(Clone, Copy)]
pub(crate) struct ColumnBlock<S: Simd> {
    start: usize,
    stride: usize,
    rows: usize,
    /// The lanes that are channels, where not all are.
    mask: Option<mask32x16<S>>,
}

impl<S: Simd> ColumnBlock<S> {
    /// The number of rows.
    #[inline(always)]
    pub(crate) const fn rows(&self) -> usize {
        self.rows
    }
}

impl<S: Simd> Block<S> for ColumnBlock<S> {
    type Sum<V: Lanes<S>> = V;

    #[inline(always)]
    fn count(&self) -> usize {
        self.rows
    }

    #[inline(always)]
    fn sums<V: Lanes<S>, const INPUTS: usize, const SUMS: usize>(
        &self,
        simd: S,
        inputs: [&[f32]; INPUTS],
        f: impl Fn([V; INPUTS]) -> [V; SUMS] + Copy,
    ) -> [V; SUMS] {
        let zero = V::filled(simd, V::Scalar::ZERO);
        let mut chains = [[zero; SUMS]; 4];
        for (chain, first) in chains.iter_mut().zip((0..self.rows).step_by(CHAIN_ROWS)) {
            for row in first..(first + CHAIN_ROWS).min(self.rows) {
                let offset = self.start + row * self.stride;
                let vectors = each(
                    inputs,
                    zero,
                    #[inline(always)]
                    |x| load_lanes::<S, V>(simd, x, offset, self.mask),
                );
                *chain = add(*chain, f(vectors));
            }
        }
        add_chains(chains)
    }

    #[inline(always)]
    fn spread<V: Lanes<S>>(_: S, sum: V) -> V {
        sum
    }
}

/// The elements of one row. Lanes that are no channels read what lies there and are masked.
#[inline(always)]
pub(crate) fn load_lanes<S: Simd, V: Lanes<S>>(
    simd: S,
    x: &[f32],
    offset: usize,
    mask: Option<mask32x16<S>>,
) -> V {
    let rest = x.get(offset..).unwrap_or(&[]);
    let vector = match rest.first_chunk::<LANES>() {
        Some(vector) => V::load(simd, vector),
        None => V::load(simd, &padded(rest)),
    };
    mask.map_or(vector, |mask| vector.keep(mask))
}
