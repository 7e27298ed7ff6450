//! GroupNorm, forward and backward, and InstanceNorm, forward. The number behind the shape is that of the groups.

use evenkeel::{
    Affine, Backend, Gradients, GroupNorm, InstanceNorm, Keep, Layout, Saved, Statistics, apart,
};

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

/// The cases of both ops.
pub fn cases(backend: Backend) -> Vec<Case> {
    let mut cases = Vec::new();
    for (shape, name, layout) in shapes() {
        let groups = groups(layout.channels(), layout.spatial());
        let norm = GroupNorm::new(layout, groups).backend(backend);
        let mut add = |op: &str, shape: String, build: Box<dyn Fn() -> Work>| {
            cases.push(Case {
                op: op.into(),
                shape,
                layout: name,
                backend: backend.name(),
                elements: layout.len(),
                build,
            });
        };
        let of_groups = format!("{shape} / {groups}");
        let build = Box::new(move || forward(norm, layout, groups));
        add("group_norm/forward", of_groups.clone(), build);
        let build = Box::new(move || backward(norm, layout, groups));
        add("group_norm/backward", of_groups, build);
        if layout.spatial() > 1 {
            let build = Box::new(move || instance(backend, layout));
            add("instance_norm/forward", shape, build);
        }
    }
    cases
}

fn forward(norm: GroupNorm, layout: Layout, groups: usize) -> Work {
    let gamma = data::normal(21, layout.channels());
    let beta = data::normal(22, layout.channels());
    let mut mean = vec![0.0; layout.batch() * groups];
    let mut rstd = vec![0.0; layout.batch() * groups];
    Work::new(layout.len(), move |[x, _], y| {
        let saved = Saved { mean: &mut mean, rstd: &mut rstd };
        norm.forward(apart(x, y), Affine::new(&gamma, &beta), Some(saved))
            .expect("lengths follow the layout");
    })
}

fn backward(norm: GroupNorm, layout: Layout, groups: usize) -> Work {
    let gamma = data::normal(21, layout.channels());
    let mean = vec![0.0; layout.batch() * groups];
    let rstd = vec![1.0; layout.batch() * groups];
    let mut dgamma = vec![0.0; layout.channels()];
    let mut dbeta = vec![0.0; layout.channels()];
    Work::new(layout.len(), move |[x, dy], dx| {
        let statistics = Statistics { mean: &mean, rstd: &rstd };
        let gradients = Gradients { x: Some(dx), gamma: Some(&mut dgamma), beta: Some(&mut dbeta) };
        norm.backward(dy, x, Some(&gamma), statistics, gradients)
            .expect("lengths follow the layout");
    })
}

fn instance(backend: Backend, layout: Layout) -> Work {
    let gamma = data::normal(21, layout.channels());
    let beta = data::normal(22, layout.channels());
    let mut mean = vec![0.0; layout.batch() * layout.channels()];
    let mut rstd = vec![0.0; layout.batch() * layout.channels()];
    Work::new(layout.len(), move |[x, _], y| {
        let keep = Keep::saved(&mut mean, &mut rstd);
        let norm = InstanceNorm::new(layout).backend(backend);
        norm.forward(apart(x, y), Affine::new(&gamma, &beta), keep)
            .expect("lengths follow the layout");
    })
}
