//! What the network is judged by: cross-entropy to learn, correct answers to count.

use crate::data::CLASSES;
use crate::dense::small;

/// Turns logits into the gradient of the mean cross-entropy, in place, and returns that mean.
///
/// `exp` and `ln` come from `libm`, as plain Rust: the platform's own may differ in the last bit.
pub(crate) fn softmax_cross_entropy(logits: &mut [f32], labels: &[u8]) -> f64 {
    let share = 1.0 / small(labels.len());
    let mut total = 0.0;
    for (row, &label) in logits.chunks_exact_mut(CLASSES).zip(labels) {
        let label = usize::from(label);
        let largest = row[largest(row)];
        let right = row[label] - largest;
        let mut sum = 0.0;
        for value in row.iter_mut() {
            *value = libm::expf(*value - largest);
            sum += *value;
        }
        total += f64::from(libm::logf(sum) - right);
        for value in row.iter_mut() {
            *value *= share / sum;
        }
        row[label] -= share;
    }
    total * f64::from(share)
}

/// Counts the rows whose largest logit is at the label.
pub(crate) fn count_correct(logits: &[f32], labels: &[u8]) -> usize {
    let answers = logits.chunks_exact(CLASSES).map(largest);
    answers.zip(labels).filter(|(answer, label)| *answer == usize::from(**label)).count()
}

/// The position of the largest value, the first of equals.
fn largest(row: &[f32]) -> usize {
    let better = |best, i| if row[i] > row[best] { i } else { best };
    (1..row.len()).fold(0, better)
}
