//! Turns a list of cases into criterion groups. A module of every bench, not a bench itself.

use std::time::Duration;

use criterion::{Criterion, Throughput};
use evenkeel_bench::{Case, Work};

/// Measures every case in a group of its own, with the copy of the same tensor in that group.
pub(crate) fn measure(criterion: &mut Criterion, cases: Vec<Case>) {
    for case in cases {
        let mut group = criterion.benchmark_group(case.name());
        group.warm_up_time(Duration::from_millis(500));
        group.measurement_time(Duration::from_secs(2));

        // Both borrow the same tensors, and are allocated only if the filter lets one through.
        let mut work: Option<Work> = None;
        for copy in [false, true] {
            let name = if copy { "copy" } else { case.backend };
            group.throughput(Throughput::Elements(case.elements as u64));
            group.bench_function(name, |bencher| {
                let work = work.get_or_insert_with(|| case.build());
                if copy {
                    bencher.iter(|| work.copy());
                } else {
                    bencher.iter(|| work.run());
                }
            });
        }
        group.finish();
    }
}
