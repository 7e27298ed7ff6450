//! Backward of up to sixteen interleaved channels at once: [`super::planes`] with a channel a lane.

use super::super::apply::{part_mut, store_strip};
use super::super::block::add;
use super::super::columns::{BLOCK_ROWS, Band, ColumnBlock, STRIPS, Strip, load_lanes};
use super::super::lanes::{LANES, Lanes, Value as _, Wide, widened};
use super::super::tree::{FEW_BLOCKS, FEW_LEVELS, LEVELS, Tree};
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
    /// The sums of no rows.
    #[inline(always)]
    fn nothing(simd: S) -> Self {
        Self::One { narrow: [f32x16::filled(simd, 0.0); 3], rescued: None }
    }

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

/// Sums every strip of a band.
#[inline(always)]
pub(super) fn sum_band<S: Simd>(
    simd: S,
    pass: &Pass<'_>,
    band: Band,
    channels: &[Channel<f32x16<S>>; STRIPS],
) -> [StripSums<S>; STRIPS] {
    if band.rows <= BLOCK_ROWS {
        let mut sums = [StripSums::nothing(simd); STRIPS];
        for ((sums, channel), (_, strip)) in sums.iter_mut().zip(channels).zip(band.strips()) {
            *sums = sum_column_block(simd, pass, ColumnBlock::new(simd, strip), *channel);
        }
        sums
    } else if band.rows <= BLOCK_ROWS * FEW_BLOCKS {
        merge_tiles::<S, FEW_LEVELS>(simd, pass, band, channels)
    } else {
        merge_tiles::<S, LEVELS>(simd, pass, band, channels)
    }
}

/// Sums a band of more than one block a strip.
#[inline(never)]
fn merge_tiles<S: Simd, const N: usize>(
    simd: S,
    pass: &Pass<'_>,
    band: Band,
    channels: &[Channel<f32x16<S>>; STRIPS],
) -> [StripSums<S>; STRIPS] {
    simd.vectorize(
        #[inline(always)]
        || {
            let blank = [Wide::filled(simd, 0.0); 3];
            let nobody = mask32x16::splat(simd, false);
            let mut trees = [(Tree::<[Wide<S>; 3], N>::new(blank), nobody); STRIPS];
            for tile in band.tiles() {
                let strips = trees.iter_mut().zip(channels).zip(tile.strips());
                for (((tree, rescued), channel), (_, strip)) in strips {
                    let block = ColumnBlock::new(simd, strip);
                    let (sums, lanes) = sum_column_block(simd, pass, block, *channel).merged(simd);
                    tree.push(sums, add);
                    *rescued |= lanes;
                }
            }
            let mut sums = [StripSums::nothing(simd); STRIPS];
            for (slot, (tree, rescued)) in sums.iter_mut().zip(&trees) {
                let sums = tree.finish(add).unwrap_or(blank);
                *slot = StripSums::Merged { sums, rescued: *rescued };
            }
            sums
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
            StripSums::One { narrow: [a, b, e], rescued } => {
                let narrow = Gradient::new(mode, n, [a, b, e], channel);
                let mut wide = rescued.map(|(lanes, sums)| {
                    (lanes, Gradient::new(mode, n, sums, channel.widened(simd)))
                });
                let unfit = !narrow.fits(mode, channel);
                if unfit.any_true() {
                    let sums = [widened(simd, a), widened(simd, b), widened(simd, e)];
                    let gradient = Gradient::new(mode, n, sums, channel.widened(simd));
                    let (dgamma, dbeta) =
                        (widened(simd, narrow.dgamma), widened(simd, narrow.dbeta));
                    let gradient = Gradient { dgamma, dbeta, ..gradient };
                    wide = Some(wide.map_or((unfit, gradient), |(lanes, rescued)| {
                        (lanes | unfit, rescued.select(Wide::mask(lanes), gradient))
                    }));
                }
                Self { narrow, wide }
            }
            StripSums::Merged { sums, rescued } => {
                let gradient = Gradient::new(mode, n, sums, channel.widened(simd));
                let narrow = gradient.each(
                    #[inline(always)]
                    |value| value.narrow(),
                );
                let lanes = rescued | !narrow.fits(mode, channel);
                Self { narrow, wide: lanes.any_true().then_some((lanes, gradient)) }
            }
        }
    }

    /// Room for a strip's gradients.
    #[inline(always)]
    pub(super) fn nothing(simd: S) -> Self {
        let zero = <f32x16<S>>::filled(simd, 0.0);
        let narrow =
            Gradient { k: zero, offset: zero, slope: zero, scale: zero, dgamma: zero, dbeta: zero };
        Self { narrow, wide: None }
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

/// Writes dx of every strip of a band.
#[inline(always)]
pub(super) fn write_band<S: Simd>(
    simd: S,
    pass: &mut Pass<'_>,
    band: Band,
    channels: &[Channel<f32x16<S>>; STRIPS],
    gradients: &[StripGradient<S>; STRIPS],
) {
    for tile in band.tiles() {
        let strips = channels.iter().zip(gradients).zip(tile.strips());
        for ((channel, gradient), (_, strip)) in strips {
            write_strip(simd, pass, strip, *channel, gradient);
        }
    }
}

#[inline(never)]
fn write_strip<S: Simd>(
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
    let mask = strip.mask(simd);
    for row in 0..strip.rows {
        let offset = strip.start + row * strip.stride;
        let dy = load_lanes(simd, pass.dy, offset, mask);
        let x = load_lanes(simd, pass.x, offset, mask);
        store_strip(part_mut(dx, offset, strip.lanes), f(dy, x));
    }
}
