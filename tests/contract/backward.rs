//! BatchNorm backward, of a training step and at inference statistics.

use evenkeel::{Backend, BatchNorm, Gradients, Layout, Statistics};

use crate::data::{KINDS, Kind, Source};
use crate::guarded::Guarded;
use crate::reference::backward::{self, backward, backward_inference};
use crate::reference::batch_norm::{Affine, Options, train};
use crate::shapes;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) layout: Layout,
    pub(crate) x: Kind,
    pub(crate) dy: Kind,
    pub(crate) turn: usize,
}

struct Inputs {
    x: Vec<f32>,
    dy: Vec<f32>,
    gamma: Vec<f32>,
    mean: Vec<f32>,
    var: Vec<f32>,
}

/// Which of the three gradients a call asks for.
type Wanted = [bool; 3];

const ALL: Wanted = [true; 3];

impl Case {
    fn inputs(&self) -> Inputs {
        let mut source = Source::new(self.turn);
        let channels = self.layout.channels();
        Inputs {
            x: source.fill(self.x, &self.layout),
            dy: source.fill(self.dy, &self.layout),
            gamma: source.normals(channels),
            mean: source.normals(channels),
            var: source.variances(channels),
        }
    }

    fn eps(&self) -> f64 {
        [1e-5, 0.0][self.turn % 2]
    }

    /// What the forward pass saves.
    fn saved(&self, inputs: &Inputs) -> (Vec<f32>, Vec<f32>) {
        let options = Options {
            eps: self.eps(),
            momentum: evenkeel::Momentum::default(),
            running_variance: evenkeel::RunningVariance::default(),
        };
        let none = Affine { gamma: None, beta: None };
        let trained = train(&self.layout, options, &inputs.x, none, (&inputs.mean, &inputs.var));
        (trained.saved_mean, trained.saved_rstd)
    }

    pub(crate) fn check(&self) {
        let inputs = self.inputs();
        let Inputs { x, dy, gamma, mean, var } = &inputs;
        let gamma = (self.turn % 3 != 1).then_some(&gamma[..]);
        let (saved_mean, saved_rstd) = self.saved(&inputs);
        let trained = backward(&self.layout, dy, x, gamma, &saved_mean, &saved_rstd);
        let inferred = backward_inference(&self.layout, self.eps(), dy, x, gamma, mean, var);
        for backend in Backend::available() {
            let op = BatchNorm::new(self.layout).eps(self.eps()).backend(backend);
            // All at once, and one of the eight choices: what is asked for changes no bit.
            for wanted in [ALL, [0, 1, 2].map(|bit| self.turn >> bit & 1 == 1)] {
                let context = (backend.name(), self, wanted);
                self.call(&inputs, wanted, &trained, &("backward", context), |dy, x, into| {
                    op.backward(
                        dy,
                        x,
                        gamma,
                        Statistics { mean: &saved_mean, rstd: &saved_rstd },
                        into,
                    )
                });
                let context = ("backward_inference", context);
                self.call(&inputs, wanted, &inferred, &context, |dy, x, into| {
                    op.backward(dy, x, gamma, evenkeel::Given::Running { mean, var }, into)
                });
            }
        }
    }

    fn call(
        &self,
        inputs: &Inputs,
        wanted: Wanted,
        expected: &backward::Gradients,
        context: &impl std::fmt::Debug,
        call: impl Fn(&[f32], &[f32], Gradients<'_>) -> Result<(), evenkeel::Error>,
    ) {
        let channels = self.layout.channels();
        let offset = self.turn % 16;
        let dy = Guarded::new(&inputs.dy, self.turn / 16 % 16);
        let x = Guarded::new(&inputs.x, 15 - offset);
        let untouched = [vec![-7.0; x.values().len()], vec![-7.0; channels], vec![-7.0; channels]];
        let [mut dx, mut dgamma, mut dbeta] =
            [0, 1, 2].map(|which| Guarded::new(&untouched[which], offset));
        let into = Gradients {
            x: wanted[0].then_some(dx.inside()),
            gamma: wanted[1].then_some(dgamma.inside()),
            beta: wanted[2].then_some(dbeta.inside()),
        };
        call(dy.values(), x.values(), into).expect("a correct call");
        let choose = |which: usize, written_values| {
            if wanted[which] { written_values } else { &untouched[which] }
        };
        dx.assert(choose(0, &expected.x), "dx", context);
        dgamma.assert(choose(1, &expected.gamma), "dgamma", context);
        dbeta.assert(choose(2, &expected.beta), "dbeta", context);
    }
}

#[test]
fn every_shape() {
    for (turn, layout) in shapes::all().into_iter().enumerate() {
        let x = [Kind::Normal, Kind::Mean(1e6), Kind::Normal, Kind::Scale(1e-30)][turn % 4];
        Case { layout, x, dy: Kind::Normal, turn }.check();
    }
}

#[test]
fn every_kind_of_data() {
    let mut turn = 0;
    for layout in shapes::few() {
        for kind in KINDS {
            Case { layout, x: kind, dy: Kind::Normal, turn }.check();
            Case { layout, x: Kind::Normal, dy: kind, turn: turn + 1 }.check();
            Case { layout, x: kind, dy: kind, turn: turn + 2 }.check();
            turn += 3;
        }
    }
}

#[test]
fn every_alignment() {
    for (batch, channels, spatial) in [(2, 1, 40), (2, 2, 19), (3, 21, 1), (2, 19, 3)] {
        for layout in shapes::layouts(batch, channels, spatial) {
            for turn in 0..256 {
                Case { layout, x: Kind::Normal, dy: Kind::Normal, turn }.check();
            }
        }
    }
    for layout in shapes::full_blocks() {
        for turn in shapes::ALIGNMENTS {
            Case { layout, x: Kind::Normal, dy: Kind::Normal, turn }.check();
        }
    }
}

/// γ and statistics of any bits.
#[test]
fn odd_parameters() {
    let scales = [1.0, 1e-20, 1e20, 1e-40, 1e38];
    for (turn, layout) in shapes::few().into_iter().enumerate() {
        for turn in (turn..).step_by(12).take(25) {
            let mut source = Source::new(turn);
            let x = source.fill(Kind::Scale(scales[turn % 5]), &layout);
            let dy = source.fill(Kind::Scale(scales[turn / 5 % 5]), &layout);
            let channels = layout.channels();
            let [gamma, mean, var] = [(); 3].map(|()| source.odd_parameters(channels));
            // Near enough to the data that not everything is infinite.
            let rstd: Vec<f32> =
                source.normals(channels).iter().map(|v| v / scales[turn % 5]).collect();
            let case = Case { layout, x: Kind::Normal, dy: Kind::Normal, turn };
            let trained = backward(&layout, &dy, &x, Some(&gamma), &mean, &rstd);
            let zeros = vec![0.0; channels];
            let centred = backward(&layout, &dy, &x, Some(&gamma), &zeros, &rstd);
            let inferred = backward_inference(&layout, 0.0, &dy, &x, Some(&gamma), &mean, &var);
            let inputs = Inputs { x, dy, gamma, mean, var };
            let Inputs { gamma, mean, var, .. } = &inputs;
            for backend in Backend::available() {
                let op = BatchNorm::new(layout).eps(0.0).backend(backend);
                let context = (backend.name(), layout, turn);
                case.call(&inputs, ALL, &trained, &("backward", context), |dy, x, into| {
                    op.backward(dy, x, Some(gamma), Statistics { mean, rstd: &rstd }, into)
                });
                case.call(&inputs, ALL, &centred, &("mean 0", context), |dy, x, into| {
                    op.backward(dy, x, Some(gamma), Statistics { mean: &zeros, rstd: &rstd }, into)
                });
                case.call(&inputs, ALL, &inferred, &("inference", context), |dy, x, into| {
                    op.backward(dy, x, Some(gamma), evenkeel::Given::Running { mean, var }, into)
                });
            }
        }
    }
}

/// Statistics that no forward pass of this crate saves: sums that overflow for one block or for
/// some channels only.
#[test]
fn odd_saved_statistics() {
    for layout in shapes::few() {
        let mut source = Source::new(9);
        let x = source.fill(Kind::Normal, &layout);
        let dy = source.fill(Kind::SomeBlocks(1e36), &layout);
        let channels = layout.channels();
        let mean = source.normals(channels);
        for rstd in [0.0, 1.0, 1e3, 1e38, f32::MAX, f32::INFINITY, f32::NAN] {
            let rstd: Vec<f32> =
                (0..channels).map(|channel| if channel % 2 == 0 { rstd } else { 1.0 }).collect();
            let expected = backward(&layout, &dy, &x, None, &mean, &rstd);
            let case = Case { layout, x: Kind::Normal, dy: Kind::Normal, turn: 3 };
            let var = vec![1.0; channels];
            let inputs =
                Inputs { x: x.clone(), dy: dy.clone(), gamma: vec![], mean: mean.clone(), var };
            for backend in Backend::available() {
                let op = BatchNorm::new(layout).backend(backend);
                let context = (backend.name(), layout, rstd[0]);
                case.call(&inputs, ALL, &expected, &context, |dy, x, into| {
                    op.backward(dy, x, None, Statistics { mean: &mean, rstd: &rstd }, into)
                });
            }
        }
    }
}
