//! Prints how long every op takes in units of a copy of the same tensor, as a markdown table.
//!
//! Measured one after the other, an op and a copy see different machines: a neighbour wakes up,
//! the clock changes, and the quotient of the two is off by half. So here they take turns, a
//! fraction of a millisecond each, and the quotient is taken turn by turn. Its median over many
//! turns holds still where the times themselves don't.

use std::fmt;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use evenkeel::Backend;
use evenkeel_bench::{Case, Work, cases};

const USAGE: &str = "\
Usage: ratios [FILTER]... [--backend NAME] [--rounds N]

  FILTER           measure only what contains all of these in 'op shape layout',
                   such as: batch_norm/train 56 'channels last'
  --backend NAME   the instruction set (default: the best that this machine has)
  --rounds N       how often op and copy take turns (default: 201)";

/// How long one turn should take at least. Long against the clock's resolution and the cost of
/// reading it, short against what disturbs a measurement.
const TURN: Duration = Duration::from_micros(400);

struct Options {
    filters: Vec<String>,
    backend: Backend,
    rounds: usize,
}

fn main() -> ExitCode {
    let options = match parse(std::env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(message) => {
            eprintln!("{message}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };

    let mut cases = cases::all(options.backend);
    cases.retain(|case| {
        let name = case.name();
        options.filters.iter().all(|filter| name.contains(filter))
    });
    if cases.is_empty() {
        eprintln!("no op matches");
        return ExitCode::from(2);
    }

    println!("{}, {} rounds\n", machine(), options.rounds);
    println!(
        "| op | shape | layout | backend | ns per element | fastest | copy | fastest copy | ratio |"
    );
    println!("|---|---|---|---|--:|--:|--:|--:|--:|");
    for case in &cases {
        println!("{}", measure(case, options.rounds));
    }
    ExitCode::SUCCESS
}

/// Reads the arguments; `None` asks for help.
fn parse(mut args: impl Iterator<Item = String>) -> Result<Option<Options>, String> {
    let mut options = Options { filters: Vec::new(), backend: Backend::detect(), rounds: 201 };
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--help" | "-h" => return Ok(None),
            "--backend" => {
                let name = args.next().ok_or("--backend needs a name")?;
                options.backend = Backend::available()
                    .find(|backend| backend.name() == name)
                    .ok_or_else(|| {
                        let names: Vec<_> = Backend::available().map(Backend::name).collect();
                        format!("no backend '{name}' here; there are: {}", names.join(", "))
                    })?;
            }
            "--rounds" => {
                let rounds = args.next().and_then(|n| n.parse().ok());
                options.rounds =
                    rounds.filter(|&n| n > 0).ok_or("--rounds needs a number above 0")?;
            }
            option if option.starts_with('-') => return Err(format!("unknown option {option}")),
            _ => options.filters.push(arg),
        }
    }
    Ok(Some(options))
}

/// One line of the table; times in nanoseconds an element.
struct Row<'a> {
    case: &'a Case,
    op: Times,
    copy: Times,
    ratio: f64,
}

struct Times {
    median: f64,
    fastest: f64,
}

impl fmt::Display for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "| {} | {} | {} | {} | {:.3} | {:.3} | {:.3} | {:.3} | {:.2} |",
            self.case.op,
            self.case.shape,
            self.case.layout,
            self.case.backend,
            self.op.median,
            self.op.fastest,
            self.copy.median,
            self.copy.fastest,
            self.ratio,
        )
    }
}

fn measure(case: &Case, rounds: usize) -> Row<'_> {
    let mut work = case.build();
    let op_calls = calls_in_a_turn(&mut work, Work::run);
    let copy_calls = calls_in_a_turn(&mut work, Work::copy);

    let mut op_times = Vec::with_capacity(rounds);
    let mut copy_times = Vec::with_capacity(rounds);
    for round in 0..rounds {
        // Who goes first changes, so that neither always finds what the other left in the cache,
        // nor a drift of the clock favours one.
        if round % 2 == 0 {
            op_times.push(turn(&mut work, Work::run, op_calls));
            copy_times.push(turn(&mut work, Work::copy, copy_calls));
        } else {
            copy_times.push(turn(&mut work, Work::copy, copy_calls));
            op_times.push(turn(&mut work, Work::run, op_calls));
        }
    }

    let ratios = op_times.iter().zip(&copy_times).map(|(op, copy)| op / copy);
    Row {
        case,
        ratio: summarize(ratios.collect(), 1.0).median,
        op: summarize(op_times, case.elements as f64),
        copy: summarize(copy_times, case.elements as f64),
    }
}

/// How many calls fill a [`TURN`]. Finding out also warms caches and branch predictors.
fn calls_in_a_turn(work: &mut Work, call: fn(&mut Work)) -> u32 {
    let mut calls = 1;
    // The first call pays for page faults and run-time detection.
    call(work);
    while turn(work, call, calls) * f64::from(calls) < TURN.as_secs_f64() * 1e9 {
        calls *= 2;
    }
    calls
}

/// Nanoseconds that a call takes, averaged over a turn.
fn turn(work: &mut Work, call: fn(&mut Work), calls: u32) -> f64 {
    let start = Instant::now();
    for _ in 0..calls {
        call(work);
    }
    start.elapsed().as_secs_f64() * 1e9 / f64::from(calls)
}

fn summarize(mut values: Vec<f64>, divisor: f64) -> Times {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let median = if values.len() % 2 == 1 {
        values[middle]
    } else {
        (values[middle - 1] + values[middle]) / 2.0
    };
    Times { median: median / divisor, fastest: values[0] / divisor }
}

/// What a reader has to know to compare two tables.
fn machine() -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo")
        .ok()
        .and_then(|info| {
            let line = info.lines().find(|line| line.starts_with("model name"))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        })
        .unwrap_or_else(|| "unnamed CPU".into());
    format!("{cpu}, {} {}", std::env::consts::ARCH, std::env::consts::OS)
}
