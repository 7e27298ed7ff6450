//! Section 10, second table: GroupNorm forward.

use std::ops::Range;

use evenkeel::Layout;

use super::batch_norm::{Affine, Constants, saved};
use super::moments::{Reduced, merge_all, reduce};
use super::reduction::{Reduction, along, column, place};

pub struct Forward {
    pub y: Vec<f32>,
    pub saved_mean: Vec<f32>,
    pub saved_rstd: Vec<f32>,
}

/// One group of one sample.
struct Group {
    sample: usize,
    first_channel: usize,
    channels: usize,
}

impl Group {
    fn reduced(&self, layout: &Layout, x: &[f32]) -> Reduced {
        if !layout.is_channels_last() || layout.spatial() == 1 || layout.channels() == 1 {
            let start = place(layout, self.sample, self.first_channel, 0);
            let segment = start..start + self.channels * layout.spatial();
            return reduce(x, &along(std::slice::from_ref(&segment)));
        }
        let channel = |c: usize| reduce(x, &self.channel_rows(layout, c));
        if self.channels == 1 {
            return channel(0);
        }
        if self.channels.is_multiple_of(16) {
            return reduce(x, &along(&self.pieces(layout)));
        }
        let channels: Vec<Reduced> = (0..self.channels).map(channel).collect();
        let wide = channels.iter().any(|channel| channel.is_wide());
        let triples: Vec<_> = channels.iter().map(|channel| channel.triple()).collect();
        merge_all(&triples, wide)
    }

    /// The rows of one sample, as much of each as belongs to the group.
    fn pieces(&self, layout: &Layout) -> Vec<Range<usize>> {
        let start = |row| place(layout, self.sample, self.first_channel, row);
        (0..layout.spatial()).map(start).map(|start| start..start + self.channels).collect()
    }

    /// Columns over the rows of one sample.
    fn channel_rows(&self, layout: &Layout, channel: usize) -> Reduction {
        let rows = 0..layout.spatial();
        let value = |row| place(layout, self.sample, self.first_channel + channel, row);
        column(&rows.map(value).collect::<Vec<_>>())
    }
}

/// What one group of one sample comes to.
pub fn reduced(
    layout: &Layout,
    (groups, sample, group): (usize, usize, usize),
    x: &[f32],
) -> Reduced {
    let channels = layout.channels() / groups;
    Group { sample, first_channel: group * channels, channels }.reduced(layout, x)
}

pub fn forward(layout: &Layout, groups: usize, eps: f64, x: &[f32], affine: Affine<'_>) -> Forward {
    let mut out = Forward { y: vec![0.0; x.len()], saved_mean: vec![], saved_rstd: vec![] };
    if layout.is_empty() {
        return out;
    }
    let channels = layout.channels() / groups;
    for sample in 0..layout.batch() {
        for group in 0..groups {
            let group = Group { sample, first_channel: group * channels, channels };
            let reduced = group.reduced(layout, x);
            let (mean, rstd) = saved(reduced, eps);
            out.saved_mean.push(mean);
            out.saved_rstd.push(rstd);
            let constants = Constants::of(reduced, eps);
            for channel in group.first_channel..group.first_channel + channels {
                for position in 0..layout.spatial() {
                    let i = place(layout, sample, channel, position);
                    let (gamma, beta) = (affine.gamma(channel), affine.beta(channel));
                    out.y[i] = if layout.spatial() == 1 && channels > 1 {
                        constants.apply_each(x[i], gamma, beta)
                    } else {
                        constants.apply(x[i], gamma, beta)
                    };
                }
            }
        }
    }
    out
}
