//! Normalization with one mean and one deviation a group of channels and sample.

use super::apply::{Affine, Tensor, apply_elements, apply_planes, apply_strip};
use super::columns::Strip;
use super::finish::{Constants, StripConstants};
use super::moments::{Stats, reduce_rows};
use super::rows::Segments;
use super::strip::reduce_strip;
use super::tree::{LEVELS, Tree};
use crate::{Layout, Moments};
use fearless_simd::Simd;

/// Reduces every group of every sample and normalizes it. `record` is told the number of the group
/// (sample · groups + group), its mean and its rstd.
#[inline(always)]
pub(crate) fn train<S: Simd>(
    simd: S,
    layout: Layout,
    group_channels: usize,
    mut tensor: Tensor<'_>,
    affine: Affine<'_>,
    eps: f64,
    mut record: impl FnMut(usize, f32, f32),
) {
    let (channels, spatial) = (layout.channels(), layout.spatial());
    let contiguous = layout.has_contiguous_groups();
    let mut group = 0;
    for sample in 0..layout.batch() {
        let mut channel = 0;
        while channel < channels {
            let part = if contiguous {
                Group { first: (sample * channels + channel) * spatial, channel, group_channels }
            } else {
                Group { first: sample * spatial * channels + channel, channel, group_channels }
            };
            let stats = if contiguous {
                reduce_rows(
                    simd,
                    tensor.input(),
                    Segments::one(part.first, group_channels * spatial),
                )
            } else {
                reduce_columns(simd, tensor.input(), part, layout)
            };
            let Some(stats) = stats else { return };
            let constants = stats.constants(eps);
            record(group, stats.mean(), constants.rstd());
            if !contiguous {
                write_columns(simd, &mut tensor, part, layout, affine, constants);
            } else if spatial == 1 {
                let piece = (part.first, group_channels);
                apply_elements(simd, &mut tensor, piece, constants, affine, channel);
            } else {
                write_planes(simd, &mut tensor, part, spatial, affine, constants);
            }
            channel += group_channels;
            group += 1;
        }
    }
}

/// One group of one sample: where its first element lies, and which channels it has.
#[derive(Clone, Copy)]
struct Group {
    first: usize,
    channel: usize,
    group_channels: usize,
}

/// Reduces a group whose channels are interleaved: every channel as a column, then the channels
/// merge along the tree.
#[inline(always)]
fn reduce_columns<S: Simd>(simd: S, x: &[f32], group: Group, layout: Layout) -> Option<Stats> {
    let Group { first, group_channels, .. } = group;
    let mut strips = Strip::all(first, layout.spatial(), layout.channels(), group_channels);
    if group_channels == 1 {
        let (_, strip) = strips.next()?;
        let [stats, ..] = reduce_strip(simd, x, strip)?.lanes(simd);
        return Some(stats);
    }
    let mut tree = Tree::<Moments, LEVELS>::new(Moments::new());
    let mut rescued = false;
    for (_, strip) in strips {
        let stats = reduce_strip(simd, x, strip)?.lanes(simd);
        for stats in stats.iter().take(strip.lanes) {
            rescued |= stats.is_wide();
            tree.push(stats.moments(), Moments::merged);
        }
    }
    tree.finish(Moments::merged).map(|moments| Stats::merged(moments, rescued))
}

#[inline(always)]
fn write_columns<S: Simd>(
    simd: S,
    tensor: &mut Tensor<'_>,
    group: Group,
    layout: Layout,
    affine: Affine<'_>,
    constants: Constants,
) {
    let Group { first, channel, group_channels } = group;
    let constants = StripConstants::filled(simd, constants);
    for (offset, strip) in Strip::all(first, layout.spatial(), layout.channels(), group_channels) {
        apply_strip(simd, tensor, strip, &constants, affine.lanes(simd, channel + offset));
    }
}

#[inline(always)]
fn write_planes<S: Simd>(
    simd: S,
    tensor: &mut Tensor<'_>,
    group: Group,
    spatial: usize,
    affine: Affine<'_>,
    constants: Constants,
) {
    for i in 0..group.group_channels {
        let plane = Segments::one(group.first + i * spatial, spatial);
        apply_planes(simd, tensor, plane, constants, affine.of(group.channel + i));
    }
}
