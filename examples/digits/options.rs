//! The command line.

use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;

use evenkeel::{Backend, Dropout};
use lexopt::{Arg, Parser};

use crate::data::TRAIN;
use crate::training::Recipe;

pub(crate) const HELP: &str = "\
Trains a network 64-128-128-10 on handwritten digits in five forms: plain, with
BatchNorm, with dropout, with both, with SELU and alpha dropout. Prints a table and
draws the learning curves.

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

const UNKNOWN: &str = "there is no such option, try --help";

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

    /// Takes one option. Its value is asked for only if there is such an option.
    fn set(
        &mut self,
        name: &str,
        value: impl FnOnce() -> Result<OsString, String>,
    ) -> Result<(), String> {
        match name {
            "seed" => self.seed = whole(&value()?, 0..=u64::MAX)?,
            "seeds" => self.seeds = whole(&value()?, 1..=u64::MAX)?,
            "epochs" => self.recipe.epochs = whole(&value()?, 1..=u64::MAX)?,
            "batch-size" => self.recipe.batch_size = whole(&value()?, 1..=TRAIN)?,
            "drop" => self.recipe.dropout = dropout(&value()?)?,
            "backend" => self.recipe.backend = backend(&value()?)?,
            "out" => self.out = value()?.into(),
            "data" => self.data = value()?.into(),
            _ => return Err(String::from(UNKNOWN)),
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
            Arg::Long("help") | Arg::Short('h') => {
                return match parser.optional_value() {
                    None => Ok(Command::Help),
                    Some(_) => Err(String::from("--help: takes no value")),
                };
            }
            Arg::Long(name) => String::from(name),
            Arg::Short(letter) => {
                return Err(format!("-{}: {UNKNOWN}", letter.escape_debug()));
            }
            Arg::Value(_) => return Err(text(argument.unexpected())),
        };
        let value = || value_of_option(&mut parser);
        options.set(&name, value).map_err(|why| format!("--{}: {why}", name.escape_debug()))?;
    }
    Ok(Command::Run(options))
}

/// What follows an option: `--name=value` or `--name value`. What looks like the next option is not
/// a value, unless it stands behind `=`.
fn value_of_option(parser: &mut Parser) -> Result<OsString, String> {
    let attached = parser.optional_value();
    let value = attached
        .or_else(|| parser.value().ok().filter(|next| !next.as_encoded_bytes().starts_with(b"--")));
    value.ok_or_else(|| String::from("a value must follow"))
}

fn whole<T: FromStr + PartialOrd + Display>(
    value: &OsStr,
    range: RangeInclusive<T>,
) -> Result<T, String> {
    let number = value.to_str().and_then(|digits| digits.parse().ok());
    number.filter(|number| range.contains(number)).ok_or_else(|| {
        format!("{value:?} is not a whole number from {} to {}", range.start(), range.end())
    })
}

fn dropout(value: &OsStr) -> Result<Dropout, String> {
    let number = value.to_str().and_then(|digits| digits.parse().ok());
    number
        .and_then(|p| Dropout::new(p).ok())
        .ok_or_else(|| format!("{value:?} is not a number from 0 to 1"))
}

fn backend(name: &OsStr) -> Result<Backend, String> {
    Backend::available().find(|backend| name == backend.name()).ok_or_else(|| {
        let names: Vec<&str> = Backend::available().map(Backend::name).collect();
        format!("{name:?} is not available here, only {}", names.join(", "))
    })
}

fn text(error: impl Display) -> String {
    error.to_string()
}
