//! The main job, `examples/digits`: its numbers are pinned, the same on every backend, and what a
//! user can get wrong is answered with one line.

#[path = "../examples/digits/data.rs"]
mod data;
#[path = "../examples/digits/dense.rs"]
mod dense;
#[path = "../examples/digits/experiment.rs"]
mod experiment;
#[path = "../examples/digits/loss.rs"]
mod loss;
#[path = "../examples/digits/network.rs"]
mod network;
#[path = "../examples/digits/options.rs"]
mod options;
#[path = "../examples/digits/picture.rs"]
mod picture;
#[path = "../examples/digits/table.rs"]
mod table;
#[path = "../examples/digits/training.rs"]
mod training;

use std::path::PathBuf;
use std::slice;
use std::sync::atomic::{AtomicU64, Ordering};

use evenkeel::{Backend, Key};

use crate::data::{Digits, PIXELS, Split, TEST, TRAIN, VALIDATION};
use crate::experiment::{ByForm, RATES, RUNS, compare};
use crate::options::{Command, HELP, Options, parse};
use crate::training::Run;

fn options(arguments: &[&str]) -> Options {
    match parse(arguments) {
        Ok(Command::Run(options)) => options,
        other => panic!("{arguments:?} do not ask for a run: {other:?}"),
    }
}

fn digits() -> Digits {
    Digits::read(&options(&[]).data).expect("the committed file is whole")
}

fn run(arguments: &[&str], rates: &[f32]) -> ByForm<Run> {
    let options = options(arguments);
    compare(&digits(), &options.recipe, rates, options.seed, &|| ()).expect("all sizes fit")
}

/// A file of this test in the build folder; tests run side by side, so each has its own name.
fn file(name: &str, text: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, text).expect("the build folder can be written to");
    path
}

fn assert_one_line(error: &str) {
    assert!(!error.is_empty() && !error.contains('\n'), "{error:?}");
}

#[test]
fn numbers_are_pinned_on_every_backend() {
    // For each form: right answers on the training part, on the test part, on the test part by
    // population statistics; the bits of the test loss; all weights.
    let expected = [
        (1255, 480, None, 0x3fc4_1879_71e6_40fc, 0x7ee1_0246_5df9_a262),
        (1280, 490, Some(492), 0x3fb7_d340_1c99_0b41, 0xf4a8_7ca0_557e_59de),
        (1251, 479, None, 0x3fc4_b821_e0fa_144a, 0xaf2b_64e5_d496_393c),
        (1272, 488, Some(487), 0x3fbe_3dc3_3a9e_6e07, 0xaa84_3b83_67fc_4c88),
        (1238, 477, None, 0x3fc6_9f08_84fd_4826, 0xb5ae_f2b4_ce4b_95ed),
    ];
    for backend in Backend::available() {
        let runs = run(&["--epochs", "2", "--backend", backend.name()], &[0.03]);
        let found = runs.map(|run| {
            let loss = run.test_loss.to_bits();
            (run.train_correct, run.test_correct, run.population_correct, loss, run.fingerprint)
        });
        assert_eq!(found, expected, "{backend}");
    }
}

/// All that a run prints to stdout.
fn printed(arguments: &[&str]) -> String {
    let options = options(arguments);
    table::header(&options) + &table::results(&[run(arguments, &RATES)], &options.recipe)
}

/// The search for the rates included: one more right answer on one backend could choose another.
#[test]
fn what_is_printed_is_pinned_on_every_backend() {
    for backend in Backend::available() {
        let found = printed(&["--epochs", "1", "--seed", "3", "--backend", backend.name()]);
        assert_eq!(found, SHORT_RUN, "{backend}");
    }
}

const SHORT_RUN: &str = "\
network 64-128-128-10, 1297 training images, 500 test images
epochs 1, batch size 32, drop probability 0.2, seed 3
learning rate: the best of 0.01, 0.03, 0.1, 0.3 on the last 259 training images

                     learning   90 % of test right   95 % of test right    right at the end, %
form                     rate     step      epoch      step      epoch    train    test   test*
plain                     0.1       26        0.6         -          -    96.45   93.00       -
BatchNorm                 0.1       14        0.3         -          -    92.83   90.60   91.40
dropout                   0.1       40        1.0         -          -    94.76   92.80       -
both                      0.1       36        0.9         -          -    93.37   92.60   93.80
SELU + alpha dropout      0.1       20        0.5         -          -    87.82   86.00       -
* with population statistics in place of running averages
";

#[test]
fn what_the_default_run_prints_is_pinned() {
    let found = printed(&[]);
    assert_eq!(found, DEFAULT_RUN);
}

const DEFAULT_RUN: &str = "\
network 64-128-128-10, 1297 training images, 500 test images
epochs 15, batch size 32, drop probability 0.2, seed 0
learning rate: the best of 0.01, 0.03, 0.1, 0.3 on the last 259 training images

                     learning   90 % of test right   95 % of test right    right at the end, %
form                     rate     step      epoch      step      epoch    train    test   test*
plain                    0.03       50        1.2        74        1.8   100.00   98.80       -
BatchNorm                0.03       16        0.4        30        0.7    99.92   98.80   99.00
dropout                  0.03       52        1.3        74        1.8   100.00   99.40       -
both                     0.03       18        0.4        44        1.1    99.61   98.00   98.00
SELU + alpha dropout     0.03       20        0.5        42        1.0    99.85   98.60       -
* with population statistics in place of running averages
";

#[test]
fn two_runs_are_equal() {
    let once = || run(&["--epochs", "1", "--seed", "7", "--drop", "0.5"], &RATES);
    assert_eq!(once(), once());
}

#[test]
fn every_batch_size_works() {
    // 16 and 48 leave a last batch of one image. (A batch of one teaches BatchNorm nothing: every
    // value is its own mean. It must not fail, no more.)
    // With 648 steps of two images, SELU, which nothing normalizes, diverges at higher rates.
    for size in ["2", "16", "48", "1296", "1297"] {
        for run in run(&["--epochs", "1", "--batch-size", size], &[0.002]) {
            assert!(run.test_loss.is_finite(), "{size}");
        }
    }
}

#[test]
fn dropping_everything_or_nothing_works() {
    let [plain, _, dropout, ..] = run(&["--epochs", "1", "--drop", "0"], &[0.03]);
    assert_eq!(plain, dropout);
    run(&["--epochs", "1", "--drop", "1"], &[0.03]);
}

#[test]
fn progress_counts_every_epoch() {
    let count = AtomicU64::new(0);
    let recipe = options(&["--epochs", "1", "--batch-size", "256"]).recipe;
    compare(&digits(), &recipe, &RATES, 0, &|| {
        count.fetch_add(1, Ordering::Relaxed);
    })
    .unwrap();
    assert_eq!(count.into_inner(), RUNS);
}

#[test]
fn split_is_exact_and_standardized_on_its_training_part() {
    let split = Split::shuffled(&digits(), Key::new(3));
    assert_eq!((split.train.len(), split.test.len()), (TRAIN, TEST));
    assert_eq!((TRAIN, TEST), (1297, 500));
    let search = split.for_search();
    assert_eq!((search.train.len(), search.test.len()), (TRAIN - VALIDATION, VALIDATION));

    let digits = split.standardized(Backend::detect()).unwrap();
    for pixel in 0..PIXELS {
        let values = digits.train.pixels.iter().skip(pixel).step_by(PIXELS);
        let moments: evenkeel::Moments = values.collect();
        let constant = moments.m2() == 0.0;
        assert!(moments.mean().abs() < 1e-5, "mean of pixel {pixel}");
        assert!(constant || (moments.std_dev() - 1.0).abs() < 1e-5, "deviation of pixel {pixel}");
    }
}

#[test]
fn picture_and_tables_show_all_forms() {
    let arguments = ["--epochs", "1", "--batch-size", "128"];
    let options = options(&arguments);
    let runs = run(&arguments, &[0.1]);
    let svg = picture::draw(slice::from_ref(&runs)).unwrap();
    assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
    let one = table::results(slice::from_ref(&runs), &options.recipe);
    let two = table::results(&[runs.clone(), runs], &options.recipe);
    for name in ["plain", "BatchNorm", "dropout", "both", "SELU + alpha dropout"] {
        assert!(svg.contains(name) && one.contains(name) && two.contains(name), "{name}");
    }
    assert!(table::header(&options).contains("batch size 128"));
}

#[test]
fn wrong_arguments_are_one_line() {
    let wrong: [&[&str]; 17] = [
        &["--sed", "1"],
        &["digits"],
        &["-x"],
        &["--seed"],
        &["--seed", "-1"],
        &["--seed", "18446744073709551616"],
        &["--seeds", "0"],
        &["--epochs", "0"],
        &["--epochs", "ten"],
        &["--batch-size", "0"],
        &["--batch-size", "1298"],
        &["--drop", "1.5"],
        &["--drop", "-0.1"],
        &["--drop", "nan"],
        &["--backend", "mmx"],
        &["--backend", ""],
        &["--drop="],
    ];
    for arguments in wrong {
        assert_one_line(&parse(arguments).unwrap_err());
    }
    assert!(matches!(parse(["--help"]), Ok(Command::Help)));
    assert!(HELP.contains("--batch-size"));
    let large = options(&["--seeds", "18446744073709551615", "--epochs=18446744073709551615"]);
    assert_eq!((large.seeds, large.recipe.epochs), (u64::MAX, u64::MAX));
}

#[test]
fn wrong_files_are_one_line() {
    let good = std::fs::read_to_string(options(&[]).data).unwrap();
    let wrong = [
        file("digits-empty.csv", ""),
        file("digits-short.csv", &good[..good.len() / 2]),
        file("digits-long.csv", &format!("{good}{good}")),
        file("digits-word.csv", &good.replacen("0,", "zero,", 1)),
        file("digits-dark.csv", &good.replacen("0,", "17,", 1)),
        file("digits-label.csv", &good.replacen(",0\n", ",10\n", 1)),
        file("digits-binary.csv", "\u{0}\n"),
        PathBuf::from(env!("CARGO_TARGET_TMPDIR")),
        PathBuf::from("no such file"),
    ];
    for path in wrong {
        let error = Digits::read(&path).map(|_| path).unwrap_err();
        assert_one_line(&error);
    }
}

#[test]
fn unwritable_folder_is_one_line() {
    let under_a_file = file("digits-no-folder", "").join("folder");
    assert_one_line(&picture::prepare(&under_a_file).unwrap_err());
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("digits");
    assert!(picture::prepare(&folder).unwrap().ends_with("curves.svg"));
}
