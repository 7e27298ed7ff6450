//! Inference folding.

use evenkeel::{Backend, BatchNorm, Layout, Weight};

use crate::data::Source;
use crate::guarded::Guarded;
use crate::reference::batch_norm::Affine;
use crate::reference::fold::fold;

struct Layer {
    gamma: Vec<f32>,
    beta: Vec<f32>,
    mean: Vec<f32>,
    var: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
}

impl Layer {
    fn new(channels: usize, weights: usize) -> Self {
        let mut source = Source::new(channels + weights);
        Self {
            gamma: source.normals(channels),
            beta: source.normals(channels),
            mean: source.normals(channels),
            // Zeros among them: with eps 0 these give s = 0.
            var: source.variances(channels),
            weight: source.normals(weights),
            bias: source.normals(channels),
        }
    }

    fn affine(&self, turn: usize) -> Affine<'_> {
        Affine {
            gamma: (turn.is_multiple_of(2)).then_some(&self.gamma),
            beta: (!turn.is_multiple_of(3)).then_some(&self.beta),
        }
    }

    fn expected(
        &self,
        turn: usize,
        eps: f64,
        channel_of: impl Fn(usize) -> usize,
    ) -> (Vec<f32>, Vec<f32>) {
        let (mut weight, mut bias) = (self.weight.clone(), self.bias.clone());
        let statistics = (&self.mean[..], &self.var[..]);
        fold(eps, self.affine(turn), statistics, (&mut weight, &mut bias), channel_of);
        (weight, bias)
    }
}

/// Runs one form of folding on every backend.
fn check(
    layer: &Layer,
    expected: &(Vec<f32>, Vec<f32>),
    context: &impl std::fmt::Debug,
    call: impl Fn(Backend, &mut [f32], &mut [f32]),
) {
    for backend in Backend::available() {
        let mut weight = Guarded::new(&layer.weight, 5);
        let mut bias = Guarded::new(&layer.bias, 9);
        call(backend, weight.inside(), bias.inside());
        weight.assert(&expected.0, "weight", &(backend.name(), context));
        bias.assert(&expected.1, "bias", &(backend.name(), context));
    }
}

fn op(channels: usize, eps: f64, backend: Backend) -> BatchNorm {
    let layout = Layout::dense(1, channels).expect("a small layout");
    BatchNorm::new(layout).eps(eps).backend(backend)
}

#[test]
fn output_channel_first() {
    for (turn, per_channel) in [0, 1, 2, 9, 16, 25, 33, 300].into_iter().enumerate() {
        for channels in [1, 2, 7, 20] {
            for eps in [0.0, 1e-5] {
                let layer = Layer::new(channels, channels * per_channel);
                let expected = layer.expected(turn, eps, |i| i / per_channel);
                let Affine { gamma, beta } = layer.affine(turn);
                check(&layer, &expected, &(channels, per_channel), |backend, weight, bias| {
                    op(channels, eps, backend)
                        .fold(
                            evenkeel::Affine { gamma, beta },
                            evenkeel::Given::Running { mean: &layer.mean, var: &layer.var },
                            Weight::OutputFirst(weight),
                            bias,
                        )
                        .expect("a correct call");
                });
            }
        }
    }
}

/// weight is [in, out / groups, kernel]; the inputs of a group are consecutive.
#[test]
fn transposed() {
    let shapes = [(1, 1, 1, 1), (3, 4, 1, 9), (6, 4, 2, 3), (8, 8, 8, 4), (4, 34, 2, 1)];
    for (turn, (inputs, outputs, groups, kernel)) in shapes.into_iter().enumerate() {
        let (inputs_per_group, outputs_per_group) = (inputs / groups, outputs / groups);
        let layer = Layer::new(outputs, inputs * outputs_per_group * kernel);
        let expected = layer.expected(turn, 1e-5, |i| {
            let row = i / kernel;
            let (input, output) = (row / outputs_per_group, row % outputs_per_group);
            input / inputs_per_group * outputs_per_group + output
        });
        let Affine { gamma, beta } = layer.affine(turn);
        check(&layer, &expected, &(inputs, outputs, groups), |backend, weight, bias| {
            op(outputs, 1e-5, backend)
                .fold(
                    evenkeel::Affine { gamma, beta },
                    evenkeel::Given::Running { mean: &layer.mean, var: &layer.var },
                    Weight::Transposed { weight, groups, kernel },
                    bias,
                )
                .expect("a correct call");
        });
    }
}
