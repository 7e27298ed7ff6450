//! Folding a batch normalization into the weights of the layer before it.

use super::{BatchNorm, get};
use crate::Error;
use crate::error::{check_eps, check_len};
use crate::kernel::finish::narrow;

impl BatchNorm {
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
    /// `weight`, with the output channels outermost: dense (outputs, inputs), convolution (outputs,
    /// inputs / groups, kernel…), depthwise (outputs, 1, kernel…). Its length has to be a multiple
    /// of C. `bias` and all else: C values. A layer without bias gets one: pass zeros.
    ///
    /// # Numerics
    ///
    /// In f64, rounded to f32 once: docs/NUMERICS.md, section 12. Zero variance with eps = 0 gives
    /// s = 0.
    ///
    /// # Errors
    ///
    /// [`Error::Epsilon`]; [`Error::Length`] for the first slice whose length is wrong.
    ///
    /// # Complexity
    ///
    /// One pass over the weight.
    ///
    /// # Examples
    ///
    /// ```
    /// use evenkeel::{BatchNorm, Layout};
    /// let bn = BatchNorm::new(Layout::dense(1, 2)?).eps(0.0);
    /// let mut weight = [1.0, 2.0, 3.0, 4.0]; // two outputs, two inputs
    /// let mut bias = [0.0; 2];
    /// bn.fold(None, None, &[1.0, 0.0], &[4.0, 0.25], &mut weight, &mut bias)?;
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
        gamma: Option<&[f32]>,
        beta: Option<&[f32]>,
        mean: &[f32],
        var: &[f32],
        weight: &mut [f32],
        bias: &mut [f32],
    ) -> Result<(), Error> {
        let channels = self.layout.channels();
        check_eps(self.eps)?;
        self.check_given(gamma, beta, mean, var)?;
        let per_channel = check_multiple(weight.len(), channels)?;
        check_len("bias", channels, bias.len())?;
        if per_channel > 0 {
            for (channel, weights) in weight.chunks_exact_mut(per_channel).enumerate() {
                scale(weights, self.folded_scale(gamma, var, channel));
            }
        }
        self.fold_bias(gamma, beta, mean, var, bias);
        Ok(())
    }

    /// [`fold`](Self::fold) for a transposed convolution, whose weight has the output channels
    /// second.
    ///
    /// # Shapes
    ///
    /// `weight`: (inputs, C / groups, kernel), where `kernel` is the number of positions of the
    /// kernel and the inputs of a group are together. Its length has to be a multiple of
    /// C · kernel. All else: C values.
    ///
    /// # Errors
    ///
    /// [`Error::Epsilon`]; [`Error::Groups`] if `groups` does not divide C; [`Error::TooLarge`] if
    /// C · kernel overflows; [`Error::Length`] for the first slice whose length is wrong.
    #[expect(clippy::too_many_arguments, reason = "the parameters of a layer and two sizes")]
    pub fn fold_transposed(
        &self,
        groups: usize,
        kernel: usize,
        gamma: Option<&[f32]>,
        beta: Option<&[f32]>,
        mean: &[f32],
        var: &[f32],
        weight: &mut [f32],
        bias: &mut [f32],
    ) -> Result<(), Error> {
        let channels = self.layout.channels();
        check_eps(self.eps)?;
        let (Some(0), Some(group_channels)) =
            (channels.checked_rem(groups), channels.checked_div(groups))
        else {
            return Err(Error::Groups { channels, groups });
        };
        let unit = channels.checked_mul(kernel).ok_or(Error::TooLarge)?;
        self.check_given(gamma, beta, mean, var)?;
        // The number of inputs of one group.
        let group_inputs = check_multiple(weight.len(), unit)?;
        check_len("bias", channels, bias.len())?;
        if kernel > 0 {
            for (slice, weights) in weight.chunks_exact_mut(kernel).enumerate() {
                // slice = (group · group_inputs + input) · group_channels + channel in the group
                let within = slice.checked_rem(group_channels).unwrap_or(0);
                let input = slice.checked_div(group_channels).unwrap_or(0);
                let group = input.checked_div(group_inputs).unwrap_or(0);
                let channel = group * group_channels + within;
                scale(weights, self.folded_scale(gamma, var, channel));
            }
        }
        self.fold_bias(gamma, beta, mean, var, bias);
        Ok(())
    }

    /// γ / sqrt(var + eps).
    fn folded_scale(&self, gamma: Option<&[f32]>, var: &[f32], channel: usize) -> f64 {
        let gamma = gamma.map_or(1.0, |gamma| get(gamma, channel));
        let sum = f64::from(get(var, channel)) + self.eps;
        if sum == 0.0 { 0.0 } else { f64::from(gamma) / libm::sqrt(sum) }
    }

    fn fold_bias(
        &self,
        gamma: Option<&[f32]>,
        beta: Option<&[f32]>,
        mean: &[f32],
        var: &[f32],
        bias: &mut [f32],
    ) {
        for (channel, bias) in bias.iter_mut().enumerate() {
            let scale = self.folded_scale(gamma, var, channel);
            let beta = f64::from(beta.map_or(0.0, |beta| get(beta, channel)));
            let centred = f64::from(*bias) - f64::from(get(mean, channel));
            *bias = narrow(centred * scale + beta);
        }
    }
}

fn scale(weights: &mut [f32], scale: f64) {
    for weight in weights {
        *weight = narrow(scale * f64::from(*weight));
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
