//! Philox, words.

mod group;

use criterion::{Criterion, criterion_group, criterion_main};
use evenkeel_bench::cases::philox;

fn bench(criterion: &mut Criterion) {
    group::measure(criterion, philox::cases());
}

criterion_group!(benches, bench);
criterion_main!(benches);
