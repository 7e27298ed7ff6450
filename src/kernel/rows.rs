//! Blocks of contiguous elements: planes, rows, groups.

use super::apply::part;
use super::block::{Block, add, add_chains, each};
use super::lanes::{LANES, Lanes, Real as _, first_lanes};
use super::tree::FEW_BLOCKS;
use fearless_simd::{Simd, SimdBase as _, mask32x16};

/// Groups of sixteen elements that a chain of a block takes at most.
const ADDITIONS: usize = 16;
/// Elements in a block that is full: four chains.
pub(crate) const BLOCK: usize = 4 * ADDITIONS * LANES;

/// The segments of one reduction: `count` pieces of `len` elements, the first at `start`, each
/// `stride` after the one before.
#[derive(Clone, Copy)]
pub(crate) struct Segments {
    pub(crate) start: usize,
    pub(crate) stride: usize,
    pub(crate) len: usize,
    pub(crate) count: usize,
}

impl Segments {
    /// One contiguous segment.
    pub(crate) const fn one(start: usize, len: usize) -> Self {
        Self { start, stride: len, len, count: 1 }
    }

    /// Whether the blocks are few enough for a small tree.
    #[inline(always)]
    pub(crate) const fn has_few_blocks(self) -> bool {
        self.count.saturating_mul(self.len.div_ceil(BLOCK)) <= FEW_BLOCKS
    }

    /// Whether the tensor that the segments are strewn over may lie in a core's own cache.
    #[inline(always)]
    pub(crate) const fn are_near(self) -> bool {
        const MEBIBYTE: usize = (1 << 20) / size_of::<f32>();
        self.stride.saturating_mul(self.count) <= MEBIBYTE
    }

    /// Where each segment starts.
    #[inline(always)]
    pub(crate) fn starts(self) -> impl Iterator<Item = usize> {
        (0..self.count).map(move |i| self.start + i * self.stride)
    }

    /// How many segments a block takes: a power of two, so that a power of two of samples is a whole
    /// number of blocks. One, of which a block may take a part, if they are long.
    #[inline(always)]
    fn together(self) -> usize {
        match BLOCK.checked_div(self.len) {
            Some(fit) if fit > 0 => 1 << fit.ilog2(),
            _ => 1,
        }
    }

    /// Whether all elements are one block.
    #[inline(always)]
    pub(crate) fn are_one_block(self) -> bool {
        self.len <= BLOCK && self.count <= self.together()
    }

    /// The blocks of this reduction and of its neighbours, `reductions` in all, each as the segments,
    /// or the piece of a segment, that it takes, behind the number of its reduction. What lies side
    /// by side in memory comes one after the other.
    #[inline(always)]
    pub(crate) fn blocks(self, reductions: usize) -> impl Iterator<Item = (usize, Self)> {
        let Self { start, stride, len, count } = self;
        let together = self.together();
        (0..count.div_ceil(together)).flat_map(move |i| {
            let first = i * together;
            let start = start + first * stride;
            let count = together.min(count - first);
            (0..reductions).flat_map(move |reduction| {
                (0..len).step_by(BLOCK).map(move |offset| {
                    let start = start + reduction * len + offset;
                    (reduction, Self { start, stride, len: (len - offset).min(BLOCK), count })
                })
            })
        })
    }

    /// The elements of a block side by side: in their place if they lie so, otherwise as a copy.
    #[inline(always)]
    pub(crate) fn joined<'a>(self, x: &'a [f32], copy: &'a mut [f32]) -> &'a [f32] {
        if self.count == 1 {
            return x.get(self.start..).unwrap_or(&[]);
        }
        let mut slots = &mut *copy;
        for start in self.starts() {
            let Some((slot, rest)) = slots.split_at_mut_checked(self.len) else { break };
            for (slot, value) in slot.iter_mut().zip(part(x, start, self.len)) {
                *slot = *value;
            }
            slots = rest;
        }
        copy
    }

    /// The elements from this block on, if it is full and in one piece.
    #[inline(always)]
    pub(crate) fn full_in(self, x: &[f32]) -> Option<&[f32]> {
        if self.len == BLOCK { x.get(self.start..) } else { None }
    }
}

/// A block whose elements are the first of each input. The inputs may go on beyond it.
#[derive(Clone, Copy)]
pub(crate) struct RowBlock {
    len: usize,
}

impl RowBlock {
    /// The block of some segments (or of a piece of one), once they are joined.
    #[inline(always)]
    pub(crate) const fn of(segments: Segments) -> Self {
        Self { len: segments.len * segments.count }
    }

    /// The same block, if it is full.
    #[inline(always)]
    pub(crate) const fn full(self) -> Option<FullBlock> {
        if self.len == BLOCK { Some(FullBlock) } else { None }
    }
}

impl<S: Simd> Block<S> for RowBlock {
    type Sum<V: Lanes<S>> = V::Scalar;

    #[inline(always)]
    fn count(&self) -> usize {
        self.len
    }

    #[inline(always)]
    fn sums<V: Lanes<S>, const INPUTS: usize, const SUMS: usize>(
        &self,
        simd: S,
        inputs: [&[f32]; INPUTS],
        f: impl Fn([V; INPUTS]) -> [V; SUMS] + Copy,
    ) -> [V::Scalar; SUMS] {
        let whole = self.len / QUAD;
        let rest = self.len % QUAD;
        let mut pads = [[[0.0; LANES]; 4]; INPUTS];
        let mut quads: [&[Quad]; INPUTS] = [&[]; INPUTS];
        let mut last = [NO_QUAD; INPUTS];
        let slots = quads.iter_mut().zip(&mut last).zip(&mut pads);
        for (((quads, last), pad), x) in slots.zip(inputs) {
            let all = x.as_chunks::<LANES>().0.as_chunks::<4>().0;
            *quads = all.get(..whole).unwrap_or(&[]);
            *last = match all.get(whole) {
                Some(quad) => quad,
                None => fill(pad, x.get(whole * QUAD..).unwrap_or(&[])),
            };
        }
        let masks = lanes_of_quad(simd, rest);
        let last = (rest > 0).then_some((last, masks));
        fold_chains(chains(
            simd,
            whole,
            #[inline(always)]
            |input, i| quads.get(input)?.get(i),
            last,
            f,
        ))
    }

    #[inline(always)]
    fn spread<V: Lanes<S>>(simd: S, sum: V::Scalar) -> V {
        V::filled(simd, sum)
    }
}

/// [`BLOCK`] elements: what most blocks are, and a form of code of its own.
#[derive(Clone, Copy)]
pub(crate) struct FullBlock;

impl<S: Simd> Block<S> for FullBlock {
    type Sum<V: Lanes<S>> = V::Scalar;

    #[inline(always)]
    fn count(&self) -> usize {
        BLOCK
    }

    #[inline(always)]
    fn sums<V: Lanes<S>, const INPUTS: usize, const SUMS: usize>(
        &self,
        simd: S,
        inputs: [&[f32]; INPUTS],
        f: impl Fn([V; INPUTS]) -> [V; SUMS] + Copy,
    ) -> [V::Scalar; SUMS] {
        const NOTHING: &[Quad; ADDITIONS] = &[*NO_QUAD; ADDITIONS];
        let quads = each(
            inputs,
            NOTHING,
            #[inline(always)]
            |x| {
                let quads = x.as_chunks::<LANES>().0.as_chunks::<4>().0;
                quads.first_chunk::<ADDITIONS>().unwrap_or(NOTHING)
            },
        );
        fold_chains(chains(
            simd,
            ADDITIONS,
            #[inline(always)]
            |input, i| quads.get(input)?.get(i),
            None::<LastQuad<'_, S, INPUTS>>,
            f,
        ))
    }

    #[inline(always)]
    fn spread<V: Lanes<S>>(simd: S, sum: V::Scalar) -> V {
        V::filled(simd, sum)
    }
}

/// The sums of a block from its chains.
#[inline(always)]
fn fold_chains<S: Simd, V: Lanes<S>, const SUMS: usize>(
    chains: [[V; SUMS]; 4],
) -> [V::Scalar; SUMS] {
    each(
        add_chains(chains),
        V::Scalar::ZERO,
        #[inline(always)]
        |v| v.fold(),
    )
}

/// Four groups, one for every chain.
type Quad = [[f32; LANES]; 4];

/// Elements in a quad.
const QUAD: usize = 4 * LANES;

const NO_QUAD: &Quad = &[[0.0; LANES]; 4];

/// Copies what is there of a quad.
#[inline(always)]
fn fill<'a>(pad: &'a mut Quad, x: &[f32]) -> &'a Quad {
    for (slot, value) in pad.as_flattened_mut().iter_mut().zip(x) {
        *slot = *value;
    }
    pad
}

/// Which lanes of a quad are among its first `len` elements.
#[inline(always)]
fn lanes_of_quad<S: Simd>(simd: S, len: usize) -> [mask32x16<S>; 4] {
    let mut masks = [first_lanes(simd, 0); 4];
    for (i, mask) in masks.iter_mut().enumerate() {
        *mask = first_lanes(simd, len.saturating_sub(i * LANES).min(LANES));
    }
    masks
}

/// A last quad that is not whole, of every input, and which of its lanes are elements.
type LastQuad<'a, S, const INPUTS: usize> = ([&'a Quad; INPUTS], [mask32x16<S>; 4]);

/// The four chains of `count` quads, given by input and number, and of a last one.
///
/// Machines with wide vectors need several chains at a time to hide the latency of additions; with
/// narrow ones the registers hold one chain's sums only. The bits do not depend on it.
#[inline(always)]
fn chains<'a, S: Simd, V: Lanes<S>, const INPUTS: usize, const SUMS: usize>(
    simd: S,
    count: usize,
    quads: impl Fn(usize, usize) -> Option<&'a Quad> + Copy,
    last: Option<LastQuad<'_, S, INPUTS>>,
    f: impl Fn([V; INPUTS]) -> [V; SUMS] + Copy,
) -> [[V; SUMS]; 4] {
    if S::f32s::LEN >= 8 && SUMS == 1 {
        return side_by_side(simd, 0, count, quads, last, f);
    }
    let mut chains = [[V::filled(simd, V::Scalar::ZERO); SUMS]; 4];
    if S::f32s::LEN >= 8 {
        for (pair, first) in chains.as_chunks_mut::<2>().0.iter_mut().zip([0, 2]) {
            *pair = side_by_side(simd, first, count, quads, last, f);
        }
    } else {
        for (first, chain) in chains.iter_mut().enumerate() {
            [*chain] = side_by_side(simd, first, count, quads, last, f);
        }
    }
    chains
}

/// `SIDE` chains, the first of them number `first`.
#[inline(always)]
fn side_by_side<
    'a,
    S: Simd,
    V: Lanes<S>,
    const SIDE: usize,
    const INPUTS: usize,
    const SUMS: usize,
>(
    simd: S,
    first: usize,
    count: usize,
    quads: impl Fn(usize, usize) -> Option<&'a Quad> + Copy,
    last: Option<LastQuad<'_, S, INPUTS>>,
    f: impl Fn([V; INPUTS]) -> [V; SUMS] + Copy,
) -> [[V; SUMS]; SIDE] {
    let zero = V::filled(simd, V::Scalar::ZERO);
    let mut chains = [[zero; SUMS]; SIDE];
    for i in 0..count {
        for (side, chain) in chains.iter_mut().enumerate() {
            let mut vectors = [zero; INPUTS];
            for (input, vector) in vectors.iter_mut().enumerate() {
                *vector = load(simd, quads(input, i), first + side);
            }
            *chain = add(*chain, f(vectors));
        }
    }
    let Some((last, masks)) = last else { return chains };
    for (side, chain) in chains.iter_mut().enumerate() {
        let vectors = each(
            last,
            zero,
            #[inline(always)]
            |quad| load(simd, Some(quad), first + side),
        );
        let mask = masks.get(first + side).copied();
        let terms = each(
            f(vectors),
            zero,
            #[inline(always)]
            |term| mask.map_or(zero, |mask| term.keep(mask)),
        );
        *chain = add(*chain, terms);
    }
    chains
}

/// One group of a quad.
#[inline(always)]
fn load<S: Simd, V: Lanes<S>>(simd: S, quad: Option<&Quad>, place: usize) -> V {
    match quad.and_then(|quad| quad.get(place)) {
        Some(group) => V::load(simd, group),
        None => V::filled(simd, V::Scalar::ZERO),
    }
}
