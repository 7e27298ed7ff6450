//! Wrong arguments.

use super::streams;
use core::num::NonZero;
use evenkeel::stream::{Jax, JaxOriginal, OneDnn, PyTorchCuda, Stream, TensorFlow, Triton};
use evenkeel::{Error, Key};

#[test]
fn wrong_probabilities() {
    let wrong = [-1e-300, -0.5, 1.0 + f64::EPSILON, 2.0, f64::INFINITY, f64::NEG_INFINITY];
    for found in wrong {
        let error = Err(Error::Probability { found });
        for stream in streams() {
            assert_eq!(stream.decider(found).map(|_| ()), error, "{stream:?}");
        }
        for at in [Triton::threshold, PyTorchCuda::threshold] {
            assert_eq!(at(found).map(|_| ()), error);
        }
        for at in [Jax::threshold, TensorFlow::threshold, OneDnn::threshold] {
            assert_eq!(at(found).map(|_| ()), error);
        }
    }
    for stream in streams() {
        let refused = stream.decider(f64::NAN);
        assert!(matches!(refused, Err(Error::Probability { found }) if found.is_nan()));
        assert_eq!(stream.decider(-0.0).map(|_| ()), Ok(()));
    }
}

#[test]
fn wrong_indices() {
    let error = |found, limit| Err(Error::Index { found, limit });
    for stream in streams() {
        let mask = stream.decider(0.5).expect("a probability").with(Key::new(1));
        let limit = match stream {
            Stream::JaxOriginal { len } | Stream::PyTorchCuda { len, .. } => len,
            Stream::OneDnn => 1 << 32,
            _ => {
                assert!(mask.keep(u64::MAX).is_ok());
                assert_eq!(stream.check(u64::MAX), Ok(()));
                continue;
            }
        };
        for found in [limit, limit + 1, u64::MAX] {
            assert_eq!(mask.keep(found).map(|_| ()), error(found, limit), "{stream:?}");
            assert_eq!(stream.check(found), error(found, limit), "{stream:?}");
        }
        assert!(mask.keep(limit - 1).is_ok());
    }
    let array = JaxOriginal::new(Jax::new(0), 5).expect("a length below 2^32");
    assert_eq!(array.word(5).map(|_| ()), error(5, 5));
    assert_eq!(array.uniform(6).map(|_| ()), error(6, 5));
    assert_eq!(JaxOriginal::split(Jax::new(0), 3, 3).map(|_| ()), error(3, 3));
    let pytorch = PyTorchCuda::new(0, 0, 0, NonZero::<u32>::MAX);
    assert_eq!(pytorch.word(0).map(|_| ()), error(0, 0));
    assert_eq!(pytorch.uniform(9).map(|_| ()), error(9, 0));
    assert_eq!(Error::Index { found: 9, limit: 5 }.to_string(), "index 9 is not below 5");
}

#[test]
fn wrong_lengths_of_jax() {
    let limit = u64::from(u32::MAX);
    for len in [limit + 1, limit + 2, u64::MAX] {
        let error = Err(Error::Index { found: len - 1, limit });
        assert_eq!(JaxOriginal::new(Jax::new(0), len).map(|_| ()), error);
        assert_eq!(Stream::JaxOriginal { len }.decider(0.5).map(|_| ()), error);
        assert!(JaxOriginal::split(Jax::new(0), 0, len / 2 + 1).is_err());
    }
    assert!(JaxOriginal::new(Jax::new(0), limit).is_ok());
    // The probability is checked first.
    let both = Stream::JaxOriginal { len: u64::MAX }.decider(2.0);
    assert_eq!(both.map(|_| ()), Err(Error::Probability { found: 2.0 }));
}
