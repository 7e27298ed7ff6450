//! A deep self-normalizing network keeps mean 0 and variance 1 from layer to layer (Klambauer et al.
//! 2017, theorem 1); the same network with ReLU does not.

#![allow(clippy::cast_precision_loss, reason = "sizes are small")]

use evenkeel::{Activation, Fill, Init, Key, Moments, Selu, SeluAlphaDropout, in_place};

const LAYERS: u64 = 32;
const WIDTH: usize = 256;
const BATCH: usize = 64;
const KEY: Key = Key::new(2017);

/// x·W for weights of variance 1 / fan-in, each layer's own.
fn dense(x: &[f32], layer: u64) -> Vec<f32> {
    let mut weights = vec![0.0; WIDTH * WIDTH];
    let fill = Fill::new(KEY.fold_in(1).fold_in(layer));
    Init::LeCunNormal { fan_in: WIDTH }.fill(&mut weights, fill).expect("there are inputs");
    let mut y = vec![0.0; x.len()];
    for (x, y) in x.chunks(WIDTH).zip(y.chunks_mut(WIDTH)) {
        for (x, weights) in x.iter().zip(weights.chunks(WIDTH)) {
            y.iter_mut().zip(weights).for_each(|(y, weight)| *y += x * weight);
        }
    }
    y
}

/// Mean and variance of what each layer puts out, all units and samples together.
fn layers(activate: impl Fn(&mut [f32], Key)) -> Vec<(f64, f64)> {
    let mut x = vec![0.0; BATCH * WIDTH];
    Fill::new(KEY.fold_in(0)).normal(&mut x, 0.0, 1.0).expect("a deviation");
    let layer = |layer| {
        x = dense(&x, layer);
        activate(&mut x, KEY.fold_in(2).fold_in(layer));
        let moments = Moments::of(&x);
        (moments.mean(), moments.variance())
    };
    (0..LAYERS).map(layer).collect()
}

fn assert_normalized(layers: &[(f64, f64)]) {
    for (layer, &(mean, variance)) in layers.iter().enumerate() {
        assert!(mean.abs() < 0.1, "layer {layer}: mean {mean}");
        assert!((0.8..1.25).contains(&variance), "layer {layer}: variance {variance}");
    }
}

#[test]
fn selu_keeps_mean_and_variance() {
    assert_normalized(&layers(|x, _| Selu::new().forward(in_place(x)).unwrap()));
}

#[test]
fn alpha_dropout_keeps_them_too() {
    let dropout = SeluAlphaDropout::new(0.05).unwrap();
    assert_normalized(&layers(|x, key| dropout.forward(in_place(x), key).unwrap()));
}

/// What the two tests above look for is not there by itself.
#[test]
fn relu_does_not() {
    let relu = |x: &mut [f32], _| {
        // Any operation that changes nothing carries the activation.
        let identity = evenkeel::Dropout::new(0.0).unwrap();
        identity.infer(in_place(x).then(Activation::Relu)).unwrap();
    };
    let (_, variance) = layers(relu).pop().expect("there are layers");
    assert!(variance < 1e-6, "{variance}");
}
