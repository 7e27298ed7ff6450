//! The network of `examples/mc_dropout`: what a sample is answered does not depend on its batch.

#[path = "../examples/mc_dropout/network.rs"]
mod network;

use evenkeel::{Key, Moments};
use network::{CENTRES, CLASSES, Network, Sample};

const PASSES: u64 = 50;
const KEY: Key = Key::new(7);

fn network(p: f64) -> Network {
    Network::new(p, Key::new(42)).expect("p is a probability")
}

/// Seven samples, of which the last is the first again under another number.
fn batch() -> [Sample; 7] {
    let place = |i: usize| CENTRES[i % CLASSES].map(|x| if i < 3 || i == 6 { x } else { 0.5 * x });
    std::array::from_fn(|i| Sample { number: 100 + i as u64, x: place(i) })
}

fn bits(answer: &[Moments; CLASSES]) -> [[u64; 2]; CLASSES] {
    answer.map(|moments| [moments.mean().to_bits(), moments.m2().to_bits()])
}

#[test]
fn an_answer_does_not_depend_on_the_batch() {
    let (network, mut batch) = (network(0.3), batch());
    let together = network.answer(&batch, PASSES, KEY).unwrap();
    for (sample, together) in batch.iter().zip(&together) {
        let alone = network.answer(&[*sample], PASSES, KEY).unwrap();
        assert_eq!(bits(&alone[0]), bits(together), "sample {}", sample.number);
    }
    batch.reverse();
    let reversed = network.answer(&batch, PASSES, KEY).unwrap();
    for (a, b) in reversed.iter().rev().zip(&together) {
        assert_eq!(bits(a), bits(b));
    }
}

/// Samples with the same values but other numbers get other masks, and so do other keys.
#[test]
fn an_answer_depends_on_the_number_and_the_key() {
    let network = network(0.3);
    let answers = network.answer(&batch(), PASSES, KEY).unwrap();
    assert_ne!(bits(&answers[0]), bits(&answers[6]));
    let other = network.answer(&batch(), PASSES, KEY.fold_in(0)).unwrap();
    assert_ne!(bits(&answers[0]), bits(&other[0]));
}

/// The middle of a class is recognized; the deviation is 0 without dropout, and not with it.
#[test]
fn an_answer_is_a_class_and_a_doubt() {
    let certain = network(0.0).answer(&batch(), PASSES, KEY).unwrap();
    assert!(certain.as_flattened().iter().all(|moments| moments.m2() == 0.0));
    let answers = network(0.3).answer(&batch(), PASSES, KEY).unwrap();
    for (class, answer) in answers[..CLASSES].iter().enumerate() {
        assert!(answer[class].mean() > 0.5, "class {class}: {answer:?}");
        assert!(answer[class].sample_std_dev() > 0.0, "class {class}");
        let sum: f64 = answer.iter().map(Moments::mean).sum();
        assert!((sum - 1.0).abs() < 1e-12);
    }
}
