//! Sizes around every border of the contract.

use evenkeel::Layout;

/// Lengths around a group (16), one for each chain (64), a block (1024) and several blocks.
pub(crate) const LENGTHS: [usize; 24] = [
    0, 1, 2, 3, 7, 8, 15, 16, 17, 31, 32, 33, 63, 65, 255, 256, 257, 1023, 1024, 1025, 2047, 2049,
    4095, 4097,
];

/// Spatial sizes: planes that share a block (up to 512) and planes that do not.
const SPATIAL: [usize; 26] = [
    1, 2, 4, 9, 15, 16, 17, 31, 33, 49, 64, 85, 127, 128, 129, 196, 255, 256, 257, 512, 513, 1023,
    1024, 1025, 3136, 4097,
];

/// Planes of which 512, 256, …, 2 and 1 fill a block, or nearly. Most start inside a group.
const SHORT_PLANES: [usize; 19] =
    [2, 3, 5, 15, 16, 17, 32, 33, 48, 49, 64, 65, 128, 129, 256, 257, 512, 513, 1024];

/// Rows around one for each chain (4) and a block (64) of columns, and a few between.
const BATCHES: [usize; 15] = [1, 2, 4, 5, 6, 15, 16, 17, 20, 21, 63, 64, 65, 128, 129];

const CHANNELS: [usize; 13] = [1, 2, 3, 7, 8, 15, 16, 17, 31, 33, 64, 70, 130];

fn first(batch: usize, channels: usize, spatial: usize) -> Layout {
    Layout::channels_first(batch, channels, spatial).expect("a small layout")
}

fn last(batch: usize, channels: usize, spatial: usize) -> Layout {
    Layout::channels_last(batch, spatial, channels).expect("a small layout")
}

/// All layouts of one shape.
pub(crate) fn layouts(batch: usize, channels: usize, spatial: usize) -> Vec<Layout> {
    let mut layouts = vec![first(batch, channels, spatial), last(batch, channels, spatial)];
    if spatial == 1 {
        layouts.push(Layout::dense(batch, channels).expect("a small layout"));
    }
    layouts
}

/// One axis after the other, the rest held at a few values.
pub(crate) fn all() -> Vec<Layout> {
    let mut shapes = Vec::new();
    for spatial in SPATIAL {
        shapes.extend([(1, 3, spatial), (2, 2, spatial), (5, 3, spatial)]);
    }
    for batch in BATCHES {
        shapes.extend([(batch, 3, 1), (batch, 17, 1), (batch, 2, 9), (batch, 3, 49)]);
    }
    for channels in CHANNELS {
        shapes.extend([(6, channels, 1), (130, channels, 1), (1, channels, 1), (3, channels, 25)]);
    }
    for length in LENGTHS {
        shapes.extend([(1, 1, length), (length, 1, 1), (2, 1, length)]);
    }
    for plane in SHORT_PLANES {
        // One plane less than a block holds, a full block, and a single plane after it.
        let in_block = 1 << (1024 / plane).ilog2();
        let batches = [in_block - 1, in_block, in_block + 1];
        shapes.extend(batches.map(|batch| (batch, 2, plane)));
    }
    // More blocks than a few, so that the merge tree has depth; and every size zero once.
    shapes.extend([(1, 2, 13_000), (700, 3, 1), (45, 2, 257), (0, 3, 4), (3, 0, 4), (3, 4, 0)]);
    shapes.into_iter().flat_map(|(n, c, s)| layouts(n, c, s)).collect()
}

/// A few shapes that between them have every reduction of section 10, of one block and of more.
pub(crate) fn few() -> Vec<Layout> {
    let mut few = vec![
        first(3, 4, 49),
        first(43, 4, 49),
        first(2, 4, 300),
        first(3, 3, 2100),
        last(2, 20, 25),
        last(5, 18, 70),
        last(3, 1, 700),
        first(1, 1, 150),
        last(1, 5, 2),
    ];
    for (batch, channels) in [(40, 19), (200, 33), (2, 16)] {
        few.push(Layout::dense(batch, channels).expect("a small layout"));
    }
    few
}

/// Turns that start the input at each of the 16 places in a vector once, and the output at each,
/// the two at every distance (most of them odd).
pub(crate) const ALIGNMENTS: [usize; 16] = {
    let mut turns = [0; 16];
    let mut from = 0;
    while from < 16 {
        turns[from] = from + 16 * (from * 7 % 16);
        from += 1;
    }
    turns
};

/// Shapes of a full block and some more, of every kind of reduction.
pub(crate) fn full_blocks() -> Vec<Layout> {
    vec![
        first(1, 1, 1040),
        first(1, 2, 1027),
        first(70, 2, 16),
        last(2, 35, 33),
        last(1, 70, 17),
        Layout::dense(66, 19).expect("a small layout"),
    ]
}
