//! The command line.

use std::ffi::OsString;
use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;

use evenkeel::{Backend, Dropout};
use lexopt::{Arg, Parser};

use crate::data::TRAIN;
use crate::training::Recipe;

pub(crate) const HELP: &str = "\
Trains a network 64-128-128-10 on handwritten digits in four forms: plain, with
BatchNorm, with dropout, with both. Prints a table and draws the learning curves.

Usage: cargo run --release --example digits -- [OPTIONS]

  --seed N         seed of split, weights, order and masks  [default: 0]
  --seeds K        how many seeds, from N on: prints means  [default: 1]
  --epochs N       passes over the training images, from 1  [default: 15]
  --batch-size N   images a step, 1 to 1297                 [default: 32]
  --drop P         probability to drop, 0 to 1              [default: 0.2]
  --backend NAME   instruction set of evenkeel's kernels    [default: the best]
  --out DIR        folder for curves.svg           [default: target/digits]
  --data FILE      the images         [default: examples/data/digits.csv]
  --help           this text
";

/// What the command line asks for.
#[derive(Debug)]
pub(crate) enum Command {
    Help,
    Run(Options),
}

#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) seed: u64,
    pub(crate) seeds: u64,
    pub(crate) recipe: Recipe,
    pub(crate) out: PathBuf,
    pub(crate) data: PathBuf,
}

impl Options {
    fn defaults() -> Result<Self, String> {
        // The repository, not the current folder: the example runs from anywhere.
        let repository = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        Ok(Self {
            seed: 0,
            seeds: 1,
            recipe: Recipe {
                epochs: 15,
                batch_size: 32,
                dropout: Dropout::new(0.2).map_err(|error| error.to_string())?,
                backend: Backend::detect(),
            },
            out: repository.join("target/digits"),
            data: repository.join("examples/data/digits.csv"),
        })
    }

    /// Takes one option and its value.
    fn set(&mut self, name: &str, value: OsString) -> Result<(), String> {
        match name {
            "seed" => self.seed = number(&value)?,
            "seeds" => self.seeds = positive(number(&value)?)?,
            "epochs" => self.recipe.epochs = positive(number(&value)?)?,
            "batch-size" => self.recipe.batch_size = batch_size(number(&value)?)?,
            "drop" => self.recipe.dropout = Dropout::new(number(&value)?).map_err(text)?,
            "backend" => self.recipe.backend = backend(&value.to_string_lossy())?,
            "out" => self.out = value.into(),
            "data" => self.data = value.into(),
            _ => return Err(String::from("there is no such option, try --help")),
        }
        Ok(())
    }
}

/// Reads the arguments that follow the program's name.
pub(crate) fn parse(
    arguments: impl IntoIterator<Item = impl Into<OsString>>,
) -> Result<Command, String> {
    let mut options = Options::defaults()?;
    let mut parser = Parser::from_args(arguments.into_iter().map(Into::into));
    while let Some(argument) = parser.next().map_err(text)? {
        let name = match argument {
            Arg::Long("help") | Arg::Short('h') => return Ok(Command::Help),
            Arg::Long(name) => String::from(name),
            other => return Err(text(other.unexpected())),
        };
        let value = parser.value().map_err(text)?;
        options.set(&name, value).map_err(|why| format!("--{name}: {why}"))?;
    }
    Ok(Command::Run(options))
}

fn number<T: FromStr<Err: Display>>(value: &OsString) -> Result<T, String> {
    let value = value.to_string_lossy();
    value.parse().map_err(|error| format!("{value:?}: {error}"))
}

fn positive(number: u64) -> Result<u64, String> {
    if number == 0 { Err(String::from("must be 1 or more")) } else { Ok(number) }
}

fn batch_size(size: usize) -> Result<usize, String> {
    if (1..=TRAIN).contains(&size) { Ok(size) } else { Err(format!("must be 1 to {TRAIN}")) }
}

fn backend(name: &str) -> Result<Backend, String> {
    Backend::available().find(|backend| backend.name() == name).ok_or_else(|| {
        let names: Vec<&str> = Backend::available().map(Backend::name).collect();
        format!("{name:?} is not available here, only {}", names.join(", "))
    })
}

fn text(error: impl Display) -> String {
    error.to_string()
}
