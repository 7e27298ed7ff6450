//! Random words in their order, and numbers made of them.
//!
//! Number i comes of word i of a key: word i mod 4 of block i / 4. Eight blocks are computed side by
//! side ([`philox`](super::philox)), so words come 32 at a time.

use super::lanes::{LANES, Value};
use super::map::Tensor;
use super::philox::{BLOCKS, Blocks, LANE_ORDER, in_order};
use crate::Key;
use crate::backend::Target;
use crate::philox::Domain;
use fearless_simd::{Bytes as _, Simd, SimdBase as _, SimdCvtFloat as _, SimdFrom as _};
use fearless_simd::{f32x16, i32x16, u32x16, u64x8};

/// Words of a block.
const PER_BLOCK: usize = 4;
/// Words that are computed together.
const GROUP: usize = PER_BLOCK * BLOCKS;

/// A random word, or sixteen: what numbers are made of.
pub(crate) trait Word: Copy {
    type Number: Value<Scalar = f32>;

    /// The word, or the bits of a number.
    fn of(number: Self::Number) -> Self;
    /// The bits as those of a number.
    fn as_bits(self) -> Self::Number;
    /// The word as a signed integer, rounded to a number.
    fn rounded(self) -> Self::Number;
    /// The word with `bits` flipped.
    fn flipped(self, bits: u32) -> Self;
    /// The word less another.
    fn less(self, other: Self) -> Self;
    /// The word shifted to the right; zeros or, of a signed integer, its sign come in.
    fn shifted<const SIGNED: bool>(self, by: u32) -> Self;
    /// The word shifted to the left.
    fn raised(self, by: u32) -> Self;
    /// The same word everywhere.
    fn all(self, word: u32) -> Self;
}

#[expect(clippy::cast_possible_wrap, clippy::cast_precision_loss, reason = "what is asked for")]
impl Word for u32 {
    type Number = f32;

    #[inline(always)]
    fn of(number: f32) -> Self {
        number.to_bits()
    }

    #[inline(always)]
    fn as_bits(self) -> f32 {
        f32::from_bits(self)
    }

    #[inline(always)]
    fn rounded(self) -> f32 {
        self as i32 as f32
    }

    #[inline(always)]
    fn flipped(self, bits: u32) -> Self {
        self ^ bits
    }

    #[inline(always)]
    fn less(self, other: Self) -> Self {
        self.wrapping_sub(other)
    }

    #[inline(always)]
    #[expect(clippy::cast_sign_loss, reason = "bits")]
    fn shifted<const SIGNED: bool>(self, by: u32) -> Self {
        if SIGNED { (self as i32 >> by) as Self } else { self >> by }
    }

    #[inline(always)]
    fn raised(self, by: u32) -> Self {
        self << by
    }

    #[inline(always)]
    fn all(self, word: u32) -> Self {
        word
    }
}

impl<S: Simd> Word for u32x16<S> {
    type Number = f32x16<S>;

    #[inline(always)]
    fn of(number: f32x16<S>) -> Self {
        number.bitcast()
    }

    #[inline(always)]
    fn as_bits(self) -> f32x16<S> {
        self.bitcast()
    }

    #[inline(always)]
    fn rounded(self) -> f32x16<S> {
        let signed: i32x16<S> = self.bitcast();
        f32x16::float_from(signed)
    }

    #[inline(always)]
    fn flipped(self, bits: u32) -> Self {
        self ^ Self::simd_from(self.simd, bits)
    }

    #[inline(always)]
    fn less(self, other: Self) -> Self {
        self - other
    }

    #[inline(always)]
    fn shifted<const SIGNED: bool>(self, by: u32) -> Self {
        if SIGNED {
            let signed: i32x16<S> = self.bitcast();
            (signed >> by).bitcast()
        } else {
            self >> by
        }
    }

    #[inline(always)]
    fn raised(self, by: u32) -> Self {
        self << by
    }

    #[inline(always)]
    fn all(self, word: u32) -> Self {
        Self::simd_from(self.simd, word)
    }
}

/// A distribution: the number that a word stands for.
pub(crate) trait Numbers: Copy {
    fn of<W: Word>(self, word: W) -> W::Number;
}

/// 2^-32.
const STEP: f32 = f32::from_bits((127 - 32) << 23);

/// low + span·u for the multiple u of 2^-24 that the upper 24 bits of a word are.
#[derive(Clone, Copy)]
pub(crate) struct Uniform {
    pub(crate) low: f32,
    pub(crate) span: f32,
}

impl Numbers for Uniform {
    #[inline(always)]
    fn of<W: Word>(self, word: W) -> W::Number {
        const STEP: f32 = f32::from_bits((127 - 24) << 23);
        let u = word.shifted::<false>(8).rounded();
        let u = u * u.all(STEP);
        u * u.all(self.span) + u.all(self.low)
    }
}

/// mean + deviation·z for a standard normal z.
#[derive(Clone, Copy)]
pub(crate) struct Normal {
    pub(crate) mean: f32,
    pub(crate) deviation: f32,
}

impl Numbers for Normal {
    #[inline(always)]
    fn of<W: Word>(self, word: W) -> W::Number {
        let z = standard_normal(word);
        z * z.all(self.deviation) + z.all(self.mean)
    }
}

/// The standard normal number at (word + 1/2)·2^-32: AS 241 (Wichura 1988), its variant PPND7, in f32.
///
/// A word is a place in (0, 1). In the middle, where |place − 1/2| ≤ 0.425, the number is the product of
/// that difference and a rational function of its square; farther out it is a rational function of
/// sqrt(−ln(distance to the end)). (The third piece of the algorithm starts at a distance of e^-25,
/// nearer than any word comes.)
#[inline(always)]
fn standard_normal<W: Word>(word: W) -> W::Number {
    const SIGN: u32 = 1 << 31;
    let centred = word.flipped(SIGN);
    let q = centred.rounded();
    let half = q.all(0.5);
    let q = (q + half) * q.all(STEP);
    let r = q.all(0.180_625) - q * q;
    let above = q * cubic(r, [59.109_375, 159.291_14, 50.434_273, 3.387_132_6]);
    let below = cubic(r, [67.187_56, 78.757_76, 17.895_17, 1.0]);
    let far = q.greater(q.all(0.425)) | q.all(-0.425).greater(q);
    if !<W::Number>::any(far) {
        return above / below;
    }
    // The distance to the nearer end: the bits of a negative number are flipped.
    let negative = q.all(0.0).greater(q);
    let distance = Value::select(negative, word.rounded(), word.flipped(u32::MAX).rounded());
    let distance = (distance + half) * q.all(STEP);
    let r = (q.all(0.0) - logarithm(W::of(distance))).root() - q.all(1.6);
    let tail = cubic(r, [0.170_238_21, 1.306_728_5, 2.756_815_4, 1.423_437_2]);
    let tail = Value::select(negative, q.all(0.0) - tail, tail);
    let tail_below = quadratic(r, [0.120_211_33, 0.737_001_66, 1.0]);
    // One division for both.
    Value::select(far, tail, above) / Value::select(far, tail_below, below)
}

/// A polynomial, its highest coefficient first.
#[inline(always)]
fn cubic<V: Value<Scalar = f32>>(x: V, [c3, c2, c1, c0]: [f32; 4]) -> V {
    quadratic_from(x, x.all(c3) * x + x.all(c2), [c1, c0])
}

/// The same of one degree less.
#[inline(always)]
fn quadratic<V: Value<Scalar = f32>>(x: V, [c2, c1, c0]: [f32; 3]) -> V {
    quadratic_from(x, x.all(c2), [c1, c0])
}

/// (first·x + c1)·x + c0
#[inline(always)]
fn quadratic_from<V: Value<Scalar = f32>>(x: V, first: V, [c1, c0]: [f32; 2]) -> V {
    (first * x + x.all(c1)) * x + x.all(c0)
}

/// The natural logarithm of a positive normal number, given by its bits.
///
/// The number is 2^k·(1 + f) with 1 + f between sqrt(1/2) and sqrt(2). With s = f / (2 + f),
/// ln(1 + f) = 2·atanh(s) = f − (f²/2 − s·(f²/2 + R(s²))); the coefficients of R and the two parts of
/// ln 2 are those of FreeBSD's `logf` (msun, from fdlibm).
#[inline(always)]
fn logarithm<W: Word>(bits: W) -> W::Number {
    /// Those of sqrt(1/2).
    const ROOT: u32 = 0x3F35_04F3;
    const FRACTION_BITS: u32 = f32::MANTISSA_DIGITS - 1;
    let exponent = bits.less(bits.all(ROOT)).shifted::<true>(FRACTION_BITS);
    let k = exponent.rounded();
    let one_and_f = bits.less(exponent.raised(FRACTION_BITS)).as_bits();
    let f = one_and_f - k.all(1.0);
    let s = f / (k.all(2.0) + f);
    let z = s * s;
    let w = z * z;
    let even = w * (k.all(0.400_009_72) + w * k.all(0.242_790_79));
    let odd = z * (k.all(0.666_666_6) + w * k.all(0.284_987_87));
    let square = k.all(0.5) * f * f;
    let (high, low) = (k.all(0.693_138_1), k.all(9.058_001e-6));
    s * (square + (odd + even)) + k * low - square + f + k * high
}

/// What is done with words. Positions count from the first word of the call.
trait Sink<S: Simd> {
    /// Takes one word.
    fn one(&mut self, position: usize, word: u32);
    /// Takes sixteen words.
    fn sixteen(&mut self, position: usize, words: u32x16<S>);
}

/// Which words: the first of a call is word `skip`, below 4, of block `block`.
#[derive(Clone, Copy)]
pub(crate) struct Source {
    pub(crate) key: Key,
    pub(crate) block: u64,
    pub(crate) skip: usize,
}

impl Source {
    /// The words from number `offset` on.
    pub(crate) const fn new(key: Key, offset: u64) -> Self {
        Self { key, block: offset / 4, skip: (offset % 4) as usize }
    }

    /// The block of a word of the call, and its place in it.
    #[inline(always)]
    const fn at(self, position: usize) -> (u64, usize) {
        let place = self.skip.wrapping_add(position % PER_BLOCK);
        let block = position / PER_BLOCK + place / PER_BLOCK;
        (self.block.wrapping_add(block as u64), place % PER_BLOCK)
    }

    /// Hands out `len` words.
    #[inline(always)]
    fn hand_out<S: Target>(self, simd: S, len: usize, sink: &mut impl Sink<S>) {
        // Up to the first whole block.
        let lead = self.skip.wrapping_neg() % PER_BLOCK;
        let lead = if S::SCALAR { len } else { lead.min(len) };
        self.one_by_one(lead, sink);
        if lead < len {
            self.by_groups(simd, lead, len, sink);
        }
    }

    /// Block by block, up to a position.
    #[inline(always)]
    fn one_by_one<S: Simd>(self, end: usize, sink: &mut impl Sink<S>) {
        let mut position = 0;
        while position < end {
            let (block, skip) = self.at(position);
            let words = self.key.block(Domain::Words, block);
            for word in words.iter().skip(skip).take(end - position) {
                sink.one(position, *word);
                position += 1;
            }
        }
    }

    /// Eight blocks at a time, from a position at which a block starts.
    #[inline(always)]
    fn by_groups<S: Simd>(self, simd: S, start: usize, end: usize, sink: &mut impl Sink<S>) {
        let blocks = Blocks::new(simd, self.key);
        let lanes = u64x8::load_array(simd, LANE_ORDER);
        for position in (start..end).step_by(GROUP) {
            let (block, _) = self.at(position);
            let counters = u64x8::simd_from(simd, block) + lanes;
            let [a, b] = in_order(blocks.words(simd, Domain::Words, counters));
            let (a, b): (u32x16<S>, u32x16<S>) = (a.bitcast(), b.bitcast());
            if end - position >= GROUP {
                sink.sixteen(position, a);
                sink.sixteen(position + LANES, b);
            } else {
                let words = [a.to_array(), b.to_array()];
                for (i, word) in words.as_flattened().iter().enumerate().take(end - position) {
                    sink.one(position + i, *word);
                }
            }
        }
    }
}

/// Writes words.
struct Plain<'a>(&'a mut [u32]);

impl<S: Simd> Sink<S> for Plain<'_> {
    #[inline(always)]
    fn one(&mut self, position: usize, word: u32) {
        if let Some(slot) = self.0.get_mut(position) {
            *slot = word;
        }
    }

    #[inline(always)]
    fn sixteen(&mut self, position: usize, words: u32x16<S>) {
        let rest = self.0.get_mut(position..).unwrap_or(&mut []);
        if let Some(slots) = rest.first_chunk_mut::<LANES>() {
            words.store_array(slots);
        }
    }
}

/// Writes the bytes of words, the lowest first.
struct Bytes<'a>(&'a mut [u8]);

impl<S: Simd> Sink<S> for Bytes<'_> {
    #[inline(always)]
    fn one(&mut self, position: usize, word: u32) {
        if let Some(slot) = self.0.as_chunks_mut().0.get_mut(position) {
            *slot = word.to_le_bytes();
        }
    }

    #[inline(always)]
    fn sixteen(&mut self, position: usize, words: u32x16<S>) {
        let rest = self.0.as_chunks_mut::<4>().0.get_mut(position..).unwrap_or(&mut []);
        if let Some(slots) = rest.first_chunk_mut::<LANES>() {
            for (slot, word) in slots.iter_mut().zip(words.to_array()) {
                *slot = word.to_le_bytes();
            }
        }
    }
}

/// Writes f(x, number).
struct Combined<'a, N, F> {
    tensor: Tensor<'a>,
    numbers: N,
    with: F,
}

/// What becomes of an element and a random number.
pub(crate) trait Combine: Copy {
    fn of<V: Value<Scalar = f32>>(self, x: V, number: V) -> V;
}

/// The number itself.
#[derive(Clone, Copy)]
pub(crate) struct Instead;

impl Combine for Instead {
    #[inline(always)]
    fn of<V: Value<Scalar = f32>>(self, _: V, number: V) -> V {
        number
    }
}

/// Their product.
#[derive(Clone, Copy)]
pub(crate) struct Times;

impl Combine for Times {
    #[inline(always)]
    fn of<V: Value<Scalar = f32>>(self, x: V, number: V) -> V {
        x * number
    }
}

/// The number, which is standard normal, at a distance by a variance.
#[derive(Clone, Copy)]
pub(crate) struct Scattered;

impl Combine for Scattered {
    #[inline(always)]
    fn of<V: Value<Scalar = f32>>(self, variance: V, number: V) -> V {
        variance.root() * number
    }
}

impl<S: Simd, N: Numbers, F: Combine> Sink<S> for Combined<'_, N, F> {
    #[inline(always)]
    fn one(&mut self, position: usize, word: u32) {
        let Self { numbers, with, .. } = *self;
        self.tensor.set(
            position,
            #[inline(always)]
            |x| with.of(x, numbers.of(word)),
        );
    }

    #[inline(always)]
    fn sixteen(&mut self, position: usize, words: u32x16<S>) {
        let Self { numbers, with, .. } = *self;
        self.tensor.piece(position, LANES).map(
            words.simd,
            [],
            #[inline(always)]
            |x, []| with.of(x, numbers.of(words)),
        );
    }
}

/// Writes the words of a key.
#[inline(always)]
pub(crate) fn words<S: Target>(simd: S, source: Source, out: &mut [u32]) {
    let len = out.len();
    source.hand_out(simd, len, &mut Plain(out));
}

/// Writes the bytes of so many words as there is room for.
#[inline(always)]
pub(crate) fn bytes<S: Target>(simd: S, source: Source, out: &mut [u8]) {
    let len = out.len() / 4;
    source.hand_out(simd, len, &mut Bytes(out));
}

/// Writes what becomes of every element and its random number.
#[inline(always)]
pub(crate) fn combine<S: Target, N: Numbers, F: Combine>(
    simd: S,
    source: Source,
    numbers: N,
    with: F,
    tensor: Tensor<'_>,
) {
    let len = tensor.input().len();
    source.hand_out(simd, len, &mut Combined { tensor, numbers, with });
}
