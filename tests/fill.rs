//! Random numbers: words in bulk, the normal distribution, initial weights.

#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "sizes are small, and rounding is the subject"
)]

use evenkeel::{Backend, Error, Fill, GaussianDropout, Init, Key, Philox, apart};
use ops::oracle::{self, distribution, ulp};
use ops::reference::numbers::standard_normal;
use rand_core::Rng as _;

const KEY: Key = Key::new(0x00C0_FFEE);

/// Mean and variance.
fn moments(values: &[f32]) -> (f64, f64) {
    let stats = oracle::moments(values.iter().map(|&x| f64::from(x)));
    (stats.mean, stats.var)
}

#[test]
fn words_are_those_of_the_generator() {
    for backend in Backend::available() {
        for len in (0..=140).chain([1000, 1023]) {
            for offset in [0, 1, 2, 3, 4, 5, (1 << 34) - 7, (1 << 36) - 3] {
                let mut words = vec![0xA5A5_A5A5; len];
                let fill = Fill::new(KEY).offset(offset).backend(backend);
                fill.words(&mut words).unwrap();
                let mut philox = Philox::new(KEY);
                philox.set_word_pos(offset.into());
                assert!(words.iter().all(|&word| word == philox.next_u32()), "{backend} {offset}");
            }
        }
    }
}

/// The last word of a fill is number 2^64 − 1; the generator goes on to 2^66 and starts anew.
#[test]
fn the_last_words() {
    let fill = Fill::new(KEY).offset(u64::MAX - 4);
    assert_eq!(fill.words(&mut [0; 5]), Ok(()));
    assert_eq!(fill.words(&mut [0; 6]), Err(Error::TooLarge));
    let (mut bulk, mut single) = (Philox::new(KEY), Philox::new(KEY));
    bulk.set_word_pos((1 << 66) - 50);
    single.set_word_pos((1 << 66) - 50);
    let mut bytes = [0; 4 * 100];
    bulk.fill_bytes(&mut bytes);
    for bytes in bytes.chunks(4) {
        assert_eq!(bytes, single.next_u32().to_le_bytes());
    }
    assert_eq!(bulk.get_word_pos(), single.get_word_pos());
}

/// Bytes in bulk are those of words one by one, wherever the generator stands.
#[test]
fn bytes_in_bulk() {
    for start in 0..5 {
        for len in (0..=300).chain([1000, 4099]) {
            let (mut bulk, mut single) = (Philox::new(KEY), Philox::new(KEY));
            bulk.set_word_pos(start);
            single.set_word_pos(start);
            let mut bytes = vec![0; len];
            bulk.fill_bytes(&mut bytes);
            for bytes in bytes.chunks(4) {
                assert_eq!(*bytes, single.next_u32().to_le_bytes()[..bytes.len()], "{start} {len}");
            }
            assert_eq!(bulk.get_word_pos(), single.get_word_pos(), "{start} {len}");
            assert_eq!(bulk.next_u32(), single.next_u32(), "{start} {len}");
        }
    }
}

/// z is Φ⁻¹ of its word within 6 ulp: its error is what Φ(z) is off, over the density.
#[test]
fn normal_numbers_are_the_inverse_of_the_distribution() {
    let far = (0..32).flat_map(|bit| (0..200).map(move |i| (1_u64 << bit) + i));
    let near_half = (0..2000).map(|i| (1 << 31) - 1000 + i);
    let spread = (0..200_000_u64).map(|i| i * 21_474 + 77);
    let mut worst = 0.0_f64;
    for word in far.chain(near_half).chain(spread) {
        let word = word as u32;
        let place = (f64::from(word) + 0.5) / 2.0_f64.powi(32);
        // By symmetry, so that nothing near 1 is rounded.
        let lower =
            if word >> 31 == 0 { place } else { (f64::from(!word) + 0.5) / 2.0_f64.powi(32) };
        let z = f64::from(standard_normal(word));
        let lower_z = if word >> 31 == 0 { z } else { -z };
        let density = (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
        let error = (distribution(lower_z) - lower).abs() / density;
        worst = worst.max(error / ulp(z));
    }
    println!("normal numbers: at most {worst:.2} ulp");
    assert!(worst < 6.0, "{worst} ulp");
}

/// Within six standard errors of a million numbers.
#[test]
fn means_and_variances() {
    let mut numbers = vec![0.0; 1_000_000];
    Fill::new(KEY).normal(&mut numbers, 3.0, 2.0).unwrap();
    let (mean, variance) = moments(&numbers);
    assert!((mean - 3.0).abs() < 0.012 && (variance - 4.0).abs() < 0.034, "{mean} {variance}");
    Fill::new(KEY).uniform(&mut numbers, -1.0, 3.0).unwrap();
    let (mean, variance) = moments(&numbers);
    assert!(
        (mean - 1.0).abs() < 0.007 && (variance - 4.0 / 3.0).abs() < 0.008,
        "{mean} {variance}"
    );
    assert!(numbers.iter().all(|x| (-1.0..=3.0).contains(x)));

    for p in [0.1, 0.5, 0.8] {
        let mut y = vec![0.0; 1_000_000];
        let x = vec![2.0; 1_000_000];
        GaussianDropout::new(p).unwrap().forward(apart(&x, &mut y), KEY).unwrap();
        let (mean, variance) = moments(&y);
        let expected = 4.0 * p / (1.0 - p);
        assert!((mean - 2.0).abs() < 6e-3 * expected.sqrt(), "{p}: {mean}");
        assert!((variance / expected - 1.0).abs() < 0.01, "{p}: {variance}");
    }
}

#[test]
fn initial_weights_have_their_variance() {
    let (fan_in, fan_out) = (300, 200);
    let all = [
        (Init::LeCunNormal { fan_in }, 1.0 / 300.0),
        (Init::LeCunUniform { fan_in }, 1.0 / 300.0),
        (Init::HeNormal { fan_in }, 2.0 / 300.0),
        (Init::HeUniform { fan_in }, 2.0 / 300.0),
        (Init::GlorotNormal { fan_in, fan_out }, 2.0 / 500.0),
        (Init::GlorotUniform { fan_in, fan_out }, 2.0 / 500.0),
    ];
    for (init, expected) in all {
        let mut weights = vec![0.0; 300 * 200];
        init.fill(&mut weights, Fill::new(KEY)).unwrap();
        let (mean, variance) = moments(&weights);
        assert!((init.variance() / expected - 1.0).abs() < 1e-12, "{init:?}");
        // 1 / sqrt(60000) and sqrt(2 / 60000), four times.
        assert!(mean.abs() < 0.0164 * expected.sqrt(), "{init:?}: {mean}");
        assert!((variance / expected - 1.0).abs() < 0.023, "{init:?}: {variance}");
    }
    let nothing = Init::LeCunNormal { fan_in: 0 };
    let error = Error::Normal { mean: 0.0, deviation: f32::INFINITY };
    assert_eq!(nothing.fill(&mut [0.5], Fill::new(KEY)), Err(error));
    let nothing = Init::GlorotUniform { fan_in: 0, fan_out: 0 };
    assert!(matches!(nothing.fill(&mut [0.5], Fill::new(KEY)), Err(Error::Range { .. })));
}
