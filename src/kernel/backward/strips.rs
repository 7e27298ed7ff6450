//! Backward of up to sixteen interleaved channels at once: [`super::planes`] with a channel a lane.

use super::super::apply::{part_mut, store_strip};
use super::super::block::add;
use super::super::columns::{BLOCK_ROWS, ColumnBlock, Strip, load_lanes};
use super::super::lanes::{LANES, Lanes, Value as _, Wide, first_lanes, widened};
use super::super::tree::{FEW_LEVELS, LEVELS, Tree};
use super::{Channel, Gradient, Mode, Pass, block_sums, rescue};
use fearless_simd::{Select as _, Simd, SimdMask as _, f32x16, mask32x16};

/// Σdy, Σdy·x̃, Σx̃ of up to sixteen channels.
#[derive(Clone, Copy)]
pub(super) enum StripSums<S: Simd> {
    /// One block. The channels of the mask, if any, needed f64.
    One { narrow: [f32x16<S>; 3], rescued: Option<(mask32x16<S>, [Wide<S>; 3])> },
    /// More blocks. The channels of the mask had one that needed f64.
    Merged { sums: [Wide<S>; 3], rescued: mask32x16<S> },
}

/// The channels of a strip; zeros in the lanes that are none.
#[inline(always)]
pub(super) fn strip_channel<S: Simd>(
    simd: S,
    first: usize,
    lanes: usize,
    channel_of: impl Fn(usize) -> Channel<f32>,
) -> Channel<f32x16<S>> {
    let (mut mean, mut rstd, mut gamma) = ([0.0; LANES], [0.0; LANES], [0.0; LANES]);
    let slots = mean.iter_mut().zip(&mut rstd).zip(&mut gamma).take(lanes);
    for (lane, ((mean, rstd), gamma)) in slots.enumerate() {
        let channel = channel_of(first + lane);
        (*mean, *rstd, *gamma) = (channel.mean, channel.rstd, channel.gamma);
    }
    Channel {
        mean: Lanes::from_array(simd, mean),
        rstd: Lanes::from_array(simd, rstd),
        gamma: Lanes::from_array(simd, gamma),
    }
}

/// The sums of one block, and the channels that need f64. Out of line, so that there is one copy of
/// it.
#[inline(never)]
fn sum_column_block<S: Simd>(
    simd: S,
    pass: &Pass<'_>,
    block: ColumnBlock<S>,
    channel: Channel<f32x16<S>>,
) -> StripSums<S> {
    simd.vectorize(
        #[inline(always)]
        || {
            let Channel { mean, rstd, .. } = channel;
            let inputs = [pass.dy, pass.x];
            let narrow = block_sums(simd, block, inputs, mean, rstd);
            let [a, b, e] = narrow;
            let lanes = !(finite(a) & finite(b) & finite(e));
            let rescued =
                lanes.any_true().then(|| (lanes, rescue(simd, block, inputs, mean, rstd)));
            StripSums::One { narrow, rescued }
        },
    )
}

#[inline(always)]
fn finite<S: Simd>(v: f32x16<S>) -> mask32x16<S> {
    v.all(f32::INFINITY).greater(v) & v.greater(v.all(f32::NEG_INFINITY))
}

impl<S: Simd> StripSums<S> {
    /// The sums in f64, and the channels that needed it.
    #[inline(always)]
    fn merged(self, simd: S) -> ([Wide<S>; 3], mask32x16<S>) {
        match self {
            Self::Merged { sums, rescued } => (sums, rescued),
            Self::One { narrow: [a, b, e], rescued } => {
                let narrow = [widened(simd, a), widened(simd, b), widened(simd, e)];
                match rescued {
                    None => (narrow, mask32x16::splat(simd, false)),
                    Some((lanes, wide)) => {
                        let mask = Wide::mask(lanes);
                        let mut sums = narrow;
                        for (sum, wide) in sums.iter_mut().zip(&wide) {
                            *sum = Wide::select(mask, *wide, *sum);
                        }
                        (sums, lanes)
                    }
                }
            }
        }
    }
}

#[inline(always)]
pub(super) fn sum_strip<S: Simd>(
    simd: S,
    pass: &Pass<'_>,
    strip: Strip,
    channel: Channel<f32x16<S>>,
) -> StripSums<S> {
    let mut blocks = strip.blocks(simd);
    match blocks.next() {
        Some(block) if strip.rows <= BLOCK_ROWS => sum_column_block(simd, pass, block, channel),
        _ if strip.rows < BLOCK_ROWS << FEW_LEVELS => {
            merge_blocks::<S, FEW_LEVELS>(simd, pass, strip, channel)
        }
        _ => merge_blocks::<S, LEVELS>(simd, pass, strip, channel),
    }
}

/// Sums a strip of more than one block.
#[inline(never)]
fn merge_blocks<S: Simd, const N: usize>(
    simd: S,
    pass: &Pass<'_>,
    strip: Strip,
    channel: Channel<f32x16<S>>,
) -> StripSums<S> {
    simd.vectorize(
        #[inline(always)]
        || {
            let blank = [Wide::filled(simd, 0.0); 3];
            let mut tree = Tree::<[Wide<S>; 3], N>::new(blank);
            let mut rescued = mask32x16::splat(simd, false);
            for block in strip.blocks(simd) {
                let (sums, lanes) = sum_column_block(simd, pass, block, channel).merged(simd);
                tree.push(sums, add);
                rescued |= lanes;
            }
            StripSums::Merged { sums: tree.finish(add).unwrap_or(blank), rescued }
        },
    )
}

/// Gradients of up to sixteen channels in f32, and of the masked ones in f64.
#[derive(Clone, Copy)]
pub(super) struct StripGradient<S: Simd> {
    narrow: Gradient<f32x16<S>>,
    wide: Option<(mask32x16<S>, Gradient<Wide<S>>)>,
}

impl<S: Simd> StripGradient<S> {
    #[inline(always)]
    pub(super) fn new(
        simd: S,
        mode: Mode,
        n: usize,
        sums: StripSums<S>,
        channel: Channel<f32x16<S>>,
    ) -> Self {
        match sums {
            StripSums::One { narrow, rescued } => Self {
                narrow: Gradient::new(mode, n, narrow, channel),
                wide: rescued.map(|(lanes, sums)| {
                    (lanes, Gradient::new(mode, n, sums, channel.widened(simd)))
                }),
            },
            StripSums::Merged { sums, rescued } => {
                let gradient = Gradient::new(mode, n, sums, channel.widened(simd));
                Self {
                    narrow: gradient.each(|value| value.narrow()),
                    wide: rescued.any_true().then_some((rescued, gradient)),
                }
            }
        }
    }

    /// dγ and dβ.
    #[inline(always)]
    pub(super) fn affine(&self) -> (f32x16<S>, f32x16<S>) {
        let Gradient { dgamma, dbeta, .. } = self.narrow;
        match self.wide {
            None => (dgamma, dbeta),
            Some((lanes, wide)) => (
                lanes.select(wide.dgamma.narrow(), dgamma),
                lanes.select(wide.dbeta.narrow(), dbeta),
            ),
        }
    }
}

#[inline(never)]
pub(super) fn write_strip<S: Simd>(
    simd: S,
    pass: &mut Pass<'_>,
    strip: Strip,
    channel: Channel<f32x16<S>>,
    gradient: &StripGradient<S>,
) {
    let mode = pass.mode;
    simd.vectorize(
        #[inline(always)]
        || {
            let Channel { mean, rstd, .. } = channel;
            let StripGradient { narrow, wide } = *gradient;
            let Some((lanes, wide)) = wide else {
                return write_rows(
                    simd,
                    pass,
                    strip,
                    #[inline(always)]
                    |dy, x| narrow.dx(mode, mean, rstd, dy, x),
                );
            };
            let (wide_mean, wide_rstd) = (widened(simd, mean), widened(simd, rstd));
            write_rows(
                simd,
                pass,
                strip,
                #[inline(always)]
                |dy, x| {
                    let (wide_dy, wide_x) = (widened(simd, dy), widened(simd, x));
                    let wide = wide.dx(mode, wide_mean, wide_rstd, wide_dy, wide_x).narrow();
                    lanes.select(wide, narrow.dx(mode, mean, rstd, dy, x))
                },
            );
        },
    );
}

/// Writes f(dy, x) for every element of a strip.
#[inline(always)]
fn write_rows<S: Simd>(
    simd: S,
    pass: &mut Pass<'_>,
    strip: Strip,
    f: impl Fn(f32x16<S>, f32x16<S>) -> f32x16<S>,
) {
    let Some(dx) = &mut pass.dx else { return };
    let mask = (strip.lanes < LANES).then(|| first_lanes(simd, strip.lanes));
    for row in 0..strip.rows {
        let offset = strip.start + row * strip.stride;
        let dy = load_lanes(simd, pass.dy, offset, mask);
        let x = load_lanes(simd, pass.x, offset, mask);
        store_strip(part_mut(dx, offset, strip.lanes), f(dy, x));
    }
}
