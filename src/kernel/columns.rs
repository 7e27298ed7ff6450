//! Blocks of rows in which a lane is a channel.
//!
//! Sixteen neighbouring channels are a [`Strip`]. A row of a strip is one cache line, so strips are
//! not walked one after the other from the first row to the last, but side by side as a [`Band`],
//! tile by tile: memory is then read nearly in its order.

use super::block::{Block, add, add_chains, each};
use super::lanes::{LANES, Lanes, Real, first_lanes, padded};
use fearless_simd::{Simd, SimdBase as _, mask32x16};

/// Rows in a block: four chains of sixteen.
pub(crate) const BLOCK_ROWS: usize = 64;

/// Strips in a band.
pub(crate) const STRIPS: usize = if super::SMALL { 1 } else { 4 };

/// Neighbouring channels of a matrix: `rows` rows, each `stride` after the one before, the first
/// channel of the first row at `start`.
#[derive(Clone, Copy)]
pub(crate) struct Band {
    pub(crate) start: usize,
    pub(crate) stride: usize,
    pub(crate) rows: usize,
    pub(crate) channels: usize,
}

impl Band {
    /// At most `most` of the channels, from one on.
    #[inline(always)]
    pub(crate) fn from(self, channel: usize, most: usize) -> Self {
        let channels = self.channels.saturating_sub(channel).min(most);
        Self { start: self.start + channel, channels, ..self }
    }

    /// Cuts a matrix into bands of [`STRIPS`], and says at which channel each starts.
    #[inline(always)]
    pub(crate) fn bands(self) -> impl Iterator<Item = (usize, Self)> {
        let starts = (0..self.channels).step_by(STRIPS * LANES);
        starts.map(move |channel| (channel, self.from(channel, STRIPS * LANES)))
    }

    /// Cuts a band into strips, and says at which channel each starts.
    #[inline(always)]
    pub(crate) fn strips(self) -> impl Iterator<Item = (usize, Strip)> {
        (0..self.channels).step_by(LANES).map(move |channel| {
            let Self { start, stride, rows, channels } = self.from(channel, LANES);
            (channel, Strip { start, stride, rows, lanes: channels })
        })
    }

    /// Cuts a band into tiles, each as many rows as a block has.
    #[inline(always)]
    pub(crate) fn tiles(self) -> impl Iterator<Item = Self> {
        (0..self.rows).step_by(BLOCK_ROWS).map(move |row| Self {
            start: self.start + row * self.stride,
            rows: (self.rows - row).min(BLOCK_ROWS),
            ..self
        })
    }
}

/// Up to sixteen neighbouring channels of a matrix.
#[derive(Clone, Copy)]
pub(crate) struct Strip {
    pub(crate) start: usize,
    pub(crate) stride: usize,
    pub(crate) rows: usize,
    /// How many of the sixteen lanes are channels of this strip.
    pub(crate) lanes: usize,
}

impl Strip {
    /// The lanes that are channels, where not all are.
    #[inline(always)]
    pub(crate) fn mask<S: Simd>(&self, simd: S) -> Option<mask32x16<S>> {
        (self.lanes < LANES).then(|| first_lanes(simd, self.lanes))
    }
}

/// A strip of up to [`BLOCK_ROWS`] rows.
#[derive(Clone, Copy)]
pub(crate) struct ColumnBlock<S: Simd> {
    start: usize,
    stride: usize,
    rows: usize,
    mask: Option<mask32x16<S>>,
}

impl<S: Simd> ColumnBlock<S> {
    #[inline(always)]
    pub(crate) fn new(simd: S, strip: Strip) -> Self {
        let Strip { start, stride, rows, .. } = strip;
        Self { start, stride, rows, mask: strip.mask(simd) }
    }

    /// One row of every input.
    #[inline(always)]
    fn row<V: Lanes<S>, const INPUTS: usize>(
        &self,
        simd: S,
        inputs: [&[f32]; INPUTS],
        row: usize,
    ) -> [V; INPUTS] {
        each(
            inputs,
            V::filled(simd, V::Scalar::ZERO),
            #[inline(always)]
            |x| load_lanes(simd, x, self.start + row * self.stride, self.mask),
        )
    }

    /// Sums the `SIDE` chains from `first` on side by side. Machines with wide vectors need several
    /// at a time to hide the latency of additions. The bits do not depend on it.
    #[inline(always)]
    fn chains<V: Lanes<S>, const SIDE: usize, const INPUTS: usize, const SUMS: usize>(
        &self,
        simd: S,
        inputs: [&[f32]; INPUTS],
        first: usize,
        f: impl Fn([V; INPUTS]) -> [V; SUMS] + Copy,
    ) -> [[V; SUMS]; SIDE] {
        let mut chains = [[V::filled(simd, V::Scalar::ZERO); SUMS]; SIDE];
        for row in (first..self.rows).step_by(4) {
            for (side, chain) in chains.iter_mut().enumerate() {
                let row = row + side;
                if row < self.rows {
                    *chain = add(*chain, f(self.row(simd, inputs, row)));
                }
            }
        }
        chains
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
        if S::f32s::LEN >= 8 && SUMS == 1 {
            return add_chains(self.chains(simd, inputs, 0, f));
        }
        let mut chains = [[V::filled(simd, V::Scalar::ZERO); SUMS]; 4];
        if S::f32s::LEN >= 8 {
            for (pair, first) in chains.as_chunks_mut::<2>().0.iter_mut().zip([0, 2]) {
                *pair = self.chains(simd, inputs, first, f);
            }
        } else {
            for (first, chain) in chains.iter_mut().enumerate() {
                [*chain] = self.chains(simd, inputs, first, f);
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
