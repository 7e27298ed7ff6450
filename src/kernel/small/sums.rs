//! How one reduction is summed one number at a time.

use super::super::block::{Block, Terms, add, add_chains, each, fold_lanes};
use super::super::columns::BLOCK_ROWS;
use super::super::lanes::{LANES, One, Precision, Real as _};
use super::super::reduce::{Found, find_apart, merged};
use super::super::rows::{BLOCK, Segments};
use super::super::sets::Set;
use super::super::statistic::Statistic;
use super::super::tree::{self, BLOCK_LEVELS};
use fearless_simd::Simd;

/// A place among segments that are read as if they lay one behind the other.
#[derive(Clone, Copy)]
struct Cursor {
    place: usize,
    /// Within its segment.
    offset: usize,
}

/// A number of elements to go on.
#[derive(Clone, Copy)]
struct Step {
    /// How far that is, but for the end of a segment on the way: whole segments and the rest.
    ahead: usize,
    /// The rest.
    elements: usize,
}

impl Step {
    #[inline(always)]
    fn of(elements: usize, Segments { stride, len, .. }: Segments) -> Self {
        let segments = elements.checked_div(len).unwrap_or(0);
        let elements = elements.wrapping_sub(segments.wrapping_mul(len));
        Self { ahead: segments.wrapping_mul(stride).wrapping_add(elements), elements }
    }
}

impl Cursor {
    #[inline(always)]
    fn advance(&mut self, step: Step, Segments { stride, len, .. }: Segments) {
        self.place = self.place.wrapping_add(step.ahead);
        // Whole segments: a column.
        if step.elements == 0 {
            return;
        }
        self.offset = self.offset.wrapping_add(step.elements);
        if self.offset >= len {
            self.offset = self.offset.wrapping_sub(len);
            self.place = self.place.wrapping_add(stride).wrapping_sub(len);
        }
    }
}

/// A block, summed one lane after the other. A column is segments of one element each, and one lane.
#[derive(Clone, Copy)]
struct LaneByLane {
    segments: Segments,
    /// Sixteen, or one for a column.
    lanes: usize,
    /// The place of the first element along the reduction.
    along: usize,
}

/// The terms of the elements at one place of the tensors, and at `along` of what has one value for each
/// place along the reduction.
#[inline(always)]
fn terms_at<P, T, const INPUTS: usize, const PARAMETERS: usize, const SUMS: usize>(
    terms: T,
    inputs: [&[f32]; INPUTS],
    (place, along): (usize, usize),
    parameters: [P::Scalar; PARAMETERS],
) -> [P::Scalar; SUMS]
where
    P: Precision,
    T: Terms<INPUTS, PARAMETERS, SUMS>,
{
    let element = |x: &[f32], place: usize| P::Scalar::of(x.get(place).copied().unwrap_or(0.0));
    let mut values = each(inputs, P::Scalar::ZERO, |x| element(x, place));
    // Compilers that go for size do not see that a loop has no step.
    if T::ALONG > 0 {
        for (value, x) in values.iter_mut().zip(inputs).skip(INPUTS - T::ALONG) {
            *value = element(x, along);
        }
    }
    terms.of(values, parameters)
}

impl<S: Simd> Block<S> for LaneByLane {
    type Unit = One;

    #[inline(always)]
    fn count(&self) -> usize {
        self.segments.elements()
    }

    #[inline(always)]
    fn live(&self, _: S) -> bool {
        true
    }

    #[inline(always)]
    fn zero(&self, _: S) -> f64 {
        0.0
    }

    #[inline(always)]
    fn sums<
        P: Precision,
        T: Terms<INPUTS, PARAMETERS, SUMS>,
        const INPUTS: usize,
        const PARAMETERS: usize,
        const SUMS: usize,
    >(
        &self,
        _: S,
        terms: T,
        inputs: [&[f32]; INPUTS],
        parameters: [P::Of<One>; PARAMETERS],
    ) -> [P::Of<One>; SUMS] {
        let zero = [P::Scalar::ZERO; SUMS];
        let parameters = each(parameters, P::Scalar::ZERO, |value| P::one(value));
        let Self { segments, lanes, along } = *self;
        let (count, in_quad) = (segments.elements(), lanes.wrapping_mul(4));
        let [one, group, quad] = [1, lanes, in_quad].map(|step| Step::of(step, segments));
        let mut sums = [zero; LANES];
        let mut first = Cursor { place: segments.start, offset: 0 };
        for (lane, sum) in sums.iter_mut().enumerate().take(lanes) {
            let mut chains = [zero; 4];
            let mut start = first;
            let mut first_index = lane;
            for sum in &mut chains {
                let mut cursor = start;
                let mut index = first_index;
                while index < count {
                    let places = (cursor.place, along.wrapping_add(index));
                    let terms = terms_at::<P, T, INPUTS, PARAMETERS, SUMS>(
                        terms, inputs, places, parameters,
                    );
                    *sum = add(*sum, terms);
                    cursor.advance(quad, segments);
                    index = index.wrapping_add(in_quad);
                }
                start.advance(group, segments);
                first_index = first_index.wrapping_add(lanes);
            }
            *sum = add_chains(chains);
            first.advance(one, segments);
        }
        if lanes > 1 {
            fold_lanes(&mut sums);
        }
        let [sums, ..] = sums;
        each(sums, P::of_one(P::Scalar::ZERO), |sum| P::of_one(sum))
    }
}

/// Reduces one set.
#[inline(never)]
pub(super) fn reduce<S, T, const INPUTS: usize, const PARTS: usize, const TOTALS: usize>(
    simd: S,
    statistic: T,
    set: Set,
    inputs: [&[f32]; INPUTS],
) -> Found<One, PARTS, TOTALS>
where
    S: Simd,
    T: Statistic<One, INPUTS, PARTS, TOTALS>,
{
    let Set { segments, is_column } = set;
    let (lanes, together) = if is_column { (1, BLOCK_ROWS) } else { (LANES, segments.together()) };
    if segments.count <= together && segments.len <= BLOCK {
        let block = LaneByLane { segments, lanes, along: 0 };
        return find_apart(simd, statistic, block, inputs);
    }
    let mut levels = [(0, [0.0; TOTALS]); BLOCK_LEVELS];
    let (mut blocks, mut rescued) = (0, false);
    let merge = merged::<One, T, INPUTS, PARTS, TOTALS>;
    for first in (0..segments.count).step_by(together.max(1)) {
        let count = together.min(segments.count - first);
        let group = Segments { start: segments.start + first * segments.stride, count, ..segments };
        for block in group.blocks() {
            // Of a column the row, and the place in a row that is one segment.
            let along = first + (block.start - group.start);
            let block = LaneByLane { segments: block, lanes, along };
            let found = find_apart(simd, statistic, block, inputs);
            rescued |= found.rescued;
            tree::push(&mut levels, &mut blocks, (found.count, found.totals), merge);
        }
    }
    Found::merged(tree::finish(&levels, blocks, merge).unwrap_or((0, [0.0; TOTALS])), rescued)
}
