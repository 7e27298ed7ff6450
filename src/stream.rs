//! Random numbers and dropout masks of other systems, bit for bit.
//!
//! A model that moves between a GPU and a microcontroller can keep its mask. [`Stream`] names whose
//! mask; below it lie the generators, each of which gives any of its numbers alone: `word(index)`,
//! `uniform(index)`, and as `threshold(p)` the words that dropout keeps.
//!
//! | system | generator | mask |
//! |---|---|---|
//! | Triton, `torch.compile` | [`Triton`] | [`Stream::Triton`], [`Stream::Inductor`] |
//! | JAX, Flax | [`Jax`], [`JaxOriginal`] | [`Stream::Jax`], [`Stream::JaxOriginal`] |
//! | TensorFlow | [`TensorFlow`] | [`Stream::TensorFlow`] |
//! | oneDNN | [`OneDnn`], [`OneDnnOffset`] | [`Stream::OneDnn`], [`Stream::OneDnnOffset`] |
//! | PyTorch on CUDA | [`PyTorchCuda`] | [`Stream::PyTorchCuda`] |
//! | cuRAND | [`CurandDevice`], [`CurandHost`] | |
//! | NumPy | [`NumPy`] | |
//! | C++26 | [`StdPhilox4x32`], [`StdPhilox4x64`] | |
//! | Random123 and others | [`philox`], [`threefry`], [`squares`] | |
//!
//! All of these were compared with the output of the systems themselves (`tests/streams` in the
//! repository), but for PyTorch's on CUDA, which was modelled from its source.
//!
//! Floats are made as the system makes them, and compared as integers: [`Threshold`].

mod cpp;
mod curand;
mod decider;
mod dropout;
mod jax;
mod numpy;
mod onednn;
pub mod philox;
mod pytorch;
pub mod squares;
mod tensorflow;
pub mod threefry;
mod threshold;
mod triton;

use crate::Error;
use core::num::NonZero;

pub use cpp::{StdPhilox4x32, StdPhilox4x64};
pub use curand::{CurandDevice, CurandHost};
pub use decider::{Decider, Mask, Scale};
pub use dropout::StreamDropout;
pub use jax::{Jax, JaxOriginal};
pub use numpy::NumPy;
pub use onednn::{OneDnn, OneDnnOffset};
pub use pytorch::{PyTorchCuda, Vector};
pub use tensorflow::TensorFlow;
pub use threshold::Threshold;
pub use triton::Triton;

/// Whose dropout masks.
///
/// The seed is that of the [`Key`](crate::Key) of a call; what else a system's mask depends on is in
/// the variant. The key's stream number plays no part but in [`Stream::Native`], and
/// [`Key::fold_in`](crate::Key::fold_in) is not what other systems derive keys by: for those, make a
/// key for every use from the seed that the system had.
///
/// Each variant says what a kept x becomes, x·s or x/s, in f32. A dropped one becomes +0.0. (PyTorch
/// multiplies by 0, which keeps the sign of −x and a NaN.)
///
/// # Examples
///
/// Triton's tutorial kernel on eight elements, with seed 123 and p = 0.5:
///
/// ```
/// use evenkeel::{Key, stream::{Scale, Stream}};
/// let dropout = Stream::Triton.decider(0.5)?;
/// let kept: Vec<_> = (0..8).filter(|&i| dropout.keep(Key::new(123), i)).collect();
/// assert_eq!(kept, [1, 5]);
/// assert_eq!(dropout.scale(), Scale::Over(0.5));
/// # Ok::<(), evenkeel::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stream {
    /// The masks of this crate: one byte an element, exact to 2^-40.
    #[default]
    Native,
    /// The dropout kernel of Triton's tutorial.
    ///
    /// `tl.rand(seed, offset) > p` keeps: key = `Key::new(seed as u64)`, element i = offset i.
    /// Offsets of 32 bits address 2^32 elements; where there are more, they are of 64 bits.
    ///
    /// A kept x becomes x/(1 − p), with p rounded to f32 and 1 − p again, and the division rounded
    /// correctly, as `tl.math.div_rn` and Triton's interpreter do it. (A plain `/` on an NVIDIA GPU may
    /// differ in the last bit.)
    Triton,
    /// Dropout under `torch.compile`, which Inductor compiles with Triton.
    ///
    /// Decides as [`Stream::Triton`]; p = 0 keeps everything. The key's seed is the number that
    /// the compiled kernel loads from its `seed` argument, element i the flat index in the tensor.
    ///
    /// A kept x becomes x·s, where s = 1/(1 − p) is computed in binary64 and rounded to f32.
    Inductor,
    /// JAX's `random.bernoulli(key, 1 − p, shape)` and so Flax's `Dropout(rate=p)`, with
    /// `jax_threefry_partitionable` on, the default since JAX 0.5.
    ///
    /// The two words of JAX's key are the high and the low half of the seed: key =
    /// `Key::new(jax.seed())` of a [`Jax`], with `Jax::new(seed)` for `jax.random.key(seed)`. 1 − p is
    /// computed in binary64 and rounded to f32. (With `jax_enable_x64` on, give `bernoulli` an f32:
    /// else JAX draws 64 bits for each element.)
    ///
    /// A kept x becomes x/s, where s is the same f32(1 − p).
    Jax,
    /// As [`Stream::Jax`] with `jax_threefry_partitionable` off: the mask depends on the size of the
    /// tensor.
    JaxOriginal {
        /// The number of elements of the whole tensor, below 2^32.
        len: u64,
    },
    /// TensorFlow's `tf.nn.experimental.stateless_dropout(x, p, seed=[seed0, seed1])`.
    ///
    /// Key = `Key::new(seed0 as u64)`. Keeps where `stateless_uniform` >= f32(p).
    ///
    /// A kept x becomes x·s, where s = 1/(1 − p) is computed in binary64 and rounded to f32.
    TensorFlow {
        /// The second number of TensorFlow's seed.
        seed1: i64,
    },
    /// oneDNN's dropout attribute with a seed of 32 bits: the low word of the key's seed.
    ///
    /// Addresses 2^32 elements.
    ///
    /// A kept x becomes x·s, where s = 1/(1 − p), p rounded to f32 and all of it computed in f32.
    OneDnn,
    /// oneDNN's dropout attribute with a seed of 64 bits, the key's, and an offset.
    ///
    /// Scaled as [`Stream::OneDnn`].
    OneDnnOffset {
        /// The offset.
        offset: NonZero<i64>,
    },
    /// PyTorch's dropout of a dense f32 tensor on CUDA, eager mode: [`PyTorchCuda`], which explains
    /// the parameters.
    ///
    /// **Modelled from the source, not compared with a GPU.** Key = `Key::new(seed)`, the seed of
    /// `torch.manual_seed`. Keeps where cuRAND's uniform number < f32(1 − p); p = 0 keeps everything.
    ///
    /// A kept x becomes x·s, where s = f32(1/f32(1 − p)).
    PyTorchCuda {
        /// The number of elements of the whole tensor.
        len: u64,
        /// The generator's offset before the call.
        offset: u64,
        /// How many blocks of 256 threads the device runs at once.
        blocks: NonZero<u32>,
    },
}

impl Stream {
    /// Dropout by this stream's decisions, with probability `p` to drop.
    ///
    /// # Errors
    ///
    /// [`Error::Probability`] if `p` is not from 0 to 1; [`Error::Index`] if the length of
    /// [`Stream::JaxOriginal`] is not below 2^32.
    pub fn decider(self, p: f64) -> Result<Decider, Error> {
        Decider::new(self, p)
    }

    /// Checks that an element can be addressed.
    ///
    /// # Errors
    ///
    /// [`Error::Index`] if the index is not below the length that the stream was given, or for
    /// [`Stream::OneDnn`] not below 2^32. Other streams address all of 64 bits.
    #[inline]
    pub const fn check(self, index: u64) -> Result<(), Error> {
        let limit = match self {
            Self::JaxOriginal { len } | Self::PyTorchCuda { len, .. } => len,
            Self::OneDnn => 1 << 32,
            _ => return Ok(()),
        };
        if index < limit { Ok(()) } else { Err(Error::Index { found: index, limit }) }
    }
}
