//! Handwritten digits, learned four times: plain, with BatchNorm, with dropout, with both.
//!
//! ```sh
//! cargo run --release --example digits
//! ```
//!
//! A network 64-128-128-10 is trained on 1,297 real images and tested on 500. Dense layers, ReLU,
//! softmax and the descent are plain Rust in `dense.rs`, `loss.rs` and `network.rs`. From
//! `evenkeel` come `Standardize` for the pixels, `BatchNorm` before the ReLU, `Dropout` after it,
//! and all random numbers. Read on in the order of the steps below.
//!
//! 1. `data.rs`: read, split, standardize.
//! 2. `network.rs`: where normalization and dropout stand, forward and backward.
//! 3. `training.rs`: one run.
//! 4. `experiment.rs`: choose each form's learning rate, then compare.
//! 5. `table.rs`, `picture.rs`: show it.
//!
//! Same seed, same numbers: on every machine, instruction set and number of threads.

mod data;
mod dense;
mod experiment;
mod loss;
mod network;
mod options;
mod picture;
mod table;
mod training;

use std::fs;
use std::io::{Write, stdout};
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::data::Digits;
use crate::experiment::{ByForm, RATES, RUNS, compare};
use crate::options::{Command, HELP, Options, parse};
use crate::training::Run;

fn main() -> ExitCode {
    match answer() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("digits: {message}");
            ExitCode::from(2)
        }
    }
}

fn answer() -> Result<(), String> {
    match parse(std::env::args_os().skip(1))? {
        Command::Help => print(HELP),
        Command::Run(options) => run(&options),
    }
}

fn run(options: &Options) -> Result<(), String> {
    let start = Instant::now();
    let digits = Digits::read(&options.data)?;
    let picture = picture::prepare(&options.out)?;
    let seeds = train_all(&digits, options)?;
    print(&table::header(options))?;
    print(&table::results(&seeds, &options.recipe))?;
    save(&picture, &picture::draw(&seeds)?)?;
    let (backend, seconds) = (options.recipe.backend, start.elapsed().as_secs_f64());
    eprintln!("backend {}, {seconds:.1} s, curves in {}", backend.name(), picture.display());
    Ok(())
}

/// Runs the comparison for every seed, under one progress bar.
fn train_all(digits: &Digits, options: &Options) -> Result<Vec<ByForm<Run>>, String> {
    let recipe = &options.recipe;
    let epochs = recipe.epochs.saturating_mul(RUNS).saturating_mul(options.seeds);
    let bar = progress_bar(epochs)?;
    let mut seeds = Vec::new();
    for i in 0..options.seeds {
        let seed = options.seed.wrapping_add(i);
        let runs = compare(digits, recipe, &RATES, seed, &|| bar.inc(1));
        seeds.push(runs.map_err(|error| error.to_string())?);
    }
    bar.finish_and_clear();
    Ok(seeds)
}

/// A bar on stderr, hidden where stderr is not a terminal.
fn progress_bar(epochs: u64) -> Result<ProgressBar, String> {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} epochs, {eta} left");
    let target = ProgressDrawTarget::stderr();
    let bar = ProgressBar::with_draw_target(Some(epochs), target);
    Ok(bar.with_style(style.map_err(|error| error.to_string())?))
}

/// Writes to stdout; a reader that went away is an error like others, not a panic.
fn print(text: &str) -> Result<(), String> {
    let mut out = stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|e| format!("stdout: {e}"))
}

fn save(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}
