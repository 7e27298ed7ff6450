//! Training-mode BatchNorm as one would write it in an afternoon, for scale.
//!
//! Neither function keeps evenkeel's promises (the bits depend on nothing but the input, large
//! means lose no digits, no overflow of squares): they show what the promises cost or save.

use evenkeel::Layout;

/// Three passes in f32, one running sum: mean, variance around it, normalization.
///
/// With channels last, or dense, the sums are kept per channel and the loops follow memory, as anyone
/// would write it after a look at the clock.
pub fn three_pass(layout: Layout, x: &[f32], gamma: &[f32], beta: &[f32], eps: f32, y: &mut [f32]) {
    let (batch, channels, spatial) = (layout.batch(), layout.channels(), layout.spatial());
    let n = (batch * spatial) as f32;

    if layout.is_channels_last() || spatial == 1 {
        let mut mean = vec![0.0; channels];
        let mut var = vec![0.0; channels];
        for row in x.chunks_exact(channels) {
            for (sum, &value) in mean.iter_mut().zip(row) {
                *sum += value;
            }
        }
        mean.iter_mut().for_each(|sum| *sum /= n);
        for row in x.chunks_exact(channels) {
            for ((sum, &value), &mean) in var.iter_mut().zip(row).zip(&mean) {
                *sum += (value - mean) * (value - mean);
            }
        }
        let scale: Vec<f32> =
            (var.iter().zip(gamma)).map(|(&sum, &gamma)| gamma / (sum / n + eps).sqrt()).collect();
        for (row, out) in x.chunks_exact(channels).zip(y.chunks_exact_mut(channels)) {
            for c in 0..channels {
                out[c] = (row[c] - mean[c]) * scale[c] + beta[c];
            }
        }
        return;
    }

    for c in 0..channels {
        let planes = || (0..batch).map(|b| (b * channels + c) * spatial);
        let mut mean = 0.0_f32;
        for at in planes() {
            for &value in &x[at..at + spatial] {
                mean += value;
            }
        }
        mean /= n;
        let mut var = 0.0_f32;
        for at in planes() {
            for &value in &x[at..at + spatial] {
                var += (value - mean) * (value - mean);
            }
        }
        let scale = gamma[c] / (var / n + eps).sqrt();
        for at in planes() {
            let input = &x[at..at + spatial];
            for (out, &value) in y[at..at + spatial].iter_mut().zip(input) {
                *out = (value - mean) * scale + beta[c];
            }
        }
    }
}

/// [`three_pass`] with sixteen running sums in plain arrays, which the compiler turns into
/// vector instructions of the compilation target. Channels first only.
pub fn sixteen_sums(
    layout: Layout,
    x: &[f32],
    gamma: &[f32],
    beta: &[f32],
    eps: f32,
    y: &mut [f32],
) {
    let (batch, channels, spatial) = (layout.batch(), layout.channels(), layout.spatial());
    assert!(!layout.is_channels_last(), "channels first only");
    let n = (batch * spatial) as f32;

    for c in 0..channels {
        let planes = || (0..batch).map(|b| (b * channels + c) * spatial);
        let mean = planes().map(|at| sum_of(&x[at..at + spatial], |value| value)).sum::<f32>() / n;
        let var = planes()
            .map(|at| sum_of(&x[at..at + spatial], |v| (v - mean) * (v - mean)))
            .sum::<f32>()
            / n;
        let scale = gamma[c] / (var + eps).sqrt();
        for at in planes() {
            let input = &x[at..at + spatial];
            for (out, &value) in y[at..at + spatial].iter_mut().zip(input) {
                *out = (value - mean) * scale + beta[c];
            }
        }
    }
}

/// Sums `f` of every element in sixteen lanes.
fn sum_of(x: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let (chunks, tail) = x.as_chunks::<16>();
    let mut lanes = [0.0_f32; 16];
    for chunk in chunks {
        for (lane, &value) in lanes.iter_mut().zip(chunk) {
            *lane += f(value);
        }
    }
    for (lane, &value) in lanes.iter_mut().zip(tail) {
        *lane += f(value);
    }
    lanes.iter().sum()
}
