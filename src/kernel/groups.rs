//! Groups of channels that are interleaved with others. Where the channels of a group are whole vectors,
//! the group is its rows, piece by piece ([`pieces`](super::pieces)); where they are not, every channel is
//! a column, and the channels of a group merge.

use super::apply::{CentredStrip, apply_strips};
use super::columns::{ALL_STRIPS, BLOCK_ROWS, Band, MANY_STRIPS, MOST_STRIPS, STRIPS};
use super::constants::{Constants, is_wide};
use super::lanes::{LANES, Lanes as _, One, Real as _, Sixteen, narrow};
use super::map::Tensor;
use super::normalize::{Options, Summary, columns, rows};
use super::pieces::reduce_pieces;
use super::reduce::{Found, merged, reduce_band};
use super::rows::Segments;
use super::sets::Reductions;
use super::small;
use super::statistic::Statistic;
use super::statistic::moments::MeanAndSquares;
use super::tree::{LEVELS, Tree};
use crate::Affine;
use crate::backend::Target;
use crate::layout::Samples;
use crate::moments::Weights;
use fearless_simd::{Simd, SimdMask as _};

/// Channels of a band.
pub(crate) const CHANNELS: usize = STRIPS * LANES;

/// The totals of a group, or of a part of one: the number of values, mean and M2.
pub(crate) type Totals = (usize, [f64; 2]);

/// Those of nothing.
pub(crate) const NO_TOTALS: Totals = (0, [0.0; 2]);

/// As many channels as are whole groups within so many; one group if it is wider.
const fn whole_groups(room: usize, group_channels: usize) -> usize {
    match room.checked_div(group_channels) {
        Some(0) | None => group_channels,
        Some(fit) => fit.wrapping_mul(group_channels),
    }
}

/// Channels that are reduced together: whole groups, as many as fit into a band. A group that is wider
/// than a band is alone.
pub(crate) const fn channels_together(group_channels: usize) -> usize {
    whole_groups(CHANNELS, group_channels)
}

/// Channels of a run, which are written together: whole groups of one sample, as many as a wide band
/// holds, and more if they are short. A group that is wider than a band is alone.
const fn channels_of_run(group_channels: usize, rows: usize) -> usize {
    let room = if is_whole_strips(group_channels) {
        let most = if rows <= BLOCK_ROWS { ALL_STRIPS } else { MANY_STRIPS };
        // A lane a group.
        let lanes = group_channels.saturating_mul(LANES);
        if lanes < most * LANES { lanes } else { most * LANES }
    } else if group_channels <= CHANNELS {
        MANY_STRIPS * LANES
    } else {
        group_channels
    };
    whole_groups(room, group_channels)
}

/// Whether a row of a group is whole vectors.
pub(crate) const fn is_whole_strips(group_channels: usize) -> bool {
    group_channels.is_multiple_of(LANES)
}

/// Sixteen groups, a lane each, are a set: so many are in a run at most, of two channels each. (One
/// channel is no group here, see [`normalize`].)
const SETS: usize = MANY_STRIPS / 2;

/// The totals of the channels of a band.
struct Channels {
    count: usize,
    /// Mean and M2.
    totals: [[f64; 2]; CHANNELS],
    /// A bit a channel.
    wide: u64,
}

impl Channels {
    #[inline(always)]
    fn of<S: Simd>(simd: S, band: Band, x: &[f32]) -> Self {
        let strips = reduce_band(simd, &[MeanAndSquares; STRIPS], band, [x]);
        let mut channels = Self { count: band.rows, totals: [[0.0; 2]; CHANNELS], wide: 0 };
        let slots = channels.totals.as_chunks_mut::<LANES>().0.iter_mut();
        for (i, (slots, found)) in slots.zip(&strips).enumerate() {
            let [mean, m2] = found.totals;
            for (slot, (mean, m2)) in
                slots.iter_mut().zip(mean.values().into_iter().zip(m2.values()))
            {
                *slot = [mean, m2];
            }
            channels.wide |= is_wide(found).to_bitmask() << (i * LANES);
        }
        channels
    }

    /// Whether one of some channels is wide.
    #[inline(always)]
    const fn any_wide(&self, first: usize, count: usize) -> bool {
        let behind = CHANNELS.wrapping_sub(count);
        (self.wide >> first) << behind != 0
    }

    /// The totals of some neighbours, merged along the tree.
    #[inline(always)]
    fn merged(&mut self, first: usize, count: usize) -> Totals {
        let items = self.totals.get_mut(first..).unwrap_or(&mut []);
        merge_neighbours::<MeanAndSquares, 1, 4, 2>(items, count, self.count)
    }
}

/// The totals of the first `count` items, of `unit` elements each, merged along the tree. All are of
/// equal size, so it is gone up level by level, and the weights are computed once a level. An odd
/// one out waits, for those before it that are merged later.
#[inline(always)]
pub(crate) fn merge_neighbours<
    T: Statistic<One, INPUTS, PARTS, TOTALS>,
    const INPUTS: usize,
    const PARTS: usize,
    const TOTALS: usize,
>(
    items: &mut [[f64; TOTALS]],
    mut count: usize,
    mut unit: usize,
) -> (usize, [f64; TOTALS]) {
    let merge = merged::<One, T, INPUTS, PARTS, TOTALS>;
    let at = |items: &[[f64; TOTALS]], i: usize| items.get(i).copied().unwrap_or([0.0; TOTALS]);
    let mut waiting = None;
    while count > 1 {
        if count % 2 == 1 {
            count -= 1;
            let odd = (unit, at(items, count));
            waiting = Some(match waiting {
                Some(later) => merge(odd, later),
                None => odd,
            });
        }
        let weights = Weights::of_counts(unit, unit);
        count /= 2;
        for i in 0..count {
            let (a, b) = (at(items, 2 * i), at(items, 2 * i + 1));
            if let Some(item) = items.get_mut(i) {
                *item = T::merged(weights, a, b);
            }
        }
        unit *= 2;
    }
    let first = (unit, at(items, 0));
    match waiting {
        Some(later) => merge(first, later),
        None => first,
    }
}

/// Two neighbours in one.
#[inline(always)]
pub(crate) fn merge(a: Totals, b: Totals) -> Totals {
    merged::<One, MeanAndSquares, 1, 4, 2>(a, b)
}

/// Reduces the groups of a run channel by channel.
#[inline(always)]
fn reduce_columns<S: Simd>(
    simd: S,
    run: Band,
    group_channels: usize,
    x: &[f32],
) -> [[Found<One, 4, 2>; LANES]; SETS] {
    let mut sets = [[Found::NOTHING; LANES]; SETS];
    let groups = sets.as_flattened_mut();
    if group_channels <= CHANNELS {
        // Never 0; `step_by` would panic.
        let together = channels_together(group_channels).max(1);
        let mut groups = groups.iter_mut();
        for first in (0..run.channels).step_by(together) {
            let part = run.from(first, together);
            let mut channels = Channels::of(simd, part, x);
            let firsts = (0..part.channels).step_by(group_channels.max(1));
            for (first, group) in firsts.zip(&mut groups) {
                let wide = channels.any_wide(first, group_channels);
                *group = Found::merged(channels.merged(first, group_channels), wide);
            }
        }
    } else {
        let mut tree = Tree::<Totals, LEVELS>::new(NO_TOTALS);
        let mut wide = false;
        for (_, band) in run.bands(STRIPS) {
            let mut channels = Channels::of(simd, band, x);
            wide |= channels.any_wide(0, band.channels);
            tree.push(channels.merged(0, band.channels), merge);
        }
        if let Some(only) = groups.first_mut() {
            *only = Found::merged(tree.finish(merge).unwrap_or(NO_TOTALS), wide);
        }
    }
    sets
}

/// Normalizes groups that are interleaved by their own statistics.
#[inline(always)]
pub(crate) fn normalize<S: Target>(
    simd: S,
    samples: Samples,
    mut tensor: Tensor<'_>,
    options: Options<'_>,
    mut record: impl FnMut(&Summary),
) {
    if S::SCALAR {
        return small::groups(simd, samples, &mut tensor, options, &mut record);
    }
    for (number, sample) in samples.matrices() {
        if samples.group_channels == 1 {
            columns(simd, (number, sample), &mut tensor, options, &mut record);
        } else {
            let sample = (number, sample);
            normalize_sample(
                simd,
                sample,
                samples.group_channels,
                &mut tensor,
                options,
                &mut record,
            );
        }
    }
}

/// Normalizes every channel of every sample, some channels after the others, and then tells the mean
/// of their statistics over the samples: the number of the first channel, means and variances.
#[inline(always)]
pub(crate) fn by_channel<S: Target>(
    simd: S,
    samples: Samples,
    mut tensor: Tensor<'_>,
    options: Options<'_>,
    (mut record, mut average): (impl FnMut(&Summary), impl FnMut(usize, &[f32], &[f32])),
) {
    let told = (&mut record, &mut average);
    if S::SCALAR {
        some_by_channel::<S, 1>(simd, samples, &mut tensor, options, told);
    } else {
        some_by_channel::<S, CHANNELS>(simd, samples, &mut tensor, options, told);
    }
}

/// [`by_channel`], `MOST` channels at a time.
#[inline(always)]
fn some_by_channel<S: Target, const MOST: usize>(
    simd: S,
    samples: Samples,
    tensor: &mut Tensor<'_>,
    options: Options<'_>,
    (record, average): (&mut impl FnMut(&Summary), &mut impl FnMut(usize, &[f32], &[f32])),
) {
    let Samples { batch, rows: len, channels, .. } = samples;
    for channel in (0..channels).step_by(MOST) {
        let count = MOST.min(channels - channel);
        let options = Options { affine: options.affine.part(channel, count), ..options };
        let (mut mean, mut var) = ([0.0_f64; MOST], [0.0_f64; MOST]);
        for sample in 0..batch {
            let mut record = |summary: &Summary| {
                add_each(&mut mean, summary.number, summary.mean());
                add_each(&mut var, summary.number, summary.variance());
                record(&summary.moved(sample * channels + channel));
            };
            if samples.planes {
                let start = samples.plane(sample, channel);
                let planes = Reductions {
                    first: Segments::one(start, len),
                    ..Reductions::planes(1, count, len)
                };
                let all = tensor.input().len();
                rows(simd, planes, tensor.piece(0, all), options, record);
            } else {
                let matrix = samples.matrix(sample).from(channel, count);
                columns(simd, (0, matrix), tensor, options, &mut record);
            }
        }
        let (mean, var) = (averages(mean, batch), averages(var, batch));
        average(channel, mean.get(..count).unwrap_or(&mean), var.get(..count).unwrap_or(&var));
    }
}

/// Adds to the sums from `first` on.
#[inline(always)]
fn add_each(sums: &mut [f64], first: usize, values: &[f32]) {
    for (sum, value) in sums.iter_mut().skip(first).zip(values) {
        *sum += f64::from(*value);
    }
}

/// Sums of `count` values each as their means.
#[inline(always)]
fn averages<const N: usize>(sums: [f64; N], count: usize) -> [f32; N] {
    let mut means = [0.0; N];
    for (mean, sum) in means.iter_mut().zip(sums) {
        *mean = narrow(sum / f64::count(count));
    }
    means
}

/// [`normalize`] for one sample.
#[inline(always)]
fn normalize_sample<S: Simd>(
    simd: S,
    (number, sample): (usize, Band),
    group_channels: usize,
    tensor: &mut Tensor<'_>,
    options: Options<'_>,
    record: &mut impl FnMut(&Summary),
) {
    // Never 0; `step_by` would panic.
    let together = channels_of_run(group_channels, sample.rows).max(1);
    let groups_in = |channels: usize| channels.checked_div(group_channels).unwrap_or(0);
    for channel in (0..sample.channels).step_by(together) {
        let run = sample.from(channel, together);
        let (number, count) = (number + groups_in(channel), groups_in(run.channels));
        let mut constants_of = |first: usize, found: &Found<Sixteen<S>, 4, 2>| {
            let constants = Constants::new(found, options.eps);
            let numbers = (number + first, LANES.min(count - first));
            record(&Summary::new(numbers, found, &constants, options.ddof));
            constants
        };
        let affine = options.affine.part(channel, run.channels);
        if is_whole_strips(group_channels) {
            let found = reduce_pieces(simd, run, group_channels, tensor.input());
            let sets = [constants_of(0, &found)];
            apply_run(simd, tensor, (run, group_channels), &sets, affine);
        } else {
            let groups = reduce_columns(simd, run, group_channels, tensor.input());
            let mut sets = [Constants::nothing(simd); SETS];
            for (i, (slot, groups)) in sets.iter_mut().zip(&groups).enumerate() {
                let first = i * LANES;
                if first < count {
                    let groups = groups.get(..LANES.min(count - first)).unwrap_or(groups);
                    *slot = constants_of(first, &Found::side_by_side(simd, groups));
                }
            }
            apply_run(simd, tensor, (run, group_channels), &sets, affine);
        }
    }
}

/// Applies the constants of the groups of a run, of which sixteen are a set.
#[inline(always)]
fn apply_run<S: Simd>(
    simd: S,
    tensor: &mut Tensor<'_>,
    (run, group_channels): (Band, usize),
    sets: &[Constants<Sixteen<S>>],
    affine: Affine<'_>,
) {
    if run.channels <= MANY_STRIPS * LANES {
        apply_bands::<S, MANY_STRIPS>(simd, tensor, (run, group_channels), sets, affine);
    } else {
        apply_bands::<S, MOST_STRIPS>(simd, tensor, (run, group_channels), sets, affine);
    }
}

/// [`apply_run`], so many strips at a time.
#[inline(always)]
fn apply_bands<S: Simd, const STRIPS: usize>(
    simd: S,
    tensor: &mut Tensor<'_>,
    (run, group_channels): (Band, usize),
    sets: &[Constants<Sixteen<S>>],
    affine: Affine<'_>,
) {
    let group_of = |channel: usize| channel.checked_div(group_channels).unwrap_or(0);
    for (first, band) in run.bands(STRIPS) {
        apply_strips::<S, STRIPS>(
            simd,
            tensor,
            band,
            #[inline(always)]
            |i| {
                let first = first + i * LANES;
                // The channels of a set are whole strips.
                let set = group_of(first) / LANES;
                let nothing = Constants::nothing(simd);
                let constants = sets.get(set).unwrap_or(&nothing);
                let lane_of = |lane| group_of(first + lane) - set * LANES;
                let constants = constants.gathered(simd, lane_of);
                CentredStrip::new(constants, affine.lanes(simd, first))
            },
        );
    }
}
