//! Random words without end, for programs that judge random numbers: four bytes each, little-endian.
//!
//! ```sh
//! cargo run --release --example words -- counter | some-test
//! ```
//!
//! What is judged is not only the generator, word after word, but each way in which keys and indices
//! are used: a defect of a counter-based generator shows where *neighbouring* counters or keys meet.
//! `tools/smallcrush` feeds these streams to TestU01, and docs/RANDOMNESS.md has the results.

use std::io::{ErrorKind, Write, stdout};
use std::process::ExitCode;

use evenkeel::{Dropout, Error, Fill, Key};

const HELP: &str = "usage: words STREAM

  counter   the words of one key in their order
  seeds     a word of each of 1,024 neighbouring seeds in turn
  streams   word 5 of stream number 0, 1, 2, …
  children  word 5 of the key with 0, 1, 2, … folded in
  mask      packed mask bits of dropout with p = 1/2";

/// Words that are computed at once.
const CHUNK: usize = 1 << 16;
/// Neighbouring seeds that take turns.
const SEEDS: usize = 1024;
/// Which word of every stream, or of every child.
const INDEX: u64 = 5;

/// An ordinary key: what is tested needs no luck in its choice.
const KEY: Key = Key::new(42);

/// Writes words number `first` and following of a stream.
type Chunk = fn(first: u64, words: &mut [u32]) -> Result<(), Error>;

fn main() -> ExitCode {
    let name = std::env::args().nth(1);
    let Some(chunk) = name.as_deref().and_then(stream) else {
        eprintln!("{HELP}");
        return ExitCode::from(2);
    };
    match write(chunk) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("words: {error}");
            ExitCode::FAILURE
        }
    }
}

fn stream(name: &str) -> Option<Chunk> {
    match name {
        "counter" => Some(|first, words| Fill::new(KEY).offset(first).words(words)),
        "seeds" => Some(seeds),
        "streams" => Some(|first, words| each(first, words, |n| Key::with_stream(42, n))),
        "children" => Some(|first, words| each(first, words, |n| Ok(KEY.fold_in(n)))),
        "mask" => Some(mask),
        _ => None,
    }
}

/// Writes until nobody reads any more.
fn write(chunk: Chunk) -> Result<(), Box<dyn std::error::Error>> {
    let mut words = vec![0; CHUNK];
    for first in (0..).step_by(CHUNK) {
        chunk(first, &mut words)?;
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        match stdout().write_all(&bytes) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
            result => result?,
        }
    }
    Ok(())
}

/// Seed after seed of each word.
fn seeds(first: u64, words: &mut [u32]) -> Result<(), Error> {
    let mut row = [0; CHUNK / SEEDS];
    for seed in 0..SEEDS {
        Fill::new(Key::new(seed as u64)).offset(first / SEEDS as u64).words(&mut row)?;
        for (word, value) in words.iter_mut().skip(seed).step_by(SEEDS).zip(row) {
            *word = value;
        }
    }
    Ok(())
}

/// One word of each key.
fn each(first: u64, words: &mut [u32], key: fn(u64) -> Result<Key, Error>) -> Result<(), Error> {
    for (word, number) in words.iter_mut().zip(first..) {
        Fill::new(key(number)?).offset(INDEX).words(std::slice::from_mut(word))?;
    }
    Ok(())
}

/// Thirty-two decisions a word.
fn mask(first: u64, words: &mut [u32]) -> Result<(), Error> {
    let mut bytes = vec![0; 4 * words.len()];
    let dropout = Dropout::new(0.5)?.offset(32 * first);
    dropout.write_mask(8 * bytes.len(), KEY, &mut bytes)?;
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
        *word = u32::from_le_bytes(*bytes);
    }
    Ok(())
}
