//! Drivers of normalization: reduce, make constants, apply; a tile or a band at a time, so that most
//! of what is applied still lies in a cache.

use super::apply::{CentredStrip, apply_band, apply_tile};
use super::columns::{ALL_STRIPS, Band, MANY_STRIPS, STRIPS, with_strips};
use super::constants::{Constants, at_most_max, variance};
use super::lanes::{LANES, Lanes as _, One, Sixteen, Unit, Value as _, Wide, load_lanes};
use super::map::Tensor;
use super::reduce::{Found, reduce_band, reduce_rows, reduce_tile};
use super::sets::{Parameters, Reductions, Tile};
use super::small;
use super::statistic::Statistic;
use super::statistic::moments::MeanAndSquares;
use super::statistic::squares::Squares;
use crate::backend::Target;
use crate::io::get;
use crate::{Affine, Constant, Given, Moments};
use fearless_simd::{Simd, f32x16};

/// What normalization is told beside its tensor.
#[derive(Clone, Copy)]
pub(crate) struct Options<'a> {
    pub(crate) affine: Affine<'a>,
    pub(crate) eps: f64,
    /// What the variances that are kept are divided by: n − `ddof`.
    pub(crate) ddof: usize,
}

/// What is kept of the statistics of neighbouring reductions.
pub(crate) struct Summary {
    /// The number of the first.
    pub(crate) number: usize,
    count: usize,
    mean: [f32; LANES],
    rstd: [f32; LANES],
    variance: [f32; LANES],
}

impl Summary {
    #[inline(always)]
    pub(crate) fn new<U: Unit>(
        (number, count): (usize, usize),
        found: &Found<U, 4, 2>,
        constants: &Constants<U>,
        ddof: usize,
    ) -> Self {
        let (mean, rstd) = constants.saved();
        let variance = at_most_max(U::round(variance(found, ddof)));
        let (mean, rstd, variance) = (U::array(mean), U::array(rstd), U::array(variance));
        Self { number, count, mean, rstd, variance }
    }

    /// The same of reductions with other numbers: those from `first` on.
    pub(crate) const fn moved(&self, first: usize) -> Self {
        let Self { number, count, mean, rstd, variance } = *self;
        Self { number: first.wrapping_add(number), count, mean, rstd, variance }
    }

    pub(crate) fn mean(&self) -> &[f32] {
        self.mean.get(..self.count).unwrap_or(&self.mean)
    }

    pub(crate) fn rstd(&self) -> &[f32] {
        self.rstd.get(..self.count).unwrap_or(&self.rstd)
    }

    pub(crate) fn variance(&self) -> &[f32] {
        self.variance.get(..self.count).unwrap_or(&self.variance)
    }
}

/// Reduces a tile by one statistic.
#[inline(always)]
fn reduce<S, T, const PARTS: usize, const TOTALS: usize>(
    simd: S,
    statistic: T,
    tile: &Tile,
    x: &[f32],
) -> Found<Sixteen<S>, PARTS, TOTALS>
where
    S: Simd,
    T: Statistic<Sixteen<S>, 1, PARTS, TOTALS> + Statistic<One, 1, PARTS, TOTALS>,
{
    match tile.rows() {
        Some(rows) => reduce_rows(simd, statistic, rows, [x]),
        None => {
            let statistics = [statistic; LANES];
            let statistics = statistics.get(..tile.count).unwrap_or(&statistics);
            reduce_tile(simd, statistics, tile, [x])
        }
    }
}

/// Normalizes reductions whose elements lie together by their own statistics.
#[inline(always)]
pub(crate) fn rows<S: Target>(
    simd: S,
    rows: Reductions,
    mut tensor: Tensor<'_>,
    options: Options<'_>,
    mut record: impl FnMut(&Summary),
) {
    if S::SCALAR {
        return small::normalize(
            simd,
            (rows.count, rows.sets()),
            rows.parameters,
            &mut tensor,
            options,
            &mut record,
        );
    }
    for tile in rows.tiles() {
        let found = reduce(simd, MeanAndSquares, &tile, tensor.input());
        let constants = Constants::new(&found, options.eps);
        record(&Summary::new((tile.number, tile.count), &found, &constants, options.ddof));
        apply_tile(simd, &mut tensor, rows.parameters, &tile, (&constants, options.affine));
    }
}

/// Divides reductions whose elements lie together by their root mean square. `record` is told the
/// number of the first of some reductions, and 1 / root of each.
#[inline(always)]
pub(crate) fn root_mean_square<S: Target>(
    simd: S,
    rows: Reductions,
    mut tensor: Tensor<'_>,
    options: Options<'_>,
    mut record: impl FnMut(usize, &[f32]),
) {
    if S::SCALAR {
        return small::root_mean_square(simd, rows, &mut tensor, options, &mut record);
    }
    for tile in rows.tiles() {
        let found = reduce(simd, Squares, &tile, tensor.input());
        let constants = Constants::of_squares(&found, options.eps);
        let (_, rstd) = constants.saved();
        let rstd = rstd.values();
        record(tile.number, rstd.get(..tile.count).unwrap_or(&rstd));
        apply_tile(simd, &mut tensor, rows.parameters, &tile, (&constants, options.affine));
    }
}

/// Normalizes channels that are interleaved by their own statistics. The first is reduction `number`.
#[inline(always)]
pub(crate) fn columns<S: Target>(
    simd: S,
    (number, matrix): (usize, Band),
    tensor: &mut Tensor<'_>,
    options: Options<'_>,
    record: &mut impl FnMut(&Summary),
) {
    if S::SCALAR {
        let parameters = Parameters::One { channels: matrix.channels };
        let sets = (matrix.channels, matrix.sets());
        return small::normalize(simd, sets, parameters, tensor, options, record);
    }
    with_strips!(matrix, STRIPS => {
        columns_of::<S, STRIPS>(simd, (number, matrix), tensor, options, record);
    });
}

#[inline(always)]
fn columns_of<S: Simd, const STRIPS: usize>(
    simd: S,
    (number, matrix): (usize, Band),
    tensor: &mut Tensor<'_>,
    options: Options<'_>,
    record: &mut impl FnMut(&Summary),
) {
    for (channel, band) in matrix.bands(STRIPS) {
        let found = reduce_band(simd, &[MeanAndSquares; STRIPS], band, [tensor.input()]);
        let mut strips = [CentredStrip::nothing(simd); STRIPS];
        let slots = strips.iter_mut().zip(&found).zip(band.strips());
        for (i, ((slot, found), strip)) in slots.enumerate() {
            let channel = channel + i * LANES;
            let constants = Constants::new(found, options.eps);
            let channels = (number + channel, strip.lanes);
            record(&Summary::new(channels, found, &constants, options.ddof));
            *slot = CentredStrip::new(constants, options.affine.lanes(simd, channel));
        }
        apply_band(simd, tensor, band, &strips);
    }
}

/// Hands out the moments of reductions whose elements lie together.
#[inline(always)]
pub(crate) fn collect_rows<S: Target>(
    simd: S,
    rows: Reductions,
    x: &[f32],
    mut record: impl FnMut(usize, Moments),
) {
    if S::SCALAR {
        return small::collect(simd, (rows.count, rows.sets()), x, record);
    }
    for tile in rows.tiles() {
        let found = reduce(simd, MeanAndSquares, &tile, x);
        hand_out(&found, (tile.number, tile.count), &mut record);
    }
}

/// Hands out the moments of channels that are interleaved.
#[inline(always)]
pub(crate) fn collect_columns<S: Target>(
    simd: S,
    matrix: Band,
    x: &[f32],
    record: impl FnMut(usize, Moments),
) {
    if S::SCALAR {
        return small::collect(simd, (matrix.channels, matrix.sets()), x, record);
    }
    with_strips!(matrix, STRIPS => collect_bands::<S, STRIPS>(simd, matrix, x, record));
}

#[inline(always)]
fn collect_bands<S: Simd, const STRIPS: usize>(
    simd: S,
    matrix: Band,
    x: &[f32],
    mut record: impl FnMut(usize, Moments),
) {
    for (channel, band) in matrix.bands(STRIPS) {
        let found = reduce_band(simd, &[MeanAndSquares; STRIPS], band, [x]);
        for (i, (found, strip)) in found.iter().zip(band.strips()).enumerate() {
            hand_out(found, (channel + i * LANES, strip.lanes), &mut record);
        }
    }
}

#[inline(always)]
fn hand_out<S: Simd>(
    found: &Found<Sixteen<S>, 4, 2>,
    (number, count): (usize, usize),
    record: &mut impl FnMut(usize, Moments),
) {
    let [mean, m2] = found.totals;
    for (i, (mean, m2)) in mean.values().into_iter().zip(m2.values()).enumerate().take(count) {
        record(number + i, Moments::from_parts(found.count as u64, mean, m2));
    }
}

/// Statistics that are given, and what becomes of a channel that is constant.
#[derive(Clone, Copy)]
pub(crate) struct Fixed<'a> {
    pub(crate) given: Given<'a>,
    pub(crate) constant: Constant,
}

impl Fixed<'_> {
    /// The constants of one channel.
    pub(crate) fn one(&self, channel: usize, eps: f64) -> Constants<One> {
        match self.given {
            Given::Running { mean, var } => {
                Constants::narrow(get(mean, channel), 0.0, get(var, channel).into(), eps)
            }
            Given::Population(moments) => {
                let moments = moments.get(channel).copied().unwrap_or_default();
                let moments = self.constant.replace(moments, eps);
                Constants::merged(moments.mean(), moments.variance(), eps)
            }
        }
    }

    /// The constants of sixteen channels.
    #[inline(always)]
    pub(crate) fn sixteen<S: Simd>(
        &self,
        simd: S,
        channel: usize,
        eps: f64,
    ) -> Constants<Sixteen<S>> {
        match self.given {
            Given::Running { mean, var } => {
                let mean: f32x16<S> = load_lanes(simd, mean, channel);
                let var = Sixteen::widen(load_lanes(simd, var, channel));
                Constants::narrow(mean, mean.all(0.0), var, eps)
            }
            Given::Population(moments) => {
                let (mut mean, mut var) = ([0.0; LANES], [0.0; LANES]);
                let slots = mean.iter_mut().zip(&mut var);
                for ((mean, var), moments) in slots.zip(moments.get(channel..).unwrap_or(&[])) {
                    let moments = self.constant.replace(*moments, eps);
                    (*mean, *var) = (moments.mean(), moments.variance());
                }
                let (mean, var) = (Wide::from_array(simd, mean), Wide::from_array(simd, var));
                Constants::merged(mean, var, eps)
            }
        }
    }
}

/// Normalizes channels whose planes lie together by given statistics.
#[inline(always)]
pub(crate) fn given_rows<S: Target>(
    simd: S,
    rows: Reductions,
    mut tensor: Tensor<'_>,
    options: Options<'_>,
    given: Fixed<'_>,
) {
    if S::SCALAR {
        return small::given((rows.count, rows.sets()), &mut tensor, options, given);
    }
    for tile in rows.tiles_of(LANES) {
        let constants = given.sixteen(simd, tile.number, options.eps);
        apply_tile(simd, &mut tensor, rows.parameters, &tile, (&constants, options.affine));
    }
}

/// Normalizes channels that are interleaved by given statistics.
#[inline(always)]
pub(crate) fn given_columns<S: Target>(
    simd: S,
    matrix: Band,
    mut tensor: Tensor<'_>,
    options: Options<'_>,
    given: Fixed<'_>,
) {
    if S::SCALAR {
        return small::given((matrix.channels, matrix.sets()), &mut tensor, options, given);
    }
    if matrix.channels > MANY_STRIPS * LANES {
        given_bands::<S, ALL_STRIPS>(simd, matrix, tensor, options, given);
    } else if matrix.channels > STRIPS * LANES {
        given_bands::<S, MANY_STRIPS>(simd, matrix, tensor, options, given);
    } else {
        given_bands::<S, STRIPS>(simd, matrix, tensor, options, given);
    }
}

#[inline(always)]
fn given_bands<S: Simd, const STRIPS: usize>(
    simd: S,
    matrix: Band,
    mut tensor: Tensor<'_>,
    options: Options<'_>,
    given: Fixed<'_>,
) {
    for (channel, band) in matrix.bands(STRIPS) {
        let mut strips = [CentredStrip::nothing(simd); STRIPS];
        for (i, slot) in strips.iter_mut().enumerate() {
            let channel = channel + i * LANES;
            if i * LANES < band.channels {
                let constants = given.sixteen(simd, channel, options.eps);
                *slot = CentredStrip::new(constants, options.affine.lanes(simd, channel));
            }
        }
        apply_band(simd, &mut tensor, band, &strips);
    }
}
