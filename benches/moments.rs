//! Moments of a slice, and of every channel of a batch.

mod group;

use criterion::{Criterion, criterion_group, criterion_main};
use evenkeel::Backend;
use evenkeel_bench::cases::moments;

fn bench(criterion: &mut Criterion) {
    group::measure(criterion, moments::cases(Backend::detect()));
}

criterion_group!(benches, bench);
criterion_main!(benches);
