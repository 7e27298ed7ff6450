//! Rows of a matrix in which a lane is a channel.
//!
//! Sixteen neighbouring channels are a [`Strip`]. A row of a strip is one cache line, so strips are
//! not walked one after the other from the first row to the last, but side by side as a [`Band`],
//! tile by tile: memory is then read nearly in its order.

use super::block::{Block, Terms, add, each, each_pair, sum_chains};
use super::lanes::{LANES, Lanes, Precision, Real as _, Sixteen, Wide, first_lanes, load_lanes};
use super::rows::Segments;
use super::sets::Set;
use super::tree::{FEW_BLOCKS, MANY_BLOCKS};
use crate::io::get;
use fearless_simd::{Simd, mask32x16};

/// Rows in a block: four chains of sixteen.
pub(crate) const BLOCK_ROWS: usize = 64;

/// Strips in a band of a matrix with few channels.
pub(crate) const STRIPS: usize = 4;

/// Strips in a band of a matrix with more channels. A row of it is 1 KiB, so that memory is read in
/// pieces that the machine sees coming; with few channels it would only cost to set up so many.
pub(crate) const MANY_STRIPS: usize = 16;

/// Strips in a band of a matrix with more channels still and more than a block of rows: the longer the
/// pieces, the better, but every strip has a tree on the stack.
pub(crate) const MOST_STRIPS: usize = 32;

/// Strips in a band that is not reduced, and so has no trees: a row is a page of memory.
pub(crate) const ALL_STRIPS: usize = 64;

/// Evaluates an expression with the constant that says how many strips a band of a matrix that is reduced
/// has.
macro_rules! with_strips {
    ($matrix:expr, $strips:ident => $body:expr) => {
        match $matrix.strips_together() {
            $crate::kernel::columns::STRIPS => {
                const $strips: usize = $crate::kernel::columns::STRIPS;
                $body
            }
            $crate::kernel::columns::MANY_STRIPS => {
                const $strips: usize = $crate::kernel::columns::MANY_STRIPS;
                $body
            }
            _ => {
                const $strips: usize = $crate::kernel::columns::MOST_STRIPS;
                $body
            }
        }
    };
}
pub(crate) use with_strips;

/// Neighbouring channels of a matrix: `rows` rows, each `stride` after the one before, the first
/// channel of the first row at `start`.
#[derive(Clone, Copy)]
pub(crate) struct Band {
    pub(crate) start: usize,
    pub(crate) stride: usize,
    /// The number of the first row.
    pub(crate) row: usize,
    pub(crate) rows: usize,
    /// The place of the first channel in its row.
    pub(crate) place: usize,
    pub(crate) channels: usize,
}

impl Band {
    /// All channels of a matrix.
    pub(crate) const fn matrix(start: usize, rows: usize, channels: usize) -> Self {
        Self { start, stride: channels, row: 0, rows, place: 0, channels }
    }

    /// Where each channel is.
    #[inline(always)]
    pub(crate) fn sets(self) -> impl Fn(usize) -> Set {
        move |channel| self.column(channel)
    }

    /// Where one channel is.
    #[inline(always)]
    pub(crate) const fn column(&self, channel: usize) -> Set {
        let Self { start, stride, rows: count, .. } = *self;
        let start = start.wrapping_add(channel);
        Set { segments: Segments { start, stride, len: 1, count }, is_column: true }
    }

    /// At most `most` of the channels, from one on.
    #[inline(always)]
    pub(crate) fn from(self, channel: usize, most: usize) -> Self {
        let channels = self.channels.saturating_sub(channel).min(most);
        Self { start: self.start + channel, place: self.place + channel, channels, ..self }
    }

    /// How many strips are reduced together. Trees of many strips have fewer levels, or they would take too
    /// much of the stack.
    #[inline(always)]
    pub(crate) const fn strips_together(&self) -> usize {
        if self.channels <= STRIPS * LANES || self.rows > BLOCK_ROWS * MANY_BLOCKS {
            STRIPS
        } else if self.channels <= MANY_STRIPS * LANES
            || self.rows <= BLOCK_ROWS
            || self.rows > BLOCK_ROWS * FEW_BLOCKS
        {
            MANY_STRIPS
        } else {
            MOST_STRIPS
        }
    }

    /// Cuts a matrix into bands of at most so many strips, and says at which channel each starts.
    #[inline(always)]
    pub(crate) fn bands(self, strips: usize) -> impl Iterator<Item = (usize, Self)> {
        let starts = (0..self.channels).step_by((strips * LANES).max(1));
        starts.map(move |channel| (channel, self.from(channel, strips * LANES)))
    }

    /// Cuts a band into strips.
    #[inline(always)]
    pub(crate) fn strips(self) -> impl Iterator<Item = Strip> {
        (0..self.channels).step_by(LANES).map(move |channel| {
            let Self { start, stride, row, rows, place, channels } = self.from(channel, LANES);
            Strip { start, stride, row, rows, place, lanes: channels }
        })
    }

    /// Cuts a band into tiles of at most so many rows.
    #[inline(always)]
    pub(crate) fn tiles(self, rows: usize) -> impl Iterator<Item = Self> {
        (0..self.rows).step_by(rows).map(move |row| Self {
            start: self.start + row * self.stride,
            row: self.row + row,
            rows: (self.rows - row).min(rows),
            ..self
        })
    }
}

/// Up to sixteen neighbouring channels of a matrix. With at most [`BLOCK_ROWS`] rows it is a block.
#[derive(Clone, Copy)]
pub(crate) struct Strip {
    pub(crate) start: usize,
    pub(crate) stride: usize,
    /// The number of the first row.
    row: usize,
    pub(crate) rows: usize,
    /// The place of the first channel in its row.
    place: usize,
    /// How many of the sixteen lanes are channels of this strip.
    pub(crate) lanes: usize,
}

impl Strip {
    /// One value for every lane, from what has one for each row.
    #[inline(always)]
    fn along<S: Simd, V: Lanes<S>>(&self, simd: S, values: &[f32], row: usize) -> V {
        V::filled(simd, V::Scalar::of(get(values, self.row + row)))
    }

    /// The sums of `SIDE` chains, the first of them number `first`. Lanes that are no channels sum
    /// what lies there.
    #[inline(always)]
    fn chains<
        S: Simd,
        V: Lanes<S>,
        T: Terms<INPUTS, PARAMETERS, SUMS>,
        const SIDE: usize,
        const INPUTS: usize,
        const PARAMETERS: usize,
        const SUMS: usize,
    >(
        &self,
        simd: S,
        terms: T,
        inputs: [&[f32]; INPUTS],
        parameters: [V; PARAMETERS],
        first: usize,
    ) -> [[V; SUMS]; SIDE] {
        const NOTHING: &[f32; LANES] = &[0.0; LANES];
        let zero = V::filled(simd, V::Scalar::ZERO);
        let mut chains = [[zero; SUMS]; SIDE];
        let mut row = 0;
        // Four whole rows at a time: their length is known, so whether the strip lies within them
        // is the same for all, and is not asked for each.
        let mut rests = each(
            inputs,
            [].as_slice(),
            #[inline(always)]
            |x: &[f32]| x.get(self.start - self.place..).unwrap_or(&[]),
        );
        'quads: while row + 4 <= self.rows {
            let mut groups = [[NOTHING; INPUTS]; SIDE];
            for (input, rest) in rests.iter_mut().enumerate().take(INPUTS - T::ALONG) {
                let split = rest.split_at_checked(4 * self.stride);
                let Some((rows, others)) = split else { break 'quads };
                for (side, group) in groups.iter_mut().enumerate() {
                    let place = (first + side) * self.stride + self.place;
                    let lanes = rows.get(place..place + LANES).and_then(|row| row.first_chunk());
                    let (Some(slot), Some(lanes)) = (group.get_mut(input), lanes) else {
                        break 'quads;
                    };
                    *slot = lanes;
                }
                *rest = others;
            }
            for (side, (chain, group)) in chains.iter_mut().zip(&groups).enumerate() {
                let vectors = each_pair(
                    *group,
                    inputs,
                    zero,
                    #[inline(always)]
                    |i, group, values| {
                        if i + T::ALONG < INPUTS {
                            V::load(simd, group)
                        } else {
                            self.along(simd, values, row + first + side)
                        }
                    },
                );
                *chain = add(*chain, terms.of(vectors, parameters));
            }
            row += 4;
        }
        while row < self.rows {
            for (side, chain) in chains.iter_mut().enumerate() {
                let row = row + first + side;
                if row < self.rows {
                    let vectors = each_pair(
                        inputs,
                        [(); INPUTS],
                        zero,
                        #[inline(always)]
                        |i, values, ()| {
                            if i + T::ALONG < INPUTS {
                                load_lanes(simd, values, self.start + row * self.stride)
                            } else {
                                self.along(simd, values, row)
                            }
                        },
                    );
                    *chain = add(*chain, terms.of(vectors, parameters));
                }
            }
            row += 4;
        }
        chains
    }
}

impl<S: Simd> Block<S> for Strip {
    type Unit = Sixteen<S>;

    #[inline(always)]
    fn count(&self) -> usize {
        self.rows
    }

    #[inline(always)]
    fn live(&self, simd: S) -> mask32x16<S> {
        first_lanes(simd, self.lanes)
    }

    #[inline(always)]
    fn zero(&self, simd: S) -> Wide<S> {
        Wide::filled(simd, 0.0)
    }

    #[inline(always)]
    fn sums<
        P: Precision,
        T: Terms<INPUTS, PARAMETERS, SUMS>,
        const INPUTS: usize,
        const PARAMETERS: usize,
        const SUMS: usize,
    >(
        &self,
        simd: S,
        terms: T,
        inputs: [&[f32]; INPUTS],
        parameters: [P::Of<Sixteen<S>>; PARAMETERS],
    ) -> [P::Of<Sixteen<S>>; SUMS] {
        let zero = P::Lanes::<S>::filled(simd, P::Scalar::ZERO);
        let parameters = each(
            parameters,
            zero,
            #[inline(always)]
            |values| P::lanes(values),
        );
        let sums = sum_chains!(S, parameters, zero, SUMS, first => {
            self.chains(simd, terms, inputs, parameters, first)
        });
        each(
            sums,
            P::of_lanes(zero),
            #[inline(always)]
            |sum| P::of_lanes(sum),
        )
    }
}
