//! Initial weights.

use crate::kernel::lanes::{Real as _, Value as _, narrow};
use crate::{Error, Fill};

/// How far apart initial weights are spread, from the number of a unit's inputs (and outputs).
///
/// | variant | distribution | field's name |
/// |---|---|---|
/// | [`LeCunNormal`](Init::LeCunNormal) | normal, variance 1 / `fan_in` | for SELU, tanh |
/// | [`LeCunUniform`](Init::LeCunUniform) | uniform within ±sqrt(3 / `fan_in`) | |
/// | [`HeNormal`](Init::HeNormal) | normal, variance 2 / `fan_in` | Kaiming, for ReLU |
/// | [`HeUniform`](Init::HeUniform) | uniform within ±sqrt(6 / `fan_in`) | Kaiming |
/// | [`GlorotNormal`](Init::GlorotNormal) | normal, variance 2 / (`fan_in` + `fan_out`) | Xavier |
/// | [`GlorotUniform`](Init::GlorotUniform) | uniform within ±sqrt(6 / (`fan_in` + `fan_out`)) | Xavier |
///
/// The fan-in of a dense layer is the number of its inputs; of a convolution, the input channels of a
/// group times the kernel's size. Normal numbers are not truncated (as PyTorch's; Keras truncates).
///
/// # Examples
///
/// ```
/// use evenkeel::{Fill, Init, Key};
/// let mut weights = [0.0; 256 * 64];
/// let layer = 3;
/// Init::LeCunNormal { fan_in: 256 }.fill(&mut weights, Fill::new(Key::new(1).fold_in(layer)))?;
/// let square: f32 = weights.iter().map(|w| w * w).sum();
/// assert!((square / 64.0 - 1.0).abs() < 0.05);
/// # Ok::<(), evenkeel::Error>(())
/// ```
///
/// # References
///
/// Y. LeCun, L. Bottou, G. Orr, K.-R. Müller, "Efficient BackProp", 1998, section 4.6; X. Glorot,
/// Y. Bengio, "Understanding the difficulty of training deep feedforward neural networks", AISTATS 2010,
/// equation 16; K. He, X. Zhang, S. Ren, J. Sun, "Delving deep into rectifiers", ICCV 2015, equation 10.
/// PyTorch's `torch.nn.init`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the fields are what the type's table says of them")]
pub enum Init {
    /// Variance 1 / `fan_in`.
    LeCunNormal { fan_in: usize },
    /// The same variance.
    LeCunUniform { fan_in: usize },
    /// Variance 2 / `fan_in`.
    HeNormal { fan_in: usize },
    /// The same variance.
    HeUniform { fan_in: usize },
    /// Variance 2 / (`fan_in` + `fan_out`).
    GlorotNormal { fan_in: usize, fan_out: usize },
    /// The same variance.
    GlorotUniform { fan_in: usize, fan_out: usize },
}

impl Init {
    /// Writes weights.
    ///
    /// # Errors
    ///
    /// [`Error::Normal`] or [`Error::Range`] with an infinite spread if there are no inputs (nor
    /// outputs); [`Error::TooLarge`] as of [`Fill`].
    pub fn fill(self, weights: &mut [f32], fill: Fill) -> Result<(), Error> {
        let variance = self.variance();
        if self.is_normal() {
            fill.normal(weights, 0.0, narrow(variance.root()))
        } else {
            let bound = narrow((3.0 * variance).root());
            fill.uniform(weights, -bound, bound)
        }
    }

    /// The variance of the weights.
    #[must_use]
    pub fn variance(self) -> f64 {
        match self {
            Self::LeCunNormal { fan_in } | Self::LeCunUniform { fan_in } => {
                1.0 / f64::count(fan_in)
            }
            Self::HeNormal { fan_in } | Self::HeUniform { fan_in } => 2.0 / f64::count(fan_in),
            Self::GlorotNormal { fan_in, fan_out } | Self::GlorotUniform { fan_in, fan_out } => {
                2.0 / (f64::count(fan_in) + f64::count(fan_out))
            }
        }
    }

    const fn is_normal(self) -> bool {
        use Init::{GlorotNormal, HeNormal, LeCunNormal};
        matches!(self, LeCunNormal { .. } | HeNormal { .. } | GlorotNormal { .. })
    }
}
