//! Test data: the kinds that the rules of docs/NUMERICS.md were written for, and their borders.

use evenkeel::Layout;
use rand_core::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::reference::reduction::place;

/// A kind of data. Numbers in a variant are its magnitudes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Normal,
    /// Deviation 1 about a mean.
    Mean(f32),
    Scale(f32),
    Constant(f32),
    /// Constant within each block; even and odd blocks differ.
    BlockConstants(f32, f32),
    /// Normal, with one value per channel replaced.
    Outlier(f32),
    /// Normal, but every third block has this scale.
    SomeBlocks(f32),
    /// Normal, but every third channel has this scale.
    SomeChannels(f32),
    /// Normal, but every third channel has this mean.
    SomeMeans(f32),
    /// Normal, but every third channel has this value throughout.
    SomeConstants(f32),
    /// Normal, but one channel holds this value once.
    OneIn(f32),
    /// Zeros of both signs, and a few ones.
    Zeros,
    /// Constant but for a few elements.
    Nearly(f32, f32),
    /// Any bit pattern: infinities, NaNs and subnormals too.
    AnyBits,
    /// Any bit pattern of a number.
    AnyFinite,
}

pub(crate) const KINDS: [Kind; 50] = [
    Kind::Normal,
    Kind::Mean(1e6),
    Kind::Mean(1e7),
    Kind::Mean(-3e7),
    Kind::Mean(1e9),
    Kind::Scale(1e-13),
    Kind::Scale(1e-15),
    Kind::Scale(1.5e-16),
    Kind::Scale(3e-17),
    Kind::Scale(1e-20),
    Kind::Scale(1e-30),
    Kind::Scale(1e-38),
    Kind::Scale(1e-40),
    Kind::Scale(1e-44),
    Kind::Scale(1e15),
    Kind::Scale(5e17),
    Kind::Scale(2e18),
    Kind::Scale(1e19),
    Kind::Scale(1e30),
    Kind::Scale(1e38),
    Kind::Constant(0.0),
    Kind::Constant(-0.0),
    Kind::Constant(0.1),
    Kind::Constant(1e7),
    Kind::Constant(3e38),
    Kind::Constant(-f32::MAX),
    Kind::Constant(1e-40),
    Kind::BlockConstants(3e38, -3e38),
    Kind::BlockConstants(1e-30, 2e-30),
    Kind::BlockConstants(1e-40, -1e-44),
    Kind::BlockConstants(0.1, 1e6),
    Kind::BlockConstants(1e19, -1e19),
    Kind::Outlier(1e6),
    Kind::Outlier(1e20),
    Kind::Outlier(3e38),
    Kind::SomeBlocks(1e-25),
    Kind::SomeBlocks(1e25),
    Kind::SomeChannels(1e-25),
    Kind::SomeChannels(1e25),
    Kind::SomeMeans(1e7),
    Kind::SomeConstants(0.1),
    Kind::SomeConstants(1e-30),
    Kind::OneIn(f32::NAN),
    Kind::OneIn(f32::INFINITY),
    Kind::OneIn(f32::NEG_INFINITY),
    Kind::Zeros,
    Kind::Nearly(1.0, 1.000_000_1),
    Kind::Nearly(1e-30, -1e-30),
    Kind::AnyBits,
    Kind::AnyFinite,
];

pub(crate) struct Source(Xoshiro256PlusPlus);

impl Source {
    pub(crate) fn new(seed: usize) -> Self {
        Self(Xoshiro256PlusPlus::seed_from_u64(seed as u64))
    }

    pub(crate) fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Evenly spread below 1.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Nearly normal: a sum of 12 uniform numbers.
    pub(crate) fn normal(&mut self) -> f32 {
        let sum: f64 = (0..12).map(|_| self.unit()).sum();
        (sum - 6.0) as f32
    }

    pub(crate) fn normals(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.normal()).collect()
    }

    /// For γ, β and given statistics: zeros, ordinary values, and any bits at all.
    pub(crate) fn odd_parameters(&mut self, count: usize) -> Vec<f32> {
        (0..count)
            .map(|_| match self.bits() % 8 {
                0 => 0.0,
                1 | 2 => self.normal(),
                _ => f32::from_bits(self.bits() as u32),
            })
            .collect()
    }

    /// For variances: positive, about 1, some of them 0.
    pub(crate) fn variances(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| (self.normal() + 1.0).max(0.0)).collect()
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.bits().is_multiple_of(n)
    }

    /// Values of a kind for every place of the layout.
    pub(crate) fn fill(&mut self, kind: Kind, layout: &Layout) -> Vec<f32> {
        let mut x = vec![0.0; layout.len()];
        let special = (layout.channels() / 2, self.bits() as usize % layout.len().max(1));
        for sample in 0..layout.batch() {
            for channel in 0..layout.channels() {
                for position in 0..layout.spatial() {
                    let order = sample * layout.spatial() + position;
                    let at = At {
                        channel,
                        block: block_number(layout, sample, position),
                        chosen: order == special.1 % (layout.batch() * layout.spatial()),
                        in_chosen_channel: channel == special.0,
                    };
                    x[place(layout, sample, channel, position)] = self.value(kind, &at);
                }
            }
        }
        x
    }

    fn value(&mut self, kind: Kind, at: &At) -> f32 {
        let normal = self.normal();
        match kind {
            Kind::Normal => normal,
            Kind::Mean(mean) => mean + normal,
            Kind::Scale(scale) => normal * scale,
            Kind::Constant(value) => value,
            Kind::BlockConstants(even, odd) => [even, odd][at.block % 2],
            Kind::Outlier(value) if at.chosen => value,
            Kind::SomeBlocks(scale) if at.block % 3 == 1 => normal * scale,
            Kind::SomeChannels(scale) if at.channel % 3 == 1 => normal * scale,
            Kind::SomeMeans(mean) if at.channel % 3 == 1 => mean + normal,
            Kind::SomeConstants(value) if at.channel % 3 == 1 => value,
            Kind::OneIn(value) if at.chosen && at.in_chosen_channel => value,
            Kind::Outlier(_) | Kind::SomeBlocks(_) | Kind::SomeChannels(_) => normal,
            Kind::SomeMeans(_) | Kind::SomeConstants(_) | Kind::OneIn(_) => normal,
            Kind::Zeros => [0.0, -0.0, 0.0, -0.0, 0.0, -0.0, 1.0][self.bits() as usize % 7],
            Kind::Nearly(value, other) => {
                if self.one_in(50) {
                    other
                } else {
                    value
                }
            }
            Kind::AnyBits => f32::from_bits(self.bits() as u32),
            Kind::AnyFinite => {
                let value = f32::from_bits(self.bits() as u32);
                if value.is_finite() { value } else { normal }
            }
        }
    }
}

/// What a value may depend on.
struct At {
    channel: usize,
    block: usize,
    chosen: bool,
    in_chosen_channel: bool,
}

/// The block of section 3 or 10 that a value falls in, near enough for `Kind::BlockConstants`.
fn block_number(layout: &Layout, sample: usize, position: usize) -> usize {
    let order = sample * layout.spatial() + position;
    match layout.spatial() {
        _ if layout.channels() == 1 => order / 1024,
        1 => order / 64,
        _ if layout.is_channels_last() => order / 64,
        short @ 2..=1024 => sample >> (1024 / short).ilog2(),
        long => sample * long.div_ceil(1024) + position / 1024,
    }
}
