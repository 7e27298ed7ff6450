//! BatchNorm forward: `train`, `infer` and the population forms.

use evenkeel::{
    Backend, BatchNorm, Constant, Keep, Layout, Moments, Momentum, Running, RunningVariance, Saved,
    Standardize, apart, in_place,
};

use crate::data::{KINDS, Kind, Source};
use crate::guarded::{Guarded, assert_same_f64};
use crate::reference::batch_norm::standardize as reference_standardize;
use crate::reference::batch_norm::{
    Affine, Options, Trained, collect, infer, infer_population, train,
};
use crate::reference::moments::Triple;
use crate::reference::reduction::channel_places;
use crate::shapes;

/// A case: everything else about it follows from `turn`, so that the axes that a test does not
/// walk keep turning.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    layout: Layout,
    kind: Kind,
    eps: f64,
    /// γ, β and given statistics of any bits.
    odd: bool,
    turn: usize,
}

pub(crate) fn case(layout: Layout, kind: Kind, turn: usize) -> Case {
    Case { layout, kind, eps: [1e-5, 0.0][turn % 2], odd: false, turn }
}

struct Inputs {
    x: Vec<f32>,
    gamma: Vec<f32>,
    beta: Vec<f32>,
    mean: Vec<f32>,
    var: Vec<f32>,
}

impl Case {
    fn inputs(&self) -> Inputs {
        let mut source = Source::new(self.turn);
        let channels = self.layout.channels();
        if self.odd {
            let x = source.fill(self.kind, &self.layout);
            let [gamma, beta, mean, var] = [(); 4].map(|()| source.odd_parameters(channels));
            return Inputs { x, gamma, beta, mean, var };
        }
        Inputs {
            x: source.fill(self.kind, &self.layout),
            gamma: source.normals(channels),
            beta: source.normals(channels),
            mean: source.normals(channels),
            var: source.variances(channels),
        }
    }

    fn options(&self) -> Options {
        let momentum = [
            Momentum::Exponential(0.1),
            Momentum::Cumulative { batches: 3 },
            Momentum::Exponential(1.0),
            Momentum::Cumulative { batches: 1 },
            Momentum::Exponential(0.0),
        ];
        Options {
            eps: self.eps,
            momentum: momentum[self.turn % 5],
            running_variance: [RunningVariance::Unbiased, RunningVariance::Biased]
                [self.turn / 2 % 2],
        }
    }

    fn affine<'a>(&self, inputs: &'a Inputs) -> Affine<'a> {
        Affine {
            gamma: (self.turn % 3 != 1).then_some(&inputs.gamma),
            beta: (self.turn % 4 != 1).then_some(&inputs.beta),
        }
    }

    fn op(&self, backend: Backend) -> BatchNorm {
        let Options { eps, momentum, running_variance } = self.options();
        BatchNorm::new(self.layout)
            .eps(eps)
            .momentum(momentum)
            .running_variance(running_variance)
            .backend(backend)
    }

    /// Where input and output start; all 256 pairs within 256 turns.
    fn offsets(&self) -> (usize, usize) {
        (self.turn % 16, self.turn / 16 % 16)
    }

    pub(crate) fn check(&self) {
        let inputs = self.inputs();
        let affine = self.affine(&inputs);
        let expected =
            train(&self.layout, self.options(), &inputs.x, affine, (&inputs.mean, &inputs.var));
        let constants =
            infer(&self.layout, self.options().eps, &inputs.x, affine, &inputs.mean, &inputs.var);
        for backend in Backend::available() {
            let context = (backend.name(), self);
            self.check_train(backend, &inputs, &expected);
            self.check_in_place(backend, &inputs, &expected);
            self.check_infer(backend, &inputs, &constants);
            self.check_population(backend, &inputs, &context);
        }
    }

    fn check_train(&self, backend: Backend, inputs: &Inputs, expected: &Trained) {
        let context = (backend.name(), self);
        let affine = self.affine(inputs);
        let (from, to) = self.offsets();
        let x = Guarded::new(&inputs.x, from);
        let mut y = Guarded::output(inputs.x.len(), to);
        let mut buffers = Statistics::new(inputs, to);
        let (running, saved) = buffers.borrow(true, true);
        self.op(backend)
            .train(
                apart(x.values(), y.inside()),
                evenkeel::Affine { gamma: affine.gamma, beta: affine.beta },
                Keep { running, saved },
            )
            .expect("a correct call");
        y.assert(&expected.y, "y of train", &context);
        buffers.assert(expected, (true, true), &context);
    }

    /// In place, and with one kind of statistics left out: neither may change a bit of the rest.
    fn check_in_place(&self, backend: Backend, inputs: &Inputs, expected: &Trained) {
        let context = (backend.name(), self);
        let affine = self.affine(inputs);
        let wanted = (self.turn.is_multiple_of(2), self.turn.is_multiple_of(3));
        let mut x = Guarded::new(&inputs.x, self.offsets().1);
        let mut buffers = Statistics::new(inputs, self.offsets().0);
        let (running, saved) = buffers.borrow(wanted.0, wanted.1);
        self.op(backend)
            .train(
                in_place(x.inside()),
                evenkeel::Affine { gamma: affine.gamma, beta: affine.beta },
                Keep { running, saved },
            )
            .expect("a correct call");
        x.assert(&expected.y, "y of train_in_place", &context);
        buffers.assert(expected, wanted, &context);
    }

    fn check_infer(&self, backend: Backend, inputs: &Inputs, expected: &[f32]) {
        let context = (backend.name(), self);
        let (from, to) = self.offsets();
        let Affine { gamma, beta } = self.affine(inputs);
        let mut x = Guarded::new(&inputs.x, from);
        let mut y = Guarded::output(inputs.x.len(), to);
        let op = self.op(backend);
        op.infer(
            apart(x.values(), y.inside()),
            evenkeel::Affine { gamma, beta },
            evenkeel::Given::Running { mean: &inputs.mean, var: &inputs.var },
        )
        .expect("a correct call");
        op.infer(
            in_place(x.inside()),
            evenkeel::Affine { gamma, beta },
            evenkeel::Given::Running { mean: &inputs.mean, var: &inputs.var },
        )
        .expect("a correct call");
        y.assert(expected, "y of infer", &context);
        x.assert(expected, "y of infer_in_place", &context);
    }

    /// Moments of two batches (the second is the first backwards), then as constants.
    fn check_population(&self, backend: Backend, inputs: &Inputs, context: &(&str, &Self)) {
        let op = self.op(backend);
        let backwards: Vec<f32> = inputs.x.iter().rev().copied().collect();
        let mut expected = vec![Triple::EMPTY; self.layout.channels()];
        let mut moments = vec![Moments::new(); self.layout.channels()];
        for batch in [&inputs.x, &backwards] {
            collect(&self.layout, batch, &mut expected);
            let batch = Guarded::new(batch, self.offsets().0);
            op.collect(batch.values(), &mut moments).expect("a correct call");
            assert_moments(&moments, &expected, context);
        }
        if self.layout.is_empty() {
            return;
        }
        self.check_infer_population(backend, inputs, &moments, &expected);
    }

    fn check_infer_population(
        &self,
        backend: Backend,
        inputs: &Inputs,
        moments: &[Moments],
        triples: &[Triple],
    ) {
        let context = (backend.name(), self);
        let affine = self.affine(inputs);
        let (from, to) = self.offsets();
        let expected =
            infer_population(&self.layout, self.options().eps, &inputs.x, affine, triples);
        let mut x = Guarded::new(&inputs.x, from);
        let mut y = Guarded::output(inputs.x.len(), to);
        let op = self.op(backend);
        op.infer(
            apart(x.values(), y.inside()),
            evenkeel::Affine { gamma: affine.gamma, beta: affine.beta },
            evenkeel::Given::Population(moments),
        )
        .expect("a correct call");
        op.infer(
            in_place(x.inside()),
            evenkeel::Affine { gamma: affine.gamma, beta: affine.beta },
            evenkeel::Given::Population(moments),
        )
        .expect("a correct call");
        y.assert(&expected, "y of infer_population", &context);
        x.assert(&expected, "y of infer_population_in_place", &context);
    }
}

fn assert_moments(actual: &[Moments], expected: &[Triple], context: &(&str, &Case)) {
    for (actual, expected) in actual.iter().zip(expected) {
        assert_eq!(actual.count(), expected.n, "count of collect: {context:?}");
        assert_same_f64(actual.mean(), expected.mean, "mean of collect", context);
        assert_same_f64(actual.m2(), expected.m2, "m2 of collect", context);
    }
}

/// The four statistics slices of a training step.
struct Statistics {
    initial: (Vec<f32>, Vec<f32>),
    running_mean: Guarded,
    running_var: Guarded,
    saved_mean: Guarded,
    saved_rstd: Guarded,
}

impl Statistics {
    fn new(inputs: &Inputs, offset: usize) -> Self {
        let channels = inputs.mean.len();
        Self {
            initial: (inputs.mean.clone(), inputs.var.clone()),
            running_mean: Guarded::new(&inputs.mean, offset),
            running_var: Guarded::new(&inputs.var, 15 - offset),
            saved_mean: Guarded::new(&vec![-7.0; channels], offset),
            saved_rstd: Guarded::new(&vec![-7.0; channels], 15 - offset),
        }
    }

    fn borrow(&mut self, running: bool, saved: bool) -> (Option<Running<'_>>, Option<Saved<'_>>) {
        let running = running.then_some(Running {
            mean: self.running_mean.inside(),
            var: self.running_var.inside(),
        });
        let saved = saved
            .then_some(Saved { mean: self.saved_mean.inside(), rstd: self.saved_rstd.inside() });
        (running, saved)
    }

    fn assert(
        &self,
        expected: &Trained,
        (running, saved): (bool, bool),
        context: &impl std::fmt::Debug,
    ) {
        let (mean, var) = (&self.initial.0, &self.initial.1);
        let mean = if running { &expected.running_mean } else { mean };
        let var = if running { &expected.running_var } else { var };
        self.running_mean.assert(mean, "running mean", context);
        self.running_var.assert(var, "running variance", context);
        // An empty layout leaves the saved statistics as they were; so does not asking for them.
        let untouched = vec![-7.0; mean.len()];
        let saved = saved && !expected.y.is_empty();
        let mean = if saved { &expected.saved_mean } else { &untouched };
        let rstd = if saved { &expected.saved_rstd } else { &untouched };
        self.saved_mean.assert(mean, "saved mean", context);
        self.saved_rstd.assert(rstd, "saved rstd", context);
    }
}

#[test]
fn every_shape() {
    for (turn, layout) in shapes::all().into_iter().enumerate() {
        let kind = [Kind::Normal, Kind::Mean(1e6), Kind::Scale(1e-20)][turn % 3];
        case(layout, kind, turn).check();
    }
}

#[test]
fn every_kind_of_data() {
    let mut turn = 0;
    for layout in shapes::few() {
        for kind in KINDS {
            // An even and an odd turn: eps of 1e-5 and of 0.
            for _ in 0..2 {
                case(layout, kind, turn).check();
                turn += 1;
            }
            turn += 5;
        }
    }
}

#[test]
fn every_option() {
    for layout in [shapes::few()[0], shapes::few()[3], shapes::few()[5]] {
        for turn in 0..120 {
            case(layout, Kind::Normal, turn).check();
        }
    }
}

#[test]
fn odd_parameters() {
    let mut turn = 0;
    for layout in shapes::few() {
        for kind in [Kind::Normal, Kind::AnyFinite, Kind::Scale(1e15), Kind::Scale(1e-15)] {
            for eps in [0.0, 1e-5, 1e30] {
                Case { eps, odd: true, ..case(layout, kind, turn) }.check();
                turn += 1;
            }
        }
    }
}

/// An eps that is subnormal, zero or infinite once it is rounded to f32, and a large one.
#[test]
fn odd_eps() {
    for (turn, layout) in shapes::few().into_iter().enumerate() {
        for kind in [Kind::Normal, Kind::Constant(2.0), Kind::Scale(1e-30), Kind::Scale(1e30)] {
            for eps in [1e-300, 1e-46, 1e-44, 1e-38, 1e-30, 1.0, 1e30, 1e38, 3e38, 1e39, 1e300] {
                Case { eps, ..case(layout, kind, turn) }.check();
            }
        }
    }
}

#[test]
fn every_alignment() {
    for (batch, channels, spatial) in [(2, 1, 40), (2, 2, 19), (3, 21, 1), (2, 19, 3)] {
        for layout in shapes::layouts(batch, channels, spatial) {
            for turn in 0..256 {
                case(layout, Kind::Normal, turn).check();
            }
        }
    }
    for layout in shapes::full_blocks() {
        for turn in shapes::ALIGNMENTS {
            case(layout, Kind::Normal, turn).check();
        }
    }
}

/// A channel with a NaN or an infinity leaves all others as they are without it.
#[test]
fn one_channel_does_not_touch_another() {
    for layout in shapes::few() {
        for kind in [Kind::OneIn(f32::NAN), Kind::OneIn(f32::INFINITY), Kind::OneIn(1e30)] {
            let spoilt = Source::new(5).fill(kind, &layout);
            let clean = Source::new(5).fill(Kind::Normal, &layout);
            for backend in Backend::available() {
                let op = BatchNorm::new(layout).backend(backend);
                let (mut a, mut b) = (spoilt.clone(), clean.clone());
                op.train(in_place(&mut a), evenkeel::Affine::NONE, Keep::NOTHING)
                    .expect("a correct call");
                op.train(in_place(&mut b), evenkeel::Affine::NONE, Keep::NOTHING)
                    .expect("a correct call");
                for channel in (0..layout.channels()).filter(|&c| c != layout.channels() / 2) {
                    let places = channel_places(&layout, channel);
                    let same = places.iter().all(|&i| a[i].to_bits() == b[i].to_bits());
                    assert!(same, "channel {channel} of {layout:?} with {kind:?}, {backend}");
                }
            }
        }
    }
}

const CONSTANTS: [Constant; 2] = [Constant::Zero, Constant::Center];

/// Standardization is the population form with eps 0 and without γ and β, and a choice for constant
/// features.
#[test]
fn standardize() {
    for (turn, layout) in shapes::few().into_iter().enumerate() {
        for kind in [Kind::Mean(1e6), Kind::Scale(1e-30), Kind::Constant(4.0), Kind::AnyBits] {
            let x = Source::new(turn).fill(kind, &layout);
            let other = Source::new(turn).fill(Kind::Normal, &layout);
            let mut triples = vec![Triple::EMPTY; layout.channels()];
            collect(&layout, &x, &mut triples);
            for backend in Backend::available() {
                let mut moments = vec![Moments::new(); layout.channels()];
                let op = Standardize::new(layout).backend(backend);
                op.fit(&x, &mut moments).expect("a correct call");
                for (x, constant, eps) in CONSTANTS
                    .into_iter()
                    .flat_map(|c| [(&x, c, 0.0), (&other, c, 0.0), (&x, c, 0.5)])
                {
                    let op = op.constant(constant).eps(eps);
                    let expected = reference_standardize(&layout, eps, constant, x, &triples);
                    check_standardize(op, x, &moments, &expected, &(backend, layout, kind, turn));
                }
            }
        }
    }
}

fn check_standardize(
    op: Standardize,
    x: &[f32],
    moments: &[Moments],
    expected: &[f32],
    context: &impl std::fmt::Debug,
) {
    let mut y = Guarded::output(x.len(), 3);
    op.apply(apart(x, y.inside()), moments).expect("a correct call");
    y.assert(expected, "y of apply", context);
    let mut x = Guarded::new(x, 5);
    op.apply(in_place(x.inside()), moments).expect("a correct call");
    x.assert(expected, "y of apply_in_place", context);
}

/// Means at the limits of section 6, of features that are constant, nearly, or without values.
#[test]
fn standardize_constants() {
    let limit = 2.0_f64.powi(102);
    let means = [0.0, -0.0, 0.1, 1e7 + 0.25, -3e38, 1e200, limit, limit.next_down(), f64::NAN];
    let of = |m2| means.map(|mean| (3, mean, m2)).into_iter();
    let parts: Vec<_> =
        of(0.0).chain(of(-0.0)).chain(of(1e-320)).chain(of(3.0)).chain([(0, 5.0, 0.0)]).collect();
    let moments: Vec<_> = parts.iter().map(|&(n, m, q)| Moments::from_parts(n, m, q)).collect();
    let triples: Vec<_> = parts.iter().map(|&(n, m, q)| Triple::from_parts(n, m, q)).collect();
    for layout in [Layout::dense(7, parts.len()), Layout::channels_first(2, parts.len(), 5)]
        .map(Result::unwrap)
    {
        for kind in [Kind::Normal, Kind::AnyBits] {
            let x = Source::new(3).fill(kind, &layout);
            for (constant, eps) in CONSTANTS.into_iter().flat_map(|c| [(c, 0.0), (c, 1e-5)]) {
                let expected = reference_standardize(&layout, eps, constant, &x, &triples);
                for backend in Backend::available() {
                    let op = Standardize::new(layout).backend(backend).constant(constant).eps(eps);
                    check_standardize(op, &x, &moments, &expected, &(backend, layout, constant));
                }
            }
        }
    }
}
