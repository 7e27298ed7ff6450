//! GroupNorm, forward. The number behind the shape is that of the groups.

use evenkeel::{Affine, Backend, GroupNorm, Saved, apart};

use super::{Case, Work, shapes};
use crate::data;

/// The number of groups: 32 where there are channels enough, else a quarter of the channels; a
/// dense row is one group, which is a LayerNorm with parameters per channel.
fn groups(channels: usize, spatial: usize) -> usize {
    match (spatial, channels) {
        (1, _) => 1,
        (_, 64..) => 32,
        _ => channels / 4,
    }
}

/// The cases of the op.
pub fn cases(backend: Backend) -> Vec<Case> {
    let mut cases = Vec::new();
    for (shape, name, layout) in shapes() {
        let groups = groups(layout.channels(), layout.spatial());
        let norm = GroupNorm::new(layout, groups).backend(backend);
        let build = move || {
            let gamma = data::normal(21, layout.channels());
            let beta = data::normal(22, layout.channels());
            let mut mean = vec![0.0; layout.batch() * groups];
            let mut rstd = vec![0.0; layout.batch() * groups];
            Work::new(layout.len(), move |[x, _], y| {
                let saved = Saved { mean: &mut mean, rstd: &mut rstd };
                norm.forward(apart(x, y), Affine::new(&gamma, &beta), Some(saved))
                    .expect("lengths follow the layout");
            })
        };
        cases.push(Case {
            op: "group_norm/forward".into(),
            shape: format!("{shape} / {groups}"),
            layout: name,
            backend: backend.name(),
            elements: layout.len(),
            build: Box::new(build),
        });
    }
    cases
}
