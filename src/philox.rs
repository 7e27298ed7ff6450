//! Philox4x32-10: random bits as a pure function of a key and an index.
//!
//! A counter-based generator has no state to carry along: word i of a stream is computed from
//! (key, i) alone. So a mask needs no memory, the backward pass computes it anew, and any split of a
//! tensor over calls, threads or machines sees the same bits.
//!
//! # References
//!
//! J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw, "Parallel random numbers: as easy as 1, 2, 3",
//! SC 2011. The counter layout is that of cuRAND's device API (subsequence = stream).

use crate::backend::dispatch;
use crate::kernel::numbers::{self, Source};
use crate::words::{join, pair, pick};
use crate::{Backend, Error, stream};
use core::convert::Infallible;
use rand_core::{Rng, SeedableRng, TryRng};

/// The multipliers of the two halves of a round.
pub(crate) const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
/// What the two words of the key grow by between rounds.
pub(crate) const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
/// Rounds. Fewer are not offered.
pub(crate) const ROUNDS: usize = 10;

/// Computes one block of Philox4x32-10: four words from a counter of four words and a key of two.
///
/// # Examples
///
/// ```
/// // A known answer of Random123.
/// let words = evenkeel::philox::philox4x32([0; 4], [0; 2]);
/// assert_eq!(words, [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
/// ```
///
/// # References
///
/// Salmon et al. 2011, section 3.2.
#[must_use]
pub const fn philox4x32(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    stream::philox::philox4x32::<ROUNDS>(counter, key)
}

/// What the blocks of a key are used for: the top two bits of the counter.
#[derive(Clone, Copy)]
pub(crate) enum Domain {
    /// Words, and the bytes that decide about elements.
    Words = 0,
    /// Words that decide where a byte ties with the threshold.
    Refinement = 2,
    /// Derived keys.
    FoldIn = 3,
}

/// A seed and a stream number: what a mask depends on beside the index.
///
/// **One key, one use.** The bytes of dropout masks, uniform and normal numbers of one key come
/// from the same blocks. Derive a key for every use (layer, step, pass, sample, rank) with
/// [`Key::fold_in`].
///
/// # A tree of keys
///
/// Fold numbers in always in the same order, and let all children of a key have one meaning. What to
/// fold in:
///
/// - the use (weights, dropout, …), the layer, the step: always;
/// - the rank among data-parallel devices, whose masks are to differ; not the rank among tensor-parallel
///   ones, which have one mask of a replicated tensor, and for a shard of it an
///   [`offset`](crate::Dropout::offset);
/// - the pass and the sample for Monte-Carlo dropout, with elements counted from the sample's first: so a
///   sample's answer does not depend on its batch.
///
/// Do not add: seed 1 on rank 2 would be seed 2 on rank 1. The backward pass and recomputation take the
/// same key again, and nothing else. docs/RANDOMNESS.md in the repository is the whole recipe, and says how
/// the bits were tested.
///
/// # Examples
///
/// ```
/// use evenkeel::{Dropout, Key, in_place};
/// const DROPOUT: u64 = 1;
/// let masks = Key::new(42).fold_in(DROPOUT);
/// let (layer, step) = (3, 1000);
/// let key = masks.fold_in(layer).fold_in(step);
/// assert_ne!(key, masks.fold_in(step).fold_in(layer));
///
/// // Each of two data-parallel ranks has a mask of its own, …
/// let dropout = Dropout::new(0.5)?;
/// let [mut first, mut second] = [[1.0; 64]; 2];
/// dropout.forward(in_place(&mut first), key.fold_in(0))?;
/// dropout.forward(in_place(&mut second), key.fold_in(1))?;
/// assert_ne!(first, second);
///
/// // … and the second of two tensor-parallel ranks the second half of the mask of the whole.
/// let (mut whole, mut half) = ([1.0; 64], [1.0; 32]);
/// dropout.forward(in_place(&mut whole), key)?;
/// dropout.offset(32).forward(in_place(&mut half), key)?;
/// assert_eq!(half, whole[32..]);
/// # Ok::<(), evenkeel::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    seed: u64,
    /// Below 2^62.
    stream: u64,
}

impl Key {
    /// A key with a seed, and stream 0.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { seed, stream: 0 }
    }

    /// A key with a seed and a stream number.
    ///
    /// # Errors
    ///
    /// [`Error::Stream`] if the stream is not below 2^62: the two top bits are used within.
    pub const fn with_stream(seed: u64, stream: u64) -> Result<Self, Error> {
        if stream >> 62 == 0 {
            Ok(Self { seed, stream })
        } else {
            Err(Error::Stream { found: stream })
        }
    }

    /// A key with a seed from any generator.
    #[must_use]
    pub fn from_rng(rng: &mut impl Rng) -> Self {
        Self::new(rng.next_u64())
    }

    /// The seed.
    #[must_use]
    pub const fn seed(self) -> u64 {
        self.seed
    }

    /// The stream number.
    #[must_use]
    pub const fn stream(self) -> u64 {
        self.stream
    }

    /// Derives an independent key from this one and a number.
    ///
    /// (r0, r1, r2, r3) is the block `data` of this key in a domain of its own; the new seed is
    /// r0 | r1 << 32, the new stream (r2 | r3 << 32) mod 2^62.
    #[must_use]
    pub const fn fold_in(self, data: u64) -> Self {
        let [r0, r1, r2, r3] = self.block(Domain::FoldIn, data);
        Self { seed: join([r0, r1]), stream: join([r2, r3]) & (u64::MAX >> 2) }
    }

    /// The two words that start every round's key.
    pub(crate) const fn seed_words(self) -> [u32; 2] {
        pair(self.seed)
    }

    /// Four words.
    pub(crate) const fn block(self, domain: Domain, block: u64) -> [u32; 4] {
        let ([c0, c1], [c2, c3]) = (pair(block), pair(self.stream | (domain as u64) << 62));
        philox4x32([c0, c1, c2, c3], self.seed_words())
    }
}

/// The words of a [`Key`] in their order, as a generator of `rand_core`.
///
/// Seeking costs nothing: [`set_word_pos`](Self::set_word_pos) goes to any of the 2^66 words of a
/// stream. The words of stream 0 with a seed below 2^32 are those of C++26's `std::philox4x32`.
///
/// # Examples
///
/// ```
/// use evenkeel::{Key, Philox};
/// use rand_core::Rng;
/// let mut rng = Philox::new(Key::new(7));
/// let first = rng.next_u32();
/// let second = rng.next_u32();
/// rng.set_word_pos(1);
/// assert_eq!(rng.next_u32(), second);
/// # assert_ne!(first, second);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Philox {
    key: Key,
    /// The block that `words` holds.
    block: u64,
    words: [u32; 4],
    /// The next word of the block, 0 to 3.
    next: u8,
}

impl Philox {
    /// A generator at word 0 of a key.
    #[must_use]
    pub const fn new(key: Key) -> Self {
        Self { key, block: 0, words: key.block(Domain::Words, 0), next: 0 }
    }

    /// The key.
    #[must_use]
    pub const fn key(&self) -> Key {
        self.key
    }

    /// The stream number of the key.
    #[must_use]
    pub const fn get_stream(&self) -> u64 {
        self.key.stream
    }

    /// Changes the stream number. The word position stays.
    ///
    /// # Errors
    ///
    /// [`Error::Stream`] if the stream is not below 2^62; the generator is then unchanged.
    pub fn set_stream(&mut self, stream: u64) -> Result<(), Error> {
        self.key = Key::with_stream(self.key.seed, stream)?;
        self.seek(self.block);
        Ok(())
    }

    /// The number of the word that comes next, below 2^66.
    #[must_use]
    pub const fn get_word_pos(&self) -> u128 {
        (self.block as u128) << 2 | self.next as u128
    }

    /// Goes to a word of the stream. The position is taken modulo 2^66.
    #[expect(clippy::cast_possible_truncation, reason = "positions wrap by definition")]
    pub fn set_word_pos(&mut self, word: u128) {
        self.seek((word >> 2) as u64);
        self.next = word as u8 & 3;
    }

    fn seek(&mut self, block: u64) {
        self.block = block;
        self.words = self.key.block(Domain::Words, block);
    }

    fn next_word(&mut self) -> u32 {
        let word = pick(self.words, self.next.into());
        if self.next < 3 {
            self.next += 1;
        } else {
            self.next = 0;
            self.seek(self.block.wrapping_add(1));
        }
        word
    }
}

/// For fewer blocks than this, vectors do not pay.
const FEW_BLOCKS: usize = 8;

impl Philox {
    /// Word by word.
    fn fill_words(&mut self, bytes: &mut [u8]) {
        // rand_core's helper slices with a checked length; this form has no panic path.
        for chunk in bytes.chunks_mut(4) {
            let word = self.next_word().to_le_bytes();
            for (byte, value) in chunk.iter_mut().zip(word) {
                *byte = value;
            }
        }
    }

    /// Whole blocks, from the one that is there on, of which no word is used.
    fn fill_blocks(&mut self, blocks: &mut [[u8; 16]]) {
        let source = Source { key: self.key, block: self.block, skip: 0 };
        let count = blocks.len() as u64;
        let bytes = blocks.as_flattened_mut();
        dispatch!(Backend::detect(), simd => numbers::bytes(simd, source, bytes));
        self.seek(self.block.wrapping_add(count));
    }
}

impl TryRng for Philox {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.next_word())
    }

    /// Two words, the low one first.
    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        rand_core::utils::next_u64_via_u32(self)
    }

    /// Those of the words, little-endian. What is used of a word uses it up.
    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        // As many as are left of the block that is there.
        let left = bytes.len().min(4 * usize::from(self.next.wrapping_neg() & 3));
        let Some((first, rest)) = bytes.split_at_mut_checked(left) else { return Ok(()) };
        self.fill_words(first);
        let (blocks, rest) = rest.as_chunks_mut::<16>();
        if blocks.len() < FEW_BLOCKS {
            self.fill_words(blocks.as_flattened_mut());
        } else {
            self.fill_blocks(blocks);
        }
        self.fill_words(rest);
        Ok(())
    }
}

impl SeedableRng for Philox {
    /// The seed of a [`Key`], little-endian.
    type Seed = [u8; 8];

    fn from_seed(seed: [u8; 8]) -> Self {
        Self::new(Key::new(u64::from_le_bytes(seed)))
    }

    /// The same as `Philox::new(Key::new(seed))`: a counter-based generator needs no scrambled seed.
    fn seed_from_u64(seed: u64) -> Self {
        Self::new(Key::new(seed))
    }
}
