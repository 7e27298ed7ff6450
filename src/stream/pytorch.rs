//! PyTorch's dropout on CUDA.

use super::{CurandDevice, Threshold};
use crate::Error;
use core::num::NonZero;

/// Which word decides about an element of PyTorch's dropout on CUDA, eager mode.
///
/// **Modelled from the source, not compared with a GPU.** The words themselves are cuRAND's, which
/// are.
///
/// PyTorch distributes a dense tensor over T = 256·min(⌈len / 256⌉, blocks) threads. Each has a
/// subsequence of its own, and takes `vector` elements at a time:
///
/// ```text
/// g = ⌊i / vector⌋: thread g mod T, output vector·⌊g / T⌋ + i mod vector
/// output k of thread t: CurandDevice(seed, subsequence t, offset), output k
/// ```
///
/// - `blocks` is what the device runs at once: its multiprocessors times ⌊the most threads of one /
///   256⌋ (`multi_processor_count` and `max_threads_per_multi_processor` of
///   `torch.cuda.get_device_properties`). An A100 has 108·8, an H100 (SXM) 132·8.
/// - `offset` is the generator's before the call (`torch.cuda.default_generators[0].get_offset()`),
///   0 after `manual_seed`. Each call moves it on.
/// - `vector` is 4 for f32 tensors whose length is a multiple of 4, 2 for other even lengths, and 1
///   for odd ones and tensors that are not dense.
///
/// # Examples
///
/// ```
/// use core::num::NonZero;
/// use evenkeel::stream::PyTorchCuda;
/// // torch.manual_seed(1234), then dropout of 64 elements on an A100
/// let blocks = NonZero::new(108 * 8).ok_or(evenkeel::Error::TooLarge)?;
/// let dropout = PyTorchCuda::new(1234, 64, 0, blocks);
/// assert_eq!(dropout.word(0)?, 0x2090_B348);
/// # Ok::<(), evenkeel::Error>(())
/// ```
///
/// # References
///
/// PyTorch 2.x, `aten/src/ATen/native/cuda/Dropout.cu` (`fused_dropout_kernel_vec`,
/// `fused_dropout_kernel`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PyTorchCuda {
    seed: u64,
    len: u64,
    offset: u64,
    threads: NonZero<u64>,
    vector: Vector,
}

/// How many elements a thread of [`PyTorchCuda`] takes at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Vector {
    /// One: odd lengths, and tensors that are not dense.
    One,
    /// Two: lengths that are even but no multiple of 4.
    Two,
    /// Four: f32, lengths that are a multiple of 4.
    Four,
    /// Eight: f16 and bf16, lengths that are a multiple of 8.
    Eight,
}

impl PyTorchCuda {
    /// Dropout of a dense f32 tensor of `len` elements, aligned to 16 bytes.
    #[must_use]
    pub fn new(seed: u64, len: u64, offset: u64, blocks: NonZero<u32>) -> Self {
        let used = len.div_ceil(256).min(blocks.get().into());
        let threads = NonZero::new(256 * used).unwrap_or(NonZero::<u64>::MIN);
        let vector = match len % 4 {
            0 => Vector::Four,
            2 => Vector::Two,
            _ => Vector::One,
        };
        Self { seed, len, offset, threads, vector }
    }

    /// Chooses how many elements a thread takes at a time, where the length does not say.
    #[must_use]
    pub const fn vector(self, vector: Vector) -> Self {
        Self { vector, ..self }
    }

    /// The word of an element.
    ///
    /// # Errors
    ///
    /// [`Error::Index`] if the index is not below the length.
    pub fn word(self, index: u64) -> Result<u32, Error> {
        if index < self.len {
            Ok(self.word_within(index))
        } else {
            Err(Error::Index { found: index, limit: self.len })
        }
    }

    /// The uniform number of an element, from greater than 0 to 1.
    ///
    /// # Errors
    ///
    /// [`Error::Index`] if the index is not below the length.
    pub fn uniform(self, index: u64) -> Result<f32, Error> {
        self.word(index).map(super::curand::uniform)
    }

    /// The words whose uniform number is below f32(1 − p): what dropout keeps.
    ///
    /// # Errors
    ///
    /// [`Error::Probability`] if `p` is not from 0 to 1.
    pub fn threshold(p: f64) -> Result<Threshold, Error> {
        Threshold::pytorch_cuda(p)
    }

    /// A word whose index is below the length. (What others give is without meaning.)
    pub(super) fn word_within(self, index: u64) -> u32 {
        let shift = match self.vector {
            Vector::One => 0,
            Vector::Two => 1,
            Vector::Four => 2,
            Vector::Eight => 3,
        };
        let (group, place) = (index >> shift, index & ((1 << shift) - 1));
        let (turn, thread) = (group / self.threads, group % self.threads);
        CurandDevice::new(self.seed, thread, self.offset).word(turn << shift | place)
    }
}
