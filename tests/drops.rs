//! What the family of dropout has to answer for, beside the judges.

#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "sizes are small, and rounding is the subject"
)]

use evenkeel::{
    AlphaDropout, Backend, Dropout, FeatureAlphaDropout, FeatureDropout, Io, Key, Layout, apart,
    in_place,
};

const KEY: Key = Key::new(0x00C0_FFEE);

/// Standard normal numbers, by the sum of twelve uniform ones.
fn normal(len: usize) -> Vec<f32> {
    let mut state = 1_u64;
    let mut uniform = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32
    };
    (0..len).map(|_| (0..12).map(|_| uniform()).sum::<f32>() - 6.0).collect()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// Mean and variance.
fn moments(values: &[f32]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
    (mean, values.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / n)
}

/// Within six standard errors of a million draws.
#[test]
fn alpha_dropout_keeps_mean_and_variance() {
    let x = normal(1_000_000);
    for p in [0.05, 0.1, 0.3, 0.5, 0.9] {
        let mut y = vec![0.0; x.len()];
        AlphaDropout::new(p).unwrap().forward(apart(&x, &mut y), KEY).unwrap();
        let (mean, variance) = moments(&y);
        assert!(mean.abs() < 0.006, "p = {p}: mean {mean}");
        assert!((variance - 1.0).abs() < 0.02, "p = {p}: variance {variance}");
    }
}

/// a = 1/sqrt(0.5·(1 + 0.5·α′²)) and b = a·α′/2, computed apart from the crate.
#[test]
fn the_affine_map_is_that_of_the_paper() {
    let dropout = AlphaDropout::new(0.5).unwrap();
    assert!((dropout.scale() - 0.886_405).abs() < 1e-5, "{}", dropout.scale());
    assert!((dropout.shift() - 0.779_194).abs() < 1e-5, "{}", dropout.shift());
    assert!((dropout.dropped() + 0.779_194).abs() < 1e-5, "{}", dropout.dropped());
}

/// p = 0 gives every bit back: −0.0, subnormal numbers, infinities, NaN.
#[test]
fn nothing_dropped_is_the_identity() {
    let hostile = [0.0, -0.0, 1e-45, -1e-45, f32::MAX, f32::MIN, f32::INFINITY, f32::NEG_INFINITY];
    let x: Vec<f32> = hostile.iter().copied().cycle().take(300).collect();
    let layout = Layout::channels_last(3, 10, 10).unwrap();
    for backend in Backend::available() {
        let alpha = AlphaDropout::new(0.0).unwrap().backend(backend);
        let feature = FeatureDropout::new(layout, 0.0).unwrap().backend(backend);
        let both = FeatureAlphaDropout::new(layout, 0.0).unwrap().backend(backend);
        let mut y = x.clone();
        alpha.forward(in_place(&mut y), KEY).unwrap();
        assert_eq!(bits(&y), bits(&x), "{backend}");
        alpha.backward(in_place(&mut y), KEY).unwrap();
        assert_eq!(bits(&y), bits(&x), "{backend}");
        feature.forward(in_place(&mut y), KEY).unwrap();
        assert_eq!(bits(&y), bits(&x), "{backend}");
        both.forward(in_place(&mut y), KEY).unwrap();
        assert_eq!(bits(&y), bits(&x), "{backend}");
    }
}

/// A NaN or an infinity that is dropped becomes what every dropped element becomes.
#[test]
fn what_is_dropped_is_gone() {
    let layout = Layout::channels_last(2, 16, 16).unwrap();
    for backend in Backend::available() {
        for hostile in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let dropout = AlphaDropout::new(0.4).unwrap().backend(backend);
            let features = FeatureAlphaDropout::new(layout, 0.4).unwrap().backend(backend);
            let mut y = vec![hostile; 512];
            dropout.forward(in_place(&mut y), KEY).unwrap();
            for (i, y) in y.iter().enumerate() {
                let dropped = y.to_bits() == dropout.dropped().to_bits();
                assert_eq!(dropped, !dropout.keep(KEY, i as u64), "{backend} {hostile} [{i}]");
            }
            let mut y = vec![hostile; 512];
            features.forward(in_place(&mut y), KEY).unwrap();
            for (i, y) in y.iter().enumerate() {
                let decision = (i / 256 * 16 + i % 16) as u64;
                let dropped = y.to_bits() == features.dropped().to_bits();
                assert_eq!(dropped, !features.keep(KEY, decision), "{backend} {hostile} [{i}]");
            }
        }
    }
}

/// A tensor in two pieces, cut at every place up to two groups of the vector code.
#[test]
fn a_cut_anywhere_gives_the_same() {
    let x = normal(300);
    let half = |cut: usize| [(0, cut), (cut, 300)];
    for backend in Backend::available() {
        let dropout = Dropout::new(0.3).unwrap().backend(backend);
        let alpha = AlphaDropout::new(0.3).unwrap().backend(backend);
        let mut whole = vec![0.0; 300];
        let mut pieces = vec![0.0; 300];
        for cut in 0..=257 {
            for start in [0, (1 << 36) - 7, u64::MAX - 299] {
                dropout.offset(start).forward(apart(&x, &mut whole), KEY).unwrap();
                for (from, to) in half(cut) {
                    let io = apart(&x[from..to], &mut pieces[from..to]);
                    // The end of the second piece is the end of all numbers.
                    let start = start.saturating_add(from as u64);
                    dropout.offset(start).forward(io, KEY).unwrap();
                }
                assert_eq!(bits(&pieces), bits(&whole), "{backend} {cut} {start}");
            }
            alpha.forward(apart(&x, &mut whole), KEY).unwrap();
            for (from, to) in half(cut) {
                let io = apart(&x[from..to], &mut pieces[from..to]);
                alpha.offset(from as u64).forward(io, KEY).unwrap();
            }
            assert_eq!(bits(&pieces), bits(&whole), "{backend} {cut}");
        }
    }
}

/// The decisions of features are those of elements, whatever the layout and the number of channels.
#[test]
fn a_feature_is_dropped_as_an_element_is() {
    for (batch, channels, spatial) in
        [(2, 3, 5), (1, 700, 2), (5, 16, 1), (3, 130, 33), (600, 1, 4)]
    {
        let mut mask = vec![1.0; batch * channels];
        let dropout = Dropout::new(0.3).unwrap().offset(9);
        dropout.forward(in_place(&mut mask), KEY).unwrap();
        for last in [false, true] {
            let layout = if last {
                Layout::channels_last(batch, spatial, channels)
            } else {
                Layout::channels_first(batch, channels, spatial)
            };
            let layout = layout.unwrap();
            for backend in Backend::available() {
                let features = FeatureDropout::new(layout, 0.3).unwrap().offset(9).backend(backend);
                let mut y = vec![1.0; layout.len()];
                let call: [fn(&FeatureDropout, Io<'_>) -> _; 2] =
                    [|f, io| f.forward(io, KEY), |f, io| f.backward(io, KEY)];
                for call in call {
                    y.fill(1.0);
                    call(&features, in_place(&mut y)).unwrap();
                    for (i, y) in y.iter().enumerate() {
                        let sample = i / (channels * spatial);
                        let channel = if last { i % channels } else { i / spatial % channels };
                        assert_eq!(*y, mask[sample * channels + channel], "{backend} {layout:?}");
                    }
                }
            }
        }
    }
}
