//! The network, 64-128-128-10: where normalization and dropout stand, forward and backward.

use evenkeel::{
    Affine, Backend, BatchNorm, Dropout, Error, Given, Gradients, Keep, Key, Layout, Moments,
    Running, Saved, apart, in_place,
};

use crate::data::{CLASSES, PIXELS};
use crate::dense::{Dense, Parameter};
use crate::loss::softmax_cross_entropy;

/// Width of both hidden layers.
pub(crate) const WIDTH: usize = 128;

/// The four networks that are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Plain,
    BatchNorm,
    Dropout,
    Both,
}

impl Form {
    pub(crate) const ALL: [Self; 4] = [Self::Plain, Self::BatchNorm, Self::Dropout, Self::Both];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::BatchNorm => "BatchNorm",
            Self::Dropout => "dropout",
            Self::Both => "both",
        }
    }

    pub(crate) fn normalizes(self) -> bool {
        matches!(self, Self::BatchNorm | Self::Both)
    }

    fn drops(self) -> bool {
        matches!(self, Self::Dropout | Self::Both)
    }
}

/// Which statistics a trained BatchNorm uses: the running average that training left behind, or
/// the exact moments over the training set.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Statistics {
    Running,
    Population,
}

/// Two hidden layers and an output layer.
pub(crate) struct Network {
    hidden: [Hidden; 2],
    output: Dense,
}

impl Network {
    /// All forms start from the same weights: the key decides them, the form doesn't.
    pub(crate) fn new(form: Form, dropout: Dropout, backend: Backend, key: Key) -> Self {
        let hidden = |inputs, layer| Hidden {
            dense: Dense::new(inputs, WIDTH, key.fold_in(layer)),
            norm: form.normalizes().then(|| Norm::new(backend)),
            dropout: form.drops().then_some(dropout),
            sums: Vec::new(),
            activations: Vec::new(),
        };
        Self {
            hidden: [hidden(PIXELS, 0), hidden(WIDTH, 1)],
            output: Dense::new(WIDTH, CLASSES, key.fold_in(2)),
        }
    }

    /// Learns from one batch. `keys` decide the dropout of each hidden layer; no mask is stored,
    /// the backward pass computes it anew from the same key.
    pub(crate) fn learn(
        &mut self,
        pixels: &[f32],
        labels: &[u8],
        keys: [Key; 2],
        rate: f32,
    ) -> Result<(), Error> {
        let [first, second] = &mut self.hidden;
        first.forward(pixels, keys[0])?;
        second.forward(&first.activations, keys[1])?;
        let mut logits = self.output.forward(&second.activations);

        softmax_cross_entropy(&mut logits, labels);
        let gradient = logits;

        self.output.backward(&second.activations, &gradient);
        let gradient = self.output.backward_input(&gradient);
        let gradient = second.backward(&first.activations, gradient, keys[1])?;
        let gradient = second.dense.backward_input(&gradient);
        first.backward(pixels, gradient, keys[0])?;

        first.descend(rate);
        second.descend(rate);
        self.output.descend(rate);
        Ok(())
    }

    /// Returns a score for each image and class, without dropout.
    pub(crate) fn classify(&self, pixels: &[f32], from: Statistics) -> Result<Vec<f32>, Error> {
        let [first, second] = &self.hidden;
        let x = first.infer(pixels, from)?;
        let x = second.infer(&x, from)?;
        Ok(self.output.forward(&x))
    }

    /// Measures the mean and variance of every normalized value over the whole training set, with
    /// the weights as they are now. A layer sees what the layers before it will give it in use, so
    /// the layers take their turns.
    pub(crate) fn measure_population(&mut self, pixels: &[f32]) -> Result<(), Error> {
        let [first, second] = &mut self.hidden;
        first.measure_population(pixels)?;
        let x = first.infer(pixels, Statistics::Population)?;
        second.measure_population(&x)
    }

    /// Condenses all parameters to one number (FNV-1a), for a test that must see a changed bit.
    pub(crate) fn fingerprint(&self) -> u64 {
        let dense = self.hidden.iter().map(|layer| &layer.dense).chain([&self.output]);
        let values = dense.flat_map(|layer| layer.weight.value.iter().chain(&layer.bias.value));
        let bytes = values.flat_map(|value| value.to_bits().to_le_bytes());
        bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
    }
}

/// A hidden layer: dense, BatchNorm if any, ReLU, dropout if any.
struct Hidden {
    dense: Dense,
    norm: Option<Norm>,
    dropout: Option<Dropout>,
    /// What the dense layer gave: BatchNorm's backward pass needs its input.
    sums: Vec<f32>,
    /// What the whole layer gave.
    activations: Vec<f32>,
}

impl Hidden {
    fn forward(&mut self, x: &[f32], key: Key) -> Result<(), Error> {
        self.sums = self.dense.forward(x);
        self.activations.clone_from(&self.sums);
        if let Some(norm) = &mut self.norm {
            norm.train(&self.sums, &mut self.activations)?;
        }
        relu(&mut self.activations);
        if let Some(dropout) = &self.dropout {
            dropout.forward(in_place(&mut self.activations), key)?;
        }
        Ok(())
    }

    /// Turns the gradient of the layer's output into that of the dense layer's output, and stores
    /// the gradients of all parameters.
    fn backward(&mut self, x: &[f32], mut gradient: Vec<f32>, key: Key) -> Result<Vec<f32>, Error> {
        if let Some(dropout) = &self.dropout {
            dropout.backward(in_place(&mut gradient), key)?;
        }
        relu_backward(&self.activations, &mut gradient);
        if let Some(norm) = &mut self.norm {
            gradient = norm.backward(&gradient, &self.sums)?;
        }
        self.dense.backward(x, &gradient);
        Ok(gradient)
    }

    fn infer(&self, x: &[f32], from: Statistics) -> Result<Vec<f32>, Error> {
        let mut y = self.dense.forward(x);
        if let Some(norm) = &self.norm {
            norm.infer_in_place(&mut y, from)?;
        }
        relu(&mut y);
        Ok(y)
    }

    fn measure_population(&mut self, x: &[f32]) -> Result<(), Error> {
        let sums = self.dense.forward(x);
        match &mut self.norm {
            Some(norm) => norm.measure_population(&sums),
            None => Ok(()),
        }
    }

    fn descend(&mut self, rate: f32) {
        self.dense.descend(rate);
        if let Some(norm) = &mut self.norm {
            norm.gamma.descend(rate);
            norm.beta.descend(rate);
        }
    }
}

/// A `BatchNorm` with the buffers it works on: the op itself holds none.
struct Norm {
    backend: Backend,
    gamma: Parameter,
    beta: Parameter,
    running_mean: Vec<f32>,
    running_var: Vec<f32>,
    saved_mean: Vec<f32>,
    saved_rstd: Vec<f32>,
    population: Vec<Moments>,
}

impl Norm {
    fn new(backend: Backend) -> Self {
        Self {
            backend,
            gamma: Parameter::new(vec![1.0; WIDTH]),
            beta: Parameter::new(vec![0.0; WIDTH]),
            running_mean: vec![0.0; WIDTH],
            running_var: vec![1.0; WIDTH],
            saved_mean: vec![0.0; WIDTH],
            saved_rstd: vec![0.0; WIDTH],
            population: vec![Moments::new(); WIDTH],
        }
    }

    /// The op for as many rows as `values` has; the last batch of an epoch may be short.
    fn op(&self, values: &[f32]) -> Result<BatchNorm, Error> {
        let layout = Layout::dense(values.len() / WIDTH, WIDTH)?;
        Ok(BatchNorm::new(layout).backend(self.backend))
    }

    fn train(&mut self, x: &[f32], y: &mut [f32]) -> Result<(), Error> {
        let op = self.op(x)?;
        let (gamma, beta) = (&self.gamma.value, &self.beta.value);
        let running = Running { mean: &mut self.running_mean, var: &mut self.running_var };
        let saved = Saved { mean: &mut self.saved_mean, rstd: &mut self.saved_rstd };
        op.train(
            apart(x, y),
            Affine::new(gamma, beta),
            Keep { running: Some(running), saved: Some(saved) },
        )
    }

    fn backward(&mut self, dy: &[f32], x: &[f32]) -> Result<Vec<f32>, Error> {
        let op = self.op(x)?;
        let mut dx = vec![0.0; x.len()];
        let gradients = Gradients {
            x: Some(&mut dx),
            gamma: Some(&mut self.gamma.gradient),
            beta: Some(&mut self.beta.gradient),
        };
        let gamma = Some(&*self.gamma.value);
        op.backward(
            dy,
            x,
            gamma,
            evenkeel::Statistics { mean: &self.saved_mean, rstd: &self.saved_rstd },
            gradients,
        )?;
        Ok(dx)
    }

    fn infer_in_place(&self, x: &mut [f32], from: Statistics) -> Result<(), Error> {
        let op = self.op(x)?;
        let (gamma, beta) = (Some(&*self.gamma.value), Some(&*self.beta.value));
        match from {
            Statistics::Running => op.infer(
                in_place(x),
                Affine { gamma, beta },
                Given::Running { mean: &self.running_mean, var: &self.running_var },
            ),
            Statistics::Population => {
                op.infer(in_place(x), Affine { gamma, beta }, Given::Population(&self.population))
            }
        }
    }

    fn measure_population(&mut self, x: &[f32]) -> Result<(), Error> {
        self.population.fill(Moments::new());
        self.op(x)?.collect(x, &mut self.population)
    }
}

fn relu(values: &mut [f32]) {
    for value in values {
        *value = if *value > 0.0 { *value } else { 0.0 };
    }
}

/// An activation that ReLU or dropout set to 0 passes no gradient.
fn relu_backward(activations: &[f32], gradient: &mut [f32]) {
    for (slope, activation) in gradient.iter_mut().zip(activations) {
        *slope = if *activation > 0.0 { *slope } else { 0.0 };
    }
}
