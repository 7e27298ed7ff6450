//! Decisions are the frameworks' comparisons of floats, numbers lie where they should.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "that is how the frameworks define their numbers"
)]

use super::streams;
use core::num::NonZero;
use evenkeel::stream::{
    CurandDevice, Jax, JaxOriginal, NumPy, OneDnn, PyTorchCuda, Scale, Stream, TensorFlow,
    Threshold, Triton,
};
use evenkeel::stream::{philox, threefry};
use evenkeel::{Dropout, Error, Key, Philox};
use rand_core::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

fn random() -> Xoshiro256PlusPlus {
    Xoshiro256PlusPlus::seed_from_u64(20_260_601)
}

/// Probabilities of all kinds.
fn probabilities() -> Vec<f64> {
    let mut random = random();
    let fixed = [0.0, 1e-12, 1e-9, 0.1, 0.25, 0.3, 0.5, 0.9, 1.0 - 1e-7, 1.0 - 1e-12, 1.0];
    let mut all = fixed.to_vec();
    all.extend((0..40).map(|_| (random.next_u64() >> 11) as f64 * 2_f64.powi(-53)));
    all
}

/// Where a predicate of words changes, found with the framework's own comparison, and words around
/// there and anywhere.
fn words_to_try(keeps: impl Fn(u32) -> bool, random: &mut impl Rng) -> Vec<u32> {
    let (mut low, mut high) = (0, u32::MAX);
    while low < high {
        let middle = low + (high - low) / 2;
        if keeps(middle) == keeps(0) { low = middle + 1 } else { high = middle }
    }
    let around = (0..2000).map(|i: u32| low.wrapping_add(i).wrapping_sub(1000));
    let mut words: Vec<u32> = around.flat_map(|word| [word, !word]).collect();
    words.extend((0..2000).map(|_| random.next_u32()));
    words.extend([0, 1, u32::MAX / 2, u32::MAX / 2 + 1, u32::MAX - 1, u32::MAX]);
    words
}

/// The comparisons in floats, written once more from the frameworks' sources.
#[test]
fn keep_is_the_comparison_of_floats() {
    fn mantissa(bits: u32) -> f32 {
        f32::from_bits(bits | 0x3F80_0000) - 1.0
    }
    let triton = |word: u32, p: f64| {
        let x = word.cast_signed();
        let x = if x < 0 { -x.wrapping_add(1) } else { x };
        x as f32 * 4.656_612_7e-10_f32 > p as f32
    };
    let jax = |word: u32, p: f64| mantissa(word >> 9) < (1.0 - p) as f32;
    let tensorflow = |word: u32, p: f64| mantissa(word & 0x7F_FFFF) >= p as f32;
    let onednn = |word: u32, p: f64| word > (4_294_967_295.0 * f64::from(p as f32)) as u32;
    let pytorch = |word: u32, p: f64| {
        let uniform = word as f32 * 2.328_306_4e-10_f32 + 2.328_306_4e-10_f32 / 2.0;
        uniform < (1.0 - p) as f32
    };
    type Keeps<'a> = &'a dyn Fn(u32, f64) -> bool;
    type At = fn(f64) -> Result<Threshold, Error>;
    let systems: [(&str, Keeps<'_>, At); 5] = [
        ("Triton", &triton, Triton::threshold),
        ("JAX", &jax, Jax::threshold),
        ("TensorFlow", &tensorflow, TensorFlow::threshold),
        ("oneDNN", &onednn, OneDnn::threshold),
        ("PyTorch", &pytorch, PyTorchCuda::threshold),
    ];
    let mut random = random();
    for p in probabilities() {
        for (name, keeps, at) in systems {
            let threshold = at(p).expect("a probability");
            for word in words_to_try(|word| keeps(word, p), &mut random) {
                assert_eq!(threshold.keeps(word), keeps(word, p), "{name}, p {p}, word {word:08x}");
            }
        }
    }
}

/// `keep` of a stream is its generator's uniform number compared with p.
#[test]
fn keep_is_the_comparison_of_uniform() {
    let mut random = random();
    for p in probabilities() {
        let (p32, keep32) = (p as f32, (1.0 - p) as f32);
        let seed = random.next_u64();
        let key = Key::new(seed);
        let (len, offset, blocks) = (1000, 8, NonZero::<u32>::MIN);
        let triton = Triton::new(seed.cast_signed());
        let jax = Jax::with_x64(seed.cast_signed());
        let original = JaxOriginal::new(jax, len).expect("a length below 2^32");
        let tensorflow = TensorFlow::new([seed.cast_signed(), -3]);
        let pytorch = PyTorchCuda::new(seed, len, offset, blocks);
        let mask = |stream: Stream| stream.decider(p).expect("a probability").with(key);
        let pytorch_mask = mask(Stream::PyTorchCuda { len, offset, blocks });
        for i in (0..len).step_by(7) {
            let triton = triton.uniform(i) > p32;
            assert_eq!(mask(Stream::Triton).keep(i), Ok(triton));
            assert_eq!(mask(Stream::Inductor).keep(i), Ok(triton || p == 0.0));
            assert_eq!(mask(Stream::Jax).keep(i), Ok(jax.uniform(i) < keep32));
            let expected = original.uniform(i).map(|uniform| uniform < keep32);
            assert_eq!(mask(Stream::JaxOriginal { len }).keep(i), expected);
            let expected = tensorflow.uniform(i) >= p32;
            assert_eq!(mask(Stream::TensorFlow { seed1: -3 }).keep(i), Ok(expected));
            let expected = pytorch.uniform(i).map(|uniform| uniform < keep32 || p == 0.0);
            assert_eq!(pytorch_mask.keep(i), expected);
        }
    }
}

/// All or nothing at the ends, for every stream.
#[test]
fn everything_is_dropped_at_1() {
    for stream in streams() {
        let [all, none] = [0.0, 1.0].map(|p| stream.decider(p).expect("a probability"));
        for i in 0..500 {
            assert!(all.keep(Key::new(i), i), "{stream:?}");
            assert!(!none.keep(Key::new(i), i), "{stream:?}");
        }
    }
}

#[test]
fn the_native_stream_is_that_of_dropout() {
    assert_eq!(Stream::default(), Stream::Native);
    let key = Key::with_stream(3, 1 << 40).expect("a stream below 2^62");
    for p in probabilities() {
        let dropout = Dropout::new(p).expect("a probability");
        let decider = Stream::Native.decider(p).expect("a probability");
        assert_eq!(decider.threshold(), None);
        if dropout.scale() > 0.0 {
            assert_eq!(decider.scale(), Scale::Times(dropout.scale()), "p {p}");
        }
        for i in (0..600).chain([u64::MAX - 1, u64::MAX]) {
            assert_eq!(decider.keep(key, i), dropout.keep(key, i), "p {p}, element {i}");
            assert_eq!(decider.with(key).keep(i), Ok(dropout.keep(key, i)), "p {p}, element {i}");
        }
    }
}

/// With the stream number of a key, words of this crate's generator are cuRAND's.
#[test]
fn curand_is_philox_with_a_stream() {
    for (seed, subsequence, offset) in [(5, 0, 0), (1 << 40, 9, 7), (u64::MAX, 1 << 61, 1 << 35)] {
        let key = Key::with_stream(seed, subsequence).expect("a stream below 2^62");
        let mut philox = Philox::new(key);
        philox.set_word_pos(offset.into());
        let curand = CurandDevice::new(seed, subsequence, offset);
        for i in 0..40 {
            assert_eq!(curand.word(i), philox.next_u32());
        }
    }
}

/// Outputs whose number and offset together have more than 64 bits.
#[test]
fn curand_beyond_64_bits() {
    let last = CurandDevice::new(1, 2, u64::MAX).word(u64::MAX);
    // (2^64 − 1) + (2^64 − 1) = 2^65 − 2: word 2 of block 2^63 − 1.
    assert_eq!(last, philox::philox4x32::<10>([u32::MAX, u32::MAX >> 1, 2, 0], [1, 0])[2]);
}

/// Scales, computed once more.
#[test]
fn scales() {
    for p in [0.1, 0.3, 0.5, 0.7, 0.95] {
        let p32 = p as f32;
        for stream in streams() {
            let expected = match stream {
                Stream::Triton => Scale::Over(1.0 - p32),
                Stream::Jax | Stream::JaxOriginal { .. } => Scale::Over((1.0 - p) as f32),
                Stream::OneDnn | Stream::OneDnnOffset { .. } => Scale::Times(1.0 / (1.0 - p32)),
                // A division in binary64, rounded twice, as the source has it.
                Stream::PyTorchCuda { .. } => {
                    Scale::Times((1.0 / f64::from((1.0 - p) as f32)) as f32)
                }
                _ => Scale::Times((1.0 / (1.0 - p)) as f32),
            };
            let decider = stream.decider(p).expect("a probability");
            assert_eq!((decider.scale(), decider.stream()), (expected, stream), "p {p}");
        }
    }
    assert_eq!(Scale::Times(2.0).apply(3.0), 6.0);
    assert_eq!(Scale::Over(0.7).apply(3.0), 3.0 / 0.7);
}

/// The uniform number of the largest and of the smallest word.
#[test]
fn uniform_numbers_stay_in_their_interval() {
    let jax = (0..100_000).map(|i| Jax::new(1).uniform(i));
    let triton = (0..100_000).map(|i| Triton::new(1).uniform(i));
    let tensorflow = (0..100_000).map(|i| TensorFlow::new([1, 1]).uniform(i));
    for uniform in jax.chain(triton).chain(tensorflow) {
        assert!((0.0..1.0).contains(&uniform));
    }
    for i in 0..100_000 {
        let uniform = CurandDevice::new(1, 0, 0).uniform(i);
        assert!(uniform > 0.0 && uniform <= 1.0);
        assert!((0.0..1.0).contains(&NumPy::new([1, 0], [0; 4]).uniform(i)));
    }
}

/// The original generator's array, written once more as JAX has it: halves, padded, concatenated.
#[test]
fn jax_original_of_any_length() {
    for len in 0..40_u32 {
        let key = Jax::new(5);
        let half = len.div_ceil(2);
        let count = |i: u32| if i < len { i } else { 0 };
        let blocks = (0..half).map(|j| threefry::threefry2x32::<20>([j, count(j + half)], [0, 5]));
        let (first, second): (Vec<_>, Vec<_>) = blocks.map(|[a, b]| (a, b)).unzip();
        let expected: Vec<_> = first.into_iter().chain(second).take(len as usize).collect();
        let array = JaxOriginal::new(key, len.into()).expect("a length below 2^32");
        let found: Vec<_> = (0..len).map(|i| array.word(i.into()).expect("within")).collect();
        assert_eq!(found, expected, "{len} elements");
    }
}
