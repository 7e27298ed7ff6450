//! Gradients of normalization with one mean and one deviation a channel.
//!
//! With x̃ = (x − mean)·rstd, one pass forms Σdy, Σdy·x̃ and Σx̃. The last would be 0 if the saved
//! mean were exact; it was rounded to f32, and k = Σx̃ / n is what that left over. A second pass
//! writes dx = γ·rstd·((dy − Σdy/n) − (x̃ − k)·dγ/n).

use super::apply::{part, part_mut, store_first};
use super::block::{Block, add, each};
use super::columns::{ColumnBlock, Strip, load_lanes};
use super::finish::narrow;
use super::lanes::{LANES, Lanes, Real, Value, Wide, first_lanes, padded};
use super::per_channel::planes;
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

/// What is known of a channel before the pass.
#[derive(Clone, Copy)]
pub(crate) struct Channel {
    pub(crate) mean: f32,
    pub(crate) rstd: f32,
    pub(crate) gamma: f32,
}

/// Σdy, Σdy·x̃, Σx̃ of a reduction.
#[derive(Clone, Copy)]
enum Sums {
    /// One block, all three finite in f32.
    Narrow([f32; 3]),
    /// More blocks, or one that needed f64; `wide` if dx has to be computed in f64 as well.
    Merged { sums: [f64; 3], wide: bool },
}

impl Sums {
    #[inline(always)]
    fn widened(self) -> [f64; 3] {
        match self {
            Self::Narrow(sums) => sums.map(f64::from),
            Self::Merged { sums, .. } => sums,
        }
    }

    #[inline(always)]
    fn is_wide(self) -> bool {
        matches!(self, Self::Merged { wide: true, .. })
    }
}

/// dx = scale·((dy − offset) − (x̃ − k)·slope), and the gradients of γ and β.
#[derive(Clone, Copy)]
struct Gradient<T> {
    k: T,
    offset: T,
    slope: T,
    scale: T,
    dgamma: T,
    dbeta: T,
}

impl<T: Real> Gradient<T> {
    const ZERO: Self = Self {
        k: T::ZERO,
        offset: T::ZERO,
        slope: T::ZERO,
        scale: T::ZERO,
        dgamma: T::ZERO,
        dbeta: T::ZERO,
    };

    #[inline(always)]
    fn new(mode: Mode, n: usize, [dy, dy_x, x]: [T; 3], channel: Channel) -> Self {
        let scale = T::from_f32(channel.gamma) * T::from_f32(channel.rstd);
        if mode == Mode::Inference {
            return Self { scale, dgamma: dy_x, dbeta: dy, ..Self::ZERO };
        }
        let n = T::count(n);
        let k = x / n;
        let dgamma = dy_x - dy * k;
        Self { k, offset: dy / n, slope: dgamma / n, scale, dgamma, dbeta: dy }
    }
}

impl Gradient<f64> {
    #[inline(always)]
    const fn narrowed(self) -> Gradient<f32> {
        Gradient {
            k: narrow(self.k),
            offset: narrow(self.offset),
            slope: narrow(self.slope),
            scale: narrow(self.scale),
            dgamma: narrow(self.dgamma),
            dbeta: narrow(self.dbeta),
        }
    }
}

/// A channel's gradient in the arithmetic that its sums ask for.
#[derive(Clone, Copy)]
enum ChannelGradient {
    Narrow(Gradient<f32>),
    Wide(Gradient<f64>),
}

impl ChannelGradient {
    #[inline(always)]
    fn new(mode: Mode, n: usize, sums: Sums, channel: Channel) -> Self {
        match sums {
            Sums::Narrow(sums) => Self::Narrow(Gradient::new(mode, n, sums, channel)),
            Sums::Merged { sums, wide } => {
                let gradient = Gradient::new(mode, n, sums, channel);
                if wide { Self::Wide(gradient) } else { Self::Narrow(gradient.narrowed()) }
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

/// A [`Gradient`] and the statistics, spread over lanes.
#[derive(Clone, Copy)]
struct Formula<V> {
    mean: V,
    rstd: V,
    k: V,
    offset: V,
    slope: V,
    scale: V,
}

impl<V: Value> Formula<V> {
    #[inline(always)]
    fn dx(&self, mode: Mode, dy: V, x: V) -> V {
        if mode == Mode::Inference {
            return dy * self.scale;
        }
        let x = (x - self.mean) * self.rstd;
        self.scale * ((dy - self.offset) - (x - self.k) * self.slope)
    }
}

/// Computes dx and, through `record`, every channel's dγ and dβ.
#[inline(always)]
pub(crate) fn backward<S: Simd>(
    simd: S,
    shape: PerChannel,
    mut pass: Pass<'_>,
    channel_of: impl Fn(usize) -> Channel,
    mut record: impl FnMut(usize, f32, f32),
) {
    match shape {
        PerChannel::Planes { batch, channels, len } => {
            for index in 0..channels {
                let segments = planes(index, batch, channels, len);
                let channel = channel_of(index);
                let sums = sum_rows(simd, &pass, segments, channel);
                let gradient = ChannelGradient::new(pass.mode, batch * len, sums, channel);
                let (dgamma, dbeta) = gradient.affine();
                record(index, dgamma, dbeta);
                write_planes(simd, &mut pass, segments, channel, gradient);
            }
        }
        PerChannel::Columns { rows, channels } => {
            for (first, strip) in Strip::all(0, rows, channels, channels) {
                let lanes = strip_channels(first, strip.lanes, &channel_of);
                let sums = sum_strip(simd, &pass, strip, &lanes);
                let mut gradients = [ChannelGradient::Narrow(Gradient::ZERO); LANES];
                for (slot, (sums, channel)) in gradients.iter_mut().zip(sums.iter().zip(lanes)) {
                    *slot = ChannelGradient::new(pass.mode, rows, *sums, channel);
                }
                for (lane, gradient) in gradients.iter().take(strip.lanes).enumerate() {
                    let (dgamma, dbeta) = gradient.affine();
                    record(first + lane, dgamma, dbeta);
                }
                write_strip(simd, &mut pass, strip, &lanes, &gradients);
            }
        }
    }
}

/// The channels of a strip; zeros in the lanes that are none.
#[inline(always)]
fn strip_channels(
    first: usize,
    lanes: usize,
    channel_of: impl Fn(usize) -> Channel,
) -> [Channel; LANES] {
    let mut channels = [Channel { mean: 0.0, rstd: 0.0, gamma: 0.0 }; LANES];
    for (lane, slot) in channels.iter_mut().take(lanes).enumerate() {
        *slot = channel_of(first + lane);
    }
    channels
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
    mean: Wide<S>,
    rstd: Wide<S>,
) -> [B::Sum<Wide<S>>; 3] {
    simd.vectorize(
        #[inline(always)]
        || block_sums(simd, block, inputs, mean, rstd),
    )
}

/// The sums of one block. Out of line, so that there is one copy of it.
#[inline(never)]
fn sum_row_block<S: Simd>(simd: S, pass: &Pass<'_>, block: RowBlock, channel: Channel) -> Sums {
    simd.vectorize(
        #[inline(always)]
        || {
            let inputs = [pass.dy, pass.x];
            let Channel { mean, rstd, .. } = channel;
            let mean = <f32x16<S>>::filled(simd, mean);
            let rstd = <f32x16<S>>::filled(simd, rstd);
            let sums = block_sums(simd, block, inputs, mean, rstd);
            if sums.iter().all(|sum| sum.is_finite()) {
                return Sums::Narrow(sums);
            }
            let (mean, rstd) = (Wide::load(simd, &mean), Wide::load(simd, &rstd));
            Sums::Merged { sums: rescue(simd, block, inputs, mean, rstd), wide: true }
        },
    )
}

#[inline(never)]
fn sum_rows<S: Simd>(simd: S, pass: &Pass<'_>, segments: Segments, channel: Channel) -> Sums {
    let mut blocks = segments.blocks();
    let Some(first) = blocks.next() else { return Sums::Narrow([0.0; 3]) };
    let first = sum_row_block(simd, pass, first, channel);
    let Some(second) = blocks.next() else { return first };
    let mut tree = Tree::<[f64; 3], LEVELS>::new([0.0; 3]);
    let mut wide = first.is_wide();
    tree.push(first.widened(), add);
    for block in core::iter::once(second).chain(blocks) {
        let sums = sum_row_block(simd, pass, block, channel);
        wide |= sums.is_wide();
        tree.push(sums.widened(), add);
    }
    Sums::Merged { sums: tree.finish(add).unwrap_or([0.0; 3]), wide }
}

/// Statistics of a strip in both arithmetics.
#[derive(Clone, Copy)]
struct StripInputs<S: Simd> {
    mean: f32x16<S>,
    rstd: f32x16<S>,
}

/// The sums of one block of columns. Out of line, so that there is one copy of it.
#[inline(never)]
fn sum_column_block<S: Simd>(
    simd: S,
    pass: &Pass<'_>,
    block: ColumnBlock<S>,
    strip: StripInputs<S>,
) -> [Sums; LANES] {
    simd.vectorize(
        #[inline(always)]
        || {
            let inputs = [pass.dy, pass.x];
            let StripInputs { mean, rstd } = strip;
            let narrow = block_sums(simd, block, inputs, mean, rstd);
            let mut sums = [Sums::Narrow([0.0; 3]); LANES];
            for (slot, lane) in sums.iter_mut().zip(transposed(narrow)) {
                *slot = Sums::Narrow(lane);
            }
            let rescued = (!all_finite(narrow)).to_bitmask();
            if rescued != 0 {
                let (mean, rstd) = (Wide::load(simd, &mean), Wide::load(simd, &rstd));
                let wide = transposed(rescue(simd, block, inputs, mean, rstd));
                for (lane, (slot, wide)) in sums.iter_mut().zip(wide).enumerate() {
                    if rescued >> lane & 1 == 1 {
                        *slot = Sums::Merged { sums: wide, wide: true };
                    }
                }
            }
            sums
        },
    )
}

/// The lanes in which all three sums are finite.
#[inline(always)]
fn all_finite<S: Simd>([a, b, e]: [f32x16<S>; 3]) -> mask32x16<S> {
    finite(a) & finite(b) & finite(e)
}

#[inline(always)]
fn finite<S: Simd>(v: f32x16<S>) -> mask32x16<S> {
    v.all(f32::INFINITY).greater(v) & v.greater(v.all(f32::NEG_INFINITY))
}

/// The three sums of each lane.
#[inline(always)]
fn transposed<S: Simd, V: Lanes<S>>([a, b, e]: [V; 3]) -> [[V::Scalar; 3]; LANES] {
    let mut lanes = [[V::Scalar::ZERO; 3]; LANES];
    let values = a.values().into_iter().zip(b.values()).zip(e.values());
    for (slot, ((a, b), e)) in lanes.iter_mut().zip(values) {
        *slot = [a, b, e];
    }
    lanes
}

#[inline(always)]
fn sum_strip<S: Simd>(
    simd: S,
    pass: &Pass<'_>,
    strip: Strip,
    channels: &[Channel; LANES],
) -> [Sums; LANES] {
    let inputs = StripInputs {
        mean: Lanes::from_array(simd, channels.map(|channel| channel.mean)),
        rstd: Lanes::from_array(simd, channels.map(|channel| channel.rstd)),
    };
    let mut blocks = strip.blocks(simd);
    let Some(first) = blocks.next() else { return [Sums::Narrow([0.0; 3]); LANES] };
    let first = sum_column_block(simd, pass, first, inputs);
    if blocks.next().is_none() {
        return first;
    }
    if strip.rows < super::columns::BLOCK_ROWS << FEW_LEVELS {
        merge_strip::<S, FEW_LEVELS>(simd, pass, strip, inputs)
    } else {
        merge_strip::<S, LEVELS>(simd, pass, strip, inputs)
    }
}

/// Sums a strip of more than one block.
#[inline(never)]
fn merge_strip<S: Simd, const N: usize>(
    simd: S,
    pass: &Pass<'_>,
    strip: Strip,
    inputs: StripInputs<S>,
) -> [Sums; LANES] {
    simd.vectorize(
        #[inline(always)]
        || {
            let mut tree = Tree::<[[f64; LANES]; 3], N>::new([[0.0; LANES]; 3]);
            let mut wide = [false; LANES];
            let merge = |a: [[f64; LANES]; 3], b: [[f64; LANES]; 3]| {
                let mut sums = a;
                for (sums, b) in sums.iter_mut().zip(b) {
                    *sums = add(*sums, b);
                }
                sums
            };
            for block in strip.blocks(simd) {
                let mut sums = [[0.0; LANES]; 3];
                let lanes = sum_column_block(simd, pass, block, inputs);
                for (lane, (wide, lane_sums)) in wide.iter_mut().zip(lanes).enumerate() {
                    *wide |= lane_sums.is_wide();
                    for (sums, value) in sums.iter_mut().zip(lane_sums.widened()) {
                        if let Some(slot) = sums.get_mut(lane) {
                            *slot = value;
                        }
                    }
                }
                tree.push(sums, merge);
            }
            let [a, b, e] = tree.finish(merge).unwrap_or([[0.0; LANES]; 3]);
            let mut sums = [Sums::Narrow([0.0; 3]); LANES];
            let lanes = a.into_iter().zip(b).zip(e).zip(wide);
            for (slot, (((a, b), e), wide)) in sums.iter_mut().zip(lanes) {
                *slot = Sums::Merged { sums: [a, b, e], wide };
            }
            sums
        },
    )
}

#[inline(never)]
fn write_planes<S: Simd>(
    simd: S,
    pass: &mut Pass<'_>,
    segments: Segments,
    channel: Channel,
    gradient: ChannelGradient,
) {
    let Channel { mean, rstd, .. } = channel;
    simd.vectorize(
        #[inline(always)]
        || match gradient {
            ChannelGradient::Narrow(g) => {
                let formula = formula(g, mean, rstd, |v| <f32x16<S>>::filled(simd, v));
                write_each_plane(simd, pass, segments, formula);
            }
            ChannelGradient::Wide(g) => {
                let (mean, rstd) = (f64::from(mean), f64::from(rstd));
                let formula = formula(g, mean, rstd, |v| Wide::filled(simd, v));
                write_each_plane(simd, pass, segments, formula);
            }
        },
    );
}

#[inline(always)]
fn write_each_plane<S: Simd, V: Lanes<S>>(
    simd: S,
    pass: &mut Pass<'_>,
    segments: Segments,
    formula: Formula<V>,
) {
    let Some(dx) = &mut pass.dx else { return };
    for start in segments.starts() {
        let dy = part(pass.dy, start, segments.len);
        let x = part(pass.x, start, segments.len);
        write_plane(simd, pass.mode, dy, x, part_mut(dx, start, segments.len), formula);
    }
}

#[inline(always)]
fn formula<T, V>(g: Gradient<T>, mean: T, rstd: T, splat: impl Fn(T) -> V) -> Formula<V> {
    Formula {
        mean: splat(mean),
        rstd: splat(rstd),
        k: splat(g.k),
        offset: splat(g.offset),
        slope: splat(g.slope),
        scale: splat(g.scale),
    }
}

#[inline(always)]
fn write_plane<S: Simd, V: Lanes<S>>(
    simd: S,
    mode: Mode,
    dy: &[f32],
    x: &[f32],
    dx: &mut [f32],
    formula: Formula<V>,
) {
    let (dys, dy_rest) = dy.as_chunks::<LANES>();
    let (xs, x_rest) = x.as_chunks::<LANES>();
    let (dxs, dx_rest) = dx.as_chunks_mut::<LANES>();
    for ((dy, x), dx) in dys.iter().zip(xs).zip(dxs) {
        formula.dx(mode, V::load(simd, dy), V::load(simd, x)).narrow().store_array(dx);
    }
    if !dx_rest.is_empty() {
        let (dy, x) = (V::load(simd, &padded(dy_rest)), V::load(simd, &padded(x_rest)));
        store_first(dx_rest, formula.dx(mode, dy, x).narrow());
    }
}

#[inline(never)]
fn write_strip<S: Simd>(
    simd: S,
    pass: &mut Pass<'_>,
    strip: Strip,
    channels: &[Channel; LANES],
    gradients: &[ChannelGradient; LANES],
) {
    let mut narrow_lanes = [Gradient::<f32>::ZERO; LANES];
    let mut wide_lanes = [Gradient::<f64>::ZERO; LANES];
    let mut wide = 0_u64;
    let slots = narrow_lanes.iter_mut().zip(&mut wide_lanes).zip(gradients);
    for (lane, ((narrow, wide_slot), gradient)) in slots.enumerate() {
        match *gradient {
            ChannelGradient::Narrow(gradient) => *narrow = gradient,
            ChannelGradient::Wide(gradient) => {
                *wide_slot = gradient;
                wide |= 1 << lane;
            }
        }
    }
    let mean = channels.map(|channel| channel.mean);
    let rstd = channels.map(|channel| channel.rstd);
    let mode = pass.mode;
    simd.vectorize(
        #[inline(always)]
        || {
            let narrow: Formula<f32x16<S>> = strip_formula(simd, &narrow_lanes, mean, rstd);
            if wide == 0 {
                return write_rows(
                    simd,
                    pass,
                    strip,
                    #[inline(always)]
                    |dy, x| narrow.dx(mode, dy, x),
                );
            }
            let (mean, rstd) = (mean.map(f64::from), rstd.map(f64::from));
            let wide_formula: Formula<Wide<S>> = strip_formula(simd, &wide_lanes, mean, rstd);
            let lanes = mask32x16::from_bitmask(simd, wide);
            write_rows(
                simd,
                pass,
                strip,
                #[inline(always)]
                |dy, x| {
                    let wide = wide_formula.dx(mode, Wide::load(simd, &dy), Wide::load(simd, &x));
                    lanes.select(wide.narrow(), narrow.dx(mode, dy, x))
                },
            );
        },
    );
}

#[inline(always)]
fn strip_formula<S: Simd, V: Lanes<S>>(
    simd: S,
    gradients: &[Gradient<V::Scalar>; LANES],
    mean: [V::Scalar; LANES],
    rstd: [V::Scalar; LANES],
) -> Formula<V> {
    let zero = V::Scalar::ZERO;
    Formula {
        mean: V::from_array(simd, mean),
        rstd: V::from_array(simd, rstd),
        k: V::from_array(simd, each(*gradients, zero, |g| g.k)),
        offset: V::from_array(simd, each(*gradients, zero, |g| g.offset)),
        slope: V::from_array(simd, each(*gradients, zero, |g| g.slope)),
        scale: V::from_array(simd, each(*gradients, zero, |g| g.scale)),
    }
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
        super::apply::store_strip(part_mut(dx, offset, strip.lanes), f(dy, x));
    }
}
