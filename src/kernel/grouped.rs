//! Normalization with one mean and one deviation a group of channels and sample.

use super::apply::{StripApply, Tensor, apply_band, apply_elements, apply_planes};
use super::columns::{Band, STRIPS};
use super::finish::{CentredStrip, Constants};
use super::lanes::LANES;
use super::moments::{Stats, reduce_rows};
use super::rows::Segments;
use super::strip::reduce_band;
use super::tree::{LEVELS, Tree};
use crate::{Affine, Layout, Moments};
use fearless_simd::Simd;

/// Reduces every group of every sample and normalizes it. `record` is told the number of the group
/// (sample · groups + group), its mean and its rstd.
#[inline(always)]
pub(crate) fn normalize<S: Simd>(
    simd: S,
    layout: Layout,
    group_channels: usize,
    mut tensor: Tensor<'_>,
    affine: Affine<'_>,
    eps: f64,
    record: impl FnMut(usize, f32, f32),
) {
    if layout.has_contiguous_groups() {
        normalize_rows(simd, layout, group_channels, &mut tensor, affine, eps, record);
    } else {
        normalize_columns(simd, layout, group_channels, &mut tensor, affine, eps, record);
    }
}

/// Groups that are contiguous.
#[inline(always)]
fn normalize_rows<S: Simd>(
    simd: S,
    layout: Layout,
    group_channels: usize,
    tensor: &mut Tensor<'_>,
    affine: Affine<'_>,
    eps: f64,
    mut record: impl FnMut(usize, f32, f32),
) {
    let (channels, spatial) = (layout.channels(), layout.spatial());
    let len = group_channels * spatial;
    let (mut start, mut channel) = (0, 0);
    for group in 0..layout.len().checked_div(len).unwrap_or(0) {
        let stats = reduce_rows(simd, tensor.input(), Segments::one(start, len), &mut []);
        let constants = stats.constants(eps);
        record(group, stats.mean(), constants.saved_rstd());
        if spatial == 1 {
            apply_elements(simd, tensor, (start, len), constants, affine, channel);
        } else {
            for i in 0..group_channels {
                let plane = Segments::one(start + i * spatial, spatial);
                apply_planes(simd, tensor, plane, constants, affine.of(channel + i));
            }
        }
        start += len;
        channel = if channel + group_channels < channels { channel + group_channels } else { 0 };
    }
}

/// Groups whose channels are interleaved with others. As many whole groups as fit into a band are
/// taken together, so that lanes are not wasted on small groups; a group that is wider than a band
/// takes several.
#[inline(always)]
fn normalize_columns<S: Simd>(
    simd: S,
    layout: Layout,
    group_channels: usize,
    tensor: &mut Tensor<'_>,
    affine: Affine<'_>,
    eps: f64,
    mut record: impl FnMut(usize, f32, f32),
) {
    let (channels, spatial) = (layout.channels(), layout.spatial());
    let together = (STRIPS * LANES).checked_div(group_channels).unwrap_or(1).clamp(1, MOST_GROUPS);
    let mut group = 0;
    for sample in 0..layout.batch() {
        let start = sample * spatial * channels;
        let sample = Band { start, stride: channels, rows: spatial, channels };
        let mut channel = 0;
        while channel < channels {
            let band = sample.from(channel, together * group_channels);
            let constants = reduce_groups(
                simd,
                tensor.input(),
                band,
                group_channels,
                #[inline(always)]
                |stats| {
                    let constants = stats.constants(eps);
                    record(group, stats.mean(), constants.saved_rstd());
                    group += 1;
                    constants
                },
            );
            apply_groups(simd, tensor, band, group_channels, &constants, affine.from(channel));
            channel += band.channels;
        }
    }
}

/// Groups that are taken together at most.
const MOST_GROUPS: usize = LANES;

/// Reduces the groups of a band: every channel as a column, then the channels of a group merge
/// along the tree. Gives what `finish` makes of each group.
#[inline(always)]
fn reduce_groups<S: Simd>(
    simd: S,
    x: &[f32],
    band: Band,
    group_channels: usize,
    mut finish: impl FnMut(Stats) -> Constants,
) -> [Constants; MOST_GROUPS] {
    let mut results = [Constants::NOTHING; MOST_GROUPS];
    let mut slots = results.iter_mut();
    let mut group = Group::new();
    for (_, band) in band.bands() {
        let strips = reduce_band(simd, x, band);
        for (stats, (_, strip)) in strips.iter().zip(band.strips()) {
            for stats in stats.lanes(simd).iter().take(strip.lanes) {
                group.push(stats);
                if group.channels == group_channels {
                    if let Some(slot) = slots.next() {
                        *slot = finish(group.stats());
                    }
                    group = Group::new();
                }
            }
        }
    }
    results
}

/// The channels of a group that were reduced so far.
struct Group {
    /// The first channel, which is all of a group of one.
    first: Stats,
    channels: usize,
    tree: Tree<Moments, LEVELS>,
    rescued: bool,
}

impl Group {
    #[inline(always)]
    const fn new() -> Self {
        let tree = Tree::new(Moments::new());
        Self { first: Stats::NOTHING, channels: 0, tree, rescued: false }
    }

    #[inline(always)]
    fn push(&mut self, channel: &Stats) {
        if self.channels == 0 {
            self.first = *channel;
        }
        self.channels += 1;
        self.rescued |= channel.is_wide();
        self.tree.push(channel.moments(), Moments::merged);
    }

    #[inline(always)]
    fn stats(&self) -> Stats {
        if self.channels == 1 {
            return self.first;
        }
        let moments = self.tree.finish(Moments::merged);
        moments.map_or(Stats::NOTHING, |moments| Stats::merged(moments, self.rescued))
    }
}

/// Applies the constants of the groups of a band.
#[inline(always)]
fn apply_groups<S: Simd>(
    simd: S,
    tensor: &mut Tensor<'_>,
    band: Band,
    group_channels: usize,
    constants: &[Constants; MOST_GROUPS],
    affine: Affine<'_>,
) {
    // The group of each channel in turn.
    let mut groups = constants.iter().flat_map(|group| core::iter::repeat_n(group, group_channels));
    for (first, band) in band.bands() {
        let mut apply = StripApply::nothing(simd);
        for (apply, (channel, strip)) in apply.iter_mut().zip(band.strips()) {
            let channel = first + channel;
            let mut lanes = [Constants::NOTHING.without_gamma(); LANES];
            for (i, lane) in lanes.iter_mut().enumerate().take(strip.lanes) {
                let group = groups.next().unwrap_or(&Constants::NOTHING);
                *lane = group.with_gamma(affine.of(channel + i).0);
            }
            let centred = CentredStrip::from_lanes(simd, &lanes);
            *apply = StripApply::new(centred, affine.lanes(simd, channel));
        }
        apply_band(simd, tensor, band, &apply);
    }
}
