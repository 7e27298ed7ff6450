//! What a batch normalization is told beside its tensors.

use super::set;
use crate::Error;
use crate::error::check_len;
use crate::kernel::finish::narrow;

/// How much a batch counts in the running statistics: r ← (1 − a)·r + a·new.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Momentum {
    /// A fixed factor a, from 0 to 1. PyTorch's and this crate's default is 0.1. (ONNX and
    /// TensorFlow count the old value instead: their momentum is 1 − a.)
    Exponential(f64),
    /// The plain average of all batches: a = 1 / `batches`. PyTorch's `momentum=None`.
    Cumulative {
        /// The number of batches, this one included.
        batches: u64,
    },
}

impl Default for Momentum {
    fn default() -> Self {
        Self::Exponential(0.1)
    }
}

impl Momentum {
    /// The factor a of the new value.
    #[expect(clippy::cast_precision_loss, reason = "the rounding of a huge count does not matter")]
    pub(super) fn factor(self) -> Result<f32, Error> {
        match self {
            Self::Exponential(factor) if (0.0..=1.0).contains(&factor) => Ok(narrow(factor)),
            Self::Exponential(found) => Err(Error::Momentum { found }),
            Self::Cumulative { batches: 0 } => Err(Error::Batches),
            Self::Cumulative { batches } => Ok(narrow(1.0 / batches as f64)),
        }
    }
}

/// Which variance goes into the running variance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RunningVariance {
    /// M2 / (n − 1), as in PyTorch.
    #[default]
    Unbiased,
    /// M2 / n, as in ONNX and TensorFlow.
    Biased,
}

/// Running statistics, C values each, updated by a training pass.
#[derive(Debug)]
pub struct Running<'a> {
    /// The running mean.
    pub mean: &'a mut [f32],
    /// The running variance.
    pub var: &'a mut [f32],
}

/// Where a forward pass puts the statistics that backward needs: one value a reduction.
#[derive(Debug)]
pub struct Saved<'a> {
    /// The mean.
    pub mean: &'a mut [f32],
    /// 1 / sqrt(var + eps).
    pub rstd: &'a mut [f32],
}

impl Saved<'_> {
    pub(crate) fn check(&self, len: usize) -> Result<(), Error> {
        check_len("saved_mean", len, self.mean.len())?;
        check_len("saved_rstd", len, self.rstd.len())
    }

    /// Writes the statistics of neighbouring reductions.
    pub(crate) fn write(&mut self, first: usize, mean: &[f32], rstd: &[f32]) {
        set(self.mean, first, mean);
        set(self.rstd, first, rstd);
    }
}

/// Where a backward pass puts its results. What is `None` is not written.
#[derive(Debug, Default)]
pub struct Gradients<'a> {
    /// Gradient of the input: the layout's length.
    pub x: Option<&'a mut [f32]>,
    /// Gradient of γ: C values.
    pub gamma: Option<&'a mut [f32]>,
    /// Gradient of β: C values.
    pub beta: Option<&'a mut [f32]>,
}
