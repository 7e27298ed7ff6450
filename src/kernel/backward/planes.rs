//! Backward of channels whose values lie in planes.

use super::super::apply::{part, part_mut, store_first};
use super::super::block::add;
use super::super::finish::narrow;
use super::super::lanes::{LANES, Lanes, Wide, padded};
use super::super::rows::{RowBlock, Segments};
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

/// The sums of one block. Out of line, so that there is one copy of it.
#[inline(never)]
fn sum_row_block<S: Simd>(
    simd: S,
    pass: &Pass<'_>,
    block: RowBlock,
    channel: Channel<f32>,
) -> PlaneSums {
    simd.vectorize(
        #[inline(always)]
        || {
            let inputs = [pass.dy, pass.x];
            let mean = <f32x16<S>>::filled(simd, channel.mean);
            let rstd = <f32x16<S>>::filled(simd, channel.rstd);
            let sums = block_sums(simd, block, inputs, mean, rstd);
            if sums.iter().all(|sum| sum.is_finite()) {
                return PlaneSums::Narrow(sums);
            }
            PlaneSums::Merged { sums: rescue(simd, block, inputs, mean, rstd), wide: true }
        },
    )
}

#[inline(never)]
pub(super) fn sum_rows<S: Simd>(
    simd: S,
    pass: &Pass<'_>,
    segments: Segments,
    channel: Channel<f32>,
) -> PlaneSums {
    let mut blocks = segments.blocks();
    let Some(block) = blocks.next() else { return PlaneSums::Narrow([0.0; 3]) };
    let only = sum_row_block(simd, pass, block, channel);
    let Some(second) = blocks.next() else { return only };
    let mut tree = Tree::<[f64; 3], LEVELS>::new([0.0; 3]);
    let (sums, mut any_wide) = only.merged();
    tree.push(sums, add);
    for block in core::iter::once(second).chain(blocks) {
        let (sums, wide) = sum_row_block(simd, pass, block, channel).merged();
        any_wide |= wide;
        tree.push(sums, add);
    }
    PlaneSums::Merged { sums: tree.finish(add).unwrap_or([0.0; 3]), wide: any_wide }
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
            PlaneSums::Narrow(sums) => Self::Narrow(Gradient::new(mode, n, sums, channel)),
            PlaneSums::Merged { sums, wide } => {
                let gradient = Gradient::new(mode, n, sums, channel.widened());
                if wide { Self::Wide(gradient) } else { Self::Narrow(gradient.each(narrow)) }
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
        let (dys, dy_rest) = part(dy, start, segments.len).as_chunks::<LANES>();
        let (xs, x_rest) = part(x, start, segments.len).as_chunks::<LANES>();
        let (dxs, dx_rest) = part_mut(dx, start, segments.len).as_chunks_mut::<LANES>();
        for ((dy, x), dx) in dys.iter().zip(xs).zip(dxs) {
            let (dy, x) = (V::load(simd, dy), V::load(simd, x));
            gradient.dx(*mode, mean, rstd, dy, x).narrow().store_array(dx);
        }
        if !dx_rest.is_empty() {
            let (dy, x) = (V::load(simd, &padded(dy_rest)), V::load(simd, &padded(x_rest)));
            store_first(dx_rest, gradient.dx(*mode, mean, rstd, dy, x).narrow());
        }
    }
}
