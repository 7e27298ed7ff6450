//! One training run, from fresh weights to a learning curve.

use evenkeel::{Backend, Dropout, Error, Key};

use crate::data::{Split, TEST, TRAIN, shuffle};
use crate::loss::{count_correct, softmax_cross_entropy};
use crate::network::{Form, Network, Statistics};

/// Looks at the test part per epoch.
const LOOKS: usize = 20;

/// What all runs of all forms have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recipe {
    pub(crate) epochs: u64,
    pub(crate) batch_size: usize,
    pub(crate) dropout: Dropout,
    pub(crate) backend: Backend,
}

impl Recipe {
    fn steps_per_epoch(&self, images: usize) -> usize {
        images.div_ceil(self.batch_size)
    }

    /// Epochs that some steps on the whole training part are, in fractions.
    #[expect(clippy::cast_precision_loss, reason = "for display")]
    pub(crate) fn epochs_at(&self, step: u64) -> f64 {
        step as f64 / self.steps_per_epoch(TRAIN) as f64
    }
}

/// Test answers that were right after some steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Point {
    pub(crate) step: u64,
    pub(crate) correct: usize,
}

/// What a run left behind.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Run {
    pub(crate) rate: f32,
    /// Correct answers on the test part over the run, by running averages.
    pub(crate) curve: Vec<Point>,
    pub(crate) train_correct: usize,
    pub(crate) test_correct: usize,
    /// Mean cross-entropy over the test part, by running averages.
    pub(crate) test_loss: f64,
    /// Correct answers on the test part by population statistics; `None` without BatchNorm.
    pub(crate) population_correct: Option<usize>,
    pub(crate) fingerprint: u64,
}

impl Run {
    /// The first step after which the given percentage of the test part was right.
    pub(crate) fn step_reached(&self, level: usize) -> Option<u64> {
        let reached = |point: &&Point| point.correct * 100 >= level * TEST;
        self.curve.iter().find(reached).map(|point| point.step)
    }
}

/// A share in percent.
#[expect(clippy::cast_precision_loss, reason = "for display")]
pub(crate) fn percent(part: usize, whole: usize) -> f64 {
    100.0 * part as f64 / whole as f64
}

/// Trains a network of the given form; calls `epoch_done` after each epoch.
pub(crate) fn train(
    form: Form,
    rate: f32,
    recipe: &Recipe,
    data: &Split,
    key: Key,
    epoch_done: &(dyn Fn() + Sync),
) -> Result<Run, Error> {
    let keys = Keys::new(key);
    let mut network = Network::new(form, recipe.dropout, recipe.backend, keys.weights)?;
    let pause = (recipe.steps_per_epoch(data.train.len()) / LOOKS).max(1) as u64;

    let mut curve = Vec::new();
    let mut step = 0;
    for epoch in 0..recipe.epochs {
        let order = shuffle(data.train.len(), keys.order.fold_in(epoch));
        for numbers in order.chunks(recipe.batch_size) {
            let batch = data.train.select(numbers);
            network.learn(&batch.pixels, &batch.labels, keys.masks(step), rate)?;
            step += 1;
            if step % pause == 0 {
                let logits = network.classify(&data.test.pixels, Statistics::Running)?;
                curve.push(Point { step, correct: count_correct(&logits, &data.test.labels) });
            }
        }
        epoch_done();
    }
    finish(network, form, rate, data, curve)
}

/// Judges the trained network.
fn finish(
    mut network: Network,
    form: Form,
    rate: f32,
    data: &Split,
    curve: Vec<Point>,
) -> Result<Run, Error> {
    let train = network.classify(&data.train.pixels, Statistics::Running)?;
    let mut test = network.classify(&data.test.pixels, Statistics::Running)?;
    let test_correct = count_correct(&test, &data.test.labels);
    let mut population_correct = None;
    if form.normalizes() {
        network.measure_population(&data.train.pixels)?;
        let logits = network.classify(&data.test.pixels, Statistics::Population)?;
        population_correct = Some(count_correct(&logits, &data.test.labels));
    }
    Ok(Run {
        rate,
        curve,
        train_correct: count_correct(&train, &data.train.labels),
        test_correct,
        test_loss: softmax_cross_entropy(&mut test, &data.test.labels),
        population_correct,
        fingerprint: network.fingerprint(),
    })
}

/// A key for each use of random numbers: no key is used twice.
struct Keys {
    weights: Key,
    order: Key,
    dropout: Key,
}

impl Keys {
    fn new(key: Key) -> Self {
        let [weights, order, dropout] = [1, 2, 3].map(|purpose| key.fold_in(purpose));
        Self { weights, order, dropout }
    }

    /// Fresh masks for each hidden layer and step.
    fn masks(&self, step: u64) -> [Key; 2] {
        [0, 1].map(|layer| self.dropout.fold_in(layer).fold_in(step))
    }
}
