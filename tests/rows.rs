//! Rows: each by itself, whatever lies around it.

use evenkeel::{
    Activation, Affine, Backend, Error, Gradients, Io, LayerNorm, RmsNorm, Rows, Saved, Statistics,
    apart, in_place,
};
use ops::Source;
use ops::arrays::bits;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

/// The same cases in every run.
fn config() -> ProptestConfig {
    ProptestConfig {
        rng_seed: RngSeed::Fixed(11),
        failure_persistence: None,
        cases: 64,
        ..ProptestConfig::default()
    }
}

/// y, mean and rstd of both operations.
fn run(backend: Backend, rows: Rows, x: &[f32], gamma: &[f32]) -> [Vec<u32>; 5] {
    let (mut y, mut z) = (vec![0.5; x.len()], vec![0.5; x.len()]);
    let [mut mean, mut rstd, mut rms] = [(); 3].map(|()| vec![0.5; rows.count()]);
    let saved = Saved { mean: &mut mean, rstd: &mut rstd };
    let op = LayerNorm::new(rows).backend(backend);
    op.forward(apart(x, &mut y), Affine::new(gamma, gamma), Some(saved)).expect("a correct call");
    let op = RmsNorm::new(rows).backend(backend);
    op.forward(apart(x, &mut z), Some(gamma), Some(&mut rms)).expect("a correct call");
    [y, z, mean, rstd, rms].map(|values| values.into_iter().map(bits).collect())
}

/// Rows of different magnitude: some are computed in f64.
fn rows_of(seed: u64, count: usize, len: usize) -> Vec<f32> {
    let mut source = Source::seeded(seed);
    let scale = [1.0, 1e-3, 1e30, 1e-30, 1.0, 0.0, 7.0];
    let row = |i: usize| source.spread(len, 0.25, 1.0).into_iter().map(move |x| x * scale[i % 7]);
    (0..count).flat_map(row).collect()
}

fn gamma(len: usize) -> Vec<f32> {
    Source::seeded(5).spread(len, 1.0, 0.5)
}

fn lengths() -> impl Strategy<Value = usize> {
    prop_oneof![1..40_usize, 60..70_usize, 1..1500_usize, 1020..1030_usize, 2000..3100_usize]
}

proptest! {
    #![proptest_config(config())]

    /// Batch invariance: a row's bits depend neither on the number of rows nor on its place.
    #[test]
    fn a_row_does_not_depend_on_its_batch(count in 1..40_usize, len in lengths(), seed: u64) {
        let (x, gamma) = (rows_of(seed, count, len), gamma(len));
        for backend in Backend::available() {
            let [y, z, mean, rstd, rms] =
                run(backend, Rows::new(count, len).unwrap(), &x, &gamma);
            for i in 0..count {
                let row = i * len..(i + 1) * len;
                let alone = run(backend, Rows::new(1, len).unwrap(), &x[row.clone()], &gamma);
                let [y_alone, z_alone, statistics @ ..] = alone;
                prop_assert_eq!(&y[row.clone()], y_alone);
                prop_assert_eq!(&z[row], z_alone);
                prop_assert_eq!([mean[i], rstd[i], rms[i]], statistics.map(|v| v[0]));
            }
        }
    }

    /// Gaps between rows are neither read nor written, apart and in place.
    #[test]
    fn gaps_do_not_matter(
        count in 0..20_usize, len in lengths(), gap in 1..20_usize, seed: u64,
    ) {
        let (packed, gamma) = (rows_of(seed, count, len), gamma(len));
        let rows = Rows::new(count, len).unwrap().stride(len + gap).unwrap();
        let mut x = vec![f32::NAN; rows.elements()];
        for (to, from) in x.chunks_mut(len + gap).zip(packed.chunks(len)) {
            to[..len].copy_from_slice(from);
        }
        for backend in Backend::available() {
            let [y, z, ..] = run(backend, Rows::new(count, len).unwrap(), &packed, &gamma);
            let found = run(backend, rows, &x, &gamma);
            for (expected, found) in [y, z].iter().zip(&found) {
                for (expected, found) in expected.chunks(len).zip(found.chunks(len + gap)) {
                    prop_assert_eq!(expected, &found[..len]);
                    prop_assert!(found[len..].iter().all(|&v| v == 0.5_f32.to_bits()));
                }
            }
            let mut over = x.clone();
            let op = RmsNorm::new(rows).backend(backend);
            op.forward(in_place(&mut over), Some(&gamma), None).unwrap();
            for (over, found) in over.chunks(len + gap).zip(found[1].chunks(len + gap)) {
                prop_assert!(over[..len].iter().map(|v| bits(*v)).eq(found[..len].iter().copied()));
                prop_assert!(over[len..].iter().all(|v| v.is_nan()));
            }
        }
    }
}

/// dx of both operations, dγ of both and dβ. Statistics are made up: they are inputs.
fn gradients(backend: Backend, rows: Rows, dy: &[f32], x: &[f32], gamma: &[f32]) -> [Vec<u32>; 5] {
    let (mut dx, mut dz) = (vec![0.5; x.len()], vec![0.5; x.len()]);
    let [mut dgamma, mut dbeta, mut dgamma_rms] = [(); 3].map(|()| vec![0.5; gamma.len()]);
    let mean = Source::seeded(1).spread(rows.count(), 0.0, 1.0);
    let rstd = Source::seeded(2).spread(rows.count(), 2.0, 0.1);
    let into = Gradients { x: Some(&mut dx), gamma: Some(&mut dgamma), beta: Some(&mut dbeta) };
    let op = LayerNorm::new(rows).backend(backend);
    let statistics = Statistics { mean: &mean, rstd: &rstd };
    op.backward(dy, x, Some(gamma), statistics, into).expect("a correct call");
    let into = Gradients { x: Some(&mut dz), gamma: Some(&mut dgamma_rms), beta: None };
    let op = RmsNorm::new(rows).backend(backend);
    op.backward(dy, x, Some(gamma), &rstd, into).expect("a correct call");
    [dx, dz, dgamma, dbeta, dgamma_rms].map(|values| values.into_iter().map(bits).collect())
}

/// Rows with `gap` elements of no meaning between them.
fn spread_out(packed: &[f32], len: usize, gap: usize) -> Vec<f32> {
    let rows = packed.chunks(len).flat_map(|row| row.iter().copied().chain(vec![f32::NAN; gap]));
    let mut all: Vec<f32> = rows.collect();
    all.truncate(all.len().saturating_sub(gap));
    all
}

proptest! {
    #![proptest_config(config())]

    /// The same for gradients, those of γ and β included.
    #[test]
    fn gaps_do_not_matter_to_gradients(
        count in 0..80_usize, len in lengths(), gap in 1..20_usize, seed: u64,
    ) {
        let (x, gamma) = (rows_of(seed, count, len), gamma(len));
        let dy = Source::seeded(!seed).spread(x.len(), 0.0, 1.0);
        let rows = Rows::new(count, len).unwrap();
        let (wide_dy, wide_x) = (spread_out(&dy, len, gap), spread_out(&x, len, gap));
        for backend in Backend::available() {
            let expected = gradients(backend, rows, &dy, &x, &gamma);
            let strided = rows.stride(len + gap).unwrap();
            let found = gradients(backend, strided, &wide_dy, &wide_x, &gamma);
            for (expected, found) in expected.iter().zip(&found).take(2) {
                for (expected, found) in expected.chunks(len).zip(found.chunks(len + gap)) {
                    prop_assert_eq!(expected, &found[..len]);
                    prop_assert!(found[len..].iter().all(|&v| v == 0.5_f32.to_bits()));
                }
            }
            prop_assert_eq!(&expected[2..], &found[2..]);
        }
    }
}

#[test]
fn rms_norm_has_no_beta() {
    let (x, mut dx, mut dbeta) = ([1.0; 6], [7.0; 6], [7.0; 3]);
    let into = Gradients { x: Some(&mut dx), gamma: None, beta: Some(&mut dbeta) };
    let rms = RmsNorm::new(Rows::new(2, 3).expect("small rows"));
    let found = rms.backward(&x, &x, None, &[1.0; 2], into);
    assert_eq!(found, Err(Error::Length { argument: "dbeta", expected: 0, found: 3 }));
    assert_eq!((dx, dbeta), ([7.0; 6], [7.0; 3]));
}

fn decorated(x: &mut [f32]) -> Io<'_> {
    in_place(x).then(Activation::Relu)
}

#[test]
fn what_rows_refuse() {
    let rows = Rows::new(2, 3).expect("small rows");
    assert_eq!(rows.stride(2), Err(Error::Stride { len: 3, stride: 2 }));
    assert_eq!(rows.stride(usize::MAX), Err(Error::TooLarge));
    assert_eq!(Rows::new(usize::MAX, 2), Err(Error::TooLarge));
    let gaps = rows.stride(4).expect("a stride above the length");
    let mut x = [1.0; 7];
    let layer = LayerNorm::new(gaps).forward(decorated(&mut x), Affine::NONE, None);
    let rms = RmsNorm::new(gaps).forward(decorated(&mut x), None, None);
    assert_eq!((layer, rms), (Err(Error::Gaps), Err(Error::Gaps)));
    assert_eq!(x, [1.0; 7]);
}

/// Values worked out by hand.
#[test]
fn known_values() {
    let rows = Rows::new(1, 4).expect("small rows");
    let mut x = [1.0, 2.0, 3.0, 6.0]; // mean 3, variance 3.5, mean square 12.5
    let mut y = [0.0; 4];
    LayerNorm::new(rows).eps(0.5).forward(apart(&x, &mut y), Affine::NONE, None).expect("a call");
    assert_eq!(y, [-1.0, -0.5, 0.0, 1.5]);
    let mut rstd = [0.0];
    RmsNorm::new(rows)
        .eps(3.5)
        .forward(in_place(&mut x), Some(&[4.0, 4.0, -4.0, 0.0]), Some(&mut rstd))
        .expect("a call");
    assert_eq!((x, rstd), ([1.0, 2.0, -3.0, 0.0], [0.25]));
    let mut nothing = [0.0; 4];
    RmsNorm::new(rows).eps(0.0).forward(in_place(&mut nothing), None, None).expect("a call");
    assert_eq!(nothing, [0.0; 4]);
}
