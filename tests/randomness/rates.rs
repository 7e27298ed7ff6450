//! How often elements are dropped: in all, by key, by position within a block, and by both.

use crate::chi::{Chi, accept_all};
use crate::mask;
use evenkeel::Key;

/// Neighbouring seeds: what users take, and the hardest for a generator.
const KEYS: usize = 64;
/// Elements of a block of Philox.
const POSITIONS: usize = 16;
/// Numbers of 64 elements, 2^22 of each key: 2.7·10^8 in all.
const NUMBERS: usize = 1 << 16;
/// Elements of one cell.
const CELL: u64 = (NUMBERS * mask::BITS / POSITIONS) as u64;

/// χ² is not what it should be in cells that expect less than this. (At this, its tail is heavier: fixed
/// keys forgive that.)
const FILLED: f64 = 4.0;

type Counts = [[u64; POSITIONS]; KEYS];

/// Adds the dropped elements of each position.
fn count(kept: &[u64], counts: &mut [u64; POSITIONS]) {
    for &number in kept {
        let dropped = !number;
        for (position, count) in counts.iter_mut().enumerate() {
            *count += u64::from((dropped & 0x0001_0001_0001_0001 << position).count_ones());
        }
    }
}

fn counts(p: f64) -> Counts {
    let dropout = mask::dropout(p);
    let mut counts = [[0; POSITIONS]; KEYS];
    for (seed, counts) in (0..).zip(&mut counts) {
        count(&mask::kept(dropout, Key::new(seed), 0, NUMBERS), counts);
    }
    counts
}

/// Statistics of sums over cells, where they expect enough.
fn statistics(counts: &Counts, p: f64) -> [(&'static str, Vec<Chi>); 4] {
    let binomial = |hits: u64, cells: usize| Chi::binomial(hits, cells as u64 * CELL, p);
    let groups = |cells: usize, sums: Vec<u64>| {
        let rare = (cells as u64 * CELL) as f64 * p.min(1.0 - p);
        let sums = if rare < FILLED { Vec::new() } else { sums };
        sums.into_iter().map(|hits| binomial(hits, cells)).collect::<Vec<_>>()
    };
    let keys: Vec<u64> = counts.iter().map(|row| row.iter().sum()).collect();
    let column = |i: usize| counts.iter().map(|row| row[i]).sum();
    [
        ("all", groups(KEYS * POSITIONS, vec![keys.iter().sum()])),
        ("by position", groups(KEYS, (0..POSITIONS).map(column).collect())),
        ("by key", groups(POSITIONS, keys)),
        ("by both", groups(1, counts.as_flattened().to_vec())),
    ]
}

/// 1e-6 and 1 − 1e-6 are decided by ties alone: bytes know no probability below 1/256.
#[test]
fn elements_are_dropped_as_often_as_p_says() {
    for p in [1e-6, 0.1, 1.0 / 3.0, 0.5, 0.9, 1.0 - 1e-6] {
        for (name, all) in statistics(&counts(p), p) {
            if !all.is_empty() {
                accept_all(&format!("rate of p = {p}, {name}"), &all);
            }
        }
    }
}

#[track_caller]
fn reject(counts: &Counts, p: f64, group: usize, what: &str) {
    let (_, all) = &statistics(counts, p)[group];
    all.iter().copied().sum::<Chi>().reject(what);
}

/// Control: a thousandth more, and what a byte alone would make of p.
#[test]
fn a_rate_that_is_off_is_noticed() {
    for p in [0.1, 1.0 / 3.0, 0.5, 0.9] {
        reject(&counts(p * 1.001), p, 0, &format!("a thousandth more than {p}"));
    }
    reject(&counts(26.0 / 256.0), 0.1, 0, "26/256 for 0.1");
    reject(&counts(2e-6), 1e-6, 0, "2e-6 for 1e-6");
}

/// Control: one position, one key or one cell that drops more, where the others make up for it.
#[test]
fn a_place_that_drops_more_is_noticed() {
    let p = 0.1;
    let good = counts(p);
    let more = CELL / 1000;
    let mut position = good;
    for row in &mut position {
        row[7] += more;
        row[8] -= more;
    }
    reject(&position, p, 1, "a position");
    let mut key = good;
    key[5].iter_mut().for_each(|count| *count += more);
    key[6].iter_mut().for_each(|count| *count -= more);
    reject(&key, p, 2, "a key");
    // 1.2 % of a cell: a cell is small, and there are a thousand of them.
    let mut cell = good;
    cell[5][7] += 12 * more;
    cell[5][8] -= 12 * more;
    reject(&cell, p, 3, "a cell");
}
