//! Backward of channels whose values lie in planes.

use super::super::apply::{last_lanes, part, part_mut, store_last};
use super::super::block::add;
use super::super::finish::narrow;
use super::super::lanes::{LANES, Lanes, Wide};
use super::super::rows::{BLOCK, RowBlock, Segments};
use super::super::tree::{LEVELS, Tree};
use super::{Channel, Gradient, Mode, Pass, block_sums, rescue};
use fearless_simd::{Simd, SimdBase as _, f32x16};

/// Σdy, Σdy·x̃, Σx̃ of a channel.
#[derive(Clone, Copy)]
pub(super) enum PlaneSums {
    /// One block, all three finite in f32.
    Narrow([f32; 3]),
    /// More blocks, or one that needed f64; `wide` if dx has to be computed in f64 as well.
    Merged { sums: [f64; 3], wide: bool },
}

impl PlaneSums {
    #[inline(always)]
    fn merged(self) -> ([f64; 3], bool) {
        match self {
            Self::Narrow([a, b, e]) => ([f64::from(a), f64::from(b), f64::from(e)], false),
            Self::Merged { sums, wide } => (sums, wide),
        }
    }
}

/// The sums of one block, whose elements are the first of both inputs.
#[inline(always)]
fn sum_row_block<S: Simd>(
    simd: S,
    inputs: [&[f32]; 2],
    block: RowBlock,
    channel: Channel<f32>,
) -> PlaneSums {
    let mean = <f32x16<S>>::filled(simd, channel.mean);
    let rstd = <f32x16<S>>::filled(simd, channel.rstd);
    let sums = match block.full() {
        Some(full) => block_sums(simd, full, inputs, mean, rstd),
        None => block_sums(simd, block, inputs, mean, rstd),
    };
    if sums.iter().all(|sum| sum.is_finite()) {
        return PlaneSums::Narrow(sums);
    }
    PlaneSums::Merged { sums: rescue(simd, block, inputs, mean, rstd), wide: true }
}

/// Sums all planes of a channel. `copies` has room for a block of each input.
#[inline(never)]
pub(super) fn sum_rows<S: Simd>(
    simd: S,
    pass: &Pass<'_>,
    segments: Segments,
    channel: Channel<f32>,
    copies: &mut [[f32; BLOCK]; 2],
) -> PlaneSums {
    let [dy_copy, x_copy] = copies;
    simd.vectorize(
        #[inline(always)]
        || {
            let mut blocks = segments.blocks(1).map(|(_, block)| block);
            let mut tree = Tree::<[f64; 3], LEVELS>::new([0.0; 3]);
            let mut any_wide = false;
            let mut next = blocks.next();
            while let Some(block) = next {
                next = blocks.next();
                let inputs = [block.joined(pass.dy, dy_copy), block.joined(pass.x, x_copy)];
                let sums = sum_row_block(simd, inputs, RowBlock::of(block), channel);
                if tree.is_empty() && next.is_none() {
                    return sums;
                }
                let (sums, wide) = sums.merged();
                any_wide |= wide;
                tree.push(sums, add);
            }
            PlaneSums::Merged { sums: tree.finish(add).unwrap_or([0.0; 3]), wide: any_wide }
        },
    )
}

/// A channel's gradient in the arithmetic that its sums ask for.
#[derive(Clone, Copy)]
pub(super) enum PlaneGradient {
    Narrow(Gradient<f32>),
    Wide(Gradient<f64>),
}

impl PlaneGradient {
    #[inline(always)]
    pub(super) fn new(mode: Mode, n: usize, sums: PlaneSums, channel: Channel<f32>) -> Self {
        match sums {
            PlaneSums::Narrow(sums) => {
                let gradient = Gradient::new(mode, n, sums, channel);
                if gradient.fits(mode, channel) {
                    return Self::Narrow(gradient);
                }
                let Gradient { dgamma, dbeta, .. } = gradient;
                let (dgamma, dbeta) = (f64::from(dgamma), f64::from(dbeta));
                let [a, b, e] = sums;
                let sums = [f64::from(a), f64::from(b), f64::from(e)];
                let wide = Gradient::new(mode, n, sums, channel.widened());
                Self::Wide(Gradient { dgamma, dbeta, ..wide })
            }
            PlaneSums::Merged { sums, wide } => {
                let gradient = Gradient::new(mode, n, sums, channel.widened());
                let rounded = gradient.each(narrow);
                if wide || !rounded.fits(mode, channel) {
                    Self::Wide(gradient)
                } else {
                    Self::Narrow(rounded)
                }
            }
        }
    }

    /// dγ and dβ.
    #[inline(always)]
    pub(super) fn affine(&self) -> (f32, f32) {
        match self {
            Self::Narrow(gradient) => (gradient.dgamma, gradient.dbeta),
            Self::Wide(gradient) => (narrow(gradient.dgamma), narrow(gradient.dbeta)),
        }
    }
}

#[inline(never)]
pub(super) fn write_planes<S: Simd>(
    simd: S,
    pass: &mut Pass<'_>,
    segments: Segments,
    channel: Channel<f32>,
    gradient: PlaneGradient,
) {
    let Channel { mean, rstd, .. } = channel;
    simd.vectorize(
        #[inline(always)]
        || match gradient {
            PlaneGradient::Narrow(gradient) => {
                let gradient = gradient.each(|value| <f32x16<S>>::filled(simd, value));
                let (mean, rstd) = (Lanes::filled(simd, mean), Lanes::filled(simd, rstd));
                write_each_plane(simd, pass, segments, gradient, mean, rstd);
            }
            PlaneGradient::Wide(gradient) => {
                let gradient = gradient.each(|value| Wide::filled(simd, value));
                let mean = Wide::filled(simd, f64::from(mean));
                let rstd = Wide::filled(simd, f64::from(rstd));
                write_each_plane(simd, pass, segments, gradient, mean, rstd);
            }
        },
    );
}

#[inline(always)]
fn write_each_plane<S: Simd, V: Lanes<S>>(
    simd: S,
    pass: &mut Pass<'_>,
    segments: Segments,
    gradient: Gradient<V>,
    mean: V,
    rstd: V,
) {
    let Pass { mode, dy, x, dx: Some(dx) } = pass else { return };
    for start in segments.starts() {
        let (dy, x) = (part(dy, start, segments.len), part(x, start, segments.len));
        let dx = part_mut(dx, start, segments.len);
        let dys = dy.as_chunks::<LANES>().0.iter();
        let inputs = dys.zip(x.as_chunks::<LANES>().0);
        for ((dy, x), dx) in inputs.zip(dx.as_chunks_mut::<LANES>().0) {
            let (dy, x) = (V::load(simd, dy), V::load(simd, x));
            gradient.dx(*mode, mean, rstd, dy, x).narrow().store_array(dx);
        }
        if let (Some(dy), Some(x)) = (last_lanes(simd, dy), last_lanes(simd, x)) {
            store_last(dx, gradient.dx(*mode, mean, rstd, dy, x).narrow());
        }
    }
}
