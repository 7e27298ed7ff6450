//! What the family of dropout has to answer for, beside the judges.

#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "sizes are small, and rounding is the subject"
)]

use core::num::NonZero;
use evenkeel::stream::Stream;
use evenkeel::{
    AlphaDropout, Backend, Dropout, Error, FeatureAlphaDropout, FeatureDropout, Io, Key, Layout,
    Scaling, Selu, SeluAlphaDropout, apart, in_place,
};

use ops::{Source, oracle};

const KEY: Key = Key::new(0x00C0_FFEE);

/// Nearly standard normal numbers.
fn normal(len: usize) -> Vec<f32> {
    Source::new(1).normals(len)
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// Mean and variance.
fn moments(values: &[f32]) -> (f64, f64) {
    let stats = oracle::moments(values.iter().map(|&x| f64::from(x)));
    (stats.mean, stats.var)
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

/// Nothing is decided about nothing, wherever it is.
#[test]
fn an_empty_tensor_has_no_decisions() {
    let far = u64::MAX;
    for layout in [Layout::channels_first(3, 5, 0), Layout::channels_last(0, 7, 5)] {
        let dropout = FeatureDropout::new(layout.unwrap(), 0.5).unwrap().offset(far);
        assert_eq!(dropout.forward(in_place(&mut []), KEY), Ok(()));
        let dropout = FeatureAlphaDropout::new(layout.unwrap(), 0.5).unwrap().offset(far);
        assert_eq!(dropout.forward(in_place(&mut []), KEY), Ok(()));
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

/// One pass is two, bit for bit.
#[test]
fn selu_and_alpha_dropout_are_the_two_in_one() {
    let x: Vec<f32> = normal(1000).into_iter().map(|x| 40.0 * x).collect();
    for backend in Backend::available() {
        for p in [0.0, 0.05, 0.5, 1.0] {
            let fused = SeluAlphaDropout::new(p).unwrap().offset(3).backend(backend);
            let alpha = AlphaDropout::new(p).unwrap().offset(3).backend(backend);
            let selu = Selu::new().backend(backend);
            let (mut y, mut steps) = (x.clone(), x.clone());
            fused.forward(in_place(&mut y), KEY).unwrap();
            selu.forward(in_place(&mut steps)).unwrap();
            alpha.forward(in_place(&mut steps), KEY).unwrap();
            assert_eq!(bits(&y), bits(&steps), "{backend} {p}");
            let (mut dx, mut steps) = (normal(1000), normal(1000));
            fused.backward(in_place(&mut dx), &x, KEY).unwrap();
            alpha.backward(in_place(&mut steps), KEY).unwrap();
            selu.backward(in_place(&mut steps), &x).unwrap();
            // A dropped element is +0.0, not 0 times a slope: the same, since no slope is negative.
            assert_eq!(bits(&dx), bits(&steps), "{backend} {p}");
        }
    }
}

const LEN: u64 = 3000;

fn streams() -> [Stream; 9] {
    [
        Stream::Native,
        Stream::Triton,
        Stream::Inductor,
        Stream::Jax,
        Stream::JaxOriginal { len: LEN },
        Stream::TensorFlow { seed1: 77 },
        Stream::OneDnn,
        Stream::OneDnnOffset { offset: NonZero::<i64>::MIN },
        Stream::PyTorchCuda { len: LEN, offset: 8, blocks: NonZero::<u32>::MIN },
    ]
}

/// On every backend, at every offset, apart and in place, forward and backward: what the decisions one by
/// one say.
#[test]
fn streams_keep_what_their_systems_keep() {
    let x = normal(300);
    for stream in streams() {
        for p in [0.0, 0.3, 0.999, 1.0] {
            let dropout = Dropout::new(p).unwrap().stream(stream).unwrap();
            assert_eq!(dropout.stream(), stream);
            let far = [1 << 32, (1 << 36) - 7, u64::MAX - 299];
            let offsets = (0..40).chain([LEN - 300]).chain(far);
            for offset in offsets.filter(|offset| stream.check(offset.saturating_add(299)).is_ok())
            {
                let expected: Vec<f32> = (0..300)
                    .map(|i| match dropout.keep(KEY, offset + i).unwrap() {
                        true => dropout.scale().apply(x[i as usize]),
                        false => 0.0,
                    })
                    .collect();
                for backend in Backend::available() {
                    let dropout = dropout.offset(offset).backend(backend);
                    let mut y = vec![0.5; 300];
                    dropout.forward(apart(&x, &mut y), KEY).unwrap();
                    assert_eq!(bits(&y), bits(&expected), "{backend} {stream:?} {p} {offset}");
                    y.copy_from_slice(&x);
                    let cut = offset as usize % 300;
                    dropout.backward(in_place(&mut y[..cut]), KEY).unwrap();
                    let rest = dropout.offset(offset + cut as u64);
                    rest.backward(in_place(&mut y[cut..]), KEY).unwrap();
                    assert_eq!(bits(&y), bits(&expected), "{backend} {stream:?} {p} {offset}");
                }
                let mut mask = [0xFF; 38];
                dropout.offset(offset).write_mask(300, KEY, &mut mask).unwrap();
                for i in 0..304 {
                    let kept = i < 300 && dropout.keep(KEY, offset + i).unwrap();
                    assert_eq!(mask[i as usize / 8] >> (i % 8) & 1 == 1, kept, "{stream:?} {i}");
                }
            }
        }
    }
}

/// The native stream is the crate's dropout; the scale does not depend on `Scaling`.
#[test]
fn the_native_stream_is_dropout() {
    let x = normal(500);
    let (mut a, mut b) = (vec![0.0; 500], vec![0.0; 500]);
    for p in [0.0, 1e-6, 0.3, 0.5, 1.0] {
        let dropout = Dropout::new(p).unwrap().offset(11);
        dropout.forward(apart(&x, &mut a), KEY).unwrap();
        let stream = dropout.scaling(Scaling::AtInference).stream(Stream::Native).unwrap();
        stream.forward(apart(&x, &mut b), KEY).unwrap();
        assert_eq!(bits(&a), bits(&b), "{p}");
    }
}

#[test]
fn what_a_system_cannot_address_is_refused() {
    let dropout = Dropout::new(0.5).unwrap();
    let mut y = [0.25; 4];
    for stream in [Stream::OneDnn, Stream::JaxOriginal { len: 10 }] {
        let limit = if stream == Stream::OneDnn { 1 << 32 } else { 10 };
        let error = Err(Error::Index { found: limit, limit });
        let stream = dropout.stream(stream).unwrap();
        assert_eq!(stream.offset(limit - 3).forward(in_place(&mut y), KEY), error);
        assert_eq!(stream.offset(limit - 3).backward(in_place(&mut y), KEY), error);
        assert_eq!(stream.offset(limit - 3).write_mask(4, KEY, &mut [0]), error);
        assert_eq!(stream.keep(KEY, limit), Err(Error::Index { found: limit, limit }));
        assert_eq!(y, [0.25; 4]);
        assert_eq!(stream.offset(limit - 4).forward(in_place(&mut y), KEY), Ok(()));
        assert_eq!(stream.offset(u64::MAX).forward(in_place(&mut []), KEY), Ok(()));
        y = [0.25; 4];
    }
    let far = dropout.offset(u64::MAX - 2).stream(Stream::Triton).unwrap();
    assert_eq!(far.forward(in_place(&mut y), KEY), Err(Error::TooLarge));
    let wrong = Error::Length { argument: "mask", expected: 1, found: 2 };
    assert_eq!(far.offset(0).write_mask(4, KEY, &mut [0; 2]), Err(wrong));
    let length = far.offset(0).forward(apart(&[0.5; 3], &mut y), KEY);
    assert_eq!(length, Err(Error::Length { argument: "y", expected: 3, found: 4 }));
    let original = Stream::JaxOriginal { len: 1 << 32 };
    assert!(matches!(dropout.stream(original), Err(Error::Index { .. })));
}
