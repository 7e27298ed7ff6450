//! Section 12: BatchNorm folded into the weights of the layer before it.

use super::batch_norm::Affine;

/// `channel_of` names the output channel of each weight.
pub fn fold(
    eps: f64,
    affine: Affine<'_>,
    (mean, var): (&[f32], &[f32]),
    (weight, bias): (&mut [f32], &mut [f32]),
    channel_of: impl Fn(usize) -> usize,
) {
    let scale = |channel: usize| {
        let sum = f64::from(var[channel]) + eps;
        if sum == 0.0 { 0.0 } else { f64::from(affine.gamma(channel)) / sum.sqrt() }
    };
    for (i, w) in weight.iter_mut().enumerate() {
        *w = (scale(channel_of(i)) * f64::from(*w)) as f32;
    }
    for (channel, b) in bias.iter_mut().enumerate() {
        let centred = f64::from(*b) - f64::from(mean[channel]);
        *b = (centred * scale(channel) + f64::from(affine.beta(channel))) as f32;
    }
}
