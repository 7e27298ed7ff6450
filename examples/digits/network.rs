//! The network, 64-128-128-10: where normalization and dropout stand, forward and backward.

use evenkeel::{
    Affine, Backend, BatchNorm, Dropout, Error, Fill, Given, Gradients, Init, Keep, Key, Layout,
    Moments, Running, Saved, Selu, SeluAlphaDropout, apart, in_place,
};

use crate::data::{CLASSES, PIXELS};
use crate::dense::{Dense, Parameter};
use crate::loss::softmax_cross_entropy;

/// Width of both hidden layers.
pub(crate) const WIDTH: usize = 128;

/// The networks that are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Plain,
    BatchNorm,
    Dropout,
    Both,
    /// SELU in the place of ReLU, weights to match, and alpha dropout.
    SelfNormalizing,
}

impl Form {
    pub(crate) const ALL: [Self; 5] =
        [Self::Plain, Self::BatchNorm, Self::Dropout, Self::Both, Self::SelfNormalizing];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::BatchNorm => "BatchNorm",
            Self::Dropout => "dropout",
            Self::Both => "both",
            Self::SelfNormalizing => "SELU + alpha dropout",
        }
    }

    pub(crate) fn normalizes(self) -> bool {
        matches!(self, Self::BatchNorm | Self::Both)
    }

    /// What follows a hidden layer's sums, normalized or not.
    fn activation(self, dropout: Dropout, backend: Backend) -> Result<Activation, Error> {
        Ok(match self {
            Self::Plain | Self::BatchNorm => Activation::Relu(None),
            Self::Dropout | Self::Both => Activation::Relu(Some(dropout)),
            Self::SelfNormalizing => {
                Activation::Selu(SeluAlphaDropout::new(dropout.p())?.backend(backend), backend)
            }
        })
    }

    /// A dense layer with its first weights.
    fn dense(self, inputs: usize, outputs: usize, key: Key) -> Result<Dense, Error> {
        let mut dense = Dense::new(inputs, outputs, key);
        if self == Self::SelfNormalizing {
            // Variance 1 / inputs: then sums of inputs with variance 1 have variance 1.
            let init = Init::LeCunNormal { fan_in: inputs };
            init.fill(&mut dense.weight.value, Fill::new(key))?;
        }
        Ok(dense)
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
    /// All forms with ReLU start from the same weights: the key decides them, the form doesn't.
    pub(crate) fn new(
        form: Form,
        dropout: Dropout,
        backend: Backend,
        key: Key,
    ) -> Result<Self, Error> {
        let hidden = |inputs, layer| -> Result<Hidden, Error> {
            Ok(Hidden {
                dense: form.dense(inputs, WIDTH, key.fold_in(layer))?,
                norm: form.normalizes().then(|| Norm::new(backend)),
                activation: form.activation(dropout, backend)?,
                sums: Vec::new(),
                activations: Vec::new(),
            })
        };
        Ok(Self {
            hidden: [hidden(PIXELS, 0)?, hidden(WIDTH, 1)?],
            output: form.dense(WIDTH, CLASSES, key.fold_in(2))?,
        })
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

/// What follows the sums of a hidden layer: an activation, and dropout if any.
enum Activation {
    Relu(Option<Dropout>),
    /// In training in one pass; SELU alone in use.
    Selu(SeluAlphaDropout, Backend),
}

impl Activation {
    fn forward(&self, values: &mut [f32], key: Key) -> Result<(), Error> {
        match self {
            Self::Relu(None) => relu(values),
            Self::Relu(Some(dropout)) => {
                relu(values);
                dropout.forward(in_place(values), key)?;
            }
            Self::Selu(fused, _) => fused.forward(in_place(values), key)?,
        }
        Ok(())
    }

    /// Needs what went in or what came out, as the activation's derivative does.
    fn backward(
        &self,
        [sums, activations]: [&[f32]; 2],
        gradient: &mut [f32],
        key: Key,
    ) -> Result<(), Error> {
        match self {
            Self::Relu(dropout) => {
                if let Some(dropout) = dropout {
                    dropout.backward(in_place(gradient), key)?;
                }
                relu_backward(activations, gradient);
            }
            Self::Selu(fused, _) => fused.backward(in_place(gradient), sums, key)?,
        }
        Ok(())
    }

    fn infer(&self, values: &mut [f32]) -> Result<(), Error> {
        match self {
            Self::Relu(_) => relu(values),
            Self::Selu(_, backend) => Selu::new().backend(*backend).forward(in_place(values))?,
        }
        Ok(())
    }
}

/// A hidden layer: dense, BatchNorm if any, activation and dropout.
struct Hidden {
    dense: Dense,
    norm: Option<Norm>,
    activation: Activation,
    /// What the dense layer gave: the backward passes of BatchNorm and SELU need their input.
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
        self.activation.forward(&mut self.activations, key)
    }

    /// Turns the gradient of the layer's output into that of the dense layer's output, and stores
    /// the gradients of all parameters.
    fn backward(&mut self, x: &[f32], mut gradient: Vec<f32>, key: Key) -> Result<Vec<f32>, Error> {
        self.activation.backward([&self.sums, &self.activations], &mut gradient, key)?;
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
        self.activation.infer(&mut y)?;
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
