//! The drivers for the backend without vectors: one reduction at a time, lane by lane, with scalar
//! formulas. On a microcontroller a row of sixteen lanes is sixteen scalars, which only takes
//! flash and stack. The bits are the same, since the rules (statistics, constants, gradients) are
//! the same code; only the order in which independent sums are formed differs.

mod sums;

use super::backward::{Known, ParameterGradients, Pass};
use super::block::add;
use super::columns::Band;
use super::constants::{Centred, Constants, is_wide};
use super::gradient::{Channel, Formula as _, Gradients, Mode, with_formula};
use super::group_backward::{KnownGroups, Sums};
use super::groups::{NO_TOTALS, is_whole_strips, merge};
use super::lanes::{One, narrow};
use super::map::Tensor;
use super::normalize::{Fixed, Options, Summary};
use super::reduce::Found;
use super::row_backward::KnownRows;
use super::rows::Segments;
use super::sets::{Parameters, Reductions, Set};
use super::statistic::Statistic;
use super::statistic::gradient::{GradientSums, ParameterSums};
use super::statistic::moments::MeanAndSquares;
use super::statistic::squares::Squares;
use super::tree::{self, LEVELS};
use crate::io::get;
use crate::layout::Samples;
use crate::{Affine, Moments};
use fearless_simd::Simd;
use sums::reduce;

/// Normalizes sets by their own statistics. `set_of` says where each is, and `parameters` which γ
/// and β it has.
#[inline(always)]
pub(crate) fn normalize<S: Simd>(
    simd: S,
    (count, set_of): (usize, impl Fn(usize) -> Set),
    parameters: Parameters,
    tensor: &mut Tensor<'_>,
    options: Options<'_>,
    record: &mut impl FnMut(&Summary),
) {
    for number in 0..count {
        let set = set_of(number);
        let found = reduce(simd, MeanAndSquares, set, [tensor.input()]);
        let constants = Constants::new(&found, options.eps);
        tell(record, (number, options.ddof), &found, &constants);
        apply_set(tensor, (number, set), parameters, &constants, options.affine);
    }
}

/// Tells of a reduction. Out of line, so that a summary takes no stack while the next is reduced.
#[inline(never)]
fn tell(
    record: &mut impl FnMut(&Summary),
    (number, ddof): (usize, usize),
    found: &Found<One, 4, 2>,
    constants: &Constants<One>,
) {
    record(&Summary::new((number, 1), found, constants, ddof));
}

/// Divides contiguous sets by their root mean square.
#[inline(always)]
pub(crate) fn root_mean_square<S: Simd>(
    simd: S,
    rows: Reductions,
    tensor: &mut Tensor<'_>,
    options: Options<'_>,
    record: &mut impl FnMut(usize, &[f32]),
) {
    let set_of = rows.sets();
    for number in 0..rows.count {
        let set = set_of(number);
        let found = reduce(simd, Squares, set, [tensor.input()]);
        let constants = Constants::of_squares(&found, options.eps);
        record(number, &[constants.saved().1]);
        apply_set(tensor, (number, set), rows.parameters, &constants, options.affine);
    }
}

/// Normalizes channels by given statistics.
#[inline(always)]
pub(crate) fn given(
    (count, set_of): (usize, impl Fn(usize) -> Set),
    tensor: &mut Tensor<'_>,
    options: Options<'_>,
    given: Fixed<'_>,
) {
    for channel in 0..count {
        let constants = given.one(channel, options.eps);
        apply(tensor, set_of(channel), &constants, options.affine.of(channel));
    }
}

/// Hands out the moments of sets.
#[inline(always)]
pub(crate) fn collect<S: Simd>(
    simd: S,
    (count, set_of): (usize, impl Fn(usize) -> Set),
    x: &[f32],
    mut record: impl FnMut(usize, Moments),
) {
    for number in 0..count {
        let found = reduce(simd, MeanAndSquares, set_of(number), [x]);
        let [mean, m2] = found.totals;
        record(number, Moments::from_parts(found.count as u64, mean, m2));
    }
}

/// Normalizes groups of channels that are interleaved with others.
#[inline(always)]
pub(crate) fn groups<S: Simd>(
    simd: S,
    samples: Samples,
    tensor: &mut Tensor<'_>,
    options: Options<'_>,
    record: &mut impl FnMut(&Summary),
) {
    // Never 0; `step_by` would panic.
    let channels = samples.group_channels.max(1);
    for (first_group, matrix) in samples.matrices() {
        for first in (0..matrix.channels).step_by(channels) {
            let found = reduce_group(simd, matrix.from(first, channels), tensor.input());
            let constants = Constants::new(&found, options.eps);
            let number = first_group + first.checked_div(channels).unwrap_or(0);
            tell(record, (number, options.ddof), &found, &constants);
            for channel in first..first + channels {
                apply(tensor, matrix.column(channel), &constants, options.affine.of(channel));
            }
        }
    }
}

/// Reduces the channels of a group, and merges them.
#[inline(always)]
fn reduce_group<S: Simd>(simd: S, group: Band, x: &[f32]) -> Found<One, 4, 2> {
    let Band { start, stride, rows: count, channels: len, .. } = group;
    if len == 1 {
        return reduce(simd, MeanAndSquares, group.column(0), [x]);
    }
    if is_whole_strips(len) {
        let rows = Set::rows(Segments { start, stride, len, count });
        return reduce(simd, MeanAndSquares, rows, [x]);
    }
    let (mut levels, mut blocks) = ([NO_TOTALS; LEVELS], 0);
    let mut rescued = false;
    for channel in 0..group.channels {
        let found = reduce(simd, MeanAndSquares, group.column(channel), [x]);
        rescued |= is_wide(&found);
        tree::push(&mut levels, &mut blocks, (found.count, found.totals), merge);
    }
    Found::merged(tree::finish(&levels, blocks, merge).unwrap_or(NO_TOTALS), rescued)
}

/// Applies the constants of a set.
#[inline(always)]
fn apply_set(
    tensor: &mut Tensor<'_>,
    (number, set): (usize, Set),
    parameters: Parameters,
    constants: &Constants<One>,
    affine: Affine<'_>,
) {
    let segments = set.segments;
    match parameters {
        Parameters::One { channels } => {
            let channel = number.checked_rem(channels).unwrap_or(0);
            apply(tensor, set, constants, affine.of(channel));
        }
        Parameters::Planes { len, groups } => {
            let channels = segments.len.checked_div(len).unwrap_or(0);
            let first = number.checked_rem(groups).unwrap_or(0) * channels;
            for i in 0..channels {
                let plane = Set::rows(Segments::one(segments.start + i * len, len));
                apply(tensor, plane, constants, affine.of(first + i));
            }
        }
        Parameters::Elements { groups } => {
            let first = number.checked_rem(groups).unwrap_or(0) * segments.len;
            apply_elements(tensor, segments, constants, (affine, first));
        }
    }
}

/// Applies constants with one γ and β.
#[inline(never)]
fn apply(tensor: &mut Tensor<'_>, set: Set, constants: &Constants<One>, (gamma, beta): (f32, f32)) {
    let Centred { constants: Constants { hi, mean, rstd, wide, .. }, factor, offset } =
        constants.with_affine((gamma, beta));
    if wide {
        let (gamma, beta) = (f64::from(gamma), f64::from(beta));
        map(tensor, set, |x| narrow(((f64::from(x) - mean) * rstd) * gamma + beta));
    } else {
        map(tensor, set, |x| (x - hi) * factor + offset);
    }
}

/// Writes f(x) for the elements of a set.
#[inline(always)]
fn map(tensor: &mut Tensor<'_>, set: Set, f: impl Fn(f32) -> f32) {
    let Set { segments, is_column } = set;
    if is_column {
        let mut place = segments.start;
        for _ in 0..segments.count {
            tensor.set(place, &f);
            place = place.wrapping_add(segments.stride);
        }
        return;
    }
    for start in segments.starts() {
        match tensor.piece(start, segments.len) {
            Tensor::Apart(x, y) => y.iter_mut().zip(x).for_each(|(y, x)| *y = f(*x)),
            Tensor::InPlace(x) => x.iter_mut().for_each(|x| *x = f(*x)),
        }
    }
}

/// Applies constants with a γ and β for each element.
#[inline(never)]
fn apply_elements(
    tensor: &mut Tensor<'_>,
    segments: Segments,
    constants: &Constants<One>,
    (affine, first): (Affine<'_>, usize),
) {
    let Centred { constants: Constants { hi, lo, mean, rstd, wide }, factor, .. } =
        constants.with_affine((1.0, 0.0));
    for i in 0..segments.len {
        let (gamma, beta) = affine.of(first + i);
        tensor.set(segments.start + i, |x| {
            if wide {
                let y = ((f64::from(x) - mean) * rstd) * f64::from(gamma);
                narrow(y + f64::from(beta))
            } else {
                (((x - hi) - lo) * factor) * gamma + beta
            }
        });
    }
}

/// Backward of channels.
#[inline(always)]
pub(crate) fn backward<S: Simd>(
    simd: S,
    (count, set_of): (usize, impl Fn(usize) -> Set),
    mut pass: Pass<'_>,
    known: Known<'_>,
    mut record: impl FnMut(&ParameterGradients),
) {
    let mode = known.mode();
    for number in 0..count {
        let (set, channel) = (set_of(number), known.channel(number));
        let Channel { mean, rstd, .. } = channel;
        let found = reduce(simd, GradientSums::<One> { mean, rstd }, set, [pass.dy, pass.x]);
        let gradients = Gradients::<One>::new(mode, &found, channel);
        record(&ParameterGradients::new((number, 1), &gradients, &found));
        write(&mut pass, (set, None), mode, (&gradients, channel));
    }
}

/// Writes dx of rows.
#[inline(always)]
pub(crate) fn backward_rows<S: Simd>(
    simd: S,
    rows: Reductions,
    pass: &mut Pass<'_>,
    known: KnownRows<'_>,
) {
    let (mode, set_of) = (known.mode(), rows.sets());
    for number in 0..rows.count {
        let channel = known.row(number);
        let Channel { mean, rstd, .. } = channel;
        let sums = GradientSums::<One> { mean, rstd };
        let set = set_of(number);
        let found = match known.gamma {
            Some(gamma) => reduce(simd, sums, set, [pass.dy, pass.x, gamma]),
            None => reduce(simd, sums, set, [pass.dy, pass.x]),
        };
        let gradients = Gradients::<One>::new(mode, &found, channel);
        write(pass, (set, known.gamma), mode, (&gradients, channel));
    }
}

/// Hands out dγ and dβ of rows.
#[inline(always)]
pub(crate) fn sum_columns<S: Simd, const INPUTS: usize>(
    simd: S,
    matrix: Band,
    inputs: [&[f32]; INPUTS],
    mut record: impl FnMut(&ParameterGradients),
) where
    ParameterSums: Statistic<One, INPUTS, 2, 2>,
{
    let set_of = matrix.sets();
    for place in 0..matrix.channels {
        let found = reduce(simd, ParameterSums, set_of(place), inputs);
        record(&ParameterGradients::of_sums::<One>((place, 1), &found));
    }
}

/// Backward of groups of channels: dx, and then dγ and dβ by themselves, since nothing is kept of a
/// group's channels.
#[inline(always)]
pub(crate) fn backward_groups<S: Simd>(
    simd: S,
    samples: Samples,
    mut pass: Pass<'_>,
    known: KnownGroups<'_>,
    (wanted, mut record): (bool, impl FnMut(&ParameterGradients)),
) {
    // Never 0; `step_by` would panic.
    let channels = samples.group_channels.max(1);
    for sample in 0..if pass.dx.is_some() { samples.batch } else { 0 } {
        for first in (0..samples.channels).step_by(channels) {
            write_group(simd, &samples, (sample, first), &mut pass, known);
        }
    }
    for channel in 0..if wanted { samples.channels } else { 0 } {
        let (mut levels, mut count) = ([[0.0; 2]; LEVELS], 0);
        for sample in 0..samples.batch {
            let known = known.channel(&samples, sample, channel);
            let [dy, dy_x, _] = sums(simd, samples.set(sample, channel), &pass, known).totals;
            tree::push(&mut levels, &mut count, [dy, dy_x], add);
        }
        let totals = tree::finish(&levels, count, add).unwrap_or([0.0; 2]);
        let found = Found::merged((count, totals), false);
        record(&ParameterGradients::of_sums::<One>((channel, 1), &found));
    }
}

/// The sums of one channel.
#[inline(always)]
fn sums<S: Simd>(
    simd: S,
    set: Set,
    pass: &Pass<'_>,
    Channel { mean, rstd, .. }: Channel<f32>,
) -> Found<One, 3, 3> {
    reduce(simd, GradientSums::<One> { mean, rstd }, set, [pass.dy, pass.x])
}

/// Writes dx of one group.
#[inline(never)]
fn write_group<S: Simd>(
    simd: S,
    samples: &Samples,
    (sample, first): (usize, usize),
    pass: &mut Pass<'_>,
    known: KnownGroups<'_>,
) {
    let channels = first..first + samples.group_channels;
    let (mut levels, mut blocks): ([Sums; LEVELS], _) = ([[0.0; 3]; LEVELS], 0);
    let mut rescued = false;
    for channel in channels.clone() {
        let known = known.channel(samples, sample, channel);
        let found = sums(simd, samples.set(sample, channel), pass, known);
        let (gamma, [dy, dy_x, x]) = (f64::from(known.gamma), found.totals);
        tree::push(&mut levels, &mut blocks, [dy * gamma, dy_x * gamma, x], add);
        rescued |= found.rescued;
    }
    let totals = tree::finish(&levels, blocks, add).unwrap_or([0.0; 3]);
    let count = samples.group_channels.wrapping_mul(samples.rows);
    let found = Found::merged((count, totals), rescued);
    let known_first = known.channel(samples, sample, first);
    let gradients = Gradients::<One>::new(Mode::Weighted, &found, known_first);
    for channel in channels {
        let known = known.channel(samples, sample, channel);
        write(pass, (samples.set(sample, channel), None), Mode::Weighted, (&gradients, known));
    }
}

impl Samples {
    /// Where a channel of a sample is.
    fn set(&self, sample: usize, channel: usize) -> Set {
        if self.planes {
            return Set::rows(Segments::one(self.plane(sample, channel), self.rows));
        }
        self.matrix(sample).column(channel)
    }
}

/// Writes dx of a set. Where each element has a γ, it is in `gamma`.
#[inline(never)]
fn write(
    pass: &mut Pass<'_>,
    (set, gamma): (Set, Option<&[f32]>),
    mode: Mode,
    (gradients, channel): (&Gradients<One>, Channel<f32>),
) {
    let Pass { dy, x, dx: Some(dx) } = pass else { return };
    let Set { segments, is_column } = set;
    // A column is walked as one long segment.
    let (segments, stride) = match is_column {
        true => (Segments::one(segments.start, segments.count), segments.stride),
        false => (segments, 1),
    };
    let gamma_of = |i: usize| gamma.map_or(1.0, |gamma| get(gamma, i));
    with_formula!(mode, formula => for start in segments.starts() {
        let mut place = start;
        for i in 0..segments.len {
            let (dy, x) = (get(dy, place), get(x, place));
            let value = if let Some(in_f64) = &gradients.in_f64 {
                let dy = f64::from(dy) * f64::from(gamma_of(i));
                narrow(formula.dx(in_f64, channel.each(|value| f64::from(*value)), dy, f64::from(x)))
            } else if gamma.is_some() {
                formula.dx(&gradients.narrow, channel, dy * gamma_of(i), x)
            } else {
                // A product is not for nothing where there is no unit for it.
                formula.dx(&gradients.narrow, channel, dy, x)
            };
            if let Some(dx) = dx.get_mut(place) {
                *dx = value;
            }
            place = place.wrapping_add(stride);
        }
    });
}
