//! Many blocks: the merge tree, level by level and where it ends short of one.
//!
//! The reference splits recursively, the crate counts in binary. Both must give the same bits for
//! every number of blocks, above all next to a power of two, where a level is filled or opened.

use evenkeel::Layout;
use ops::draw::{KINDS, Kind};
use ops::{Case, Subject, batch_norm, group_norm, row_norm};

use crate::judge::{case, check, how};

/// Rows of a block of columns, and elements of a block of a long plane.
const ROWS: usize = 64;
const ELEMENTS: usize = 1024;

fn columns(rows: usize, channels: usize) -> Layout {
    Layout::dense(rows, channels).expect("a small layout")
}

fn planes(batch: usize, channels: usize, spatial: usize) -> Layout {
    Layout::channels_first(batch, channels, spatial).expect("a small layout")
}

fn pixels(spatial: usize, channels: usize) -> Layout {
    Layout::channels_last(1, spatial, channels).expect("a small layout")
}

/// A mean that is not zero, and all options.
fn check_turn<S: Subject>(layout: Layout, turn: usize) {
    check::<S>(&case::<S>(layout, turn), &how(Kind::Mean(3.0), turn), turn);
}

/// `train`, `collect` and `backward`: everything that reduces channels.
fn check_channels(layout: Layout, turn: usize) {
    check_turn::<batch_norm::Train>(layout, turn);
    check_turn::<batch_norm::Collect>(layout, turn);
    check_turn::<batch_norm::Backward>(layout, turn);
    check_turn::<batch_norm::BackwardGiven>(layout, turn);
    check_turn::<row_norm::LayerBackward>(layout, turn);
    check_turn::<row_norm::RmsBackward>(layout, turn);
}

/// All channels of a sample as one group, and each as its own.
fn check_groups(layout: Layout, turn: usize) {
    for groups in [1, layout.channels()] {
        check_group(layout, groups, Kind::Mean(3.0), turn);
    }
}

fn check_group(layout: Layout, groups: usize, kind: Kind, turn: usize) {
    let case = case::<group_norm::Forward>(layout, turn);
    let options = group_norm::Options { groups, ..case.options };
    let case = Case { options, ..case };
    check::<group_norm::Forward>(&case, &how(kind, turn), turn);
    check::<group_norm::Backward>(&case, &how(kind, turn), turn);
}

/// One row or element below, at and above a number of blocks.
fn around(blocks: usize, size: usize) -> [usize; 3] {
    [blocks * size - 1, blocks * size, blocks * size + 1]
}

/// Tensors that no core's own cache holds, of planes that are walked a few channels at a time, the
/// last ones fewer: the bits may not show it, nor which of them needed f64.
#[test]
fn channels_walked_together() {
    for (turn, layout) in
        [planes(2, 67, 2049), planes(3, 30, 3136), planes(1, 257, 1024)].into_iter().enumerate()
    {
        check_channels(layout, turn);
        let train = case::<batch_norm::Train>(layout, turn);
        check::<batch_norm::Train>(&train, &how(Kind::SomeConstants(3e19), turn), turn);
    }
}

/// Channels of every number that are walked together, in rows of one block, of more, and of more than
/// trees of many channels hold.
#[test]
fn bands_of_every_width() {
    for (turn, channels) in [65, 255, 257, 300, 512, 513, 777, 1024, 1030].into_iter().enumerate() {
        for rows in [64, 65, 130] {
            check_channels(columns(rows, channels), turn);
            check_turn::<batch_norm::Infer>(pixels(rows, channels), turn);
        }
    }
    check_channels(columns(16_321, 257), 1);
}

/// Rows whose dx, dγ and dβ are computed block by block, since the second-level cache does not hold them
/// all: few and many, of one vector and of the longest, and one block more than the sums have room for.
#[test]
fn rows_in_one_sweep() {
    let rows = [(300, 1000), (129, 1024), (2000, 67), (8200, 16), (16_320, 9), (16_321, 9)];
    for (turn, (rows, len)) in rows.into_iter().enumerate() {
        for kind in [Kind::Mean(3.0), Kind::SomeConstants(3e19)] {
            let layout = columns(rows, len);
            let layer = case::<row_norm::LayerBackward>(layout, turn);
            check::<row_norm::LayerBackward>(&layer, &how(kind, turn), turn);
            let rms = case::<row_norm::RmsBackward>(layout, turn);
            check::<row_norm::RmsBackward>(&rms, &how(kind, turn), turn);
        }
    }
}

/// Tensors of more than 8 MiB, which are read in another order: they come from memory.
#[test]
fn tensors_from_memory() {
    let rows = 2 * 1024 + 30;
    let layouts = [
        columns(rows, 1030),
        pixels(66_000, 33),
        planes(640, 70, 49),
        planes(50, 130, 400),
        planes(22, 34, 3136),
    ];
    for (turn, layout) in layouts.into_iter().enumerate() {
        check_channels(layout, turn);
        check_turn::<batch_norm::Infer>(layout, turn);
        check_group(layout, 1, Kind::Mean(3.0), turn);
    }
}

/// Any subject at every small number of blocks.
pub(crate) fn every_number_of_blocks<S: Subject>() {
    for blocks in 1..=20 {
        for (turn, rows) in around(blocks, ROWS).into_iter().enumerate() {
            check_turn::<S>(columns(rows, 3), turn);
            check_turn::<S>(pixels(rows, 3), turn);
        }
        check_turn::<S>(planes(1, 2, blocks * ELEMENTS), blocks);
        // A block for every plane above 512, for 512 planes of 2, for 16 of 49.
        check_turn::<S>(planes(blocks, 2, 513), blocks);
        check_turn::<S>(planes(blocks * 512, 2, 2), blocks);
        check_turn::<S>(planes(blocks * 16, 2, 49), blocks);
    }
}

#[test]
fn groups_of_every_small_number_of_blocks() {
    for blocks in 1..=20 {
        for (turn, rows) in around(blocks, ROWS).into_iter().enumerate() {
            check_groups(pixels(rows, 3), turn);
        }
        check_groups(planes(1, 2, blocks * ELEMENTS), blocks);
    }
}

/// 255 blocks, and a last one of 1, 63 or 64 rows; then one more block.
#[test]
fn columns_of_255_to_257_blocks() {
    for (turn, rows) in [16_319, 16_320, 16_321, 16_383, 16_384, 16_385].into_iter().enumerate() {
        check_channels(columns(rows, 2), turn);
        check_channels(columns(rows, 17), turn);
        check_groups(pixels(rows, 2), turn);
        check_group(pixels(rows, 17), 1, Kind::Normal, turn);
    }
}

#[test]
fn columns_at_every_level() {
    for level in [5, 6, 7, 9, 10] {
        let full = 1 << level;
        for rows in around(full, ROWS).into_iter().chain([(full - 1) * ROWS + 1]) {
            check_channels(columns(rows, 2), level);
        }
    }
}

#[test]
fn long_planes_of_255_to_257_blocks() {
    for blocks in 255..=257 {
        for length in around(blocks, ELEMENTS) {
            check_channels(planes(1, 1, length), blocks);
        }
        check_groups(planes(1, 2, blocks * ELEMENTS), blocks);
    }
}

#[test]
fn many_planes_of_255_to_257_blocks() {
    for blocks in 255..=257 {
        check_channels(planes(blocks, 2, 513), blocks);
        check_channels(planes(blocks * 512 + 1, 2, 2), blocks);
        check_channels(planes(blocks * 16 - 1, 2, 49), blocks);
    }
}

/// Channels of a group merge along the same tree.
#[test]
fn groups_of_many_channels() {
    for channels in (1..=20).chain([31, 33, 63, 65, 127, 128, 129, 255, 256, 257]) {
        for spatial in [3, 65] {
            let layout = Layout::channels_last(2, spatial, channels).expect("a small layout");
            check_group(layout, 1, Kind::SomeMeans(3.0), channels);
        }
    }
}

/// Groups whose rows are whole vectors: every way in which those of a block are walked, blocks that are
/// full and short, several groups beside each other and in several runs.
#[test]
fn groups_of_whole_vectors() {
    for (turn, width) in [16, 32, 48, 64, 80, 128, 256, 272, 1024, 1040].into_iter().enumerate() {
        let block = 1 << (ELEMENTS / width.min(ELEMENTS)).ilog2();
        for rows in [1, 2, 3, 5, block, block + 1, 2 * block + 3, 4 * block + 1] {
            for groups in [1, 2, 5, 17] {
                if groups * width < 6000 {
                    let kind = KINDS[(turn + rows + groups) % KINDS.len()];
                    check_group(pixels(rows, groups * width), groups, kind, turn);
                }
            }
        }
    }
    for (width, rows) in [(16, 255 * 64 + 1), (32, 256 * 32), (64, 257 * 16), (80, 256 * 8 + 5)] {
        check_group(pixels(rows, 2 * width), 2, Kind::Mean(3.0), width);
    }
}
