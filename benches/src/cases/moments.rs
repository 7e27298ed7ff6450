//! Mean and variance alone: of one slice, and of every channel of a batch.

use std::hint::black_box;

use evenkeel::{Backend, BatchNorm, Moments};

use super::{Case, Work, shapes};

/// The cases of both ops.
///
/// [`Moments::of`] always takes the best backend, so its cases appear only if that one is asked
/// for. Neither op writes a tensor: the copy beside them moves twice what they read, and more
/// where its output has to be fetched first.
pub fn cases(backend: Backend) -> Vec<Case> {
    let mut cases = Vec::new();
    if backend == Backend::detect() {
        for len in [1 << 10, 1 << 15, 1 << 16, 32 * 64 * 56 * 56] {
            cases.push(slice(len, backend.name(), "of", Moments::of));
        }
        // The recurrence with its division per element, which everyone knows, for scale.
        let welford = |x: &[f32]| {
            let mut moments = Moments::new();
            for &value in x {
                moments.push(f64::from(value));
            }
            moments
        };
        cases.push(slice(1 << 15, "plain Rust", "of, Welford", welford));
    }

    for (shape, name, layout) in shapes() {
        let norm = BatchNorm::new(layout).backend(backend);
        let build = move || {
            let mut moments = vec![Moments::new(); layout.channels()];
            Work::new(layout.len(), move |[x, _], _| {
                moments.fill(Moments::new());
                norm.collect(x, &mut moments).expect("lengths follow the layout");
                black_box(&moments);
            })
        };
        cases.push(Case {
            op: "moments/collect".into(),
            shape,
            layout: name,
            backend: backend.name(),
            elements: layout.len(),
            build: Box::new(build),
        });
    }
    cases
}

fn slice(len: usize, backend: &'static str, op: &str, run: fn(&[f32]) -> Moments) -> Case {
    Case {
        op: format!("moments/{op}"),
        shape: len.to_string(),
        layout: "-",
        backend,
        elements: len,
        build: Box::new(move || {
            Work::new(len, move |[x, _], _| {
                black_box(run(x));
            })
        }),
    }
}
