//! GroupNorm and InstanceNorm.

mod group;

use criterion::{Criterion, criterion_group, criterion_main};
use evenkeel::Backend;
use evenkeel_bench::cases::group_norm;

fn bench(criterion: &mut Criterion) {
    group::measure(criterion, group_norm::cases(Backend::detect()));
}

criterion_group!(benches, bench);
criterion_main!(benches);
