//! How running statistics follow the batches.

use crate::kernel::constants::at_most_max;
use crate::kernel::lanes::narrow;
use crate::{Error, Running};

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
    pub(crate) fn factor(self) -> Result<f32, Error> {
        match self {
            Self::Exponential(factor) if (0.0..=1.0).contains(&factor) => Ok(narrow(factor)),
            Self::Exponential(found) => Err(Error::Momentum { found }),
            Self::Cumulative { batches: 0 } => Err(Error::Batches),
            Self::Cumulative { batches } => Ok(narrow(1.0 / batches as f64)),
        }
    }
}

impl Running<'_> {
    /// Moves the statistics of neighbouring channels towards those of a batch.
    pub(crate) fn follow(&mut self, first: usize, mean: &[f32], var: &[f32], factor: f32) {
        mix(self.mean, first, mean, factor);
        mix(self.var, first, var, factor);
    }
}

fn mix(running: &mut [f32], first: usize, new: &[f32], factor: f32) {
    for (running, new) in running.iter_mut().skip(first).zip(new) {
        *running = at_most_max((1.0 - factor) * *running + factor * *new);
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
