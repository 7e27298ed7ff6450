//! LayerNorm and RmsNorm, forward and backward: hidden sizes of small and common transformers.

use evenkeel::{Affine, Backend, Gradients, LayerNorm, RmsNorm, Rows, Saved, Statistics, apart};

use super::{Case, Work};
use crate::data;

/// Rows and their length.
const SHAPES: [(usize, usize); 6] =
    [(4096, 768), (512, 768), (64, 256), (7, 1000), (77, 1280), (128, 64)];

/// The cases of both ops.
pub fn cases(backend: Backend) -> Vec<Case> {
    let mut cases = Vec::new();
    for (count, len) in SHAPES {
        let rows = Rows::new(count, len).expect("the product of the sizes fits");
        let mut add = |op: &str, build: Box<dyn Fn() -> Work>| {
            cases.push(Case {
                op: op.into(),
                shape: format!("{count}x{len}"),
                layout: "rows",
                backend: backend.name(),
                elements: count * len,
                build,
            });
        };
        add("layer_norm/forward", Box::new(move || layer_forward(backend, rows)));
        add("layer_norm/backward", Box::new(move || layer_backward(backend, rows)));
        add("rms_norm/forward", Box::new(move || rms_forward(backend, rows)));
        add("rms_norm/backward", Box::new(move || rms_backward(backend, rows)));
    }
    cases
}

fn layer_forward(backend: Backend, rows: Rows) -> Work {
    let (gamma, beta) = (data::normal(21, rows.row_len()), data::normal(22, rows.row_len()));
    let (mut mean, mut rstd) = (vec![0.0; rows.count()], vec![0.0; rows.count()]);
    Work::new(rows.elements(), move |[x, _], y| {
        let saved = Saved { mean: &mut mean, rstd: &mut rstd };
        let op = LayerNorm::new(rows).backend(backend);
        op.forward(apart(x, y), Affine::new(&gamma, &beta), Some(saved)).expect("fitting lengths");
    })
}

fn layer_backward(backend: Backend, rows: Rows) -> Work {
    let gamma = data::normal(21, rows.row_len());
    let (mean, rstd) = (vec![0.0; rows.count()], vec![1.0; rows.count()]);
    let (mut dgamma, mut dbeta) = (vec![0.0; rows.row_len()], vec![0.0; rows.row_len()]);
    Work::new(rows.elements(), move |[x, dy], dx| {
        let gradients = Gradients { x: Some(dx), gamma: Some(&mut dgamma), beta: Some(&mut dbeta) };
        let statistics = Statistics { mean: &mean, rstd: &rstd };
        let op = LayerNorm::new(rows).backend(backend);
        op.backward(dy, x, Some(&gamma), statistics, gradients).expect("fitting lengths");
    })
}

fn rms_forward(backend: Backend, rows: Rows) -> Work {
    let gamma = data::normal(21, rows.row_len());
    let mut rstd = vec![0.0; rows.count()];
    Work::new(rows.elements(), move |[x, _], y| {
        let op = RmsNorm::new(rows).backend(backend);
        op.forward(apart(x, y), Some(&gamma), Some(&mut rstd)).expect("fitting lengths");
    })
}

fn rms_backward(backend: Backend, rows: Rows) -> Work {
    let (gamma, rstd) = (data::normal(21, rows.row_len()), vec![1.0; rows.count()]);
    let mut dgamma = vec![0.0; rows.row_len()];
    Work::new(rows.elements(), move |[x, dy], dx| {
        let gradients = Gradients { x: Some(dx), gamma: Some(&mut dgamma), beta: None };
        let op = RmsNorm::new(rows).backend(backend);
        op.backward(dy, x, Some(&gamma), &rstd, gradients).expect("fitting lengths");
    })
}
