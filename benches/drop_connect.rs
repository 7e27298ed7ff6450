//! DropConnect: all its calls.

mod group;

use criterion::{Criterion, criterion_group, criterion_main};
use evenkeel::Backend;
use evenkeel_bench::cases::drop_connect;

fn bench(criterion: &mut Criterion) {
    group::measure(criterion, drop_connect::cases(Backend::detect()));
}

criterion_group!(benches, bench);
criterion_main!(benches);
