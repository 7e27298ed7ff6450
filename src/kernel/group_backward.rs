//! Backward of groups of channels, of one sample each.
//!
//! Every channel of a sample is a reduction of its own, whatever the layout. Its sums Σ dy and Σ dy·x̃
//! go two ways: over the samples they become dβ and dγ; with γ they merge with those of the other
//! channels of their group and become the constants of dx. So one pass over the data is enough,
//! where all channels of a group fit into a band: their sums over the samples are kept while the
//! samples are gone through. Wider groups are passed over once more for dγ and dβ.

use super::backward::{ParameterGradients, Pass, StripGradient, tile_sums, write_band, write_tile};
use super::block::{add, each};
use super::columns::{Band, STRIPS};
use super::gradient::{Channel, Gradients, Mode};
use super::groups::{CHANNELS, channels_together, merge_neighbours};
use super::lanes::{LANES, Lanes as _, One, Sixteen, Unit as _, Wide, first_lanes};
use super::reduce::{Found, reduce_band};
use super::rows::{BLOCK, Segments};
use super::sets::{Tile, lanes_or};
use super::small;
use super::statistic::gradient::GradientSums;
use super::tree::{FEW_BLOCKS, FEW_LEVELS, LEVELS, Tree};
use crate::Statistics;
use crate::backend::Target;
use crate::io::get;
use crate::layout::Samples;
use fearless_simd::{Simd, SimdMask as _, f32x16, mask32x16};

/// What is known of groups before backward.
#[derive(Clone, Copy)]
pub(crate) struct KnownGroups<'a> {
    /// One value a group, those of a sample together.
    pub(crate) statistics: Statistics<'a>,
    pub(crate) gamma: Option<&'a [f32]>,
}

/// The sums of one channel of a sample, or of several: Σ dy, Σ dy·x̃ and Σ x̃.
pub(crate) type Sums = [f64; 3];

/// What the channels of a band in one sample came to.
type BandSums<S> = [Found<Sixteen<S>, 3, 3>; STRIPS];

/// What is known of the channels of a strip in one sample.
type Lanes<S> = Channel<f32x16<S>>;

impl KnownGroups<'_> {
    /// What is known of one channel of a sample.
    pub(crate) fn channel(&self, samples: &Samples, sample: usize, channel: usize) -> Channel<f32> {
        let group = samples.group(sample, channel);
        let Statistics { mean, rstd } = self.statistics;
        let gamma = self.gamma.map_or(1.0, |gamma| get(gamma, channel));
        Channel { mean: get(mean, group), rstd: get(rstd, group), gamma }
    }

    /// What is known of every strip of a band of channels.
    #[inline(always)]
    fn strips<S: Simd>(
        &self,
        simd: S,
        samples: &Samples,
        (sample, channel, count): (usize, usize, usize),
    ) -> [Lanes<S>; STRIPS] {
        let zero = f32x16::filled(simd, 0.0);
        let mut strips = [Channel { mean: zero, rstd: zero, gamma: zero }; STRIPS];
        let starts = (channel..channel + count).step_by(LANES);
        // Counted, since a division for each channel takes longer than all else that is done here.
        let group_channels = samples.group_channels;
        let mut group = samples.group(sample, channel);
        let mut left = group_channels - channel.checked_rem(group_channels).unwrap_or(0);
        for (strip, first) in strips.iter_mut().zip(starts) {
            let (mut mean, mut rstd) = ([0.0; LANES], [0.0; LANES]);
            for (mean, rstd) in mean.iter_mut().zip(&mut rstd).take(channel + count - first) {
                *mean = get(self.statistics.mean, group);
                *rstd = get(self.statistics.rstd, group);
                left -= 1;
                if left == 0 {
                    (group, left) = (group + 1, group_channels);
                }
            }
            let (mean, rstd) = (f32x16::from_array(simd, mean), f32x16::from_array(simd, rstd));
            *strip = Channel { mean, rstd, gamma: lanes_or(simd, self.gamma, first, 1.0) };
        }
        strips
    }
}

/// Some neighbouring channels of one sample, at most a band of them.
#[derive(Clone, Copy)]
struct Run {
    samples: Samples,
    sample: usize,
    channel: usize,
    count: usize,
}

impl Run {
    /// The channels of one strip as planes.
    #[inline(always)]
    fn tile(&self, strip: usize) -> Tile {
        let Samples { rows, .. } = self.samples;
        let channel = self.channel + strip * LANES;
        Tile {
            number: 0,
            count: self.lanes(strip),
            first: Segments::one(self.samples.plane(self.sample, channel), rows),
            step: rows,
        }
    }

    /// The number of channels of a strip.
    #[inline(always)]
    fn lanes(&self, strip: usize) -> usize {
        self.count.saturating_sub(strip * LANES).min(LANES)
    }

    #[inline(always)]
    fn band(&self) -> Band {
        self.samples.matrix(self.sample).from(self.channel, self.count)
    }

    /// The same channels, a band at a time.
    #[inline(always)]
    fn bands(self) -> impl Iterator<Item = Self> {
        (0..self.count).step_by(CHANNELS).map(move |i| {
            let count = CHANNELS.min(self.count - i);
            Self { channel: self.channel + i, count, ..self }
        })
    }

    /// Which strips there are.
    #[inline(always)]
    fn strips(&self) -> core::ops::Range<usize> {
        0..self.count.div_ceil(LANES)
    }

    /// The sums of every channel.
    #[inline(always)]
    fn sums<S: Simd>(
        &self,
        simd: S,
        inputs: [&[f32]; 2],
        strips: &[Lanes<S>; STRIPS],
    ) -> BandSums<S> {
        let zero = f32x16::filled(simd, 0.0);
        if self.samples.planes {
            let mut found = [Found::nothing(simd); STRIPS];
            for ((found, lanes), i) in found.iter_mut().zip(strips).zip(self.strips()) {
                *found = tile_sums(simd, &self.tile(i), inputs, (lanes.mean, lanes.rstd));
            }
            found
        } else {
            let mut statistics = [GradientSums { mean: zero, rstd: zero }; STRIPS];
            for (statistic, lanes) in statistics.iter_mut().zip(strips) {
                *statistic = GradientSums { mean: lanes.mean, rstd: lanes.rstd };
            }
            reduce_band(simd, &statistics, self.band(), inputs)
        }
    }

    /// Writes dx.
    #[inline(always)]
    fn write<S: Simd>(
        &self,
        simd: S,
        pass: &mut Pass<'_>,
        strips: &[Lanes<S>; STRIPS],
        totals: &Totals,
    ) {
        if self.samples.planes {
            for (lanes, i) in strips.iter().zip(self.strips()) {
                let strip = self.gradient(simd, (i, *lanes), totals);
                write_tile(simd, pass, (Mode::Weighted, None), &self.tile(i), &strip);
            }
        } else {
            let [first, ..] = strips;
            let mut gradients = [StripGradient::nothing(simd, *first); STRIPS];
            for ((slot, lanes), i) in gradients.iter_mut().zip(strips).zip(self.strips()) {
                *slot = self.gradient(simd, (i, *lanes), totals);
            }
            write_band(simd, pass, Mode::Weighted, self.band(), &gradients);
        }
    }

    /// What dx of a strip is made of.
    #[inline(always)]
    fn gradient<S: Simd>(
        &self,
        simd: S,
        (strip, lanes): (usize, Lanes<S>),
        totals: &Totals,
    ) -> StripGradient<S> {
        let count = self.samples.group_channels.wrapping_mul(self.samples.rows);
        let found = totals.found(simd, (strip, self.lanes(strip)), count);
        StripGradient { gradients: Gradients::new(Mode::Weighted, &found, lanes), channel: lanes }
    }
}

/// For every channel of a band the sums of its group, with γ, and whether one of its channels was
/// rescued.
struct Totals {
    sums: [Sums; CHANNELS],
    /// A bit a channel.
    rescued: u64,
}

impl Totals {
    /// Those of each channel of a run alone.
    #[inline(always)]
    fn of_channels<S: Simd>(run: &Run, found: &BandSums<S>, strips: &[Lanes<S>; STRIPS]) -> Self {
        let mut all = Self { sums: [[0.0; 3]; CHANNELS], rescued: 0 };
        let slots = all.sums.as_chunks_mut::<LANES>().0.iter_mut();
        let strips = found.iter().zip(strips).zip(run.strips());
        for (slots, ((found, lanes), i)) in slots.zip(strips) {
            let [dy, dy_x, x] = found.totals;
            let gamma = Sixteen::widen(lanes.gamma);
            let (dy, dy_x, x) = ((dy * gamma).values(), (dy_x * gamma).values(), x.values());
            for (slot, ((dy, dy_x), x)) in slots.iter_mut().zip(dy.into_iter().zip(dy_x).zip(x)) {
                *slot = [dy, dy_x, x];
            }
            all.rescued |= found.rescued.to_bitmask() << (i * LANES);
        }
        all
    }

    /// The sums of `channels` neighbours from `first` on, and whether one was rescued.
    #[inline(always)]
    fn merged(&mut self, first: usize, channels: usize) -> (Sums, bool) {
        let behind = CHANNELS.wrapping_sub(channels);
        let rescued = (self.rescued >> first) << behind != 0;
        let items = self.sums.get_mut(first..).unwrap_or(&mut []);
        let (_, sums) = merge_neighbours::<GradientSums<One>, 2, 3, 3>(items, channels, 1);
        (sums, rescued)
    }

    /// Gives `channels` neighbours from `first` on what their group came to.
    #[inline(always)]
    fn spread(&mut self, first: usize, channels: usize, (sums, rescued): (Sums, bool)) {
        for slot in self.sums.iter_mut().skip(first).take(channels) {
            *slot = sums;
        }
        let these = (u64::MAX >> CHANNELS.wrapping_sub(channels)) << first;
        self.rescued = if rescued { self.rescued | these } else { self.rescued & !these };
    }

    /// Gives all channels what their group came to.
    #[inline(always)]
    fn group(&mut self, count: usize, group_channels: usize) {
        if group_channels == 1 {
            return;
        }
        for first in (0..count).step_by(group_channels.max(1)) {
            let group = self.merged(first, group_channels);
            self.spread(first, group_channels, group);
        }
    }

    /// As reductions of `count` elements, a strip of them of which `live` are there.
    #[inline(always)]
    fn found<S: Simd>(
        &self,
        simd: S,
        (strip, live): (usize, usize),
        count: usize,
    ) -> Found<Sixteen<S>, 3, 3> {
        let mut lanes = [[0.0; LANES]; 3];
        let sums = self.sums.iter().skip(strip * LANES).take(LANES);
        let [dy, dy_x, x] = &mut lanes;
        let slots = dy.iter_mut().zip(dy_x).zip(x);
        for (((dy, dy_x), x), sums) in slots.zip(sums) {
            [*dy, *dy_x, *x] = *sums;
        }
        let totals = each(
            lanes,
            Wide::filled(simd, 0.0),
            #[inline(always)]
            |values| Wide::from_array(simd, values),
        );
        let rescued = self.rescued >> (strip * LANES) & 0xFFFF;
        Found {
            count,
            block: None,
            totals,
            rescued: mask32x16::from_bitmask(simd, rescued),
            live: first_lanes(simd, live),
        }
    }
}

/// How many channels are taken together: whole groups, as many as a band holds. Of planes only so
/// many that what is passed over twice stays in the first-level cache.
const fn together(samples: &Samples) -> usize {
    const CACHED: usize = 6 * BLOCK;
    let Samples { rows, group_channels, planes, .. } = *samples;
    let most = channels_together(group_channels);
    let group = group_channels.wrapping_mul(rows);
    match CACHED.checked_div(group) {
        Some(groups) if planes => {
            let few = if groups > 1 { groups.wrapping_mul(group_channels) } else { group_channels };
            if few < most { few } else { most }
        }
        _ => most,
    }
}

/// Backward of groups. `record` is told dγ and dβ if they are `wanted`.
#[inline(always)]
pub(crate) fn run<S: Target>(
    simd: S,
    samples: Samples,
    mut pass: Pass<'_>,
    known: KnownGroups<'_>,
    (wanted, mut record): (bool, impl FnMut(&ParameterGradients)),
) {
    if S::SCALAR {
        return small::backward_groups(simd, samples, pass, known, (wanted, record));
    }
    // Never 0; `step_by` would panic.
    let channels_together = together(&samples).max(1);
    for channel in (0..samples.channels).step_by(channels_together) {
        let count = channels_together.min(samples.channels - channel);
        let run = Run { samples, sample: 0, channel, count };
        if count <= CHANNELS {
            over_samples(simd, run, &mut pass, known, &mut record);
            continue;
        }
        write_wide_group(simd, run, &mut pass, known);
        for band in run.bands().filter(|_| wanted) {
            let Pass { dy, x, .. } = pass;
            over_samples(simd, band, &mut Pass { dy, x, dx: None }, known, &mut record);
        }
    }
}

/// Goes through the samples with channels of whole groups, and hands out dγ and dβ.
#[inline(always)]
fn over_samples<S: Simd>(
    simd: S,
    run: Run,
    pass: &mut Pass<'_>,
    known: KnownGroups<'_>,
    record: &mut impl FnMut(&ParameterGradients),
) {
    let sums = if run.samples.batch <= FEW_BLOCKS {
        sum_samples::<S, FEW_LEVELS>(simd, run, pass, known)
    } else {
        sum_samples::<S, LEVELS>(simd, run, pass, known)
    };
    for (sums, i) in sums.iter().zip(run.strips()) {
        record(&ParameterGradients::of_totals((run.channel + i * LANES, run.lanes(i)), *sums));
    }
}

/// Writes dx sample by sample, and adds up Σ dy and Σ dy·x̃ of each channel.
#[inline(never)]
fn sum_samples<S: Simd, const DEPTH: usize>(
    simd: S,
    run: Run,
    pass: &mut Pass<'_>,
    known: KnownGroups<'_>,
) -> [[Wide<S>; 2]; STRIPS] {
    simd.vectorize(
        #[inline(always)]
        || {
            let nothing = [Wide::filled(simd, 0.0); 2];
            let mut trees = [Tree::<[Wide<S>; 2], DEPTH>::new(nothing); STRIPS];
            for sample in 0..run.samples.batch {
                let run = Run { sample, ..run };
                let strips = known.strips(simd, &run.samples, (sample, run.channel, run.count));
                let found = run.sums(simd, [pass.dy, pass.x], &strips);
                if pass.dx.is_some() {
                    let mut totals = Totals::of_channels(&run, &found, &strips);
                    totals.group(run.count, run.samples.group_channels);
                    run.write(simd, pass, &strips, &totals);
                }
                for ((tree, found), _) in trees.iter_mut().zip(&found).zip(run.strips()) {
                    let [dy, dy_x, _] = found.totals;
                    tree.push(
                        [dy, dy_x],
                        #[inline(always)]
                        |[a, b], [c, d]| [a + c, b + d],
                    );
                }
            }
            let mut sums = [nothing; STRIPS];
            for (sum, tree) in sums.iter_mut().zip(&trees) {
                let total = tree.finish(
                    #[inline(always)]
                    |[a, b], [c, d]| [a + c, b + d],
                );
                *sum = total.unwrap_or(nothing);
            }
            sums
        },
    )
}

/// Writes dx of a group that is wider than a band.
#[inline(never)]
fn write_wide_group<S: Simd>(simd: S, run: Run, pass: &mut Pass<'_>, known: KnownGroups<'_>) {
    if pass.dx.is_none() {
        return;
    }
    simd.vectorize(
        #[inline(always)]
        || {
            for sample in 0..run.samples.batch {
                let run = Run { sample, ..run };
                let mut tree = Tree::<Sums, LEVELS>::new([0.0; 3]);
                let mut rescued = false;
                for band in run.bands() {
                    let strips =
                        known.strips(simd, &run.samples, (sample, band.channel, band.count));
                    let found = band.sums(simd, [pass.dy, pass.x], &strips);
                    let mut totals = Totals::of_channels(&band, &found, &strips);
                    let (sums, any) = totals.merged(0, band.count);
                    tree.push(sums, add);
                    rescued |= any;
                }
                let group = (tree.finish(add).unwrap_or([0.0; 3]), rescued);
                for band in run.bands() {
                    let strips =
                        known.strips(simd, &run.samples, (sample, band.channel, band.count));
                    let mut totals = Totals { sums: [[0.0; 3]; CHANNELS], rescued: 0 };
                    totals.spread(0, band.count, group);
                    band.write(simd, pass, &strips, &totals);
                }
            }
        },
    );
}
