//! Philox4x32-10 against the known answers of other implementations, its `rand_core` traits, key
//! derivation, and how dropout decisions are distributed.

#![allow(
    clippy::cast_precision_loss,
    reason = "statistics of counts far below the 53 bits of an f64"
)]

use evenkeel::philox::philox4x32;
use evenkeel::{Dropout, Error, Key, Philox};
use ops::reference::philox::{self as reference, Domain, Stream};
use rand_core::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

const RANDOM123: &str = include_str!("data/random123_philox4x32_10.csv");
const CURAND: &str = include_str!("data/curand_philox4x32_10.csv");

/// The rows below the comment and the heading, cut at commas.
fn rows(csv: &str) -> impl Iterator<Item = Vec<&str>> {
    csv.lines().filter(|line| !line.starts_with('#')).skip(1).map(|line| line.split(',').collect())
}

fn hex<const N: usize>(words: &str) -> [u32; N] {
    let parsed: Vec<u32> = words
        .split_whitespace()
        .map(|word| u32::from_str_radix(word, 16).expect("a hexadecimal word"))
        .collect();
    parsed.try_into().expect("the number of words")
}

fn join(low: u32, high: u32) -> u64 {
    u64::from(low) | u64::from(high) << 32
}

fn generator(seed: u64, stream: u64) -> Philox {
    Philox::new(Key::with_stream(seed, stream).expect("a stream below 2^62"))
}

fn source() -> Xoshiro256PlusPlus {
    Xoshiro256PlusPlus::seed_from_u64(20_260_101)
}

#[test]
fn random123() {
    let mut count = 0;
    for row in rows(RANDOM123) {
        let (counter, key) = (hex::<4>(row[0]), hex::<2>(row[1]));
        assert_eq!(philox4x32(counter, key), hex::<4>(row[2]), "{row:?}");
        assert_eq!(reference::philox4x32(counter, key), hex::<4>(row[2]), "{row:?}");
        count += 1;
    }
    assert_eq!(count, 55);
}

/// The same through a generator, where the counter's top two bits are free.
#[test]
fn random123_by_word_position() {
    for row in rows(RANDOM123) {
        let ([c0, c1, c2, c3], [k0, k1]) = (hex::<4>(row[0]), hex::<2>(row[1]));
        let Ok(key) = Key::with_stream(join(k0, k1), join(c2, c3)) else {
            assert!(c3 >> 30 > 0, "{row:?}");
            continue;
        };
        let mut philox = Philox::new(key);
        philox.set_word_pos(u128::from(join(c0, c1)) * 4);
        let words = [(); 4].map(|()| philox.next_u32());
        assert_eq!(words, hex::<4>(row[2]), "{row:?}");
    }
}

/// [rand.predef] of C++26: the 10000th value of a default-constructed `std::philox4x32`.
#[test]
fn cpp26() {
    let mut philox = generator(20_111_115, 0);
    let last = (0..10_000).map(|_| philox.next_u32()).last();
    assert_eq!(last, Some(1_955_073_260));
}

#[test]
fn curand_device_api() {
    let mut count = 0;
    for row in rows(CURAND) {
        let number = |i: usize| row[i].parse::<u64>().expect("a decimal number");
        let mut philox = generator(number(0), number(1));
        philox.set_word_pos(number(2).into());
        for expected in &row[3..] {
            assert_eq!([philox.next_u32()], hex::<1>(expected), "{row:?}");
        }
        count += 1;
    }
    assert_eq!(count, 200);
}

#[test]
fn a_position_is_reached_by_seeking_or_by_skipping() {
    for start in [0_u128, 5, (1 << 34) - 10, (1 << 60) + 1] {
        let mut skipping = generator(7, 3);
        skipping.set_word_pos(start);
        for position in start..start + 40 {
            assert_eq!(skipping.get_word_pos(), position);
            let mut seeking = generator(7, 3);
            seeking.set_word_pos(position);
            assert_eq!(seeking.get_word_pos(), position);
            let word = skipping.next_u32();
            assert_eq!(seeking.next_u32(), word, "word {position}");
            let index = u64::try_from(position).expect("a position below 2^64");
            let stream = Stream { seed: 7, stream: 3 };
            assert_eq!(word, stream.word(Domain::Words, index));
        }
    }
}

/// The last words of a stream: block 2^64 − 1.
#[test]
fn the_end_of_a_stream() {
    let last = (1_u128 << 66) - 4;
    let mut philox = generator(7, 3);
    philox.set_word_pos(last);
    assert_eq!(philox.get_word_pos(), last);
    let words = [(); 4].map(|()| philox.next_u32());
    assert_eq!(words, philox4x32([u32::MAX, u32::MAX, 3, 0], [7, 0]));
}

#[test]
fn seeking_back_after_reading() {
    let mut philox = generator(11, 0);
    let first: Vec<u32> = (0..20).map(|_| philox.next_u32()).collect();
    for position in (0..20).rev() {
        philox.set_word_pos(position as u128);
        assert_eq!(philox.next_u32(), first[position]);
    }
}

#[test]
fn set_stream_chooses_the_stream() {
    let mut philox = generator(7, 0);
    philox.set_stream(9).expect("a stream below 2^62");
    assert_eq!(philox.get_stream(), 9);
    assert_eq!(philox.key(), Key::with_stream(7, 9).expect("a stream below 2^62"));
    philox.set_word_pos(6);
    let mut other = generator(7, 9);
    other.set_word_pos(6);
    assert_eq!(philox.next_u64(), other.next_u64());

    let found = 1 << 62;
    assert_eq!(philox.set_stream(found), Err(Error::Stream { found }));
    assert_eq!(philox.get_stream(), 9);
}

#[test]
fn a_u64_is_two_words_low_first() {
    for position in 0..9 {
        let (mut words, mut pairs) = (generator(5, 1), generator(5, 1));
        words.set_word_pos(position);
        pairs.set_word_pos(position);
        for _ in 0..10 {
            assert_eq!(pairs.next_u64(), join(words.next_u32(), words.next_u32()));
        }
        assert_eq!(pairs.get_word_pos(), position + 20);
    }
}

/// Bytes are the words' little-endian bytes; a call begins with a new word.
#[test]
fn bytes_are_little_endian_words() {
    for position in 0..5_u128 {
        for length in 0..=70 {
            let (mut words, mut bytes) = (generator(5, 1), generator(5, 1));
            words.set_word_pos(position);
            bytes.set_word_pos(position);
            let mut found = vec![0; length];
            bytes.fill_bytes(&mut found);
            let mut expected: Vec<u8> =
                (0..length.div_ceil(4)).flat_map(|_| words.next_u32().to_le_bytes()).collect();
            expected.truncate(length);
            assert_eq!(found, expected, "{length} bytes from word {position}");
            assert_eq!(bytes.next_u32(), words.next_u32(), "after {length} bytes");
        }
    }
}

#[test]
fn a_seed_is_the_key() {
    for seed in [0, 1, 0x0123_4567_89AB_CDEF, u64::MAX] {
        // Not the provided `seed_from_u64`, which would spread the bits of the number first.
        for philox in [Philox::from_seed(seed.to_le_bytes()), Philox::seed_from_u64(seed)] {
            assert_eq!(philox.key(), Key::new(seed));
            assert_eq!(philox.get_word_pos(), 0);
        }
        let key = Key::new(seed);
        assert_eq!((key.seed(), key.stream()), (seed, 0));
    }
}

#[test]
fn a_key_from_another_generator() {
    let (mut one, mut two) = (source(), source());
    assert_eq!(Key::from_rng(&mut one), Key::new(two.next_u64()));
    assert_eq!(Key::from_rng(&mut one), Key::new(two.next_u64()));
}

#[test]
fn fold_in_is_the_formula() {
    let mut source = source();
    let odd = [0, 1, u64::from(u32::MAX), 1 << 32, 1 << 62, u64::MAX];
    for turn in 0..2000 {
        let random = || source.next_u64();
        let [seed, stream, data] = if turn < 216 {
            [odd[turn % 6], odd[turn / 6 % 6] >> 2, odd[turn / 36]]
        } else {
            let mut random = random;
            [random(), random() >> 2, random()]
        };
        let key = Key::with_stream(seed, stream).expect("a stream below 2^62").fold_in(data);
        let expected = Stream { seed, stream }.fold_in(data);
        assert_eq!((key.seed(), key.stream()), (expected.seed, expected.stream), "turn {turn}");
        assert!(key.stream() < 1 << 62);
    }
}

#[test]
fn streams_end_at_2_62() {
    for found in [1 << 62, (1 << 62) + 1, 1 << 63, u64::MAX] {
        assert_eq!(Key::with_stream(0, found), Err(Error::Stream { found }));
    }
    let last = Key::with_stream(1, (1 << 62) - 1).expect("a stream below 2^62");
    assert_eq!(last.stream(), (1 << 62) - 1);
}

// Distribution of the decisions. All of it is deterministic: a bound of 5 deviations is a check of
// the generator and of the thresholds, not a test that fails now and then.

/// A packed mask of kept elements.
fn mask(p: f64, key: Key, length: usize) -> Vec<u8> {
    let mut mask = vec![0; length.div_ceil(8)];
    let dropout = Dropout::new(p).expect("a probability");
    dropout.write_mask(length, key, &mut mask).expect("a correct call");
    mask
}

fn dropped(mask: &[u8]) -> f64 {
    mask.iter().map(|byte| f64::from(byte.count_zeros())).sum()
}

/// How many deviations `count` lies from the mean of a binomial distribution.
fn deviations(count: f64, trials: f64, p: f64) -> f64 {
    (count - trials * p) / (trials * p * (1.0 - p)).sqrt()
}

#[test]
fn chi_square_of_the_drop_rate() {
    const KEYS: u64 = 256;
    const LENGTH: usize = 1 << 14;
    for p in [0.001, 0.01, 0.1, 0.25, 0.3, 0.5, 0.75, 0.9, 0.99] {
        let square = |z: f64| z * z;
        let z = |key| deviations(dropped(&mask(p, key, LENGTH)), LENGTH as f64, p);
        let by_seed: f64 = (0..KEYS).map(|seed| square(z(Key::new(seed)))).sum();
        let stream = |stream| Key::with_stream(1, stream).expect("a stream below 2^62");
        let by_stream: f64 = (0..KEYS).map(|index| square(z(stream(index)))).sum();
        let by_fold: f64 = (0..KEYS).map(|data| square(z(Key::new(1).fold_in(data)))).sum();
        for chi_square in [by_seed, by_stream, by_fold] {
            // Mean 256, deviation sqrt(2·256) = 22.6.
            assert!((chi_square - 256.0).abs() < 5.0 * 22.6, "p {p}: {chi_square}");
        }
    }
}

/// Each of the 16 bytes of a block, and each of the 4 words of the refinement, on its own.
#[test]
fn chi_square_of_the_place_in_a_block() {
    const LENGTH: usize = 1 << 18;
    for p in [0.1, 0.3, 0.5, 1.0 / 256.0 + 0.002] {
        let mask = mask(p, Key::new(99), LENGTH);
        let mut counts = [0_u32; 16];
        for (i, byte) in mask.iter().enumerate() {
            for bit in 0..8 {
                counts[i % 2 * 8 + bit] += u32::from(byte >> bit & 1 == 0);
            }
        }
        let trials = LENGTH as f64 / 16.0;
        let z = counts.map(|count| deviations(count.into(), trials, p));
        let chi_square: f64 = z.iter().map(|z| z * z).sum();
        assert!(chi_square < 16.0 + 5.0 * 5.7, "p {p}: {chi_square}");
    }
}

/// Serial correlation at lags 1 to 8, from agreements of neighbouring decisions.
#[test]
fn neighbours_are_independent() {
    const LENGTH: usize = 1 << 20;
    for p in [0.1, 0.3, 0.5, 0.9] {
        let mask = mask(p, Key::new(4), LENGTH);
        let bit = |i: usize| mask[i / 8] >> (i % 8) & 1;
        for lag in 1..=8 {
            let agree = (lag..LENGTH).filter(|&i| bit(i) == bit(i - lag)).count();
            let z = agreement_deviations(agree as f64, (LENGTH - lag) as f64, p);
            assert!(z.abs() < 5.0, "p {p}, lag {lag}: {z}");
        }
    }
}

/// Two decisions agree with probability p² + (1 − p)²; pairs that share an element covary, which
/// widens the deviation somewhat where p is not one half.
fn agreement_deviations(agree: f64, pairs: f64, p: f64) -> f64 {
    let kept = 1.0 - p;
    let both = p * p + kept * kept;
    let shared = p.powi(3) + kept.powi(3) - both * both;
    let variance = both * (1.0 - both) + 2.0 * shared;
    (agree - pairs * both) / (pairs * variance).sqrt()
}

#[test]
fn neighbouring_keys_are_independent() {
    const LENGTH: usize = 1 << 20;
    let key = |seed, stream| Key::with_stream(seed, stream).expect("a stream below 2^62");
    let pairs = [
        (key(0, 0), key(1, 0)),
        (key(6, 0), key(7, 0)),
        (key(0, 0), key(1 << 32, 0)),
        (key(3, 0), key(3, 1)),
        (key(3, 6), key(3, 7)),
        (key(3, 0), key(3, 1 << 32)),
        (key(3, 0), key(3, 0).fold_in(0)),
        (key(3, 0).fold_in(0), key(3, 0).fold_in(1)),
    ];
    for p in [0.1, 0.5] {
        for (one, two) in pairs {
            let masks = mask(p, one, LENGTH).into_iter().zip(mask(p, two, LENGTH));
            let agree: f64 = masks.map(|(a, b)| f64::from((a ^ b).count_zeros())).sum();
            let both = p * p + (1.0 - p) * (1.0 - p);
            let z = deviations(agree, LENGTH as f64, both);
            assert!(z.abs() < 5.0, "p {p}, {one:?} and {two:?}: {z}");
        }
    }
}

/// Without the refinement these rates would be off by up to 1/256: hundreds of deviations.
#[test]
fn ties_are_refined() {
    const LENGTH: usize = 1 << 26;
    for p in [1e-6, 1e-4, 0.3, 1.0 - 1e-6] {
        let z = deviations(dropped(&mask(p, Key::new(2), LENGTH)), LENGTH as f64, p);
        assert!(z.abs() < 5.0, "p {p}: {z}");
    }
}
