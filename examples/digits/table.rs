//! The results as text.

use evenkeel::Moments;

use crate::data::{CLASSES, PIXELS, TEST, TRAIN, VALIDATION};
use crate::experiment::{ByForm, RATES};
use crate::network::{Form, WIDTH};
use crate::options::Options;
use crate::training::{Recipe, Run, percent};

const STARRED: &str = "* with population statistics in place of running averages\n";

/// What was done, in words. The backend is not named: it doesn't change any number.
pub(crate) fn header(options: &Options) -> String {
    let Recipe { epochs, batch_size, dropout, .. } = options.recipe;
    let rates: Vec<String> = RATES.iter().map(f32::to_string).collect();
    let seeds = match options.seeds {
        1 => format!("seed {}", options.seed),
        many => format!("{many} seeds, from {} on", options.seed),
    };
    format!(
        "network {PIXELS}-{WIDTH}-{WIDTH}-{CLASSES}, {TRAIN} training images, {TEST} test images\n\
         epochs {epochs}, batch size {batch_size}, drop probability {}, {seeds}\n\
         learning rate: the best of {} on the last {VALIDATION} training images\n\n",
        dropout.p(),
        rates.join(", "),
    )
}

/// The table: of one run for each form, or of many seeds.
pub(crate) fn results(seeds: &[ByForm<Run>], recipe: &Recipe) -> String {
    match seeds {
        [runs] => one_seed(runs, recipe),
        _ => many_seeds(seeds),
    }
}

fn one_seed(runs: &ByForm<Run>, recipe: &Recipe) -> String {
    let mut lines = String::from(
        "                     learning   90 % of test right   95 % of test right    right at the end, %\n\
         form                     rate     step      epoch      step      epoch    train    test   test*\n",
    );
    for (form, run) in Form::ALL.iter().zip(runs) {
        let (step_90, step_95) = (run.step_reached(90), run.step_reached(95));
        let epoch = |step: Option<u64>| or_dash(step.map(|step| recipe.epochs_at(step)), 1);
        lines += &format!(
            "{:<20} {:>8} {:>8} {:>10} {:>9} {:>10} {:>8.2} {:>7.2} {:>7}\n",
            form.name(),
            run.rate,
            or_dash(step_90.map(real), 0),
            epoch(step_90),
            or_dash(step_95.map(real), 0),
            epoch(step_95),
            percent(run.train_correct, TRAIN),
            percent(run.test_correct, TEST),
            or_dash(run.population_correct.map(|correct| percent(correct, TEST)), 2),
        );
    }
    lines + STARRED
}

fn many_seeds(seeds: &[ByForm<Run>]) -> String {
    let mut lines = String::from(
        "                          test images right at the end, %         mean step of\n\
         form                   mean     sd     min     max    mean*    90 %     95 %\n",
    );
    let mut notes = String::from(STARRED);
    for (position, form) in Form::ALL.iter().enumerate() {
        let runs: Vec<&Run> = seeds.iter().map(|runs| &runs[position]).collect();
        lines += &row(form.name(), &runs);
        let never = runs.iter().filter(|run| run.step_reached(95).is_none()).count();
        if never > 0 {
            notes += &format!("{}: {never} seeds did not reach 95 %\n", form.name());
        }
    }
    let first = seeds.iter().filter(|[plain, norm, ..]| is_faster(norm, plain)).count();
    let count = seeds.len();
    format!("{lines}{notes}BatchNorm reached 95 % before plain in {first} of {count} seeds\n")
}

/// The row of one form: spread over seeds.
fn row(name: &str, runs: &[&Run]) -> String {
    let test = || runs.iter().map(|run| percent(run.test_correct, TEST));
    let population = runs.iter().filter_map(|run| run.population_correct);
    let step = |level| runs.iter().filter_map(move |run| run.step_reached(level)).map(real);
    let spread: Moments = test().collect();
    format!(
        "{name:<20} {:>6.2} {:>6.2} {:>7.2} {:>7.2} {:>8} {:>7} {:>8}\n",
        spread.mean(),
        spread.sample_std_dev(),
        test().fold(f64::INFINITY, f64::min),
        test().fold(0.0, f64::max),
        or_dash(mean(population.map(|correct| percent(correct, TEST))), 2),
        or_dash(mean(step(90)), 1),
        or_dash(mean(step(95)), 1),
    )
}

/// Whether `run` reached 95 % before `other`; to reach it at all is before never.
fn is_faster(run: &Run, other: &Run) -> bool {
    let step = |run: &Run| run.step_reached(95).unwrap_or(u64::MAX);
    step(run) < step(other)
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let moments: Moments = values.collect();
    (moments.count() > 0).then(|| moments.mean())
}

fn or_dash(number: Option<f64>, decimals: usize) -> String {
    number.map_or(String::from("-"), |number| format!("{number:.decimals$}"))
}

#[expect(clippy::cast_precision_loss, reason = "for display")]
fn real(step: u64) -> f64 {
    step as f64
}
