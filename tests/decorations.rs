//! What is fused around an operation: the same bits as doing it step by step, on every backend; and
//! what is refused.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "lengths and numbers below 2^12"
)]

use evenkeel::{
    Activation, Affine, Backend, BatchNorm, Dropout, Error, Given, GroupNorm, Io, Keep, Key,
    Layout, Moments, Standardize, apart, in_place,
};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

const BETA: [f32; 3] = [0.5, -1.0, 0.0];
const GAMMA: [f32; 3] = [2.0, -0.5, 1.0];
const GIVEN: Given<'_> = Given::Running { mean: &[0.1, 0.2, -3.0], var: &[1.0, 0.25, 4.0] };

/// An operation, decorated or not.
type Op = fn(Layout, Backend, Io<'_>) -> Result<(), Error>;

const OPS: [(&str, Op); 4] = [
    ("train", |layout, backend, io| {
        let bn = BatchNorm::new(layout).backend(backend);
        bn.train(io, Affine::new(&GAMMA, &BETA), Keep::NOTHING)
    }),
    ("infer", |layout, backend, io| {
        BatchNorm::new(layout).backend(backend).infer(io, Affine::new(&GAMMA, &BETA), GIVEN)
    }),
    ("group norm", |layout, backend, io| {
        GroupNorm::new(layout, 3).backend(backend).forward(io, Affine::new(&GAMMA, &BETA), None)
    }),
    ("standardize", |layout, backend, io| {
        let moments = [Moments::from_parts(10, 0.5, 20.0); 3];
        Standardize::new(layout).backend(backend).apply(io, &moments)
    }),
];

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| if x.is_nan() { f32::NAN.to_bits() } else { x.to_bits() }).collect()
}

/// Numbers around zero, with both zeros, an infinity and a NaN among them.
fn numbers(len: usize, seed: u32) -> Vec<f32> {
    (0..len as u32)
        .map(|i| match (i.wrapping_mul(2_654_435_761) ^ seed) >> 7 & 0xFFF {
            0 => f32::NAN,
            1 => f32::INFINITY,
            2 => -0.0,
            other => (other as f32 - 2048.0) / 512.0,
        })
        .collect()
}

/// The same cases in every run.
fn config() -> ProptestConfig {
    ProptestConfig {
        rng_seed: RngSeed::Fixed(7),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

fn rectified(x: f32) -> f32 {
    if x <= 0.0 { 0.0 } else { x }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn decorated_is_step_by_step(
        batch in 0..5_usize, spatial in 0..90_usize, last in any::<bool>(), seed in any::<u32>(),
    ) {
        let layout = if last {
            Layout::channels_last(batch, spatial, 3)
        } else {
            Layout::channels_first(batch, 3, spatial)
        }.expect("small");
        let (x, r) = (numbers(layout.len(), seed), numbers(layout.len(), !seed));
        let (dropout, key) = (Dropout::new(0.4).expect("a probability"), Key::new(seed.into()));
        for backend in Backend::available() {
            for (name, op) in OPS {
                let sum: Vec<f32> = x.iter().zip(&r).map(|(x, r)| x + r).collect();
                let mut expected = vec![0.0; x.len()];
                op(layout, backend, apart(&sum, &mut expected)).expect("valid");
                expected.iter_mut().for_each(|y| *y = rectified(*y));
                dropout.forward(in_place(&mut expected), key).expect("valid");

                let (mut residual, mut y) = (r.clone(), vec![7.0; x.len()]);
                let io = apart(&x, &mut y).add(&mut residual).then(Activation::Relu);
                op(layout, backend, io.drop(&dropout, key)).expect("valid");
                prop_assert_eq!(bits(&y), bits(&expected), "{} on {}", name, backend);
                prop_assert_eq!(bits(&residual), bits(&sum), "{} on {}", name, backend);

                let (mut residual, mut y) = (r.clone(), x.clone());
                let io = in_place(&mut y).drop(&dropout, key).then(Activation::Relu);
                op(layout, backend, io.add(&mut residual)).expect("valid");
                prop_assert_eq!(bits(&y), bits(&expected), "{} in place on {}", name, backend);
                prop_assert_eq!(bits(&residual), bits(&sum), "{} in place on {}", name, backend);
            }
        }
    }
}

#[test]
fn a_wrong_decoration_changes_nothing() {
    let layout = Layout::dense(2, 3).expect("small");
    let (x, key) = ([1.0; 6], Key::new(1));
    let far = Dropout::new(0.5).expect("a probability").offset(u64::MAX - 2);
    for (name, op) in OPS {
        for len in [0, 5, 7] {
            let (mut y, mut residual) = ([5.0; 6], vec![3.0; len]);
            let io = apart(&x, &mut y).add(&mut residual);
            let error = Error::Length { argument: "residual", expected: 6, found: len };
            assert_eq!(op(layout, Backend::detect(), io), Err(error), "{name}");
            assert_eq!((y, residual), ([5.0; 6], vec![3.0; len]), "{name}");
        }
        let (mut y, mut residual) = ([5.0; 6], [3.0; 6]);
        let io = apart(&x, &mut y).add(&mut residual).drop(&far, key);
        assert_eq!(op(layout, Backend::detect(), io), Err(Error::TooLarge), "{name}");
        assert_eq!((y, residual), ([5.0; 6], [3.0; 6]), "{name}");
        let (mut y, mut residual) = ([5.0; 4], [3.0; 2]);
        let io = apart(&x, &mut y).add(&mut residual);
        let error = Error::Length { argument: "y", expected: 6, found: 4 };
        assert_eq!(op(layout, Backend::detect(), io), Err(error), "{name}: y comes first");
    }
}
