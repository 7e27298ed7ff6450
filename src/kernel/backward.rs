//! Drivers of backward: sums, gradients, dx; a tile or a band at a time.

use super::block::each;
use super::columns::{Band, with_strips};
use super::gradient::{Channel, Formula, Gradient, Gradients, Mode, with_formula};
use super::lanes::{LANES, Lanes as _, One, Sixteen, Unit, Value, Wide, load_lanes};
use super::map::{Tensor, gather_rows};
use super::normalize::Fixed;
use super::reduce::{Found, reduce_band, reduce_rows, reduce_tile};
use super::rows::{part, part_mut};
use super::sets::{Reductions, Tile, lanes_or};
use super::small;
use super::statistic::Statistic;
use super::statistic::gradient::GradientSums;
use crate::backend::Target;
use crate::io::get;
use crate::{Constant, Given, Source, Statistics};
use fearless_simd::{Simd, SimdMask as _, f32x16};

/// The tensors of a backward pass.
pub(crate) struct Pass<'a> {
    pub(crate) dy: &'a [f32],
    pub(crate) x: &'a [f32],
    pub(crate) dx: Option<&'a mut [f32]>,
}

/// What backward is told beside its tensors.
#[derive(Clone, Copy)]
pub(crate) struct Known<'a> {
    pub(crate) source: Source<'a>,
    pub(crate) gamma: Option<&'a [f32]>,
    pub(crate) eps: f64,
}

impl Known<'_> {
    #[inline(always)]
    pub(crate) fn mode(&self) -> Mode {
        match self.source {
            Source::Saved(_) => Mode::Train,
            Source::Given(_) => Mode::Inference,
        }
    }

    /// What is known of one channel.
    pub(crate) fn channel(&self, channel: usize) -> Channel<f32> {
        let (mean, rstd) = match self.source {
            Source::Saved(Statistics { mean, rstd }) => (get(mean, channel), get(rstd, channel)),
            Source::Given(given) => fixed(given).one(channel, self.eps).saved(),
        };
        let gamma = self.gamma.map_or(1.0, |gamma| get(gamma, channel));
        Channel { mean, rstd, gamma }
    }

    /// What is known of sixteen channels.
    #[inline(always)]
    fn lanes<S: Simd>(&self, simd: S, channel: usize) -> Channel<f32x16<S>> {
        let (mean, rstd) = match self.source {
            Source::Saved(statistics) => (
                load_lanes(simd, statistics.mean, channel),
                load_lanes(simd, statistics.rstd, channel),
            ),
            Source::Given(given) => fixed(given).sixteen(simd, channel, self.eps).saved(),
        };
        Channel { mean, rstd, gamma: lanes_or(simd, self.gamma, channel, 1.0) }
    }
}

/// Backward has no choice for constant channels.
const fn fixed(given: Given<'_>) -> Fixed<'_> {
    Fixed { given, constant: Constant::Zero }
}

/// dγ and dβ of neighbouring channels.
pub(crate) struct ParameterGradients {
    /// The number of the first.
    pub(crate) number: usize,
    count: usize,
    gamma: [f32; LANES],
    beta: [f32; LANES],
}

impl ParameterGradients {
    #[inline(always)]
    pub(crate) fn new<U: Unit>(
        (number, count): (usize, usize),
        gradients: &Gradients<U>,
        found: &Found<U, 3, 3>,
    ) -> Self {
        let (gamma, beta) = gradients.affine(found);
        Self { number, count, gamma: U::array(gamma), beta: U::array(beta) }
    }

    /// From Σ dy and Σ dy·x̃.
    #[inline(always)]
    pub(crate) fn of_sums<U: Unit>(
        (number, count): (usize, usize),
        found: &Found<U, 2, 2>,
    ) -> Self {
        let [beta, gamma] = found.narrow();
        Self { number, count, gamma: U::array(gamma), beta: U::array(beta) }
    }

    /// From the same in f64, of a lane each.
    #[inline(always)]
    pub(crate) fn of_totals<S: Simd>(
        (number, count): (usize, usize),
        [beta, gamma]: [Wide<S>; 2],
    ) -> Self {
        Self { number, count, gamma: gamma.narrow().values(), beta: beta.narrow().values() }
    }

    pub(crate) fn gamma(&self) -> &[f32] {
        self.gamma.get(..self.count).unwrap_or(&self.gamma)
    }

    pub(crate) fn beta(&self) -> &[f32] {
        self.beta.get(..self.count).unwrap_or(&self.beta)
    }
}

/// The sums of a tile's reductions.
#[inline(always)]
pub(crate) fn tile_sums<S: Simd, const INPUTS: usize>(
    simd: S,
    tile: &Tile,
    inputs: [&[f32]; INPUTS],
    (mean, rstd): (f32x16<S>, f32x16<S>),
) -> Found<Sixteen<S>, 3, 3>
where
    GradientSums<Sixteen<S>>: Statistic<Sixteen<S>, INPUTS, 3, 3>,
    GradientSums<One>: Statistic<One, INPUTS, 3, 3>,
{
    if let Some(rows) = tile.rows() {
        return reduce_rows(simd, GradientSums { mean, rstd }, rows, inputs);
    }
    let mut statistics = [GradientSums::<One> { mean: 0.0, rstd: 0.0 }; LANES];
    let values = mean.values().into_iter().zip(rstd.values());
    for (slot, (mean, rstd)) in statistics.iter_mut().zip(values) {
        *slot = GradientSums { mean, rstd };
    }
    let statistics = statistics.get(..tile.count).unwrap_or(&statistics);
    reduce_tile(simd, statistics, tile, inputs)
}

/// Backward of channels whose planes lie together.
#[inline(always)]
pub(crate) fn rows<S: Target>(
    simd: S,
    rows: Reductions,
    mut pass: Pass<'_>,
    known: Known<'_>,
    mut record: impl FnMut(&ParameterGradients),
) {
    if S::SCALAR {
        return small::backward(simd, (rows.count, rows.sets()), pass, known, record);
    }
    let mode = known.mode();
    for tile in rows.tiles() {
        let channel = known.lanes(simd, tile.number);
        let found = tile_sums(simd, &tile, [pass.dy, pass.x], (channel.mean, channel.rstd));
        let gradients = Gradients::new(mode, &found, channel);
        record(&ParameterGradients::new((tile.number, tile.count), &gradients, &found));
        write_tile(simd, &mut pass, (mode, None), &tile, &StripGradient { gradients, channel });
    }
}

/// Backward of channels that are interleaved.
#[inline(always)]
pub(crate) fn columns<S: Target>(
    simd: S,
    matrix: Band,
    pass: Pass<'_>,
    known: Known<'_>,
    record: impl FnMut(&ParameterGradients),
) {
    if S::SCALAR {
        return small::backward(simd, (matrix.channels, matrix.sets()), pass, known, record);
    }
    with_strips!(matrix, STRIPS => columns_of::<S, STRIPS>(simd, matrix, pass, known, record));
}

#[inline(always)]
fn columns_of<S: Simd, const STRIPS: usize>(
    simd: S,
    matrix: Band,
    mut pass: Pass<'_>,
    known: Known<'_>,
    mut record: impl FnMut(&ParameterGradients),
) {
    let mode = known.mode();
    for (channel, band) in matrix.bands(STRIPS) {
        let nothing = known.lanes(simd, channel);
        let mut channels = [nothing; STRIPS];
        for (i, (slot, _)) in channels.iter_mut().zip(band.strips()).enumerate() {
            *slot = known.lanes(simd, channel + i * LANES);
        }
        let statistics = each(
            channels,
            GradientSums { mean: nothing.mean, rstd: nothing.rstd },
            #[inline(always)]
            |Channel { mean, rstd, .. }| GradientSums { mean, rstd },
        );
        let found = reduce_band(simd, &statistics, band, [pass.dy, pass.x]);
        let mut strips = [StripGradient::nothing(simd, nothing); STRIPS];
        let slots = strips.iter_mut().zip(&channels).zip(&found).zip(band.strips());
        for (i, (((slot, channel_lanes), found), strip)) in slots.enumerate() {
            let gradients = Gradients::new(mode, found, *channel_lanes);
            let channels = (channel + i * LANES, strip.lanes);
            record(&ParameterGradients::new(channels, &gradients, found));
            *slot = StripGradient { gradients, channel: *channel_lanes };
        }
        write_band(simd, &mut pass, mode, band, &strips);
    }
}

/// What dx of sixteen reductions is made of.
#[derive(Clone, Copy)]
pub(crate) struct StripGradient<S: Simd> {
    pub(crate) gradients: Gradients<Sixteen<S>>,
    pub(crate) channel: Channel<f32x16<S>>,
}

impl<S: Simd> StripGradient<S> {
    /// Room for one.
    #[inline(always)]
    pub(crate) fn nothing(simd: S, channel: Channel<f32x16<S>>) -> Self {
        let gradients = Gradients::new(Mode::Inference, &Found::nothing(simd), channel);
        Self { gradients, channel }
    }
}

/// Writes dx of a tile, one reduction a lane. Where each element of a reduction has a γ, it is in
/// `gamma`.
#[inline(never)]
pub(crate) fn write_tile<S: Simd>(
    simd: S,
    pass: &mut Pass<'_>,
    (mode, gamma): (Mode, Option<&[f32]>),
    tile: &Tile,
    strip: &StripGradient<S>,
) {
    simd.vectorize(
        #[inline(always)]
        || {
            let lanes = LaneGradients {
                narrow: strip.gradients.narrow.each(|value| value.values()),
                channel: strip.channel.each(|value| value.values()),
                in_f64: strip.gradients.in_f64,
                wide: strip.gradients.wide.to_bitmask(),
            };
            let Pass { dy, x, dx: Some(dx) } = pass else { return };
            let len = tile.first.len;
            // Never 0, of which chunks would panic.
            let step = tile.step.max(1);
            // Everything that the reductions take of a sample, as one piece.
            let all = tile.step * tile.count.saturating_sub(1) + len;
            with_formula!(mode, formula => {
                // In the order of memory: neighbouring planes, then those of the next sample.
                for start in tile.first.starts() {
                    let (dy, x) = (part(dy, start, all), part(x, start, all));
                    let pieces = dy.chunks(step).zip(x.chunks(step));
                    let pieces = pieces.zip(part_mut(dx, start, all).chunks_mut(step));
                    for (lane, ((dy, x), dx)) in pieces.enumerate() {
                        let piece = Tensor::Apart(part(x, 0, len), part_mut(dx, 0, len));
                        write_plane(simd, (part(dy, 0, len), piece), gamma, (formula, &lanes, lane));
                    }
                }
            });
        },
    );
}

/// What dx of sixteen reductions is made of, in memory for one after the other.
struct LaneGradients<S: Simd> {
    narrow: Gradient<[f32; LANES]>,
    channel: Channel<[f32; LANES]>,
    in_f64: Option<Gradient<Wide<S>>>,
    wide: u64,
}

/// Writes dx of a piece of the reduction of one lane.
#[inline(always)]
fn write_plane<S: Simd, F: Formula>(
    simd: S,
    piece: (&[f32], Tensor<'_>),
    gamma: Option<&[f32]>,
    (formula, lanes, lane): (F, &LaneGradients<S>, usize),
) {
    let wide = lanes.wide >> lane & 1 == 1;
    if let Some(gradient) = lanes.in_f64.as_ref().filter(|_| wide) {
        let gradient = gradient.each(
            #[inline(always)]
            |value| Wide::filled(simd, value.values().get(lane).copied().unwrap_or(0.0)),
        );
        let channel = lanes.channel.each(
            #[inline(always)]
            |values| Wide::filled(simd, f64::from(get(values, lane))),
        );
        write_piece(
            simd,
            piece,
            gamma,
            #[inline(always)]
            |dy, x, gamma| {
                let dy = Sixteen::widen(dy) * Sixteen::widen(gamma);
                formula.dx(&gradient, channel, dy, Sixteen::widen(x)).narrow()
            },
        );
    } else {
        let gradient = lanes.narrow.each(
            #[inline(always)]
            |values| f32x16::filled(simd, get(values, lane)),
        );
        let channel = lanes.channel.each(
            #[inline(always)]
            |values| f32x16::filled(simd, get(values, lane)),
        );
        write_piece(
            simd,
            piece,
            gamma,
            #[inline(always)]
            |dy, x, gamma| formula.dx(&gradient, channel, dy * gamma, x),
        );
    }
}

/// Writes f(dy, x, γ) for the elements of a piece of dy and of x; γ is 1 where there is none.
#[inline(always)]
fn write_piece<S: Simd>(
    simd: S,
    (dy, piece): (&[f32], Tensor<'_>),
    gamma: Option<&[f32]>,
    f: impl Fn(f32x16<S>, f32x16<S>, f32x16<S>) -> f32x16<S>,
) {
    let one = f32x16::filled(simd, 1.0);
    match gamma {
        Some(gamma) => piece.map(
            simd,
            [dy, gamma],
            #[inline(always)]
            |x, [dy, gamma]| f(dy, x, gamma),
        ),
        None => piece.map(
            simd,
            [dy],
            #[inline(always)]
            |x, [dy]| f(dy, x, one),
        ),
    }
}

/// Writes dx of every strip of a band.
#[inline(never)]
pub(crate) fn write_band<S: Simd, const STRIPS: usize>(
    simd: S,
    pass: &mut Pass<'_>,
    mode: Mode,
    band: Band,
    strips: &[StripGradient<S>; STRIPS],
) {
    let Pass { dy, x, dx: Some(dx) } = pass else { return };
    simd.vectorize(
        #[inline(always)]
        || {
            with_formula!(mode, formula => write_strips(simd, [dy, x], dx, band, (formula, strips)));
        },
    );
}

#[inline(always)]
fn write_strips<S: Simd, F: Formula, const STRIPS: usize>(
    simd: S,
    [dy, x]: [&[f32]; 2],
    dx: &mut [f32],
    band: Band,
    (formula, strips): (F, &[StripGradient<S>; STRIPS]),
) {
    let mut tensor = Tensor::Apart(x, dx);
    if strips.iter().any(|strip| strip.gradients.wide.any_true()) {
        return tensor.map_strips(
            simd,
            strips,
            [dy],
            band,
            #[inline(always)]
            |strip, x, [dy]| mixed(formula, strip, dy, x),
        );
    }
    let mut rows = [[f32x16::filled(simd, 0.0); STRIPS]; 6];
    gather_rows!(rows, strips, strip => [
        strip.channel.mean,
        strip.channel.rstd,
        strip.channel.gamma,
        strip.gradients.narrow.offset,
        strip.gradients.narrow.slope,
        strip.gradients.narrow.scale,
    ]);
    tensor.map_rows(
        simd,
        &rows,
        [dy],
        band,
        #[inline(always)]
        |[mean, rstd, gamma, offset, slope, scale], x, [dy]| {
            let channel = Channel { mean, rstd, gamma };
            let gradient = Gradient { offset, slope, scale, dgamma: slope, dbeta: offset };
            formula.dx(&gradient, channel, dy, x)
        },
    );
}

/// dx of a strip of which some lanes are wide.
#[inline(always)]
fn mixed<S: Simd, F: Formula>(
    formula: F,
    StripGradient { gradients, channel }: &StripGradient<S>,
    dy: f32x16<S>,
    x: f32x16<S>,
) -> f32x16<S> {
    let narrow = formula.dx(&gradients.narrow, *channel, dy, x);
    let Some(in_f64) = &gradients.in_f64 else { return narrow };
    let channel = channel.each(
        #[inline(always)]
        |value| Sixteen::<S>::widen(*value),
    );
    let in_f64 = formula.dx(in_f64, channel, Sixteen::widen(dy), Sixteen::widen(x));
    Value::select(gradients.wide, in_f64.narrow(), narrow)
}
