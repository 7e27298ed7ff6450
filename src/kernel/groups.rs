//! Groups of channels that are interleaved with others: every channel is a column, and the channels
//! of a group merge.

use super::columns::{Band, STRIPS};
use super::constants::{Constants, is_wide};
use super::lanes::{LANES, Lanes as _, One, Sixteen, Wide};
use super::map::Tensor;
use super::normalize::{CentredStrip, Options, Summary, apply_band, columns};
use super::reduce::{Found, merged, reduce_band};
use super::small;
use super::statistic::Statistic;
use super::statistic::moments::MeanAndSquares;
use super::tree::{LEVELS, Tree};
use crate::backend::Target;
use crate::layout::Samples;
use crate::moments::Weights;
use fearless_simd::{Simd, SimdMask as _, mask32x16};

/// Channels of a band.
const CHANNELS: usize = STRIPS * LANES;

/// The totals of a group, or of a part of one: the number of values, mean and M2.
type Totals = (usize, [f64; 2]);

/// Groups of one sample that are taken together: as many as fit into a band, so that lanes are not
/// wasted on small groups. A group that is wider than a band takes several bands.
pub(crate) const fn groups_together(group_channels: usize) -> usize {
    match CHANNELS.checked_div(group_channels) {
        Some(0) | None => 1,
        Some(fit) if fit < LANES => fit,
        Some(_) => LANES,
    }
}

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

    /// The totals of some neighbours, merged along the tree. All are of equal size, so it is gone up
    /// level by level, and the weights are computed once a level. An odd one out waits, for those
    /// before it that are merged later.
    #[inline(always)]
    fn merged(&mut self, first: usize, mut count: usize) -> Totals {
        let items = self.totals.get_mut(first..).unwrap_or(&mut []);
        let at = |items: &[[f64; 2]], i: usize| items.get(i).copied().unwrap_or_default();
        let mut unit = self.count;
        let mut waiting: Option<Totals> = None;
        while count > 1 {
            if count % 2 == 1 {
                count -= 1;
                let odd = (unit, at(items, count));
                waiting = Some(waiting.map_or(odd, |later| merge(odd, later)));
            }
            let weights = Weights::of_counts(unit, unit);
            count /= 2;
            for i in 0..count {
                let (a, b) = (at(items, 2 * i), at(items, 2 * i + 1));
                if let Some(item) = items.get_mut(i) {
                    *item = <MeanAndSquares as Statistic<One, 1, 4, 2>>::merged(weights, a, b);
                }
            }
            unit *= 2;
        }
        let first = (unit, at(items, 0));
        waiting.map_or(first, |later| merge(first, later))
    }
}

#[inline(always)]
fn merge(a: Totals, b: Totals) -> Totals {
    merged::<One, MeanAndSquares, 1, 4, 2>(a, b)
}

/// The totals of up to sixteen groups.
struct Groups {
    count: usize,
    mean: [f64; LANES],
    m2: [f64; LANES],
    wide: u64,
    live: u64,
}

impl Groups {
    #[inline(always)]
    fn set(&mut self, lane: usize, (count, [mean, m2]): Totals, wide: bool) {
        self.count = count;
        if let (Some(mean_slot), Some(m2_slot)) = (self.mean.get_mut(lane), self.m2.get_mut(lane)) {
            (*mean_slot, *m2_slot) = (mean, m2);
        }
        self.wide |= u64::from(wide) << lane;
        self.live |= 1 << lane;
    }

    #[inline(always)]
    fn found<S: Simd>(&self, simd: S) -> Found<Sixteen<S>, 4, 2> {
        Found {
            count: self.count,
            block: None,
            totals: [Wide::from_array(simd, self.mean), Wide::from_array(simd, self.m2)],
            rescued: mask32x16::from_bitmask(simd, self.wide),
            live: mask32x16::from_bitmask(simd, self.live),
        }
    }
}

/// Reduces the groups of `run`, which are at most [`groups_together`], a lane each.
#[inline(always)]
pub(crate) fn reduce_groups<S: Simd>(
    simd: S,
    run: Band,
    group_channels: usize,
    x: &[f32],
) -> Found<Sixteen<S>, 4, 2> {
    let nothing = [0.0; LANES];
    let mut groups = Groups { count: 0, mean: nothing, m2: nothing, wide: 0, live: 0 };
    if group_channels <= CHANNELS {
        let mut channels = Channels::of(simd, run, x);
        for lane in 0..run.channels.checked_div(group_channels).unwrap_or(0) {
            let totals = channels.merged(lane * group_channels, group_channels);
            groups.set(lane, totals, channels.any_wide(lane * group_channels, group_channels));
        }
    } else {
        let mut tree = Tree::<Totals, LEVELS>::new((0, [0.0; 2]));
        let mut wide = false;
        for (_, band) in run.bands() {
            let mut channels = Channels::of(simd, band, x);
            wide |= channels.any_wide(0, band.channels);
            tree.push(channels.merged(0, band.channels), merge);
        }
        groups.set(0, tree.finish(merge).unwrap_or((0, [0.0; 2])), wide);
    }
    groups.found(simd)
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
    let channels_together = (groups_together(group_channels) * group_channels).max(1);
    for channel in (0..sample.channels).step_by(channels_together) {
        let run = sample.from(channel, channels_together);
        let found = reduce_groups(simd, run, group_channels, tensor.input());
        let constants = Constants::new(&found, options.eps);
        let group_of = |channel: usize| channel.checked_div(group_channels).unwrap_or(0);
        let groups = (number + group_of(channel), group_of(run.channels));
        record(&Summary::new(groups, &found, &constants, options.ddof));
        for (first, band) in run.bands() {
            let mut strips = [CentredStrip::nothing(simd); STRIPS];
            for (i, (slot, _)) in strips.iter_mut().zip(band.strips()).enumerate() {
                let first = first + i * LANES;
                let constants = constants.gathered(simd, |lane| group_of(first + lane));
                *slot = CentredStrip::new(constants, options.affine.lanes(simd, channel + first));
            }
            apply_band(simd, tensor, band, &strips);
        }
    }
}
