//! Contiguous elements: planes, rows, groups. How they are cut into blocks, and the sums of a block.

use super::block::{Block, Terms, add, add_chains, each, sum_chains};
use super::lanes::{
    LANES, Lanes, One, Precision, Real as _, Sixteen, Wide, first_lanes, load_lanes,
};
use fearless_simd::{Simd, mask32x16};

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

    /// The number of elements.
    pub(crate) const fn elements(self) -> usize {
        self.len.wrapping_mul(self.count)
    }

    /// The same segments elsewhere.
    pub(crate) const fn moved(self, by: usize) -> Self {
        Self { start: self.start.wrapping_add(by), ..self }
    }

    /// Where each segment starts.
    #[inline(always)]
    pub(crate) fn starts(self) -> impl Iterator<Item = usize> {
        (0..self.count).map(move |i| self.start + i * self.stride)
    }

    /// The segments behind the first `count`.
    #[inline(always)]
    pub(crate) const fn without(self, count: usize) -> Self {
        let start = self.start.wrapping_add(self.stride.wrapping_mul(count));
        Self { start, count: self.count.saturating_sub(count), ..self }
    }

    /// How many segments a block takes: a power of two, so that a power of two of samples is a whole
    /// number of blocks. One, of which a block may take a part, if they are long.
    #[inline(always)]
    pub(crate) fn together(self) -> usize {
        match BLOCK.checked_div(self.len) {
            Some(fit) if fit > 0 => 1 << fit.ilog2(),
            _ => 1,
        }
    }

    /// The number of blocks.
    #[inline(always)]
    pub(crate) fn block_count(self) -> usize {
        self.count.div_ceil(self.together()).saturating_mul(self.len.div_ceil(BLOCK))
    }

    /// The segments in turn, as many at a time as a block takes.
    #[inline(always)]
    pub(crate) fn groups(self) -> impl Iterator<Item = Self> {
        let together = self.together();
        (0..self.count.div_ceil(together)).map(move |i| {
            let first = i * together;
            let count = together.min(self.count - first);
            Self { start: self.start + first * self.stride, count, ..self }
        })
    }

    /// The blocks of a group, each as the segments, or the piece of a segment, that it takes.
    #[inline(always)]
    pub(crate) fn blocks(self) -> impl Iterator<Item = Self> {
        (0..self.len).step_by(BLOCK).map(move |offset| Self {
            start: self.start + offset,
            len: (self.len - offset).min(BLOCK),
            ..self
        })
    }
}

/// The elements of a slice from `start` on, `len` of them.
#[inline(always)]
pub(crate) fn part(x: &[f32], start: usize, len: usize) -> &[f32] {
    let part = x.get(start..).and_then(|x| x.get(..len));
    debug_assert!(part.is_some(), "{start} and {len} more of {}", x.len());
    part.unwrap_or(&[])
}

/// [`part`], to be written.
#[inline(always)]
pub(crate) fn part_mut(x: &mut [f32], start: usize, len: usize) -> &mut [f32] {
    let part = x.get_mut(start..).and_then(|x| x.get_mut(..len));
    debug_assert!(part.is_some());
    part.unwrap_or(&mut [])
}

/// A block of contiguous elements.
#[derive(Clone, Copy)]
pub(crate) struct RowBlock {
    pub(crate) start: usize,
    pub(crate) len: usize,
    /// Its place in its row: where it starts in what has one value for each place of a row.
    pub(crate) offset: usize,
}

/// The elements of a block, of each input: groups by fours, one for every chain, and `rest` more.
#[derive(Clone, Copy)]
struct Elements<'a, const INPUTS: usize> {
    groups: [&'a [[f32; LANES]]; INPUTS],
    /// From the rest on to the end of the input: a vector may take in what lies behind the block.
    behind: [&'a [f32]; INPUTS],
    rest: usize,
}

impl<'a, const INPUTS: usize> Elements<'a, INPUTS> {
    #[inline(always)]
    fn of(inputs: [&'a [f32]; INPUTS], along: usize, block: RowBlock) -> Self {
        let RowBlock { start, len, offset } = block;
        let rest = len % (4 * LANES);
        let (mut groups, mut behind) = ([[].as_slice(); INPUTS], [[].as_slice(); INPUTS]);
        let slots = groups.iter_mut().zip(&mut behind);
        for (i, ((groups, behind), x)) in slots.zip(inputs).enumerate() {
            let start = if i + along < INPUTS { start } else { offset };
            *groups = part(x, start, len - rest).as_chunks::<LANES>().0;
            *behind = x.get(start + (len - rest)..).unwrap_or(&[]);
        }
        Self { groups, behind, rest }
    }

    /// The sums of `SIDE` chains, the first of them number `first`.
    #[inline(always)]
    fn chains<
        S: Simd,
        V: Lanes<S>,
        T: Terms<INPUTS, PARAMETERS, SUMS>,
        const SIDE: usize,
        const PARAMETERS: usize,
        const SUMS: usize,
    >(
        &self,
        simd: S,
        terms: T,
        parameters: [V; PARAMETERS],
        first: usize,
    ) -> [[V; SUMS]; SIDE] {
        let zero = V::filled(simd, V::Scalar::ZERO);
        let mut chains = [[zero; SUMS]; SIDE];
        add_quads(simd, terms, (self.groups, first), parameters, &mut chains);
        for (side, chain) in chains.iter_mut().enumerate() {
            *chain = self.with_rest(simd, terms, parameters, (*chain, first + side));
        }
        chains
    }

    /// The sums of all chains where there is no whole quad. Not in a loop: what is indexed by a variable
    /// lies in memory.
    #[inline(always)]
    fn short_chains<
        S: Simd,
        V: Lanes<S>,
        T: Terms<INPUTS, PARAMETERS, SUMS>,
        const PARAMETERS: usize,
        const SUMS: usize,
    >(
        &self,
        simd: S,
        terms: T,
        parameters: [V; PARAMETERS],
    ) -> [[V; SUMS]; 4] {
        let zero = [V::filled(simd, V::Scalar::ZERO); SUMS];
        [
            self.with_rest(simd, terms, parameters, (zero, 0)),
            self.with_rest(simd, terms, parameters, (zero, 1)),
            self.with_rest(simd, terms, parameters, (zero, 2)),
            self.with_rest(simd, terms, parameters, (zero, 3)),
        ]
    }

    /// The sums of a chain, with what is left of the block added.
    #[inline(always)]
    fn with_rest<
        S: Simd,
        V: Lanes<S>,
        T: Terms<INPUTS, PARAMETERS, SUMS>,
        const PARAMETERS: usize,
        const SUMS: usize,
    >(
        &self,
        simd: S,
        terms: T,
        parameters: [V; PARAMETERS],
        (sums, chain): ([V; SUMS], usize),
    ) -> [V; SUMS] {
        match self.rest_of_chain(simd, chain) {
            Some((vectors, mask)) => {
                let terms = terms.of(vectors, parameters);
                add(sums, keep(simd, terms, mask))
            }
            None => sums,
        }
    }

    /// The elements behind the whole quads that go to a chain: a group, or a part of one and which
    /// of its lanes they are.
    #[inline(always)]
    fn rest_of_chain<S: Simd, V: Lanes<S>>(
        &self,
        simd: S,
        chain: usize,
    ) -> Option<([V; INPUTS], Option<mask32x16<S>>)> {
        let len = self.rest.saturating_sub(chain * LANES);
        if len == 0 {
            return None;
        }
        let vectors = each(
            self.behind,
            V::filled(simd, V::Scalar::ZERO),
            #[inline(always)]
            |behind| load_lanes(simd, behind, chain * LANES),
        );
        Some((vectors, (len < LANES).then(|| first_lanes(simd, len))))
    }
}

/// Adds the groups of each input to `SIDE` chains, the first of them number `first`: they go to four
/// chains in turn, and what is behind the last whole four is left out.
#[inline(always)]
pub(crate) fn add_quads<
    S: Simd,
    V: Lanes<S>,
    T: Terms<INPUTS, PARAMETERS, SUMS>,
    const SIDE: usize,
    const INPUTS: usize,
    const PARAMETERS: usize,
    const SUMS: usize,
>(
    simd: S,
    terms: T,
    (groups, first): ([&[[f32; LANES]]; INPUTS], usize),
    parameters: [V; PARAMETERS],
    chains: &mut [[V; SUMS]; SIDE],
) {
    let zero = V::filled(simd, V::Scalar::ZERO);
    let all = each(
        groups,
        [].as_slice(),
        #[inline(always)]
        |groups: &[[f32; LANES]]| groups.as_chunks::<4>().0,
    );
    let count = all.iter().fold(usize::MAX, |count, quads| count.min(quads.len()));
    'quads: for i in 0..count {
        let mut quads = [&[[0.0; LANES]; SIDE]; INPUTS];
        for (slot, quads) in quads.iter_mut().zip(all) {
            let quad = quads.get(i).and_then(|quad| quad.get(first..)?.first_chunk());
            let Some(quad) = quad else { break 'quads };
            *slot = quad;
        }
        for (side, chain) in chains.iter_mut().enumerate() {
            let vectors = each(
                quads,
                zero,
                #[inline(always)]
                |quad| match quad.get(side) {
                    Some(group) => V::load(simd, group),
                    None => zero,
                },
            );
            *chain = add(*chain, terms.of(vectors, parameters));
        }
    }
}

/// The lanes of a mask, if there is one.
#[inline(always)]
fn keep<S: Simd, V: Lanes<S>, const SUMS: usize>(
    simd: S,
    terms: [V; SUMS],
    mask: Option<mask32x16<S>>,
) -> [V; SUMS] {
    let Some(mask) = mask else { return terms };
    each(
        terms,
        V::filled(simd, V::Scalar::ZERO),
        #[inline(always)]
        |term| term.keep(mask),
    )
}

impl<S: Simd> Block<S> for RowBlock {
    type Unit = One;

    #[inline(always)]
    fn count(&self) -> usize {
        self.len
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
        simd: S,
        terms: T,
        inputs: [&[f32]; INPUTS],
        parameters: [P::Of<One>; PARAMETERS],
    ) -> [P::Of<One>; SUMS] {
        let zero = P::Lanes::<S>::filled(simd, P::Scalar::ZERO);
        let parameters = each(
            parameters,
            zero,
            #[inline(always)]
            |value| P::Lanes::<S>::filled(simd, P::one(value)),
        );
        let elements = Elements::of(inputs, T::ALONG, *self);
        if self.len < 4 * LANES {
            let chains = elements.short_chains(simd, terms, parameters);
            return fold_sums::<S, P, SUMS>(add_chains(chains));
        }
        let sums = sum_chains!(S, parameters, zero, SUMS, first => elements.chains(simd, terms, parameters, first));
        fold_sums::<S, P, SUMS>(sums)
    }
}

/// The sums of all lanes.
#[inline(always)]
pub(crate) fn fold_sums<S: Simd, P: Precision, const SUMS: usize>(
    sums: [P::Lanes<S>; SUMS],
) -> [P::Of<One>; SUMS] {
    each(
        sums,
        P::of_one(P::Scalar::ZERO),
        #[inline(always)]
        |sum| P::of_one(sum.fold()),
    )
}

/// Up to sixteen blocks of one shape, a lane each: `count` of them, each `stride` after the one before.
/// What is done once a block (a division for the mean, a square root) is done for all of them at once,
/// and none waits for another's.
#[derive(Clone, Copy)]
pub(crate) struct Abreast<B> {
    pub(crate) first: B,
    pub(crate) stride: usize,
    pub(crate) count: usize,
}

/// A block that has its like elsewhere.
pub(crate) trait Shifted {
    /// The block `by` elements further on.
    fn shifted(self, by: usize) -> Self;
}

impl Shifted for RowBlock {
    #[inline(always)]
    fn shifted(self, by: usize) -> Self {
        Self { start: self.start + by, ..self }
    }
}

impl<S: Simd, B: Block<S, Unit = One> + Shifted> Block<S> for Abreast<B> {
    type Unit = Sixteen<S>;

    #[inline(always)]
    fn count(&self) -> usize {
        self.first.count()
    }

    #[inline(always)]
    fn live(&self, simd: S) -> mask32x16<S> {
        first_lanes(simd, self.count)
    }

    #[inline(always)]
    fn zero(&self, simd: S) -> Wide<S> {
        Wide::filled(simd, 0.0)
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
        simd: S,
        terms: T,
        inputs: [&[f32]; INPUTS],
        parameters: [P::Of<Sixteen<S>>; PARAMETERS],
    ) -> [P::Of<Sixteen<S>>; SUMS] {
        let zero = P::Scalar::ZERO;
        let parameters = each(
            parameters,
            [zero; LANES],
            #[inline(always)]
            |values| P::lanes(values).values(),
        );
        let mut sums = [[zero; LANES]; SUMS];
        for lane in 0..self.count.min(LANES) {
            let parameters = each(
                parameters,
                P::of_one(zero),
                #[inline(always)]
                |values| P::of_one(values.get(lane).copied().unwrap_or(zero)),
            );
            let block = self.first.shifted(lane * self.stride);
            let of_block =
                block.sums::<P, T, INPUTS, PARAMETERS, SUMS>(simd, terms, inputs, parameters);
            for (slots, sum) in sums.iter_mut().zip(of_block) {
                if let Some(slot) = slots.get_mut(lane) {
                    *slot = P::one(sum);
                }
            }
        }
        each(
            sums,
            P::of_lanes(P::Lanes::filled(simd, zero)),
            #[inline(always)]
            |values| P::of_lanes(P::Lanes::from_array(simd, values)),
        )
    }
}
