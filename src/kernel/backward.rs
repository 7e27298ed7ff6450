//! Gradients of normalization with one mean and one deviation a channel.
//!
//! With x̃ = (x − mean)·rstd, one pass forms Σdy, Σdy·x̃ and Σx̃. The last would be 0 if the saved
//! mean were exact; it was rounded to f32, and k = Σx̃ / n is what that left over. A second pass
//! writes dx = γ·rstd·((dy − Σdy/n) − (x̃ − k)·dγ/n).

use super::apply::{part, part_mut, store_first, store_strip};
use super::block::{Block, add};
use super::columns::{BLOCK_ROWS, ColumnBlock, Strip, load_lanes};
use super::finish::narrow;
use super::lanes::{LANES, Lanes, Real as _, Value, Wide, first_lanes, padded, widened};
use super::per_channel::{first, planes};
use super::rows::{RowBlock, Segments};
use super::tree::{FEW_LEVELS, LEVELS, Tree};
use crate::layout::PerChannel;
use fearless_simd::{Select as _, Simd, SimdBase as _, SimdMask as _, f32x16, mask32x16};

/// Whether the statistics came from the data (and so have gradients of their own) or were given.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Mode {
    Train,
    Inference,
}

/// The tensors of a backward pass.
pub(crate) struct Pass<'a> {
    pub(crate) mode: Mode,
    pub(crate) dy: &'a [f32],
    pub(crate) x: &'a [f32],
    pub(crate) dx: Option<&'a mut [f32]>,
}

/// What is known before the pass: of one channel, or of sixteen.
#[derive(Clone, Copy)]
pub(crate) struct Channel<V> {
    pub(crate) mean: V,
    pub(crate) rstd: V,
    pub(crate) gamma: V,
}

impl Channel<f32> {
    #[inline(always)]
    fn widened(self) -> Channel<f64> {
        let Self { mean, rstd, gamma } = self;
        Channel { mean: f64::from(mean), rstd: f64::from(rstd), gamma: f64::from(gamma) }
    }
}

impl<S: Simd> Channel<f32x16<S>> {
    #[inline(always)]
    fn widened(self, simd: S) -> Channel<Wide<S>> {
        let Self { mean, rstd, gamma } = self;
        let (mean, rstd) = (widened(simd, mean), widened(simd, rstd));
        Channel { mean, rstd, gamma: widened(simd, gamma) }
    }
}

/// dx = scale·((dy − offset) − (x̃ − k)·slope), and the gradients of γ and β: of one channel, or of
/// sixteen.
#[derive(Clone, Copy)]
struct Gradient<V> {
    k: V,
    offset: V,
    slope: V,
    scale: V,
    dgamma: V,
    dbeta: V,
}

impl<V: Value> Gradient<V> {
    /// From Σdy, Σdy·x̃ and Σx̃ over n elements.
    #[inline(always)]
    fn new(mode: Mode, n: usize, [dy, dy_x, x]: [V; 3], channel: Channel<V>) -> Self {
        let scale = channel.gamma * channel.rstd;
        let zero = scale.all(V::Scalar::ZERO);
        if mode == Mode::Inference {
            return Self { k: zero, offset: zero, slope: zero, scale, dgamma: dy_x, dbeta: dy };
        }
        let n = scale.all(V::Scalar::count(n));
        let k = x / n;
        let dgamma = dy_x - dy * k;
        Self { k, offset: dy / n, slope: dgamma / n, scale, dgamma, dbeta: dy }
    }

    /// The same with every number put through f.
    #[inline(always)]
    fn each<W>(self, f: impl Fn(V) -> W) -> Gradient<W> {
        Gradient {
            k: f(self.k),
            offset: f(self.offset),
            slope: f(self.slope),
            scale: f(self.scale),
            dgamma: f(self.dgamma),
            dbeta: f(self.dbeta),
        }
    }

    /// The gradient of one element.
    #[inline(always)]
    fn dx(&self, mode: Mode, mean: V, rstd: V, dy: V, x: V) -> V {
        if mode == Mode::Inference {
            return dy * self.scale;
        }
        let x = (x - mean) * rstd;
        self.scale * ((dy - self.offset) - (x - self.k) * self.slope)
    }
}

/// Computes dx and, through `record`, dγ and dβ of neighbouring channels.
#[inline(always)]
pub(crate) fn backward<S: Simd>(
    simd: S,
    shape: PerChannel,
    mut pass: Pass<'_>,
    channel_of: impl Fn(usize) -> Channel<f32>,
    mut record: impl FnMut(usize, &[f32], &[f32]),
) {
    match shape {
        PerChannel::Planes { batch, channels, len } => {
            for index in 0..channels {
                let segments = planes(index, batch, channels, len);
                let channel = channel_of(index);
                let sums = sum_rows(simd, &pass, segments, channel);
                let gradient = PlaneGradient::new(pass.mode, batch * len, sums, channel);
                let (dgamma, dbeta) = gradient.affine();
                record(index, &[dgamma], &[dbeta]);
                write_planes(simd, &mut pass, segments, channel, gradient);
            }
        }
        PerChannel::Columns { rows, channels } => {
            for (first_channel, strip) in Strip::all(0, rows, channels, channels) {
                let channel = strip_channel(simd, first_channel, strip.lanes, &channel_of);
                let sums = sum_strip(simd, &pass, strip, channel);
                let gradient = StripGradient::new(simd, pass.mode, rows, sums, channel);
                let (dgamma, dbeta) = gradient.affine();
                let (dgamma, dbeta) = (dgamma.values(), dbeta.values());
                record(first_channel, first(&dgamma, strip), first(&dbeta, strip));
                write_strip(simd, &mut pass, strip, channel, &gradient);
            }
        }
    }
}

/// The three sums of a block, in the arithmetic of `V`.
#[inline(always)]
fn block_sums<S: Simd, V: Lanes<S>, B: Block<S>>(
    simd: S,
    block: B,
    inputs: [&[f32]; 2],
    mean: V,
    rstd: V,
) -> [B::Sum<V>; 3] {
    block.sums(
        simd,
        inputs,
        #[inline(always)]
        |[dy, x]: [V; 2]| {
            let x = (x - mean) * rstd;
            [dy, dy * x, x]
        },
    )
}

/// The same in f64, out of line: few blocks need it.
#[cold]
#[inline(never)]
fn rescue<S: Simd, B: Block<S>>(
    simd: S,
    block: B,
    inputs: [&[f32]; 2],
    mean: f32x16<S>,
    rstd: f32x16<S>,
) -> [B::Sum<Wide<S>>; 3] {
    simd.vectorize(
        #[inline(always)]
        || block_sums(simd, block, inputs, widened(simd, mean), widened(simd, rstd)),
    )
}

// Planes.

/// Σdy, Σdy·x̃, Σx̃ of a channel.
#[derive(Clone, Copy)]
enum PlaneSums {
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
fn sum_rows<S: Simd>(
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
enum PlaneGradient {
    Narrow(Gradient<f32>),
    Wide(Gradient<f64>),
}

impl PlaneGradient {
    #[inline(always)]
    fn new(mode: Mode, n: usize, sums: PlaneSums, channel: Channel<f32>) -> Self {
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
    fn affine(&self) -> (f32, f32) {
        match self {
            Self::Narrow(gradient) => (gradient.dgamma, gradient.dbeta),
            Self::Wide(gradient) => (narrow(gradient.dgamma), narrow(gradient.dbeta)),
        }
    }
}

#[inline(never)]
fn write_planes<S: Simd>(
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
    let formula = |dy: &[f32; LANES], x: &[f32; LANES]| {
        gradient.dx(*mode, mean, rstd, V::load(simd, dy), V::load(simd, x)).narrow()
    };
    for start in segments.starts() {
        let (dys, dy_rest) = part(dy, start, segments.len).as_chunks::<LANES>();
        let (xs, x_rest) = part(x, start, segments.len).as_chunks::<LANES>();
        let (dxs, dx_rest) = part_mut(dx, start, segments.len).as_chunks_mut::<LANES>();
        for ((dy, x), dx) in dys.iter().zip(xs).zip(dxs) {
            formula(dy, x).store_array(dx);
        }
        if !dx_rest.is_empty() {
            store_first(dx_rest, formula(&padded(dy_rest), &padded(x_rest)));
        }
    }
}

// Columns: the same for sixteen channels at once.

/// Σdy, Σdy·x̃, Σx̃ of up to sixteen channels.
#[derive(Clone, Copy)]
enum StripSums<S: Simd> {
    /// One block. The channels of the mask, if any, needed f64.
    One { narrow: [f32x16<S>; 3], rescued: Option<(mask32x16<S>, [Wide<S>; 3])> },
    /// More blocks. The channels of the mask had one that needed f64.
    Merged { sums: [Wide<S>; 3], rescued: mask32x16<S> },
}

/// The channels of a strip; zeros in the lanes that are none.
#[inline(always)]
fn strip_channel<S: Simd>(
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
fn sum_strip<S: Simd>(
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
struct StripGradient<S: Simd> {
    narrow: Gradient<f32x16<S>>,
    wide: Option<(mask32x16<S>, Gradient<Wide<S>>)>,
}

impl<S: Simd> StripGradient<S> {
    #[inline(always)]
    fn new(simd: S, mode: Mode, n: usize, sums: StripSums<S>, channel: Channel<f32x16<S>>) -> Self {
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
    fn affine(&self) -> (f32x16<S>, f32x16<S>) {
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
    let mask = (strip.lanes < LANES).then(|| first_lanes(simd, strip.lanes));
    for row in 0..strip.rows {
        let offset = strip.start + row * strip.stride;
        let dy = load_lanes(simd, pass.dy, offset, mask);
        let x = load_lanes(simd, pass.x, offset, mask);
        store_strip(part_mut(dx, offset, strip.lanes), f(dy, x));
    }
}
