//! How much of the stack the operations that need most take on a machine with vectors: 512 KiB are
//! enough, which is what some systems give a thread. More would end the process, so this test can't
//! fail in another way. (Microcontrollers take much less: firmware/budgets.txt.)

use evenkeel::{
    Affine, Backend, BatchNorm, Gradients, GroupNorm, InstanceNorm, Keep, LayerNorm, Layout, Rows,
    Statistics, apart,
};

const STACK: usize = 512 << 10;

/// Runs a call on every backend, each in a thread with so much of the stack.
fn runs(call: impl Fn(Backend) + Send + Clone + 'static) {
    for backend in Backend::available() {
        let call = call.clone();
        let thread = std::thread::Builder::new().stack_size(STACK).spawn(move || call(backend));
        thread.expect("a thread").join().expect("a call that does not panic");
    }
}

/// x, y, and a value for each of some channels.
fn tensors(len: usize, channels: usize) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
    ((0_u8..17).map(f32::from).cycle().take(len).collect(), vec![0.0; len], vec![1.0; channels])
}

/// Channels last, of more than one block of rows: trees of many channels.
#[test]
fn channels() {
    for channels in [16, 64, 256, 1024] {
        let layout = Layout::channels_last(1, 100, channels).expect("a small layout");
        runs(move |backend| {
            let (x, mut y, ones) = tensors(layout.len(), channels);
            let (mut gamma, mut beta) = (ones.clone(), ones.clone());
            let norm = BatchNorm::new(layout).backend(backend);
            norm.train(apart(&x, &mut y), Affine::NONE, Keep::NOTHING).expect("fitting lengths");
            let gradients =
                Gradients { x: Some(&mut y), gamma: Some(&mut gamma), beta: Some(&mut beta) };
            let statistics = Statistics { mean: &ones, rstd: &ones };
            norm.backward(&x, &x, Some(&ones), statistics, gradients).expect("fitting lengths");
        });
    }
}

#[test]
fn groups() {
    let layouts = [Layout::channels_first(2, 256, 100), Layout::channels_last(2, 100, 256)];
    for layout in layouts.map(|layout| layout.expect("a small layout")) {
        for groups in [1, 8, 128] {
            runs(move |backend| {
                let (x, mut y, ones) = tensors(layout.len(), 2 * 256);
                let (mut gamma, mut beta) = (vec![0.0; 256], vec![0.0; 256]);
                let norm = GroupNorm::new(layout, groups).backend(backend);
                norm.forward(apart(&x, &mut y), Affine::NONE, None).expect("fitting lengths");
                let gradients =
                    Gradients { x: Some(&mut y), gamma: Some(&mut gamma), beta: Some(&mut beta) };
                let ones = &ones[..2 * groups];
                let statistics = Statistics { mean: ones, rstd: ones };
                norm.backward(&x, &x, None, statistics, gradients).expect("fitting lengths");
            });
        }
        runs(move |backend| {
            let (x, mut y, _) = tensors(layout.len(), 0);
            let norm = InstanceNorm::new(layout).backend(backend);
            norm.forward(apart(&x, &mut y), Affine::NONE, Keep::NOTHING).expect("fitting lengths");
        });
    }
}

/// Rows that come from memory have the widest bands of all.
#[test]
fn rows() {
    for (count, len) in [(100, 1024), (1100, 1024)] {
        runs(move |backend| {
            let rows = Rows::new(count, len).expect("a small product");
            let (x, mut dx, ones) = tensors(count * len, count.max(len));
            let (mut gamma, mut beta) = (vec![0.0; len], vec![0.0; len]);
            let gradients =
                Gradients { x: Some(&mut dx), gamma: Some(&mut gamma), beta: Some(&mut beta) };
            let statistics = Statistics { mean: &ones[..count], rstd: &ones[..count] };
            let norm = LayerNorm::new(rows).backend(backend);
            norm.backward(&x, &x, Some(&ones[..len]), statistics, gradients)
                .expect("fitting lengths");
        });
    }
}
