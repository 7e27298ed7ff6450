//! Folding into the layer before.

use super::BatchNorm;
use crate::error::{check_eps, check_len};
use crate::io::get;
use crate::kernel::lanes::narrow;
use crate::{Affine, Error, Given};

/// The weight of a layer, and on which axis its output channels lie.
#[derive(Debug)]
pub enum Weight<'a, P = f32> {
    /// Output channels outermost: dense (outputs, inputs), convolution (outputs, inputs / groups,
    /// kernel…), depthwise (outputs, 1, kernel…). Its length has to be a multiple of C.
    OutputFirst(&'a mut [P]),
    /// A transposed convolution, with the output channels second: (inputs, C / groups, kernel), the
    /// inputs of a group together. Its length has to be a multiple of C · kernel.
    Transposed {
        /// The weight.
        weight: &'a mut [P],
        /// The number of groups, which divides C.
        groups: usize,
        /// The number of positions of the kernel.
        kernel: usize,
    },
}

impl BatchNorm<f32> {
    /// Folds the normalization at inference into the weight and bias of the layer before it.
    ///
    /// ```text
    /// s = γ / sqrt(var + eps)      w ← s·w      b ← (b − mean)·s + β
    /// ```
    ///
    /// Afterwards that layer alone computes what layer and normalization computed together (up to
    /// rounding). Only the number of channels of this value's layout counts.
    ///
    /// # Shapes
    ///
    /// `weight`: see [`Weight`]. `bias` and all else: C values. A layer without bias gets one: pass
    /// zeros.
    ///
    /// # Numerics
    ///
    /// In f64, rounded to f32 once: docs/NUMERICS.md, section 12. Zero variance with eps = 0 gives
    /// s = 0. Where var + eps is negative there is no root: that is an error here, since it would
    /// spoil the weights for good.
    ///
    /// # Errors
    ///
    /// [`Error::Epsilon`]; [`Error::Length`] for the first slice whose length is wrong;
    /// [`Error::Variance`] for the first channel whose var + eps is negative or not a number;
    /// [`Error::Groups`] and [`Error::TooLarge`] for a transposed weight whose groups do not divide
    /// C, or where C · kernel overflows.
    ///
    /// # Complexity
    ///
    /// One pass over the weight.
    ///
    /// # Examples
    ///
    /// ```
    /// use evenkeel::{Affine, BatchNorm, Given, Layout, Weight};
    /// let bn = BatchNorm::new(Layout::dense(1, 2)?).eps(0.0);
    /// let mut weight = [1.0, 2.0, 3.0, 4.0]; // two outputs, two inputs
    /// let mut bias = [0.0; 2];
    /// let given = Given::Running { mean: &[1.0, 0.0], var: &[4.0, 0.25] };
    /// bn.fold(Affine::NONE, given, Weight::OutputFirst(&mut weight), &mut bias)?;
    /// assert_eq!((weight, bias), ([0.5, 1.0, 6.0, 8.0], [-0.5, 0.0]));
    /// # Ok::<(), evenkeel::Error>(())
    /// ```
    ///
    /// # References
    ///
    /// B. Jacob et al., "Quantization and training of neural networks for efficient
    /// integer-arithmetic-only inference", CVPR 2018, equation 14. PyTorch's
    /// `torch.nn.utils.fusion.fuse_conv_bn_weights`.
    pub fn fold(
        &self,
        affine: Affine<'_>,
        given: Given<'_>,
        weight: Weight<'_>,
        bias: &mut [f32],
    ) -> Result<(), Error> {
        let channels = self.layout.channels();
        check_eps(self.eps)?;
        affine.check(channels)?;
        given.check(channels)?;
        for channel in 0..channels {
            check_variance(channel, constant(given, channel).1 + self.eps)?;
        }
        let slices = weight.check(channels)?;
        check_len("bias", channels, bias.len())?;
        let scale = |channel| self.folded_scale(affine, given, channel);
        slices.scale(scale);
        for (channel, bias) in bias.iter_mut().enumerate() {
            let beta = f64::from(affine.beta.map_or(0.0, |beta| get(beta, channel)));
            let centred = f64::from(*bias) - constant(given, channel).0;
            *bias = narrow(centred * scale(channel) + beta);
        }
        Ok(())
    }

    /// γ / sqrt(var + eps).
    fn folded_scale(&self, affine: Affine<'_>, given: Given<'_>, channel: usize) -> f64 {
        let gamma = affine.gamma.map_or(1.0, |gamma| get(gamma, channel));
        let sum = constant(given, channel).1 + self.eps;
        if sum == 0.0 { 0.0 } else { f64::from(gamma) / libm::sqrt(sum) }
    }
}

/// Mean and variance of a channel.
fn constant(given: Given<'_>, channel: usize) -> (f64, f64) {
    match given {
        Given::Running { mean, var } => (get(mean, channel).into(), get(var, channel).into()),
        Given::Population(moments) => {
            let moments = moments.get(channel).copied().unwrap_or_default();
            (moments.mean(), moments.variance())
        }
    }
}

/// Refuses a sum of variance and eps that has no root.
fn check_variance(channel: usize, found: f64) -> Result<(), Error> {
    if found >= 0.0 { Ok(()) } else { Err(Error::Variance { channel, found }) }
}

/// A weight whose length was checked, as slices that each belong to one channel.
struct Slices<'a> {
    weight: &'a mut [f32],
    /// The length of a slice.
    len: usize,
    /// Slices of neighbouring channels before the first of them comes again.
    group_channels: usize,
    /// How often they come before the next group begins.
    group_inputs: usize,
}

impl<'a> Weight<'a> {
    fn check(self, channels: usize) -> Result<Slices<'a>, Error> {
        match self {
            Self::OutputFirst(weight) => {
                let len = check_multiple(weight.len(), channels)?;
                Ok(Slices { weight, len, group_channels: channels, group_inputs: 1 })
            }
            Self::Transposed { weight, groups, kernel } => {
                let (Some(0), Some(group_channels)) =
                    (channels.checked_rem(groups), channels.checked_div(groups))
                else {
                    return Err(Error::Groups { channels, groups });
                };
                let unit = channels.checked_mul(kernel).ok_or(Error::TooLarge)?;
                let group_inputs = check_multiple(weight.len(), unit)?;
                Ok(Slices { weight, len: kernel, group_channels, group_inputs })
            }
        }
    }
}

impl Slices<'_> {
    fn scale(self, scale: impl Fn(usize) -> f64) {
        let Self { weight, len, group_channels, group_inputs } = self;
        if len == 0 {
            return;
        }
        for (slice, weights) in weight.chunks_exact_mut(len).enumerate() {
            // slice = (group · group_inputs + input) · group_channels + channel in the group
            let within = slice.checked_rem(group_channels).unwrap_or(0);
            let input = slice.checked_div(group_channels).unwrap_or(0);
            let group = input.checked_div(group_inputs).unwrap_or(0);
            let scale = scale(group * group_channels + within);
            for weight in weights {
                *weight = narrow(scale * f64::from(*weight));
            }
        }
    }
}

/// Checks that a weight divides into `unit`s and gives their number. Without units only an empty
/// weight will do.
fn check_multiple(len: usize, unit: usize) -> Result<usize, Error> {
    let quotient = len.checked_div(unit).unwrap_or(0);
    let below = quotient * unit;
    let expected = if len > 0 && below == 0 { unit } else { below };
    check_len("weight", expected, len).map(|()| quotient)
}
