//! How the reductions of an operation lie in memory, and which γ and β belong to them.

use super::lanes::{LANES, Lanes as _, load_lanes};
use super::reduce::NEIGHBOURS;
use super::rows::{Abreast, BLOCK, RowBlock, Segments};
use crate::Affine;
use fearless_simd::{Simd, f32x16};

/// Reductions whose elements lie together: `count` of them, each `step` after the one before.
#[derive(Clone, Copy)]
pub(crate) struct Reductions {
    /// The first.
    pub(crate) first: Segments,
    pub(crate) step: usize,
    pub(crate) count: usize,
    pub(crate) parameters: Parameters,
}

/// Where the elements of one reduction are, for who walks them one by one.
#[derive(Clone, Copy)]
pub(crate) struct Set {
    pub(crate) segments: Segments,
    /// They are one channel of a matrix: segments of one element, added up as columns are.
    pub(crate) is_column: bool,
}

impl Set {
    pub(crate) const fn rows(segments: Segments) -> Self {
        Self { segments, is_column: false }
    }
}

/// Which γ and β a reduction has.
#[derive(Clone, Copy)]
pub(crate) enum Parameters {
    /// One, that of the channel (number of the reduction mod `channels`).
    One { channels: usize },
    /// One for each plane of `len` elements, of which a reduction has several; the reductions after
    /// which the first channel comes again are `groups`.
    Planes { len: usize, groups: usize },
    /// One for each element, likewise.
    Elements { groups: usize },
}

/// Up to sixteen neighbouring reductions.
#[derive(Clone, Copy)]
pub(crate) struct Tile {
    /// The number of the first.
    pub(crate) number: usize,
    pub(crate) count: usize,
    /// The segments of the first.
    pub(crate) first: Segments,
    /// How far apart their starts are.
    pub(crate) step: usize,
}

impl Reductions {
    /// The channels of planes of `len` elements, one in each sample.
    pub(crate) const fn planes(batch: usize, channels: usize, len: usize) -> Self {
        let stride = channels.wrapping_mul(len);
        let first = Segments { start: 0, stride, len, count: batch };
        Self { first, step: len, count: channels, parameters: Parameters::One { channels } }
    }

    /// Rows with γ and β for each element of them.
    pub(crate) const fn rows(len: usize, step: usize, count: usize) -> Self {
        let parameters = Parameters::Elements { groups: 1 };
        Self { first: Segments::one(0, len), step, count, parameters }
    }

    /// The groups of channels of every sample, that lie together.
    pub(crate) const fn groups(batch: usize, groups: usize, channels: usize, len: usize) -> Self {
        let group = channels.wrapping_mul(len);
        let parameters = match (len, channels) {
            (_, 1) => Parameters::One { channels: groups },
            (1, _) => Parameters::Elements { groups },
            _ => Parameters::Planes { len, groups },
        };
        let count = batch.wrapping_mul(groups);
        Self { first: Segments::one(0, group), step: group, count, parameters }
    }

    /// Some of them.
    #[inline(always)]
    pub(crate) const fn part(self, first: usize, count: usize) -> Self {
        Self { first: self.first.moved(first.wrapping_mul(self.step)), count, ..self }
    }

    /// Where each is.
    #[inline(always)]
    pub(crate) fn sets(self) -> impl Fn(usize) -> Set {
        move |number| Set::rows(self.first.moved(number * self.step))
    }

    /// How many are taken together: short ones for the sake of what is done once for each, as long as
    /// what is passed over several times stays in the first-level cache. Planes of batches that it does
    /// not hold because a core reads the start of a plane at half its speed, and neighbouring planes have
    /// one start: as many as there are lanes where planes are so short that several are a block.
    #[inline(always)]
    fn together(&self) -> usize {
        const CACHED: usize = 6 * BLOCK;
        const MEBIBYTE: usize = (1 << 20) / size_of::<f32>();
        let Segments { stride, len, count, .. } = self.first;
        if stride.saturating_mul(count) <= MEBIBYTE {
            CACHED.checked_div(len * count).unwrap_or(1).clamp(1, LANES)
        } else if count > 1 && (1 << 5..1 << 14).contains(&len) {
            if len <= BLOCK / 2 { LANES } else { NEIGHBOURS }
        } else {
            1
        }
    }

    /// The reductions in turn, to be reduced.
    #[inline(always)]
    pub(crate) fn tiles(self) -> impl Iterator<Item = Tile> {
        self.tiles_of(self.together())
    }

    /// The reductions in turn, so many at a time.
    #[inline(always)]
    pub(crate) fn tiles_of(self, together: usize) -> impl Iterator<Item = Tile> {
        (0..self.count).step_by(together.max(1)).map(move |number| Tile {
            number,
            count: together.min(self.count - number),
            first: self.first.moved(number * self.step),
            step: self.step,
        })
    }
}

impl Tile {
    /// The same from one of its reductions on.
    #[inline(always)]
    pub(crate) const fn from(&self, i: usize) -> Self {
        Self { first: self.segments(i), ..*self }
    }

    /// The segments of one of its reductions.
    #[inline(always)]
    pub(crate) const fn segments(&self, i: usize) -> Segments {
        self.first.moved(i.wrapping_mul(self.step))
    }

    /// All of them, if each is one block in one piece.
    #[inline(always)]
    pub(crate) fn rows(&self) -> Option<Abreast<RowBlock>> {
        let Segments { start, len, count, .. } = self.first;
        (count == 1 && len <= BLOCK).then_some(Abreast {
            first: RowBlock { start, len, offset: 0 },
            stride: self.step,
            count: self.count,
        })
    }
}

impl<'a> Affine<'a> {
    /// The same from a channel on, `len` of them.
    #[inline(always)]
    pub(crate) fn part(self, channel: usize, len: usize) -> Self {
        let part = |values: &'a [f32]| super::rows::part(values, channel, len);
        Self { gamma: self.gamma.map(part), beta: self.beta.map(part) }
    }

    /// γ and β of one channel.
    #[inline(always)]
    pub(crate) fn of(&self, channel: usize) -> (f32, f32) {
        let pick = |values: Option<&[f32]>, missing| match values {
            Some(values) => crate::io::get(values, channel),
            None => missing,
        };
        (pick(self.gamma, 1.0), pick(self.beta, 0.0))
    }

    /// γ and β of sixteen channels from `channel` on; behind the last, the first comes again.
    #[inline(always)]
    pub(crate) fn lanes<S: Simd>(&self, simd: S, channel: usize) -> (f32x16<S>, f32x16<S>) {
        (lanes_or(simd, self.gamma, channel, 1.0), lanes_or(simd, self.beta, channel, 0.0))
    }
}

/// Sixteen values, or another for all of them.
#[inline(always)]
pub(crate) fn lanes_or<S: Simd>(
    simd: S,
    values: Option<&[f32]>,
    place: usize,
    missing: f32,
) -> f32x16<S> {
    match values {
        Some(values) => cyclic_lanes(simd, values, place),
        None => f32x16::filled(simd, missing),
    }
}

/// Sixteen values from a place on; behind the last, the first comes again.
#[inline(always)]
fn cyclic_lanes<S: Simd>(simd: S, values: &[f32], place: usize) -> f32x16<S> {
    if place + LANES <= values.len() {
        return load_lanes(simd, values, place);
    }
    let mut lanes = [0.0; LANES];
    let cycle = values.iter().cycle().skip(place.checked_rem(values.len()).unwrap_or(0));
    for (lane, value) in lanes.iter_mut().zip(cycle) {
        *lane = *value;
    }
    f32x16::from_array(simd, lanes)
}
