//! The apply: y from x and the constants of its reduction, a tile or a band at a time.

use super::columns::Band;
use super::constants::{Centred, Constants};
use super::lanes::{LANES, Lanes as _, One, Sixteen, Unit as _, Value, Wide};
use super::map::{Tensor, gather_rows};
use super::rows::Segments;
use super::sets::{Parameters, Tile};
use crate::Affine;
use crate::io::get;
use fearless_simd::{Simd, SimdMask as _, f32x16};

/// Applies the constants of a tile, one reduction a lane.
#[inline(always)]
pub(crate) fn apply_tile<S: Simd>(
    simd: S,
    tensor: &mut Tensor<'_>,
    parameters: Parameters,
    tile: &Tile,
    (constants, affine): (&Constants<Sixteen<S>>, Affine<'_>),
) {
    match parameters {
        Parameters::One { channels } => {
            let channel = tile.number.checked_rem(channels).unwrap_or(0);
            let strip = CentredStrip::new(*constants, affine.lanes(simd, channel));
            apply_planes(simd, tensor, tile, &strip);
        }
        Parameters::Planes { len, groups } => {
            for i in 0..tile.count {
                let group = (tile.number + i).checked_rem(groups).unwrap_or(0);
                let segments = tile.segments(i);
                let channels = segments.len.checked_div(len).unwrap_or(0);
                let constants = constants.of_lane(simd, i);
                for plane in (0..channels).step_by(LANES) {
                    let affine = affine.lanes(simd, group * channels + plane);
                    let planes = Tile {
                        number: 0,
                        count: LANES.min(channels - plane),
                        first: Segments::one(segments.start + plane * len, len),
                        step: len,
                    };
                    apply_planes(simd, tensor, &planes, &CentredStrip::new(constants, affine));
                }
            }
        }
        Parameters::Elements { groups } => {
            apply_elements(simd, tensor, tile, groups, (constants, affine));
        }
    }
}

/// Applies the constants, γ and β of a lane to each reduction. Their planes lie side by side.
#[inline(never)]
fn apply_planes<S: Simd>(simd: S, tensor: &mut Tensor<'_>, tile: &Tile, strip: &CentredStrip<S>) {
    simd.vectorize(
        #[inline(always)]
        || {
            let lanes = LaneValues::of(strip);
            let Segments { len, .. } = tile.first;
            // In the order of memory: neighbouring planes, then those of the next sample.
            for start in tile.first.starts() {
                tensor.piece(start, tile.count * len).each_piece(
                    len,
                    #[inline(always)]
                    |i, plane| apply_plane(simd, plane, lanes.at(i)),
                );
            }
        },
    );
}

/// Applies the constants of one reduction.
#[inline(always)]
fn apply_plane<S: Simd>(
    simd: S,
    plane: Tensor<'_>,
    (centred, gamma, beta): (Centred<One>, f32, f32),
) {
    let Centred { constants: Constants { hi, mean, rstd, wide, .. }, factor, offset } = centred;
    if wide {
        let wide = WideApply::new(simd, (mean, rstd));
        let (gamma, beta) = (f32x16::filled(simd, gamma), f32x16::filled(simd, beta));
        return plane.map(
            simd,
            [],
            #[inline(always)]
            |x, []| wide.of(x, gamma, beta),
        );
    }
    let hi = f32x16::filled(simd, hi);
    let (factor, offset) = (f32x16::filled(simd, factor), f32x16::filled(simd, offset));
    plane.map(
        simd,
        [],
        #[inline(always)]
        |x, []| (x - hi) * factor + offset,
    );
}

/// Applies the constants of a lane to each reduction, whose elements have γ and β of their own.
#[inline(never)]
fn apply_elements<S: Simd>(
    simd: S,
    tensor: &mut Tensor<'_>,
    tile: &Tile,
    groups: usize,
    (constants, affine): (&Constants<Sixteen<S>>, Affine<'_>),
) {
    simd.vectorize(
        #[inline(always)]
        || {
            let one = (f32x16::filled(simd, 1.0), f32x16::filled(simd, 0.0));
            let lanes = LaneValues::of(&CentredStrip::new(*constants, one));
            for i in 0..tile.count {
                let (Centred { constants, factor, .. }, ..) = lanes.at(i);
                let Constants { hi, lo, mean, rstd, wide } = constants;
                let segments = tile.segments(i);
                let group = (tile.number + i).checked_rem(groups).unwrap_or(0);
                let affine = affine.part(group * segments.len, segments.len);
                let piece = tensor.piece(segments.start, segments.len);
                if wide {
                    let wide = WideApply::new(simd, (mean, rstd));
                    map_affine(
                        simd,
                        piece,
                        affine,
                        #[inline(always)]
                        |x, gamma, beta| wide.of(x, gamma, beta),
                    );
                } else {
                    let (hi, lo) = (f32x16::filled(simd, hi), f32x16::filled(simd, lo));
                    let rstd = f32x16::filled(simd, factor);
                    map_affine(
                        simd,
                        piece,
                        affine,
                        #[inline(always)]
                        |x, gamma, beta| (((x - hi) - lo) * rstd) * gamma + beta,
                    );
                }
            }
        },
    );
}

/// Writes f(x, γ, β) for every element.
#[inline(always)]
fn map_affine<S: Simd>(
    simd: S,
    tensor: Tensor<'_>,
    affine: Affine<'_>,
    f: impl Fn(f32x16<S>, f32x16<S>, f32x16<S>) -> f32x16<S>,
) {
    let (one, zero) = (f32x16::filled(simd, 1.0), f32x16::filled(simd, 0.0));
    match affine {
        Affine { gamma: Some(gamma), beta: Some(beta) } => tensor.map(
            simd,
            [gamma, beta],
            #[inline(always)]
            |x, [gamma, beta]| f(x, gamma, beta),
        ),
        Affine { gamma: Some(gamma), beta: None } => tensor.map(
            simd,
            [gamma],
            #[inline(always)]
            |x, [gamma]| f(x, gamma, zero),
        ),
        Affine { gamma: None, beta: Some(beta) } => tensor.map(
            simd,
            [beta],
            #[inline(always)]
            |x, [beta]| f(x, one, beta),
        ),
        Affine { gamma: None, beta: None } => tensor.map(
            simd,
            [],
            #[inline(always)]
            |x, []| f(x, one, zero),
        ),
    }
}

/// The apply in f64.
#[derive(Clone, Copy)]
struct WideApply<S: Simd> {
    mean: Wide<S>,
    rstd: Wide<S>,
}

impl<S: Simd> WideApply<S> {
    /// The same for all lanes.
    #[inline(always)]
    fn new(simd: S, (mean, rstd): (f64, f64)) -> Self {
        Self { mean: Wide::filled(simd, mean), rstd: Wide::filled(simd, rstd) }
    }

    #[inline(always)]
    fn of(self, x: f32x16<S>, gamma: f32x16<S>, beta: f32x16<S>) -> f32x16<S> {
        let y = ((Sixteen::widen(x) - self.mean) * self.rstd) * Sixteen::widen(gamma);
        (y + Sixteen::widen(beta)).narrow()
    }
}

/// Constants, γ and β of sixteen reductions.
#[derive(Clone, Copy)]
pub(crate) struct CentredStrip<S: Simd> {
    centred: Centred<Sixteen<S>>,
    gamma: f32x16<S>,
    beta: f32x16<S>,
}

impl<S: Simd> CentredStrip<S> {
    #[inline(always)]
    pub(crate) fn new(
        constants: Constants<Sixteen<S>>,
        (gamma, beta): (f32x16<S>, f32x16<S>),
    ) -> Self {
        Self { centred: constants.with_affine((gamma, beta)), gamma, beta }
    }

    #[inline(always)]
    pub(crate) fn nothing(simd: S) -> Self {
        let zero = f32x16::filled(simd, 0.0);
        let centred = Centred { constants: Constants::nothing(simd), factor: zero, offset: zero };
        Self { centred, gamma: zero, beta: zero }
    }

    /// Whether a lane is wide.
    #[inline(always)]
    fn is_wide(&self) -> bool {
        self.centred.constants.wide.any_true()
    }
}

/// The same in memory, for one lane after the other.
struct LaneValues {
    hi: [f32; LANES],
    lo: [f32; LANES],
    factor: [f32; LANES],
    offset: [f32; LANES],
    mean: [f64; LANES],
    rstd: [f64; LANES],
    wide: u64,
    gamma: [f32; LANES],
    beta: [f32; LANES],
}

impl LaneValues {
    #[inline(always)]
    fn of<S: Simd>(CentredStrip { centred, gamma, beta }: &CentredStrip<S>) -> Self {
        let Centred { constants: Constants { hi, lo, mean, rstd, wide }, factor, offset } = centred;
        Self {
            hi: hi.values(),
            lo: lo.values(),
            factor: factor.values(),
            offset: offset.values(),
            mean: mean.values(),
            rstd: rstd.values(),
            wide: wide.to_bitmask(),
            gamma: gamma.values(),
            beta: beta.values(),
        }
    }

    /// One of them, with its γ and β.
    #[inline(always)]
    fn at(&self, i: usize) -> (Centred<One>, f32, f32) {
        let constants = Constants {
            hi: get(&self.hi, i),
            lo: get(&self.lo, i),
            mean: self.mean.get(i).copied().unwrap_or(0.0),
            rstd: self.rstd.get(i).copied().unwrap_or(0.0),
            wide: self.wide >> i & 1 == 1,
        };
        let (factor, offset) = (get(&self.factor, i), get(&self.offset, i));
        let centred = Centred { constants, factor, offset };
        (centred, get(&self.gamma, i), get(&self.beta, i))
    }
}

/// Applies the constants of every strip of a band.
#[inline(never)]
pub(crate) fn apply_band<S: Simd, const STRIPS: usize>(
    simd: S,
    tensor: &mut Tensor<'_>,
    band: Band,
    strips: &[CentredStrip<S>; STRIPS],
) {
    simd.vectorize(
        #[inline(always)]
        || {
            let strips = strips.get(..band.channels.div_ceil(LANES)).unwrap_or(strips);
            if strips.iter().any(CentredStrip::is_wide) {
                return tensor.map_strips(
                    simd,
                    strips,
                    [],
                    band,
                    #[inline(always)]
                    |strip, x, []| mixed(strip, x),
                );
            }
            let mut rows = [[f32x16::filled(simd, 0.0); STRIPS]; 3];
            gather_rows!(rows, strips, strip => [
                strip.centred.constants.hi,
                strip.centred.factor,
                strip.centred.offset,
            ]);
            map_narrow(simd, tensor, band, &rows);
        },
    );
}

/// Applies the constants of every strip of a band, of which `strip` tells the i-th: for a band so short
/// that to keep them all for the sake of wide ones would cost.
#[inline(always)]
pub(crate) fn apply_strips<S: Simd, const STRIPS: usize>(
    simd: S,
    tensor: &mut Tensor<'_>,
    band: Band,
    strip: impl Fn(usize) -> CentredStrip<S>,
) {
    let mut rows = [[f32x16::filled(simd, 0.0); STRIPS]; 3];
    let [his, factors, offsets] = &mut rows;
    let slots = his.iter_mut().zip(factors).zip(offsets);
    let mut wide = false;
    for (i, ((hi, factor), offset)) in slots.enumerate().take(band.channels.div_ceil(LANES)) {
        let strip = strip(i);
        let centred = &strip.centred;
        (*hi, *factor, *offset) = (centred.constants.hi, centred.factor, centred.offset);
        wide |= strip.is_wide();
    }
    if wide {
        let mut strips = [CentredStrip::nothing(simd); STRIPS];
        for (i, slot) in strips.iter_mut().enumerate().take(band.channels.div_ceil(LANES)) {
            *slot = strip(i);
        }
        return apply_band(simd, tensor, band, &strips);
    }
    apply_rows(simd, tensor, band, &rows);
}

/// The narrow apply, out of line.
#[inline(never)]
fn apply_rows<S: Simd, const STRIPS: usize>(
    simd: S,
    tensor: &mut Tensor<'_>,
    band: Band,
    rows: &[[f32x16<S>; STRIPS]; 3],
) {
    simd.vectorize(
        #[inline(always)]
        || map_narrow(simd, tensor, band, rows),
    );
}

/// Writes what rows of hi, factor and offset make of every element of a band.
#[inline(always)]
fn map_narrow<S: Simd, const STRIPS: usize>(
    simd: S,
    tensor: &mut Tensor<'_>,
    band: Band,
    rows: &[[f32x16<S>; STRIPS]; 3],
) {
    tensor.map_rows(
        simd,
        rows,
        [],
        band,
        #[inline(always)]
        |[hi, factor, offset], x, []| (x - hi) * factor + offset,
    );
}

/// The apply of a strip of which some lanes are wide.
#[inline(always)]
fn mixed<S: Simd>(strip: &CentredStrip<S>, x: f32x16<S>) -> f32x16<S> {
    let CentredStrip { centred, gamma, beta } = *strip;
    let Centred { constants: Constants { hi, mean, rstd, wide, .. }, factor, offset } = centred;
    let narrow = (x - hi) * factor + offset;
    Value::select(wide, WideApply { mean, rstd }.of(x, gamma, beta), narrow)
}
