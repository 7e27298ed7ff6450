//! The random numbers and masks of other systems against what those systems put out, every file of
//! tests/data/streams. Each test prints how many answers it compared.

use core::num::NonZero;
use evenkeel::stream::{
    CurandDevice, CurandHost, Jax, JaxOriginal, NumPy, OneDnn, OneDnnOffset, PyTorchCuda, Scale,
    StdPhilox4x32, StdPhilox4x64, Stream, TensorFlow, Threshold, Triton, Vector,
};
use evenkeel::stream::{philox, squares, threefry};
use evenkeel::{Dropout, Error, Key, Philox};
use rand_core::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

/// The rows of a file, below its comment and heading, cut at commas.
macro_rules! rows {
    ($file:literal) => {
        include_str!(concat!("data/streams/", $file))
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

fn random() -> Xoshiro256PlusPlus {
    Xoshiro256PlusPlus::seed_from_u64(20_260_601)
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
        let triton = Triton::new(either(row[0]).cast_signed());
        let seed = either(row[0]);
        let [low, high] = [seed as u32, (seed >> 32) as u32];
        let offset = if row[1] == "int64" { either(row[2]) } else { either(row[2]) & 0xFFFF_FFFF };
        let counter = [offset as u32, (offset >> 32) as u32, 0, 0];
        let expected = hex32(&row[4..8].join(" "));
        let words = match row[3] {
            "10" => triton.words(offset),
            "7" => philox::philox4x32::<7>(counter, [low, high]),
            "6" => philox::philox4x32::<6>(counter, [low, high]),
            other => panic!("{other} rounds"),
        };
        assert_eq!(words.to_vec(), expected, "{row:?}");
        count += 4;
        if !row[8].is_empty() {
            let uniforms = triton.uniforms(offset);
            assert_eq!(uniforms.map(f32::to_bits).to_vec(), hex32(&row[8..12].join(" ")));
            assert_eq!(triton.uniform(offset), uniforms[0]);
            assert_eq!(triton.word(offset), words[0]);
            count += 4;
        }
    }
    report("triton.csv", count, 2528);
}

/// What the generators of JAX have in common, as far as the file goes: a block of a counter.
struct Generator {
    counter_words: usize,
    key_words: usize,
    block: fn(&[u32], &[u32]) -> Vec<u32>,
}

impl Generator {
    fn new(name: &str) -> Self {
        fn vec<const N: usize>(words: &[u32]) -> [u32; N] {
            array(words.to_vec())
        }
        let (counter_words, key_words, block): (_, _, fn(&[u32], &[u32]) -> Vec<u32>) = match name {
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
    /// The column, whether words from the threshold on are kept, how many of them there are, and the
    /// word in whose place m stands.
    const SYSTEMS: [(usize, At, bool, u64, fn(u32) -> u32); 5] = [
        (2, Triton::threshold, true, 1 << 31, |m| m),
        (3, TensorFlow::threshold, true, 1 << 23, |m| m),
        (4, Jax::threshold, false, 1 << 23, |m| m << 9),
        (5, PyTorchCuda::threshold, false, 1 << 32, |m| m),
        (6, OneDnn::threshold, true, 1 << 32, |m| m),
    ];
    let mut count = 0;
    for row in rows!("thresholds.csv") {
        let p: f64 = decimal(row[0]);
        assert_eq!((p as f32).to_bits(), hex32(row[1])[0], "{row:?}");
        for (column, at, kept_above, end, word) in SYSTEMS {
            let t: u64 = decimal(row[column]);
            let threshold = at(p).expect("a probability");
            for m in t.saturating_sub(2)..(t + 2).min(end) {
                let keeps = threshold.keeps(word(u32::try_from(m).expect("a word")));
                assert_eq!(keeps, (m >= t) == kept_above, "{row:?}, column {column}, word {m}");
            }
            count += 1;
        }
    }
    report("thresholds.csv", count, 100);
}

// Properties.

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
        x as f32 * 4.656_612_873_077_392_6e-10_f32 > p as f32
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

/// One of each.
fn streams() -> [Stream; 9] {
    let (offset, blocks) = (NonZero::<i64>::MIN, NonZero::<u32>::MIN);
    [
        Stream::Native,
        Stream::Triton,
        Stream::Inductor,
        Stream::Jax,
        Stream::JaxOriginal { len: 501 },
        Stream::TensorFlow { seed1: 2 },
        Stream::OneDnn,
        Stream::OneDnnOffset { offset },
        Stream::PyTorchCuda { len: 501, offset: 0, blocks },
    ]
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

// Wrong arguments.

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
        assert_eq!(JaxOriginal::split(Jax::new(0), 0, len / 2 + 1).map(|_| ()).is_err(), true);
    }
    assert!(JaxOriginal::new(Jax::new(0), limit).is_ok());
    // The probability is checked first.
    let both = Stream::JaxOriginal { len: u64::MAX }.decider(2.0);
    assert_eq!(both.map(|_| ()), Err(Error::Probability { found: 2.0 }));
}
