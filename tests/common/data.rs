//! Test data: generators with the same bits on every target, and buffers that show a write.

#![allow(dead_code, reason = "every test crate uses its own part of this file")]
#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "data are made in f64 and rounded to f32"
)]

use evenkeel::Layout;

use super::oracle::Shape;

/// SplitMix64.
#[derive(Clone, Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// In [0, 1).
    pub(crate) const fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Nearly N(0, 1): a sum of twelve uniforms. Box and Muller's form would need a logarithm and
    /// a cosine, whose last bits differ between platforms, and the accuracy limits are pinned.
    pub(crate) fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }

    /// Below `bound`, which is small: the bias of the remainder does not matter here.
    pub(crate) const fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub(crate) fn uniforms(&mut self, len: usize, low: f64, high: f64) -> Vec<f32> {
        (0..len).map(|_| (low + (high - low) * self.uniform()) as f32).collect()
    }

    /// mean + deviation·N(0, 1), clipped to the finite f32 values.
    pub(crate) fn normals(&mut self, len: usize, mean: f64, deviation: f64) -> Vec<f32> {
        (0..len).map(|_| finite(mean + deviation * self.normal())).collect()
    }

    /// Factors away from zero, of both signs.
    pub(crate) fn gammas(&mut self, len: usize) -> Vec<f32> {
        (0..len)
            .map(|i| {
                let size = 0.5 + self.uniform();
                (if i % 3 == 1 { -size } else { size }) as f32
            })
            .collect()
    }
}

/// Rounds to f32, saturating.
pub(crate) fn finite(v: f64) -> f32 {
    v.clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32
}

/// The crate's layout of an oracle's shape.
pub(crate) fn layout(shape: Shape) -> Layout {
    if shape.channels_last {
        Layout::channels_last(shape.batch, shape.spatial, shape.channels)
    } else {
        Layout::channels_first(shape.batch, shape.channels, shape.spatial)
    }
    .expect("a test's tensor fits into memory")
}

/// The bits of a float, every NaN counting as the same one.
pub(crate) const fn bits(v: f32) -> u32 {
    if v.is_nan() { f32::NAN.to_bits() } else { v.to_bits() }
}

/// Compares bit for bit (NaNs are equal) and names the first difference.
#[track_caller]
pub(crate) fn assert_same_bits(left: &[f32], right: &[f32], what: &str) {
    assert_eq!(left.len(), right.len(), "{what}: lengths");
    for (i, (&l, &r)) in left.iter().zip(right).enumerate() {
        assert!(
            bits(l) == bits(r),
            "{what}: element {i} is {l:?} ({:08x}) and {r:?} ({:08x})",
            l.to_bits(),
            r.to_bits()
        );
    }
}

/// A NaN that no arithmetic produces.
const CANARY: u32 = 0x7FC0_DEAD;

/// A buffer that no operation has written to.
pub(crate) fn canary(len: usize) -> Vec<f32> {
    vec![f32::from_bits(CANARY); len]
}

/// Asserts that a buffer from [`canary`] is as it was made.
#[track_caller]
pub(crate) fn assert_untouched(buffer: &[f32], what: &str) {
    for (i, v) in buffer.iter().enumerate() {
        assert!(v.to_bits() == CANARY, "{what}: element {i} was overwritten by {v:?}");
    }
}
