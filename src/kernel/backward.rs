//! Drivers of backward: sums, gradients, dx; a tile or a band at a time.

use super::block::each;
use super::columns::{Band, STRIPS, load_lanes};
use super::gradient::{Channel, Gradients, Mode};
use super::lanes::{LANES, Lanes as _, One, Sixteen, Unit, Value, Wide};
use super::map::Tensor;
use super::normalize::Fixed;
use super::reduce::{Found, reduce_band, reduce_rows, reduce_tile};
use super::rows::{Segments, part};
use super::sets::{Reductions, Tile, lanes_or};
use super::small;
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

    pub(crate) fn gamma(&self) -> &[f32] {
        self.gamma.get(..self.count).unwrap_or(&self.gamma)
    }

    pub(crate) fn beta(&self) -> &[f32] {
        self.beta.get(..self.count).unwrap_or(&self.beta)
    }
}

/// The sums of a tile's reductions.
#[inline(always)]
fn tile_sums<S: Simd>(
    simd: S,
    tile: &Tile,
    inputs: [&[f32]; 2],
    (mean, rstd): (f32x16<S>, f32x16<S>),
) -> Found<Sixteen<S>, 3, 3> {
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
        write_tile(simd, &mut pass, mode, &tile, &StripGradient { gradients, channel });
    }
}

/// Backward of channels that are interleaved.
#[inline(always)]
pub(crate) fn columns<S: Target>(
    simd: S,
    matrix: Band,
    mut pass: Pass<'_>,
    known: Known<'_>,
    mut record: impl FnMut(&ParameterGradients),
) {
    if S::SCALAR {
        return small::backward(simd, (matrix.channels, matrix.sets()), pass, known, record);
    }
    let mode = known.mode();
    for (channel, band) in matrix.bands() {
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
struct StripGradient<S: Simd> {
    gradients: Gradients<Sixteen<S>>,
    channel: Channel<f32x16<S>>,
}

impl<S: Simd> StripGradient<S> {
    /// Room for one.
    #[inline(always)]
    fn nothing(simd: S, channel: Channel<f32x16<S>>) -> Self {
        let gradients = Gradients::new(Mode::Inference, &Found::nothing(simd), channel);
        Self { gradients, channel }
    }
}

/// Writes dx of a tile, one reduction a lane.
#[inline(never)]
fn write_tile<S: Simd>(
    simd: S,
    pass: &mut Pass<'_>,
    mode: Mode,
    tile: &Tile,
    strip: &StripGradient<S>,
) {
    let Pass { dy, x, dx: Some(dx) } = pass else { return };
    simd.vectorize(
        #[inline(always)]
        || {
            let StripGradient { gradients, channel } = *strip;
            let (means, rstds) = (channel.mean.values(), channel.rstd.values());
            let wide = gradients.wide.to_bitmask();
            for i in 0..tile.count {
                let (mean, rstd) = (get(&means, i), get(&rstds, i));
                if let Some(gradient) = gradients.in_f64.filter(|_| wide >> i & 1 == 1) {
                    let gradient = gradient.each(
                        #[inline(always)]
                        |value| Wide::filled(simd, value.values().get(i).copied().unwrap_or(0.0)),
                    );
                    let mean = Wide::filled(simd, f64::from(mean));
                    let rstd = Wide::filled(simd, f64::from(rstd));
                    write_segments(
                        simd,
                        [dy, x],
                        dx,
                        tile.segments(i),
                        #[inline(always)]
                        |dy, x| {
                            let (dy, x) = (Sixteen::widen(dy), Sixteen::widen(x));
                            gradient.dx(mode, (mean, rstd), dy, x).narrow()
                        },
                    );
                } else {
                    let gradient = gradients.narrow.each(
                        #[inline(always)]
                        |value| f32x16::filled(simd, get(&value.values(), i)),
                    );
                    let (mean, rstd) = (f32x16::filled(simd, mean), f32x16::filled(simd, rstd));
                    write_segments(
                        simd,
                        [dy, x],
                        dx,
                        tile.segments(i),
                        #[inline(always)]
                        |dy, x| gradient.dx(mode, (mean, rstd), dy, x),
                    );
                }
            }
        },
    );
}

/// Writes f(dy, x) for the elements of segments.
#[inline(always)]
fn write_segments<S: Simd>(
    simd: S,
    [dy, x]: [&[f32]; 2],
    dx: &mut [f32],
    segments: Segments,
    f: impl Fn(f32x16<S>, f32x16<S>) -> f32x16<S>,
) {
    for start in segments.starts() {
        let dy = part(dy, start, segments.len);
        Tensor::Apart(x, dx).piece(start, segments.len).map(
            simd,
            [dy],
            #[inline(always)]
            |x, [dy]| f(dy, x),
        );
    }
}

/// Writes dx of every strip of a band.
#[inline(never)]
fn write_band<S: Simd>(
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
            let [first, ..] = strips;
            let mut tensor = Tensor::Apart(x, dx);
            if strips.iter().any(|strip| strip.gradients.wide.any_true()) {
                return tensor.map_band(
                    simd,
                    [dy],
                    band,
                    #[inline(always)]
                    |i| mixed(mode, *strips.get(i).unwrap_or(first)),
                );
            }
            tensor.map_band(
                simd,
                [dy],
                band,
                #[inline(always)]
                |i| {
                    let StripGradient { gradients, channel } = *strips.get(i).unwrap_or(first);
                    let (gradient, statistics) = (gradients.narrow, (channel.mean, channel.rstd));
                    #[inline(always)]
                    move |x, [dy]: [f32x16<S>; 1]| gradient.dx(mode, statistics, dy, x)
                },
            );
        },
    );
}

/// dx of a strip of which some lanes are wide.
#[inline(always)]
fn mixed<S: Simd>(
    mode: Mode,
    StripGradient { gradients, channel }: StripGradient<S>,
) -> impl Fn(f32x16<S>, [f32x16<S>; 1]) -> f32x16<S> + Copy {
    let Channel { mean, rstd, .. } = channel;
    let wide = (Sixteen::widen(mean), Sixteen::widen(rstd));
    #[inline(always)]
    move |x, [dy]| {
        let narrow = gradients.narrow.dx(mode, (mean, rstd), dy, x);
        let Some(in_f64) = gradients.in_f64 else { return narrow };
        let in_f64 = in_f64.dx(mode, wide, Sixteen::widen(dy), Sixteen::widen(x));
        Value::select(gradients.wide, in_f64.narrow(), narrow)
    }
}
