//! Handwritten digits, learned five times: plain, with BatchNorm, with dropout, with both, and with
//! SELU and alpha dropout in the place of all that.
//!
//! ```sh
//! cargo run --release --example digits
//! ```
//!
//! A network 64-128-128-10 is trained on 1,297 real images and tested on 500. Dense layers, ReLU,
//! softmax and the descent are plain Rust in `dense.rs`, `loss.rs` and `network.rs`. From
//! `evenkeel` come `Standardize` for the pixels, `BatchNorm` before the ReLU, `Dropout` after it,
//! `SeluAlphaDropout` in the place of all three, with `Init` for its weights, and all random numbers.
//! Read on in the order of the steps below.
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

use std::fmt;
use std::fs;
use std::io::{Write, stdout};
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use crate::data::Digits;
use crate::experiment::{ByForm, RATES, RUNS, TRIALS, compare};
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
    let bar = progress_bar(options)?;
    let mut seeds = Vec::new();
    for i in 0..options.seeds {
        let seed = options.seed.wrapping_add(i);
        let runs = compare(digits, &options.recipe, &RATES, seed, &|| bar.inc(1));
        seeds.push(runs.map_err(|error| error.to_string())?);
    }
    bar.finish_and_clear();
    Ok(seeds)
}

/// A bar on stderr, hidden where stderr is not a terminal. It counts the epochs of all runs and says
/// what they are for.
fn progress_bar(options: &Options) -> Result<ProgressBar, String> {
    let (epochs, seeds) = (options.recipe.epochs, options.seeds);
    let [trials, runs] = [TRIALS, RUNS].map(|count| epochs.saturating_mul(count));
    let phase = move |state: &ProgressState, text: &mut dyn fmt::Write| {
        let (seed, done) = (state.pos() / runs + 1, state.pos() % runs);
        let phase = if done < trials { "finding learning rates" } else { "training" };
        let _ = if seeds == 1 {
            write!(text, "{phase}")
        } else {
            write!(text, "seed {} of {seeds}, {phase}", seed.min(seeds))
        };
    };
    let style = ProgressStyle::with_template("{bar:12} {pos}/{len} epochs, {eta} left: {phase}");
    let style = style.map_err(|error| error.to_string())?.with_key("phase", phase);
    let target = ProgressDrawTarget::stderr();
    Ok(ProgressBar::with_draw_target(Some(runs.saturating_mul(seeds)), target).with_style(style))
}

/// Writes to stdout; a reader that went away is an error like others, not a panic.
fn print(text: &str) -> Result<(), String> {
    let mut out = stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|e| format!("stdout: {e}"))
}

fn save(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}
