//! BatchNorm: training forward, inference, backward, and the baselines of [`crate::baseline`].

use evenkeel::{Backend, BatchNorm, Gradients, Layout, Running, Saved};

use super::{Case, Work, shapes};
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

/// Makes one of the three passes ready to run.
type Build = fn(BatchNorm, Layout) -> Work;

/// The cases of the op itself.
pub fn cases(backend: Backend) -> Vec<Case> {
    let ops: [(&str, Build); 3] = [("train", train), ("infer", infer), ("backward", backward)];
    let mut cases = Vec::new();
    for (op, build) in ops {
        for (shape, name, layout) in shapes() {
            let norm = BatchNorm::new(layout).eps(EPS).backend(backend);
            cases.push(Case {
                op: format!("batch_norm/{op}"),
                shape,
                layout: name,
                backend: backend.name(),
                elements: layout.len(),
                build: Box::new(move || build(norm, layout)),
            });
        }
    }
    cases
}

fn train(norm: BatchNorm, layout: Layout) -> Work {
    let mut p = Channels::new(layout.channels());
    Work::new(layout.len(), move |[x, _], y| {
        let running = Running { mean: &mut p.mean, var: &mut p.var };
        let saved = Saved { mean: &mut p.saved_mean, rstd: &mut p.saved_rstd };
        norm.train(x, Some(&p.gamma), Some(&p.beta), Some(running), Some(saved), y).expect(VALID);
    })
}

fn infer(norm: BatchNorm, layout: Layout) -> Work {
    let p = Channels::new(layout.channels());
    Work::new(layout.len(), move |[x, _], y| {
        norm.infer(x, Some(&p.gamma), Some(&p.beta), &p.mean, &p.var, y).expect(VALID);
    })
}

fn backward(norm: BatchNorm, layout: Layout) -> Work {
    // The inputs have mean 0 and variance 1, which is what `Channels` starts its statistics at.
    let p = Channels::new(layout.channels());
    let mut dbeta = vec![0.0; layout.channels()];
    let mut dgamma = vec![0.0; layout.channels()];
    Work::new(layout.len(), move |[x, dy], dx| {
        let gradients = Gradients { x: Some(dx), gamma: Some(&mut dgamma), beta: Some(&mut dbeta) };
        norm.backward(dy, x, Some(&p.gamma), &p.saved_mean, &p.saved_rstd, gradients).expect(VALID);
    })
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
                .train(x, Some(&p.gamma), Some(&p.beta), None, None, &mut expected)
                .expect(VALID);
            for (found, expected) in y.iter().zip(&expected) {
                assert!((found - expected).abs() < 1e-2, "{found} ≠ {expected}");
            }
            checked = true;
        }
    })
}
