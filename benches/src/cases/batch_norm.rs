//! BatchNorm: training forward, inference, backward, on all shapes; the other calls on some; and the
//! baselines of [`crate::baseline`].

use evenkeel::{
    Affine, Backend, BatchNorm, Given, Gradients, Keep, Layout, Moments, Running, Saved,
    Statistics, Weight, apart, in_place,
};

use super::{Case, Work, few_shapes, shapes};
use crate::{baseline, data};

const VALID: &str = "lengths follow the layout";
const EPS: f64 = 1e-5;

/// Everything of BatchNorm's that is as long as the number of channels.
struct Channels {
    gamma: Vec<f32>,
    beta: Vec<f32>,
    mean: Vec<f32>,
    var: Vec<f32>,
    saved_mean: Vec<f32>,
    saved_rstd: Vec<f32>,
}

impl Channels {
    fn new(channels: usize) -> Self {
        Self {
            gamma: data::normal(11, channels),
            beta: data::normal(12, channels),
            mean: vec![0.0; channels],
            var: vec![1.0; channels],
            saved_mean: vec![0.0; channels],
            saved_rstd: vec![1.0; channels],
        }
    }
}

/// Makes one of the calls ready to run.
type Build = fn(BatchNorm, Layout) -> Work;

/// The cases of the op itself.
pub fn cases(backend: Backend) -> Vec<Case> {
    let everywhere: [(&str, Build); 3] =
        [("train", train), ("infer", infer), ("backward", backward)];
    let somewhere: [(&str, Build); 3] = [
        ("train_in_place", train_in_place),
        ("infer_population", infer_population),
        ("backward_inference", backward_inference),
    ];
    let mut cases = Vec::new();
    for (op, build) in everywhere {
        cases.extend(shapes().into_iter().map(|shape| case(backend, op, build, shape)));
    }
    for (op, build) in somewhere {
        cases.extend(few_shapes().into_iter().map(|shape| case(backend, op, build, shape)));
    }
    cases.push(fold(backend));
    cases
}

fn case(
    backend: Backend,
    op: &str,
    build: Build,
    (shape, name, layout): (String, &'static str, Layout),
) -> Case {
    let norm = BatchNorm::new(layout).eps(EPS).backend(backend);
    Case {
        op: format!("batch_norm/{op}"),
        shape,
        layout: name,
        backend: backend.name(),
        elements: layout.len(),
        build: Box::new(move || build(norm, layout)),
    }
}

fn train(norm: BatchNorm, layout: Layout) -> Work {
    let mut p = Channels::new(layout.channels());
    Work::new(layout.len(), move |[x, _], y| {
        let running = Running { mean: &mut p.mean, var: &mut p.var };
        let saved = Saved { mean: &mut p.saved_mean, rstd: &mut p.saved_rstd };
        norm.train(
            apart(x, y),
            Affine::new(&p.gamma, &p.beta),
            Keep { running: Some(running), saved: Some(saved) },
        )
        .expect(VALID);
    })
}

fn infer(norm: BatchNorm, layout: Layout) -> Work {
    let p = Channels::new(layout.channels());
    Work::new(layout.len(), move |[x, _], y| {
        norm.infer(
            apart(x, y),
            Affine::new(&p.gamma, &p.beta),
            Given::Running { mean: &p.mean, var: &p.var },
        )
        .expect(VALID);
    })
}

fn backward(norm: BatchNorm, layout: Layout) -> Work {
    // The inputs have mean 0 and variance 1, which is what `Channels` starts its statistics at.
    let p = Channels::new(layout.channels());
    let mut dbeta = vec![0.0; layout.channels()];
    let mut dgamma = vec![0.0; layout.channels()];
    Work::new(layout.len(), move |[x, dy], dx| {
        let gradients = Gradients { x: Some(dx), gamma: Some(&mut dgamma), beta: Some(&mut dbeta) };
        norm.backward(
            dy,
            x,
            Some(&p.gamma),
            Statistics { mean: &p.saved_mean, rstd: &p.saved_rstd },
            gradients,
        )
        .expect(VALID);
    })
}

/// The tensor is the output's: it starts as a copy of the input (and the copies in between make it one
/// again). Normalizing what is normalized keeps it ordinary.
fn train_in_place(norm: BatchNorm, layout: Layout) -> Work {
    let mut p = Channels::new(layout.channels());
    let mut first = true;
    Work::new(layout.len(), move |[x, _], y| {
        if first {
            y.copy_from_slice(x);
            first = false;
        }
        let running = Running { mean: &mut p.mean, var: &mut p.var };
        let saved = Saved { mean: &mut p.saved_mean, rstd: &mut p.saved_rstd };
        norm.train(
            in_place(y),
            Affine::new(&p.gamma, &p.beta),
            Keep { running: Some(running), saved: Some(saved) },
        )
        .expect(VALID);
    })
}

fn infer_population(norm: BatchNorm, layout: Layout) -> Work {
    let p = Channels::new(layout.channels());
    let mut moments = vec![Moments::new(); layout.channels()];
    let mut first = true;
    Work::new(layout.len(), move |[x, _], y| {
        if first {
            norm.collect(x, &mut moments).expect(VALID);
            first = false;
        }
        norm.infer(apart(x, y), Affine::new(&p.gamma, &p.beta), Given::Population(&moments))
            .expect(VALID);
    })
}

fn backward_inference(norm: BatchNorm, layout: Layout) -> Work {
    let p = Channels::new(layout.channels());
    let mut dbeta = vec![0.0; layout.channels()];
    let mut dgamma = vec![0.0; layout.channels()];
    Work::new(layout.len(), move |[x, dy], dx| {
        let gradients = Gradients { x: Some(dx), gamma: Some(&mut dgamma), beta: Some(&mut dbeta) };
        norm.backward(
            dy,
            x,
            Some(&p.gamma),
            Given::Running { mean: &p.mean, var: &p.var },
            gradients,
        )
        .expect(VALID);
    })
}

/// Folding into the weights of a 3 × 3 convolution, again and again into the same: with a variance
/// of 1 and no eps that leaves them as they are.
fn fold(backend: Backend) -> Case {
    const CHANNELS: usize = 256;
    const LEN: usize = CHANNELS * CHANNELS * 9;
    let build = move || {
        let layout = Layout::dense(1, CHANNELS).expect("the product of the sizes fits");
        let norm = BatchNorm::new(layout).eps(0.0).backend(backend);
        let p = Channels::new(CHANNELS);
        let mut bias = vec![0.0; CHANNELS];
        let mut first = true;
        Work::new(LEN, move |[x, _], weight| {
            if first {
                weight.copy_from_slice(x);
                first = false;
            }
            norm.fold(
                Affine::NONE,
                Given::Running { mean: &p.mean, var: &p.var },
                Weight::OutputFirst(weight),
                &mut bias,
            )
            .expect(VALID);
        })
    };
    Case {
        op: "batch_norm/fold".into(),
        shape: format!("{CHANNELS}x{CHANNELS}x3x3"),
        layout: "-",
        backend: backend.name(),
        elements: LEN,
        build: Box::new(build),
    }
}

/// A function of [`crate::baseline`].
type Baseline = fn(Layout, &[f32], &[f32], &[f32], f32, &mut [f32]);

/// Training forward without evenkeel.
pub fn baselines() -> Vec<Case> {
    let mut cases = Vec::new();
    for (shape, name, layout) in shapes() {
        let mut push = |op: &str, run: Baseline| {
            cases.push(Case {
                op: format!("batch_norm/train, {op}"),
                shape: shape.clone(),
                layout: name,
                backend: "plain Rust",
                elements: layout.len(),
                build: Box::new(move || baseline(layout, run)),
            });
        };
        push("naive", baseline::three_pass);
        if name == "channels first" {
            push("sixteen sums", baseline::sixteen_sums);
        }
    }
    cases
}

fn baseline(layout: Layout, run: Baseline) -> Work {
    let p = Channels::new(layout.channels());
    #[expect(clippy::cast_possible_truncation, reason = "rounded on purpose")]
    let eps = EPS as f32;
    let mut checked = false;
    Work::new(layout.len(), move |[x, _], y| {
        run(layout, x, &p.gamma, &p.beta, eps, y);
        if !checked {
            // In the first call, which is never measured: a baseline that computes something
            // else would be no baseline.
            let mut expected = vec![0.0; x.len()];
            BatchNorm::new(layout)
                .eps(EPS)
                .train(apart(x, &mut expected), Affine::new(&p.gamma, &p.beta), Keep::NOTHING)
                .expect(VALID);
            for (found, expected) in y.iter().zip(&expected) {
                assert!((found - expected).abs() < 1e-2, "{found} ≠ {expected}");
            }
            checked = true;
        }
    })
}
