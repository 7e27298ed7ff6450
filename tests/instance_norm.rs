//! Instance normalization beside the operations that it is made of.

use evenkeel::{
    Affine, Error, Given, Gradients, GroupNorm, InstanceNorm, Keep, Layout, Moments, Running,
    Saved, Statistics, apart, in_place,
};
use ops::Source;

fn layouts() -> [Layout; 4] {
    [
        Layout::channels_first(3, 5, 70),
        Layout::channels_last(3, 70, 5),
        Layout::dense(4, 20),
        Layout::channels_last(2, 3, 70),
    ]
    .map(|layout| layout.expect("a small layout"))
}

/// A group a channel: the same bits, with running statistics and without.
#[test]
fn it_is_group_norm_with_a_group_a_channel() {
    for layout in layouts() {
        let (channels, instances) = (layout.channels(), layout.batch() * layout.channels());
        let mut source = Source::new(3);
        let (x, gamma) = (source.normals(layout.len()), source.normals(channels));
        let affine = Affine::new(&gamma, &gamma);
        let new = || (vec![0.5; x.len()], vec![0.5; instances], vec![0.5; instances]);
        let (mut y, mut mean, mut rstd) = new();
        let saved = Saved { mean: &mut mean, rstd: &mut rstd };
        let group_norm = GroupNorm::new(layout, channels);
        group_norm.forward(apart(&x, &mut y), affine, Some(saved)).expect("a correct call");
        let (mut running_mean, mut running_var) = (vec![0.0; channels], vec![1.0; channels]);
        for with_running in [false, true] {
            let (mut z, mut mean_z, mut rstd_z) = new();
            let running = Running { mean: &mut running_mean, var: &mut running_var };
            let keep = Keep {
                running: with_running.then_some(running),
                saved: Some(Saved { mean: &mut mean_z, rstd: &mut rstd_z }),
            };
            let op = InstanceNorm::new(layout);
            op.forward(apart(&x, &mut z), affine, keep).expect("a correct call");
            assert_eq!((&y, &mean, &rstd), (&z, &mean_z, &rstd_z), "{layout:?} {with_running}");
        }
    }
}

/// Two samples with means 2 and 4 and unbiased variances 2 and 8; torch.nn.functional.instance_norm
/// gives the same.
#[test]
fn running_statistics_follow_the_mean_over_samples() {
    let layout = Layout::channels_first(2, 1, 2).expect("a small layout");
    let mut x = [1.0, 3.0, 2.0, 6.0];
    let (mut mean, mut var) = ([1.0], [1.0]);
    let op = InstanceNorm::new(layout).momentum(evenkeel::Momentum::Exponential(0.5));
    let keep = Keep::running(&mut mean, &mut var);
    op.forward(in_place(&mut x), Affine::NONE, keep).expect("a correct call");
    assert_eq!((mean, var), ([2.0], [3.0]));
}

/// Given statistics of either kind, forward and backward, are those of batch normalization.
#[test]
fn given_statistics_are_taken_as_by_batch_norm() {
    for layout in layouts() {
        let mut source = Source::new(4);
        let [dy, x] = [(); 2].map(|()| source.normals(layout.len()));
        let moments = vec![Moments::from_parts(7, 0.25, 9.0); layout.channels()];
        let given = Given::Population(&moments);
        let mut all = Vec::new();
        for instances in [false, true] {
            let [mut y, mut dx] = [(); 2].map(|()| vec![0.5; x.len()]);
            let mut dgamma = vec![0.5; layout.channels()];
            let into = Gradients { x: Some(&mut dx), gamma: Some(&mut dgamma), beta: None };
            if instances {
                let op = InstanceNorm::new(layout);
                op.infer(apart(&x, &mut y), Affine::NONE, given).expect("a correct call");
                op.backward(&dy, &x, None, given, into).expect("a correct call");
            } else {
                let op = evenkeel::BatchNorm::new(layout);
                op.infer(apart(&x, &mut y), Affine::NONE, given).expect("a correct call");
                op.backward(&dy, &x, None, given, into).expect("a correct call");
            }
            all.push((y, dx, dgamma));
        }
        assert_eq!(all[0], all[1]);
    }
}

/// Without channels there is nothing to do, but lengths are checked.
#[test]
fn no_channels() {
    let layout = Layout::channels_first(3, 0, 2).expect("a small layout");
    let op = InstanceNorm::new(layout);
    let backward = |rstd: &[f32]| {
        let statistics = Statistics { mean: &[], rstd };
        op.backward(&[], &[], None, statistics, Gradients::default())
    };
    assert_eq!(backward(&[]), Ok(()));
    assert_eq!(
        backward(&[1.0]),
        Err(Error::Length { argument: "saved_rstd", expected: 0, found: 1 })
    );
}
