//! Sums over the inputs: the product itself, with connections dropped or not.

use super::super::block::{add_chains, chains_at_once, fold_lanes};
use super::super::lanes::{F32, F64, LANES, Lanes, Precision, Real, Value, load_lanes, narrow};
use super::super::mask::{Draw, GROUP, PER_BLOCK, Packer, is_kept};
use super::super::rows::{BLOCK, part};
use super::{Layer, first_decision};
use crate::backend::Target;
use crate::io::get;
use fearless_simd::{Simd, SimdMask as _, mask32x16};

/// Weights that are taken together for all samples: 128 KiB, which second-level caches hold.
const TILE: usize = 1 << 15;

/// Elements of four groups.
const QUAD: usize = 4 * LANES;

/// What is summed. Written once for one number and for sixteen.
trait Term: Copy {
    fn of<V: Value>(self, weight: V, x: V) -> V;
}

/// w·x.
#[derive(Clone, Copy)]
struct Product;

impl Term for Product {
    #[inline(always)]
    fn of<V: Value>(self, weight: V, x: V) -> V {
        weight * x
    }
}

/// (w·x)².
#[derive(Clone, Copy)]
struct Square;

impl Term for Square {
    #[inline(always)]
    fn of<V: Value>(self, weight: V, x: V) -> V {
        let product = weight * x;
        product * product
    }
}

/// Which connections of a block are kept.
trait Kept: Copy {
    /// Those from 64·i on, a bit each. What lies behind the block is of no meaning.
    fn word(self, i: usize) -> u64;
    /// One of them.
    fn bit(self, i: usize) -> bool;
}

/// All of them.
#[derive(Clone, Copy)]
struct All;

impl Kept for All {
    #[inline(always)]
    fn word(self, _: usize) -> u64 {
        u64::MAX
    }

    #[inline(always)]
    fn bit(self, _: usize) -> bool {
        true
    }
}

/// Decisions, packed: `shift` bits behind the start of the bytes.
#[derive(Clone, Copy)]
struct Bits<'a> {
    bytes: &'a [u8],
    shift: usize,
}

impl Kept for Bits<'_> {
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "64 of the bits are asked for")]
    fn word(self, i: usize) -> u64 {
        let bytes = self.bytes.get(8 * i..).and_then(<[u8]>::first_chunk);
        (u128::from_le_bytes(bytes.copied().unwrap_or_default()) >> self.shift) as u64
    }

    #[inline(always)]
    fn bit(self, i: usize) -> bool {
        is_kept(self.bytes, self.shift + i)
    }
}

/// At most [`BLOCK`] connections of an output.
#[derive(Clone, Copy)]
struct Block<'a, K> {
    weights: &'a [f32],
    x: &'a [f32],
    kept: K,
}

impl<K: Kept> Block<'_, K> {
    /// The sum in f32, or in f64 where that is not finite.
    #[inline(always)]
    fn sum<S: Target>(self, simd: S, term: impl Term) -> f64 {
        let sum = self.sum_in::<S, F32>(simd, term);
        if sum.is_finite() { f64::from(sum) } else { self.rescued(simd, term) }
    }

    /// Out of line, since few blocks need it.
    #[inline(never)]
    fn rescued<S: Target>(self, simd: S, term: impl Term) -> f64 {
        simd.vectorize(
            #[inline(always)]
            || self.sum_in::<S, F64>(simd, term),
        )
    }

    #[inline(always)]
    fn sum_in<S: Target, P: Precision>(self, simd: S, term: impl Term) -> P::Scalar {
        if S::SCALAR {
            return self.lane_by_lane(term);
        }
        let zero = P::Lanes::<S>::filled(simd, P::Scalar::ZERO);
        let mut chains = [[zero]; 4];
        if chains_at_once::<S>(1) == 4 {
            chains = self.chains(simd, term, 0);
        } else {
            for (first, chain) in chains.iter_mut().enumerate() {
                [*chain] = self.chains(simd, term, first);
            }
        }
        let [sum] = add_chains(chains);
        sum.fold()
    }

    /// The sums of `SIDE` chains, the first of them number `first`.
    #[inline(always)]
    fn chains<S: Simd, V: Lanes<S>, const SIDE: usize>(
        self,
        simd: S,
        term: impl Term,
        first: usize,
    ) -> [[V; 1]; SIDE] {
        let mut chains = [[V::filled(simd, V::Scalar::ZERO)]; SIDE];
        let (weights, last_weights) = self.weights.as_chunks::<QUAD>();
        let (xs, last_xs) = self.x.as_chunks::<QUAD>();
        for (i, (weights, x)) in weights.iter().zip(xs).enumerate() {
            let kept = self.kept.word(i);
            let groups = weights.as_chunks().0.iter().zip(x.as_chunks().0).skip(first);
            for (side, ([chain], (weights, x))) in chains.iter_mut().zip(groups).enumerate() {
                let term = term.of(V::load(simd, weights), V::load(simd, x));
                *chain = *chain + term.keep(lanes(simd, kept, first + side));
            }
        }
        let kept = self.kept.word(weights.len()) & ((1 << last_weights.len()) - 1);
        for (side, [chain]) in chains.iter_mut().enumerate() {
            let start = (first + side) * LANES;
            if start < last_weights.len() {
                let weights: V = load_lanes(simd, last_weights, start);
                let term = term.of(weights, load_lanes(simd, last_xs, start));
                *chain = *chain + term.keep(lanes(simd, kept, first + side));
            }
        }
        chains
    }

    /// Without vectors: the lanes in turn, so that one number is held and not sixty-four.
    #[inline(always)]
    fn lane_by_lane<R: Real>(self, term: impl Term) -> R {
        let mut lanes = [[R::ZERO]; LANES];
        for (lane, sum) in lanes.iter_mut().enumerate() {
            let mut chains = [[R::ZERO]; 4];
            for (chain, [sum]) in chains.iter_mut().enumerate() {
                for i in (chain * LANES + lane..self.weights.len()).step_by(QUAD) {
                    if self.kept.bit(i) {
                        let weight = R::of(get(self.weights, i));
                        *sum = *sum + term.of(weight, R::of(get(self.x, i)));
                    }
                }
            }
            *sum = add_chains(chains);
        }
        fold_lanes(&mut lanes);
        let [[sum], ..] = lanes;
        sum
    }
}

/// The lanes of a group, of four groups' bits.
#[inline(always)]
fn lanes<S: Simd>(simd: S, kept: u64, group: usize) -> mask32x16<S> {
    mask32x16::from_bitmask(simd, kept >> (group * LANES) & 0xFFFF)
}

/// Bytes behind those of a [`Window`] that are read as a part of a word.
const PAD: usize = 16;
/// Of a [`Window`] that holds four blocks, or many short rows: whole groups.
const LARGE: usize = (4 * BLOCK + GROUP) / 8 + PAD;
/// Of one that holds a block, one decision more, and what lies before them in a Philox block.
const SMALL: usize = (BLOCK + LANES) / 8 + PAD;

/// A stretch of the decisions, which lie one behind the other.
struct Window<S: Simd, const BYTES: usize> {
    packer: Packer<S>,
    first: u64,
    count: u64,
    bits: [u8; BYTES],
}

impl<S: Target, const BYTES: usize> Window<S, BYTES> {
    const MOST: u64 = (BYTES as u64 - PAD as u64) * 8;

    #[inline(always)]
    fn new(simd: S, draw: Draw) -> Self {
        Self { packer: Packer::new(simd, draw), first: 0, count: 0, bits: [0; BYTES] }
    }

    /// Goes on to where `count` decisions from one on are within. Those before `end` will be wanted.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "no more than there is room for")]
    fn reach(&mut self, simd: S, (number, count): (u64, usize), end: u64) {
        let last = number.wrapping_sub(self.first).checked_add(count as u64);
        if last.is_some_and(|last| last <= self.count) {
            return;
        }
        self.first = number - number % PER_BLOCK;
        let wanted = end.wrapping_sub(self.first).min(Self::MOST);
        let group = if S::SCALAR { 1 } else { GROUP as u64 };
        self.count = wanted.div_ceil(group) * group;
        self.packer.pack(simd, self.first, self.count as usize, &mut self.bits);
    }

    /// Those from one on.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "the number is within")]
    fn from(&self, number: u64) -> Bits<'_> {
        let skip = number.wrapping_sub(self.first) as usize;
        let bytes = self.bits.get(skip / LANES * (LANES / 8)..).unwrap_or(&[]);
        Bits { bytes, shift: skip % LANES }
    }
}

/// An output of a sample.
#[derive(Clone, Copy)]
struct Place {
    sample: usize,
    output: usize,
    /// Behind the last output that is taken with this one.
    end: usize,
}

/// Calls `write` with the weights and the inputs of every output of every sample.
#[inline(always)]
fn each_row(layer: Layer<'_>, x: &[f32], mut write: impl FnMut(Place, [&[f32]; 2])) {
    let Layer { inputs, outputs, matrix, .. } = layer;
    let tile = TILE.checked_div(inputs).unwrap_or(0).max(1);
    for first in (0..outputs).step_by(tile) {
        let end = outputs.min(first.saturating_add(tile));
        for (sample, x) in x.chunks_exact(inputs.max(1)).enumerate() {
            for output in first..end {
                let weights = part(matrix, output * inputs, inputs);
                write(Place { sample, output, end }, [weights, x]);
            }
        }
    }
}

/// Writes one number.
#[inline(always)]
fn put(y: &mut [f32], place: usize, value: f64) {
    if let Some(y) = y.get_mut(place) {
        *y = narrow(value);
    }
}

/// Training: y of all samples.
#[inline(always)]
pub(crate) fn forward<S: Target>(simd: S, layer: Layer<'_>, draw: Draw, x: &[f32], y: &mut [f32]) {
    if S::SCALAR {
        forward_by::<S, SMALL>(simd, layer, draw, x, y);
    } else {
        forward_by::<S, LARGE>(simd, layer, draw, x, y);
    }
}

#[inline(always)]
fn forward_by<S: Target, const BYTES: usize>(
    simd: S,
    layer: Layer<'_>,
    draw: Draw,
    x: &[f32],
    y: &mut [f32],
) {
    let Layer { inputs, outputs, bias, .. } = layer;
    let mut window = Window::<S, BYTES>::new(simd, draw);
    each_row(
        layer,
        x,
        #[inline(always)]
        |Place { sample, output, end }, [weights, x]| {
            let first = first_decision(draw, inputs, sample * outputs + output);
            let end = first_decision(draw, inputs, sample * outputs + end);
            let mut total = 0.0;
            for start in (0..inputs).step_by(BLOCK) {
                let len = BLOCK.min(inputs - start);
                let number = first.wrapping_add(start as u64);
                // One more: behind the last block it is that of the bias.
                window.reach(simd, (number, len + 1), end);
                let (weights, x) = (part(weights, start, len), part(x, start, len));
                total += Block { weights, x, kept: window.from(number) }.sum(simd, Product);
            }
            if let Some(bias) = bias
                && window.from(first.wrapping_add(inputs as u64)).bit(0)
            {
                total += f64::from(get(bias, output));
            }
            put(y, sample * outputs + output, total);
        },
    );
}

/// What is expected of y: mean = keep·(Σ w·x + b), and variance = spread·(Σ (w·x)² + b²) if that is
/// asked for.
pub(crate) struct Expected<'a> {
    pub(crate) keep: f64,
    pub(crate) spread: f64,
    pub(crate) mean: &'a mut [f32],
    pub(crate) variance: Option<&'a mut [f32]>,
}

/// Inference.
#[inline(always)]
pub(crate) fn expect<S: Target>(simd: S, layer: Layer<'_>, x: &[f32], into: Expected<'_>) {
    let Expected { keep, spread, mean, mut variance } = into;
    each_row(
        layer,
        x,
        #[inline(always)]
        |Place { sample, output, .. }, [weights, x]| {
            let place = sample * layer.outputs + output;
            let bias = layer.bias.map_or(0.0, |bias| f64::from(get(bias, output)));
            let (mut sum, mut squares) = (0.0, 0.0);
            for (weights, x) in weights.chunks(BLOCK).zip(x.chunks(BLOCK)) {
                let block = Block { weights, x, kept: All };
                sum += block.sum(simd, Product);
                if variance.is_some() {
                    squares += block.sum_in::<S, F64>(simd, Square);
                }
            }
            put(mean, place, keep * (sum + bias));
            if let Some(variance) = &mut variance {
                put(variance, place, spread * (squares + bias * bias));
            }
        },
    );
}
