//! Monte-Carlo dropout: how sure a network is of its answers.
//!
//! ```sh
//! cargo run --release --example mc_dropout
//! ```
//!
//! A network that was trained with dropout keeps it on at inference and answers the same question many
//! times, each time with another mask. The mean of the answers is the prediction, their deviation says how
//! far to trust it (Gal and Ghahramani, 2016).
//!
//! What to look at, in `network.rs`: the key of a mask is `key.fold_in(pass).fold_in(sample.number)`, so
//! that the answer for a sample does not depend on its batch, and may be asked for again, bit for bit; and
//! `Moments::push` takes one pass after the other, so that no pass needs to be stored.

mod network;

use std::process::ExitCode;

use evenkeel::{Error, Key, Moments};
use network::{CENTRES, CLASSES, Network, Sample};

/// Probability to drop a feature.
const P: f64 = 0.3;
const PASSES: u64 = 200;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mc_dropout: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Error> {
    // One key, one use: a child for the weights, another for the masks.
    let key = Key::new(42);
    let network = Network::new(P, key.fold_in(0))?;
    let places = [
        ("middle of class 0", CENTRES[0]),
        ("middle of class 1", CENTRES[1]),
        ("middle of class 2", CENTRES[2]),
        ("between 1 and 2", [0.0, -1.0]),
        ("between all", [0.0, 0.0]),
    ];
    let batch: Vec<_> = (0..).zip(places).map(|(number, (_, x))| Sample { number, x }).collect();
    let answers = network.answer(&batch, PASSES, key.fold_in(1))?;
    println!("Probability of each class, mean ± deviation of {PASSES} passes:\n");
    println!("{:20}{:>16}{:>16}{:>16}", "", "class 0", "class 1", "class 2");
    for ((name, _), answer) in places.iter().zip(&answers) {
        println!("{name:20}{}", row(answer));
    }
    Ok(())
}

fn row(answer: &[Moments; CLASSES]) -> String {
    let class =
        |moments: &Moments| format!("{:8.3} ± {:.3}", moments.mean(), moments.sample_std_dev());
    answer.iter().map(class).collect()
}
