//! The comparison: for each form, the learning rate is chosen first, then the network is trained.

use std::num::NonZero;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use evenkeel::{Error, Key};

use crate::data::{Digits, Split};
use crate::network::Form;
use crate::training::{Recipe, Run, train};

/// The learning rates that every form chooses from.
pub(crate) const RATES: [f32; 4] = [0.01, 0.03, 0.1, 0.3];

/// Runs of one form, for each form in turn.
pub(crate) type ByForm<T> = [T; Form::ALL.len()];

/// The first training runs of a seed: every rate of every form.
pub(crate) const TRIALS: u64 = (RATES.len() * Form::ALL.len()) as u64;

/// All training runs of a seed: the trials, and then those that count.
pub(crate) const RUNS: u64 = TRIALS + Form::ALL.len() as u64;

/// Compares the forms on one seed.
///
/// The seed decides the split, the first weights, the order of images and all masks. The forms
/// with ReLU share everything but the masks, which only two of them have: what differs in their
/// results comes from normalization and dropout. The one with SELU has weights of its own.
pub(crate) fn compare(
    digits: &Digits,
    recipe: &Recipe,
    rates: &[f32],
    seed: u64,
    epoch_done: &(dyn Fn() + Sync),
) -> Result<ByForm<Run>, Error> {
    let key = Key::new(seed);
    let split = Split::shuffled(digits, key.fold_in(0));
    let search = split.for_search().standardized(recipe.backend)?;
    let whole = split.standardized(recipe.backend)?;

    let train_on = |data: &Split, jobs: &[(Form, f32)]| -> Result<Vec<Run>, Error> {
        let run = |&(form, rate): &_| train(form, rate, recipe, data, key, epoch_done);
        in_parallel(jobs, run).into_iter().collect()
    };

    let every_rate = |form| rates.iter().map(move |&rate| (form, rate));
    let jobs: Vec<(Form, f32)> = Form::ALL.into_iter().flat_map(every_rate).collect();
    let trials = train_on(&search, &jobs)?;

    let of_form = |form| trials.iter().skip(form as usize * rates.len()).take(rates.len());
    let runs = train_on(&whole, &Form::ALL.map(|form| (form, best_rate(of_form(form)))))?;
    Ok(Form::ALL.map(|form| runs[form as usize].clone()))
}

/// Chooses the rate whose validation accuracy, averaged over the whole run, is highest; the first,
/// lowest, of equals.
///
/// The average over the run and not its end: it asks for a network that learns fast and ends well,
/// so each form competes at its best speed, and 259 images tell more when looked at many times.
fn best_rate<'a>(trials: impl Iterator<Item = &'a Run>) -> f32 {
    let score = |run: &Run| run.curve.iter().map(|point| point.correct).sum::<usize>();
    let better = |best, run| if score(run) > score(best) { run } else { best };
    trials.reduce(better).map_or(RATES[0], |run| run.rate)
}

/// Does all jobs on all cores and returns the results in the order of the jobs. Each result is a
/// function of its job alone, so the number of threads changes nothing but the time.
fn in_parallel<J: Sync, R: Send>(jobs: &[J], work: impl Fn(&J) -> R + Sync) -> Vec<R> {
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(jobs.len());
    let next = AtomicUsize::new(0);
    let worker = || {
        let mut done = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(job) = jobs.get(number) else { return done };
            done.push((number, work(job)));
        }
    };
    let mut results: Vec<(usize, R)> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        let join = |worker: thread::ScopedJoinHandle<'_, Vec<(usize, R)>>| {
            worker.join().unwrap_or_else(|panic| resume_unwind(panic))
        };
        workers.into_iter().flat_map(join).collect()
    });
    results.sort_by_key(|(number, _)| *number);
    results.into_iter().map(|(_, result)| result).collect()
}
