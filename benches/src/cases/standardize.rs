//! Standardize: applying it. (Fitting is `moments/collect`.)

use evenkeel::{Backend, Moments, Standardize, apart};

use super::{Case, Work, few_shapes};

/// The cases of the op.
pub fn cases(backend: Backend) -> Vec<Case> {
    let mut cases = Vec::new();
    for (shape, name, layout) in few_shapes() {
        let op = Standardize::new(layout).backend(backend);
        let build = move || {
            let mut moments = vec![Moments::new(); layout.channels()];
            let mut first = true;
            Work::new(layout.len(), move |[x, _], y| {
                if first {
                    op.fit(x, &mut moments).expect("lengths follow the layout");
                    first = false;
                }
                op.apply(apart(x, y), &moments).expect("lengths follow the layout");
            })
        };
        cases.push(Case {
            op: "standardize/apply".into(),
            shape,
            layout: name,
            backend: backend.name(),
            elements: layout.len(),
            build: Box::new(build),
        });
    }
    cases
}
