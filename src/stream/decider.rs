//! Decisions of a [`Stream`] with a probability, and then with a key.

use super::{Jax, JaxOriginal, OneDnn, OneDnnOffset, PyTorchCuda, Stream, TensorFlow};
use super::{Threshold, Triton};
use crate::drops::Probability;
use crate::kernel::foreign::{Decide, FirstWords};
use crate::kernel::lanes::narrow;
use crate::kernel::mask;
use crate::philox::Domain;
use crate::words::{pair, pick};
use crate::{Error, Key};

/// Dropout decisions of a [`Stream`] with a probability. Which element of which key is up to the call.
///
/// # Examples
///
/// ```
/// use evenkeel::stream::{Jax, Scale, Stream};
/// use evenkeel::Key;
/// // flax.linen.Dropout(0.5) with the key jax.random.key(42), on 15 elements
/// let dropout = Stream::Jax.decider(0.5)?;
/// let key = Key::new(Jax::new(42).seed());
/// let kept: Vec<_> = (0..15).filter(|&i| dropout.keep(key, i)).collect();
/// assert_eq!(kept, [0, 4, 6, 10, 14]);
/// assert_eq!(dropout.scale(), Scale::Over(0.5));
/// # Ok::<(), evenkeel::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decider {
    stream: Stream,
    rule: Rule,
    scale: Scale,
}

/// What is compared with what.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Rule {
    /// A byte that is refined where it ties. Nothing is kept without a threshold.
    Native(Option<mask::Threshold>),
    /// A word.
    Words(Threshold),
}

/// What is done with a kept element, in f32.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scale {
    /// It is multiplied by this.
    Times(f32),
    /// It is divided by this, which may give another last bit than a multiplication by the inverse.
    Over(f32),
}

impl Scale {
    /// What a kept element becomes.
    #[must_use]
    #[inline]
    pub const fn apply(self, x: f32) -> f32 {
        match self {
            Self::Times(factor) => x * factor,
            Self::Over(divisor) => x / divisor,
        }
    }

    /// x·s with s = 1/(1 − p), computed in binary64.
    const fn in_double(p: f64) -> Self {
        Self::Times(narrow(1.0 / (1.0 - p)))
    }
}

impl Decider {
    pub(super) fn new(stream: Stream, p: f64) -> Result<Self, Error> {
        let native = Probability::new(p)?;
        if let Stream::JaxOriginal { len } = stream {
            JaxOriginal::new(Jax::from_words([0; 2]), len)?;
        }
        Ok(Self { stream, rule: Rule::new(stream, &native)?, scale: scale(stream, &native) })
    }

    /// Whose decisions.
    #[must_use]
    pub const fn stream(self) -> Stream {
        self.stream
    }

    /// What is done with a kept element. If p = 1 none is kept, and this has no meaning.
    #[must_use]
    pub const fn scale(self) -> Scale {
        self.scale
    }

    /// The words that keep. `None` for [`Stream::Native`], which decides by bytes.
    #[must_use]
    pub const fn threshold(self) -> Option<Threshold> {
        match self.rule {
            Rule::Native(_) => None,
            Rule::Words(threshold) => Some(threshold),
        }
    }

    /// Whether an element is kept. Of a stream that cannot address all elements, those that
    /// [`Stream::check`] refuses get some decision, without meaning.
    ///
    /// For many elements of one key, [`with`](Self::with) saves what a system does once for each key.
    #[must_use]
    pub fn keep(self, key: Key, index: u64) -> bool {
        self.with(key).keeps(index)
    }

    /// The mask of a key.
    #[must_use]
    pub fn with(self, key: Key) -> Mask {
        Mask { decider: self, key, words: Words::new(self.stream, key) }
    }
}

impl Rule {
    fn new(stream: Stream, native: &Probability) -> Result<Self, Error> {
        let p = native.given();
        let threshold = match stream {
            Stream::Native => return Ok(Self::Native(native.threshold())),
            // Both frameworks return their input then, and do not ask for random numbers.
            Stream::Inductor | Stream::PyTorchCuda { .. } if p == 0.0 => Threshold::ALL,
            Stream::Triton | Stream::Inductor => Triton::threshold(p)?,
            Stream::Jax | Stream::JaxOriginal { .. } => Jax::threshold(p)?,
            Stream::TensorFlow { .. } => TensorFlow::threshold(p)?,
            Stream::OneDnn | Stream::OneDnnOffset { .. } => OneDnn::threshold(p)?,
            Stream::PyTorchCuda { .. } => PyTorchCuda::threshold(p)?,
        };
        Ok(Self::Words(threshold))
    }
}

/// How a system scales what it keeps.
const fn scale(stream: Stream, native: &Probability) -> Scale {
    let p = native.given();
    let p32 = narrow(p);
    match stream {
        Stream::Native => Scale::Times(native.scale()),
        Stream::Triton => Scale::Over(1.0 - p32),
        Stream::Jax | Stream::JaxOriginal { .. } => Scale::Over(narrow(1.0 - p)),
        Stream::Inductor | Stream::TensorFlow { .. } => Scale::in_double(p),
        Stream::OneDnn | Stream::OneDnnOffset { .. } => Scale::Times(1.0 / (1.0 - p32)),
        Stream::PyTorchCuda { .. } => Scale::Times(1.0 / narrow(1.0 - p)),
    }
}

/// The dropout mask of a [`Stream`] with a probability and a key.
///
/// # Examples
///
/// ```
/// use evenkeel::{Error, Key, stream::Stream};
/// // oneDNN with seed 0 and p = 0.1
/// let mask = Stream::OneDnn.decider(0.1)?.with(Key::new(0));
/// let dropped: Vec<_> = (0..32).filter(|&i| mask.keep(i) == Ok(false)).collect();
/// assert_eq!(dropped, [10, 17, 24]);
/// // It numbers elements with 32 bits.
/// assert_eq!(mask.keep(1 << 32), Err(Error::Index { found: 1 << 32, limit: 1 << 32 }));
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mask {
    decider: Decider,
    key: Key,
    words: Words,
}

impl Mask {
    /// Whether an element is kept.
    ///
    /// # Errors
    ///
    /// As [`Stream::check`].
    #[inline]
    pub fn keep(self, index: u64) -> Result<bool, Error> {
        self.decider.stream.check(index)?;
        Ok(self.keeps(index))
    }
}

impl Decide for Mask {
    /// The same without a check.
    #[inline]
    fn keeps(&self, index: u64) -> bool {
        match self.decider.rule {
            Rule::Native(None) => false,
            Rule::Native(Some(threshold)) => threshold.keeps(self.key, index),
            Rule::Words(threshold) => threshold.keeps(self.words.word(index)),
        }
    }

    #[inline]
    fn first_words(&self) -> Option<FirstWords> {
        match (self.words, self.decider.rule) {
            (Words::Triton(_), Rule::Words(Threshold { shift, first, more: Some(more) })) => {
                // Of the key, the seed alone.
                Some(FirstWords { key: Key::new(self.key.seed()), shift, first, more })
            }
            _ => None,
        }
    }
}

/// Where the words of a mask come from, ready for one key.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Words {
    Native(Key),
    Triton(Triton),
    Jax(Jax),
    JaxOriginal(JaxOriginal),
    TensorFlow(TensorFlow),
    OneDnn(OneDnn),
    OneDnnOffset(OneDnnOffset),
    PyTorchCuda(PyTorchCuda),
}

impl Words {
    fn new(stream: Stream, key: Key) -> Self {
        let seed = key.seed();
        match stream {
            Stream::Native => Self::Native(key),
            Stream::Triton | Stream::Inductor => Self::Triton(Triton::new(seed.cast_signed())),
            Stream::Jax => Self::Jax(jax(seed)),
            Stream::JaxOriginal { len } => {
                // The decider has checked the length.
                let len = u32::try_from(len).unwrap_or(u32::MAX);
                Self::JaxOriginal(JaxOriginal::of(jax(seed), len))
            }
            Stream::TensorFlow { seed1 } => {
                Self::TensorFlow(TensorFlow::new([seed.cast_signed(), seed1]))
            }
            Stream::OneDnn => Self::OneDnn(OneDnn::new(low(seed).cast_signed())),
            Stream::OneDnnOffset { offset } => {
                Self::OneDnnOffset(OneDnnOffset::new(seed.cast_signed(), offset))
            }
            Stream::PyTorchCuda { len, offset, blocks } => {
                Self::PyTorchCuda(PyTorchCuda::new(seed, len, offset, blocks))
            }
        }
    }

    #[inline]
    fn word(&self, index: u64) -> u32 {
        match self {
            Self::Native(key) => pick(key.block(Domain::Words, index / 4), index),
            Self::Triton(triton) => triton.word(index),
            Self::Jax(jax) => jax.word(index),
            Self::JaxOriginal(jax) => jax.word_within(index),
            Self::TensorFlow(tensorflow) => tensorflow.word(index),
            Self::OneDnn(onednn) => onednn.word(low(index)),
            Self::OneDnnOffset(onednn) => onednn.word(index),
            Self::PyTorchCuda(pytorch) => pytorch.word_within(index),
        }
    }
}

/// JAX's key from the two halves of a seed.
const fn jax(seed: u64) -> Jax {
    Jax::with_x64(seed.cast_signed())
}

/// The low word of a number.
const fn low(x: u64) -> u32 {
    let [low, _] = pair(x);
    low
}
