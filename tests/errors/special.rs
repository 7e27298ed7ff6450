//! Errors that only one operation has.

use evenkeel::{
    Affine, BatchNorm, Dropout, Error, Given, GroupNorm, Keep, Key, Layout, Philox, Saved, Weight,
    apart, in_place,
};

fn dense(batch: usize, channels: usize) -> Layout {
    Layout::dense(batch, channels).expect("a small layout")
}

/// A weight has to be a whole number of slices, one for each output channel.
#[test]
fn weights_that_do_not_divide_are_refused() {
    let statistics = [0.5; 4];
    for (kernel, unit) in [(None, 4), (Some(2), 8)] {
        for (found, expected) in [(1, unit), (unit + 1, unit), (3 * unit - 1, 2 * unit)] {
            // The weight comes before the bias, and after the statistics.
            for (biases, variances) in [(4, 4), (5, 4), (5, 5)] {
                let (mut weight, mut bias) = (vec![0.25; found], vec![0.25; biases]);
                let to = match kernel {
                    None => Weight::OutputFirst(&mut weight),
                    Some(kernel) => Weight::Transposed { weight: &mut weight, groups: 1, kernel },
                };
                let var = &[0.5; 5][..variances];
                let given = Given::Running { mean: &statistics, var };
                let result = BatchNorm::new(dense(1, 4)).fold(Affine::NONE, given, to, &mut bias);
                let error = match variances {
                    4 => Error::Length { argument: "weight", expected, found },
                    _ => Error::Length { argument: "var", expected: 4, found: 5 },
                };
                assert_eq!(result, Err(error));
                assert!(weight.iter().chain(&bias).all(|&v| v == 0.25));
            }
        }
    }
}

#[test]
fn groups_of_a_transposed_layer_must_divide() {
    let norm = BatchNorm::new(dense(1, 6));
    let (mut weight, mut bias) = (vec![1.0; 36], vec![1.0; 6]);
    for groups in [0, 4, 5, 7, 12] {
        let result = norm.fold(
            Affine::NONE,
            Given::Running { mean: &[0.0; 6], var: &[1.0; 6] },
            Weight::Transposed { weight: &mut weight, groups, kernel: 1 },
            &mut bias,
        );
        assert_eq!(result, Err(Error::Groups { channels: 6, groups }));
    }
    assert!(weight.iter().chain(&bias).all(|&v| v == 1.0));
}

#[test]
fn products_of_sizes_may_not_overflow() {
    const HALF: usize = 1 << (usize::BITS / 2);
    for (a, b, c) in [
        (usize::MAX, 2, 1),
        (2, usize::MAX, 1),
        (1, 2, usize::MAX),
        (HALF, HALF, 1),
        (HALF, 1, HALF),
        (1, HALF, HALF),
        (HALF, HALF, HALF),
        (usize::MAX, usize::MAX, usize::MAX),
    ] {
        assert_eq!(Layout::channels_first(a, b, c), Err(Error::TooLarge));
        assert_eq!(Layout::channels_last(a, c, b), Err(Error::TooLarge));
    }
    assert_eq!(Layout::dense(usize::MAX, 2), Err(Error::TooLarge));
    assert_eq!(Layout::dense(usize::MAX, 1).map(|l| l.len()), Ok(usize::MAX));
    assert_eq!(Layout::channels_first(HALF, HALF - 1, 1).map(|l| l.len()), Ok(HALF * (HALF - 1)));
}

/// Every number of groups divides no channels, so that the statistics' length can overflow.
#[test]
fn groups_times_samples_may_not_overflow() {
    for groups in [usize::MAX, usize::MAX / 2 + 1] {
        let norm = GroupNorm::new(dense(2, 0), groups);
        let (mut mean, mut rstd) = ([0.25], [0.25]);
        let saved = Saved { mean: &mut mean, rstd: &mut rstd };
        let result = norm.forward(apart(&[], &mut []), Affine::NONE, Some(saved));
        assert_eq!(result, Err(Error::TooLarge));
        let saved = Saved { mean: &mut mean, rstd: &mut rstd };
        let result = norm.forward(in_place(&mut []), Affine::NONE, Some(saved));
        assert_eq!(result, Err(Error::TooLarge));
        assert_eq!((mean, rstd), ([0.25], [0.25]));
        // Without statistics nothing has that length. Wrong parameters come before it.
        assert_eq!(norm.forward(apart(&[], &mut []), Affine::NONE, None), Ok(()));
        let saved = Saved { mean: &mut mean, rstd: &mut rstd };
        let wrong = norm.forward(
            apart(&[], &mut []),
            Affine { gamma: Some(&[1.0]), beta: None },
            Some(saved),
        );
        assert_eq!(wrong, Err(Error::Length { argument: "gamma", expected: 0, found: 1 }));
    }
}

#[test]
fn channels_times_kernel_may_not_overflow() {
    let norm = BatchNorm::new(dense(1, 6));
    let (mut weight, mut bias) = (vec![1.0; 36], vec![1.0; 6]);
    for kernel in [usize::MAX, usize::MAX / 6 + 1] {
        for groups in [1, 3] {
            // The sizes are checked before the weight's length: there is no right one.
            let result = norm.fold(
                Affine::NONE,
                Given::Running { mean: &[0.0; 6], var: &[1.0; 6] },
                Weight::Transposed { weight: &mut weight, groups, kernel },
                &mut bias,
            );
            assert_eq!(result, Err(Error::TooLarge));
        }
    }
    assert!(weight.iter().chain(&bias).all(|&v| v == 1.0));
}

/// An empty tensor whose other sizes are huge is refused or works, but nothing overflows.
#[test]
fn huge_empty_tensors_do_not_panic() {
    let sizes = [0, 1, 2, usize::MAX];
    for (n, c, s) in sizes.iter().flat_map(|&n| sizes.iter().map(move |&c| (n, c, 0))) {
        for layout in [Layout::channels_first(n, c, s), Layout::channels_last(n, s, c)] {
            let Ok(layout) = layout else { continue };
            assert_eq!(layout.len(), 0);
            assert_eq!(
                BatchNorm::new(layout).train(apart(&[], &mut []), Affine::NONE, Keep::NOTHING),
                Ok(())
            );
            for groups in [1, c] {
                let saved = Saved { mean: &mut [], rstd: &mut [] };
                let norm = GroupNorm::new(layout, groups);
                let result = norm.forward(apart(&[], &mut []), Affine::NONE, Some(saved));
                let expected = match (groups, n * groups) {
                    (0, _) => Err(Error::Groups { channels: 0, groups: 0 }),
                    (_, 0) => Ok(()),
                    (_, expected) => {
                        Err(Error::Length { argument: "saved_mean", expected, found: 0 })
                    }
                };
                assert_eq!(result, expected, "{layout:?}, {groups} groups");
            }
        }
    }
}

#[test]
fn a_probability_lies_between_zero_and_one() {
    for p in [f64::NAN, -0.1, 1.1, -f64::MIN_POSITIVE, 1.0 + f64::EPSILON, f64::INFINITY] {
        match Dropout::new(p) {
            Err(Error::Probability { found }) => assert_eq!(found.to_bits(), p.to_bits()),
            other => panic!("{p}: {other:?}"),
        }
    }
    for p in [0.0, -0.0, f64::MIN_POSITIVE, 0.5, 1.0] {
        assert!(Dropout::new(p).is_ok(), "{p}");
    }
}

#[test]
fn a_stream_lies_below_2_to_the_62() {
    for stream in [1 << 62, (1 << 62) + 1, u64::MAX] {
        assert_eq!(Key::with_stream(3, stream), Err(Error::Stream { found: stream }));
        let mut philox = Philox::new(Key::new(3));
        philox.set_word_pos(5);
        assert_eq!(philox.set_stream(stream), Err(Error::Stream { found: stream }));
        assert_eq!((philox.get_stream(), philox.get_word_pos()), (0, 5));
    }
    let last = (1 << 62) - 1;
    assert_eq!(Key::with_stream(3, last).map(Key::stream), Ok(last));
    assert_eq!(Philox::new(Key::new(3)).set_stream(last), Ok(()));
}

#[test]
fn the_last_number_of_a_dropout_is_the_last_of_64_bits() {
    let (dropout, key) = (Dropout::new(0.5).unwrap(), Key::new(1));
    let mut y = vec![0.25; 4];
    for offset in [u64::MAX - 2, u64::MAX - 1, u64::MAX] {
        let dropout = dropout.offset(offset);
        assert_eq!(dropout.forward(apart(&[1.0; 4], &mut y), key), Err(Error::TooLarge));
        assert_eq!(dropout.forward(in_place(&mut y), key), Err(Error::TooLarge));
        assert_eq!(dropout.backward(apart(&[1.0; 4], &mut y), key), Err(Error::TooLarge));
        assert_eq!(dropout.backward(in_place(&mut y), key), Err(Error::TooLarge));
        assert_eq!(dropout.write_mask(4, key, &mut [0]), Err(Error::TooLarge));
        assert!(y.iter().all(|&v| v == 0.25));
        // Inference draws nothing.
        assert_eq!(dropout.infer(apart(&[1.0; 4], &mut [0.0; 4])), Ok(()));
    }
    let last = dropout.offset(u64::MAX - 3);
    assert_eq!(last.forward(apart(&[1.0; 4], &mut y), key), Ok(()));
    assert_eq!(y[3] != 0.0, dropout.keep(key, u64::MAX));
    let one = dropout.offset(u64::MAX);
    assert_eq!(one.forward(in_place(&mut y[..1]), key), Ok(()));
    assert_eq!(one.forward(in_place(&mut []), key), Ok(()));
}

#[test]
fn messages_name_what_is_wrong() {
    let errors = [
        (Error::Length { argument: "gamma", expected: 4, found: 5 }, "gamma"),
        (Error::TooLarge, "overflow"),
        (Error::Epsilon { found: -2.5 }, "-2.5"),
        (Error::Momentum { found: 1.5 }, "1.5"),
        (Error::Batches, "0"),
        (Error::Probability { found: 7.25 }, "7.25"),
        (Error::Groups { channels: 6, groups: 4 }, "4"),
        (Error::Stream { found: 1 << 63 }, "9223372036854775808"),
    ];
    for (error, part) in errors {
        let message = error.to_string();
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn fold_refuses_a_variance_without_a_root() {
    for (var, eps) in [(-1.0, 0.5), (f32::NAN, 1e-5), (-1e-30, 0.0)] {
        let op = BatchNorm::new(dense(1, 3)).eps(eps);
        let (mut weight, mut bias) = ([1.0, 2.0, 3.0], [4.0, 5.0, 6.0]);
        let variances = [1.0, var, var];
        let given = Given::Running { mean: &[0.0; 3], var: &variances };
        let result = op.fold(Affine::NONE, given, Weight::OutputFirst(&mut weight), &mut bias);
        let Err(Error::Variance { channel: 1, found }) = result else { panic!("{result:?}") };
        assert!(found.is_nan() || found == f64::from(var) + eps);
        assert_eq!((weight, bias), ([1.0, 2.0, 3.0], [4.0, 5.0, 6.0]));
    }
    // What cancels exactly counts as no deviation, as it does at inference.
    let op = BatchNorm::new(dense(1, 1)).eps(0.5);
    let given = Given::Running { mean: &[0.0], var: &[-0.5] };
    let (mut weight, mut bias) = ([1.0], [4.0]);
    assert_eq!(op.fold(Affine::NONE, given, Weight::OutputFirst(&mut weight), &mut bias), Ok(()));
    assert_eq!((weight, bias), ([0.0], [0.0]));
}
