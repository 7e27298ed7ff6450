//! A network of two layers with fixed weights, and its answers with dropout left on.

use evenkeel::{Dropout, Error, Fill, Key, Moments, apart};

pub(crate) const CLASSES: usize = 3;
const HIDDEN: usize = 128;

/// How sharply the softmax tells classes apart, for each of that many features.
const SHARPNESS: f32 = 0.05;

/// The middle of each class.
pub(crate) const CENTRES: [[f32; 2]; CLASSES] = [[0.0, 2.0], [-1.7, -1.0], [1.7, -1.0]];

/// A point of a data set.
#[derive(Clone, Copy)]
pub(crate) struct Sample {
    /// Its number in the data set. Not its place in a batch: that is another one in every batch.
    pub(crate) number: u64,
    pub(crate) x: [f32; 2],
}

/// A layer of random ReLU features, and a layer whose weights for a class are the features of the
/// class's middle. So nothing needs to be trained, and the answers still mean something.
pub(crate) struct Network {
    /// Two weights and a bias for each feature.
    hidden: Vec<f32>,
    /// The features of each class's middle.
    output: [Vec<f32>; CLASSES],
    dropout: Dropout,
}

impl Network {
    pub(crate) fn new(p: f64, key: Key) -> Result<Self, Error> {
        let mut hidden = vec![0.0; 3 * HIDDEN];
        Fill::new(key).normal(&mut hidden, 0.0, 1.0)?;
        let output = CENTRES.map(|x| features(&hidden, x).collect());
        Ok(Self { hidden, output, dropout: Dropout::new(p)? })
    }

    /// The moments of every sample's class probabilities over some passes, each with a mask of its own.
    ///
    /// The key of a mask is made of the pass and of the sample's number, and elements are counted from the
    /// sample's first feature on. So a mask depends on nothing else: neither on the batch nor on the place
    /// in it, nor on how many passes there are.
    pub(crate) fn answer(
        &self,
        batch: &[Sample],
        passes: u64,
        key: Key,
    ) -> Result<Vec<[Moments; CLASSES]>, Error> {
        // Only what comes after the dropout differs from pass to pass.
        let rows: Vec<f32> = batch.iter().flat_map(|s| features(&self.hidden, s.x)).collect();
        let mut answers = vec![[Moments::new(); CLASSES]; batch.len()];
        let mut row = [0.0; HIDDEN];
        for key in (0..passes).map(|pass| key.fold_in(pass)) {
            let samples = batch.iter().zip(rows.chunks_exact(HIDDEN)).zip(&mut answers);
            for ((sample, features), answer) in samples {
                self.dropout.forward(apart(features, &mut row), key.fold_in(sample.number))?;
                for (moments, p) in answer.iter_mut().zip(self.probabilities(&row)) {
                    moments.push(p);
                }
            }
        }
        Ok(answers)
    }

    /// Softmax of how near the features are to those of each class's middle.
    fn probabilities(&self, row: &[f32]) -> [f64; CLASSES] {
        let score = |centre: &Vec<f32>| {
            // x·c − c·c / 2 is largest for the nearest c.
            let terms = row.iter().zip(centre).map(|(x, c)| (x - 0.5 * c) * c);
            SHARPNESS * terms.sum::<f32>()
        };
        let scores = self.output.each_ref().map(score);
        let largest = scores.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b));
        // The library's exponential, so that every machine prints the same.
        let powers = scores.map(|score| libm::exp(f64::from(score - largest)));
        let sum: f64 = powers.iter().sum();
        powers.map(|power| power / sum)
    }
}

/// ReLU of each row's two weights and bias.
fn features(hidden: &[f32], [a, b]: [f32; 2]) -> impl Iterator<Item = f32> {
    let rows = hidden.as_chunks::<3>().0.iter();
    rows.map(move |[weight_a, weight_b, bias]| (weight_a * a + weight_b * b + bias).max(0.0))
}
