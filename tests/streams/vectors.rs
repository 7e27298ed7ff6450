//! Every file of tests/data/streams.

use core::num::NonZero;
use evenkeel::Error;
use evenkeel::Key;
use evenkeel::stream::{
    CurandDevice, CurandHost, Jax, JaxOriginal, NumPy, OneDnn, OneDnnOffset, PyTorchCuda,
    StdPhilox4x32, StdPhilox4x64, Stream, TensorFlow, Threshold, Triton, Vector,
};
use evenkeel::stream::{philox, squares, threefry};

/// The rows of a file, below its comment and heading, cut at commas.
macro_rules! rows {
    ($file:literal) => {
        include_str!(concat!("../data/streams/", $file))
            .lines()
            .filter(|line| !line.starts_with('#'))
            .skip(1)
            .map(|line| line.split(',').collect::<Vec<_>>())
    };
}

/// Says how many answers of a file were right, and fails if they are not as many as there were.
fn report(file: &str, found: usize, expected: usize) {
    println!("{file}: {found} answers as expected");
    assert_eq!(found, expected, "answers of {file}");
}

fn hex64(words: &str) -> Vec<u64> {
    words.split_whitespace().map(|word| u64::from_str_radix(word, 16).expect("a word")).collect()
}

fn hex32(words: &str) -> Vec<u32> {
    hex64(words).into_iter().map(|word| u32::try_from(word).expect("32 bits")).collect()
}

fn array<T, const N: usize>(words: Vec<T>) -> [T; N] {
    words.try_into().unwrap_or_else(|words: Vec<T>| panic!("{} words, not {N}", words.len()))
}

fn decimal<T: core::str::FromStr>(number: &str) -> T {
    number.parse().unwrap_or_else(|_| panic!("not a number: {number}"))
}

/// A mask as the files have it: 1 for kept.
fn bits(mask: impl Iterator<Item = bool>) -> String {
    mask.map(|keep| if keep { '1' } else { '0' }).collect()
}

/// A number of 64 bits, signed or not, as its bits.
fn either(number: &str) -> u64 {
    number.parse().unwrap_or_else(|_| decimal::<i64>(number).cast_unsigned())
}

/// The low and the high word.
fn words(number: u64) -> [u32; 2] {
    [number & 0xFFFF_FFFF, number >> 32].map(|word| u32::try_from(word).expect("32 bits"))
}

#[test]
fn random123() {
    fn block(name: &str, rounds: &str, counter: &str, key: &str) -> Vec<u64> {
        macro_rules! compute {
            ($function:path, $hex:ident) => {
                $function(array($hex(counter)), array($hex(key))).map(u64::from).to_vec()
            };
            ($function:path, $hex:ident, one word) => {{
                let [key] = array($hex(key));
                $function(array($hex(counter)), key).map(u64::from).to_vec()
            }};
        }
        match (name, rounds) {
            ("philox2x32", "7") => compute!(philox::philox2x32::<7>, hex32, one word),
            ("philox2x32", "10") => compute!(philox::philox2x32::<10>, hex32, one word),
            ("philox2x64", "7") => compute!(philox::philox2x64::<7>, hex64, one word),
            ("philox2x64", "10") => compute!(philox::philox2x64::<10>, hex64, one word),
            ("philox4x32", "7") => compute!(philox::philox4x32::<7>, hex32),
            ("philox4x32", "10") => compute!(philox::philox4x32::<10>, hex32),
            ("philox4x64", "7") => compute!(philox::philox4x64::<7>, hex64),
            ("philox4x64", "10") => compute!(philox::philox4x64::<10>, hex64),
            ("threefry2x32", "13") => compute!(threefry::threefry2x32::<13>, hex32),
            ("threefry2x32", "20") => compute!(threefry::threefry2x32::<20>, hex32),
            ("threefry2x32", "32") => compute!(threefry::threefry2x32::<32>, hex32),
            ("threefry4x32", "13") => compute!(threefry::threefry4x32::<13>, hex32),
            ("threefry4x32", "20") => compute!(threefry::threefry4x32::<20>, hex32),
            ("threefry4x32", "72") => compute!(threefry::threefry4x32::<72>, hex32),
            ("threefry2x64", "13") => compute!(threefry::threefry2x64::<13>, hex64),
            ("threefry2x64", "20") => compute!(threefry::threefry2x64::<20>, hex64),
            ("threefry2x64", "32") => compute!(threefry::threefry2x64::<32>, hex64),
            ("threefry4x64", "13") => compute!(threefry::threefry4x64::<13>, hex64),
            ("threefry4x64", "20") => compute!(threefry::threefry4x64::<20>, hex64),
            ("threefry4x64", "72") => compute!(threefry::threefry4x64::<72>, hex64),
            other => panic!("no such generator: {other:?}"),
        }
    }
    let mut count = 0;
    for row in rows!("random123.csv") {
        assert_eq!(block(row[0], row[1], row[2], row[3]), hex64(row[4]), "{row:?}");
        count += 1;
    }
    report("random123.csv", count, 252);
}

#[test]
fn squares() {
    let mut count = 0;
    for row in rows!("squares.csv") {
        let (key, counter) = (hex64(row[0])[0], decimal(row[1]));
        assert_eq!(squares::squares32(counter, key), hex32(row[2])[0], "{row:?}");
        assert_eq!(squares::squares64(counter, key), hex64(row[3])[0], "{row:?}");
        count += 2;
    }
    report("squares.csv", count, 44);
}

#[test]
fn triton() {
    let mut count = 0;
    for row in rows!("triton.csv") {
        let seed = either(row[0]);
        let triton = Triton::new(seed.cast_signed());
        let offset = if row[1] == "int64" { either(row[2]) } else { either(row[2]) & 0xFFFF_FFFF };
        let [low, high] = words(offset);
        let (counter, key) = ([low, high, 0, 0], words(seed));
        let expected = hex32(&row[4..8].join(" "));
        let found = match row[3] {
            "10" => triton.words(offset),
            "7" => philox::philox4x32::<7>(counter, key),
            "6" => philox::philox4x32::<6>(counter, key),
            other => panic!("{other} rounds"),
        };
        assert_eq!(found.to_vec(), expected, "{row:?}");
        count += 4;
        if !row[8].is_empty() {
            let uniforms = triton.uniforms(offset);
            assert_eq!(uniforms.map(f32::to_bits).to_vec(), hex32(&row[8..12].join(" ")));
            assert_eq!(triton.uniform(offset), uniforms[0]);
            assert_eq!(triton.word(offset), found[0]);
            count += 4;
        }
    }
    report("triton.csv", count, 2528);
}

/// What the generators of JAX have in common, as far as the file goes: a block of a counter.
struct Generator {
    counter_words: usize,
    key_words: usize,
    block: Block,
}

type Block = fn(&[u32], &[u32]) -> Vec<u32>;

impl Generator {
    fn new(name: &str) -> Self {
        fn vec<const N: usize>(words: &[u32]) -> [u32; N] {
            array(words.to_vec())
        }
        let (counter_words, key_words, block): (_, _, Block) = match name {
            "philox2x32" => (2, 1, |c, k| philox::philox2x32::<10>(vec(c), k[0]).to_vec()),
            "philox4x32" => (4, 2, |c, k| philox::philox4x32::<10>(vec(c), vec(k)).to_vec()),
            "threefry4x32" => (4, 4, |c, k| threefry::threefry4x32::<20>(vec(c), vec(k)).to_vec()),
            other => panic!("no such generator: {other}"),
        };
        Self { counter_words, key_words, block }
    }

    /// The block of a counter with one word that is not 0.
    fn at(&self, place: usize, word: u32, key: &[u32]) -> Vec<u32> {
        let mut counter = vec![0; self.counter_words];
        counter[place] = word;
        (self.block)(&counter, key)
    }

    /// The answer of a row.
    fn answer(&self, row: &[&str]) -> Vec<u32> {
        let last = self.counter_words - 1;
        let as_key = |mut block: Vec<u32>| {
            block.truncate(self.key_words);
            block
        };
        match row[0] {
            "key" if row[1] == "threefry4x32" => {
                as_key((self.block)(&[0; 4], &[0, decimal(row[3]), 0, 0]))
            }
            "key" => as_key(self.at(1, decimal(row[3]), &vec![0; self.key_words])),
            "bits" => {
                let xor = |block: Vec<u32>| block.into_iter().fold(0, |x, word| x ^ word);
                (0..8).map(|i| xor(self.at(1, i, &hex32(row[3])))).collect()
            }
            "fold_in" => as_key(self.at(last, decimal(row[4]), &hex32(row[3]))),
            "split" => {
                let count = decimal(row[4]);
                (0..count).flat_map(|i| as_key(self.at(last, i, &hex32(row[3])))).collect()
            }
            other => panic!("no such kind: {other}"),
        }
    }
}

#[test]
fn jax() {
    let mut count = 0;
    for row in rows!("jax.csv") {
        let expected = row[5].replace('/', " ");
        let found = match (row[1], row[0]) {
            ("threefry2x32", "key") => {
                let seed = decimal(row[3]);
                let key = if row[2] == "1" { Jax::with_x64(seed) } else { Jax::new(seed) };
                key.words().to_vec()
            }
            ("threefry2x32", kind) => jax_answer(kind, &row),
            (generator, _) => Generator::new(generator).answer(&row),
        };
        if row[0] == "bernoulli" {
            assert_eq!(found.iter().map(u32::to_string).collect::<String>(), expected, "{row:?}");
        } else {
            assert_eq!(found, hex32(&expected), "{row:?}");
        }
        count += 1;
    }
    report("jax.csv", count, 506);
}

fn jax_answer(kind: &str, row: &[&str]) -> Vec<u32> {
    let key = Jax::from_words(array(hex32(row[3])));
    let partitionable = row[2] == "on";
    let len = if kind == "bernoulli" { row[5].len() } else { row[5].split(' ').count() } as u64;
    let original = |len| JaxOriginal::new(key, len).expect("a length below 2^32");
    let word = |i| if partitionable { key.word(i) } else { original(len).word(i).expect("within") };
    match kind {
        "bits" => {
            let width: u32 = decimal(row[4]);
            let mask = u32::MAX >> (32 - width);
            let per_word = u64::from(32 / width);
            let cut = |i: u64| {
                if partitionable {
                    return word(i) & mask;
                }
                let words = original(len.div_ceil(per_word));
                let within = u32::try_from(i % per_word).expect("at most 3");
                words.word(i / per_word).expect("within") >> (width * within) & mask
            };
            (0..len).map(cut).collect()
        }
        "uniform" if partitionable => (0..len).map(|i| key.uniform(i).to_bits()).collect(),
        "uniform" => {
            (0..len).map(|i| original(len).uniform(i).expect("within").to_bits()).collect()
        }
        "bernoulli" => {
            let p = 1.0 - decimal::<f64>(row[4]);
            let threshold = Jax::threshold(p).expect("a probability");
            let stream = if partitionable { Stream::Jax } else { Stream::JaxOriginal { len } };
            let mask = stream.decider(p).expect("a probability").with(Key::new(key.seed()));
            for i in 0..len {
                assert_eq!(mask.keep(i), Ok(threshold.keeps(word(i))));
            }
            (0..len).map(|i| u32::from(threshold.keeps(word(i)))).collect()
        }
        "fold_in" => key.fold_in(decimal(row[4])).words().to_vec(),
        "split" => {
            let count = decimal(row[4]);
            let split = |i| {
                if partitionable {
                    key.split(i)
                } else {
                    JaxOriginal::split(key, i, count).expect("within")
                }
            };
            (0..count).flat_map(|i| split(i).words()).collect()
        }
        other => panic!("no such kind: {other}"),
    }
}

#[test]
fn tensorflow() {
    let mut count = 0;
    for row in rows!("tensorflow.csv") {
        let [seed0, seed1] = [either(row[0]).cast_signed(), either(row[1]).cast_signed()];
        let tensorflow = TensorFlow::new([seed0, seed1]);
        let (words, uniforms) = (hex32(row[4]), hex32(row[5]));
        assert_eq!((0..10).map(|i| tensorflow.word(i)).collect::<Vec<_>>(), words, "{row:?}");
        let found: Vec<_> = (0..10).map(|i| tensorflow.uniform(i).to_bits()).collect();
        assert_eq!(found, uniforms, "{row:?}");
        let stream = Stream::TensorFlow { seed1 };
        let dropout = stream.decider(0.3).expect("a probability");
        let key = Key::new(seed0.cast_unsigned());
        assert_eq!(bits((0..10).map(|i| dropout.keep(key, i))), row[6], "{row:?}");
        assert_eq!(dropout.scale().apply(1.0).to_bits(), hex32(row[7])[0], "{row:?}");
        count += 31;
    }
    report("tensorflow.csv", count, 186);
}

#[test]
fn onednn() {
    let [mut count, mut defects] = [0; 2];
    for row in rows!("onednn.csv") {
        let (p, key) = (decimal(row[4]), Key::new(either(row[2])));
        let stream = match row[1] {
            "offset64" => {
                let offset = NonZero::new(decimal(row[3])).expect("an offset");
                let seed = either(row[2]).cast_signed();
                let direct = OneDnnOffset::new(seed, offset);
                let threshold = OneDnn::threshold(p).expect("a probability");
                assert_eq!(bits((0..64).map(|i| threshold.keeps(direct.word(i)))), row[5]);
                Stream::OneDnnOffset { offset }
            }
            _ => Stream::OneDnn,
        };
        let mask = stream.decider(p).expect("a probability").with(key);
        let found = bits((0..64).map(|i| mask.keep(i).expect("within")));
        if row[1] == "legacy313_word2" {
            // The defect: four elements alike. It isn't followed.
            let fours: Vec<_> = row[5].as_bytes().chunks(4).collect();
            assert!(fours.iter().all(|four| four.iter().all(|bit| bit == &four[0])), "{row:?}");
            assert_ne!(found, row[5], "{row:?}");
            defects += 1;
        } else {
            assert_eq!(found, row[5], "{row:?}");
            count += 1;
        }
    }
    report("onednn.csv", count, 51);
    report("onednn.csv, the defect that is not followed", defects, 15);
}

#[test]
fn curand_device() {
    let mut count = 0;
    for row in rows!("curand_device.csv") {
        let curand = CurandDevice::new(decimal(row[0]), decimal(row[1]), decimal(row[2]));
        let first = 4 * decimal::<u64>(row[3]);
        for (i, (word, uniform)) in row[4..8].iter().zip(&row[8..12]).enumerate() {
            let index = first + i as u64;
            assert_eq!(curand.word(index), hex32(word)[0], "{row:?}");
            assert_eq!(curand.uniform(index).to_bits(), hex32(uniform)[0], "{row:?}");
            count += 2;
        }
    }
    report("curand_device.csv", count, 2880);
}

#[test]
fn curand_host() {
    let mut count = 0;
    for row in rows!("curand_host.csv") {
        let word = CurandHost::new(decimal(row[0])).word(decimal(row[1]));
        assert_eq!(word, hex32(row[2])[0], "{row:?}");
        count += 1;
    }
    report("curand_host.csv", count, 33);
}

#[test]
fn pytorch_cuda() {
    let mut count = 0;
    for row in rows!("pytorch_cuda_model_only.csv") {
        let (len, seed, offset) = (decimal(row[1]), decimal(row[2]), decimal(row[3]));
        let blocks = decimal::<u32>(row[5]) / 256;
        let blocks = NonZero::new(blocks).expect("256 threads or more");
        let p = decimal(row[4]);
        let threshold = PyTorchCuda::threshold(p).expect("a probability");
        let dropout = PyTorchCuda::new(seed, len, offset, blocks);
        let vector = match row[6] {
            "1" => Vector::One,
            "2" => Vector::Two,
            "4" => Vector::Four,
            "8" => Vector::Eight,
            other => panic!("vectors of {other}"),
        };
        let recorded = row[7].len() as u64;
        let keep = |i| threshold.keeps(dropout.vector(vector).word(i).expect("within"));
        assert_eq!(bits((0..recorded).map(keep)), row[7], "{row:?}");
        if vector != Vector::Eight {
            // The vector is what the length says, and the stream is the same.
            assert_eq!(dropout.vector(vector), dropout, "{row:?}");
            let stream = Stream::PyTorchCuda { len, offset, blocks };
            let mask = stream.decider(p).expect("a probability").with(Key::new(seed));
            assert_eq!(bits((0..recorded).map(|i| mask.keep(i) == Ok(true))), row[7], "{row:?}");
        }
        count += 1;
    }
    report("pytorch_cuda_model_only.csv", count, 12);
}

#[test]
fn numpy() {
    let mut count = 0;
    for row in rows!("numpy.csv") {
        let philox = NumPy::new(array(hex64(row[1])), array(hex64(row[2])));
        for (i, raw) in (0..).zip(hex64(row[3])) {
            assert_eq!(philox.word(i), raw, "{row:?}");
            count += 1;
        }
        for (i, uniform) in (0..).zip(hex64(row[4])) {
            assert_eq!(philox.uniform(i).to_bits(), uniform, "{row:?}");
            count += 1;
        }
        for (i, (uniform, word)) in (0..).zip(hex32(row[5]).into_iter().zip(hex32(row[6]))) {
            assert_eq!(philox.half_uniform(i).to_bits(), uniform, "{row:?}");
            assert_eq!(philox.half_word(i), word, "{row:?}");
            count += 2;
        }
    }
    report("numpy.csv", count, 234);
}

#[test]
fn cpp26() {
    let mut count = 0;
    for row in rows!("cpp26.csv") {
        let (seed, nth): (u32, u64) = (decimal(row[1]), decimal(row[2]));
        let found = match row[0] {
            "std::philox4x32" => StdPhilox4x32::new(seed).word(nth - 1).into(),
            "std::philox4x64" => StdPhilox4x64::new(seed.into()).word(nth - 1),
            other => panic!("no such engine: {other}"),
        };
        assert_eq!(found, decimal::<u64>(row[3]), "{row:?}");
        count += 1;
    }
    report("cpp26.csv", count, 2);
}

/// A word of each system that is the first to be kept or to be dropped, and the one before it.
#[test]
fn thresholds() {
    type At = fn(f64) -> Result<Threshold, Error>;
    /// The column, whether numbers from the threshold on are kept, how many of them there are, and
    /// where in a word they stand.
    const SYSTEMS: [(usize, At, bool, u64, u32); 5] = [
        (2, Triton::threshold, true, 1 << 31, 0),
        (3, TensorFlow::threshold, true, 1 << 23, 0),
        (4, Jax::threshold, false, 1 << 23, 9),
        (5, PyTorchCuda::threshold, false, 1 << 32, 0),
        (6, OneDnn::threshold, true, 1 << 32, 0),
    ];
    let mut count = 0;
    for row in rows!("thresholds.csv") {
        let p: f64 = decimal(row[0]);
        assert_eq!(narrow(p).to_bits(), hex32(row[1])[0], "{row:?}");
        for (column, at, kept_above, end, shift) in SYSTEMS {
            let t: u64 = decimal(row[column]);
            let threshold = at(p).expect("a probability");
            for m in t.saturating_sub(2)..(t + 2).min(end) {
                let keeps = threshold.keeps(u32::try_from(m << shift).expect("a word"));
                assert_eq!(keeps, (m >= t) == kept_above, "{row:?}, column {column}, word {m}");
            }
            count += 1;
        }
    }
    report("thresholds.csv", count, 100);
}

#[expect(clippy::cast_possible_truncation, reason = "rounding is what is wanted")]
fn narrow(x: f64) -> f32 {
    x as f32
}
