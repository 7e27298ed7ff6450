//! Test data: the kinds that the rules of docs/NUMERICS.md were written for, and their borders; and
//! how the slices of a call are drawn.

use crate::subject::shape;
use crate::{Array, Arrays, Case, Holds, Role, Slot, Source, Subject};
use evenkeel::{Layout, Moments};

/// A kind of data. Numbers in a variant are its magnitudes.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
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
    /// Normal, with a mean and a deviation of each channel's own.
    ManyChannels,
    /// Zeros of both signs, and a few ones.
    Zeros,
    /// Constant but for a few elements.
    Nearly(f32, f32),
    /// Normal, with what a multiplication by zero would not remove.
    WithOdd,
    /// Any bit pattern: infinities, NaNs and subnormals too.
    AnyBits,
    /// Any bit pattern of a number.
    AnyFinite,
}

pub const KINDS: [Kind; 51] = [
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
    Kind::WithOdd,
    Kind::AnyBits,
    Kind::AnyFinite,
];

/// How the slices of a case are drawn.
#[derive(Clone, Copy, Debug)]
pub struct How {
    pub x: Kind,
    pub dy: Kind,
    /// Parameters and statistics of any bits, that no data need have.
    pub odd: bool,
    /// Which optional slots are there: a bit for each number.
    pub present: u32,
}

/// All optional slots but a residual.
pub const ALL: u32 = (1 << crate::call::RESIDUAL) - 1;

/// Ordinary data, and everything that may be left out is there.
pub const ORDINARY: How = How { x: Kind::Normal, dy: Kind::Normal, odd: false, present: ALL };

/// What the results hold before a call.
pub const UNWRITTEN: f32 = -7.0;

/// Draws all slices of a case.
pub fn draw<S: Subject>(case: &Case<S::Options>, how: &How, source: &mut Source<'_>) -> Arrays {
    let mut arrays = draw_unprepared::<S>(case, how, source);
    if !how.odd {
        S::prepare(case, &mut arrays);
    }
    arrays
}

/// The same, with inputs that do not follow from one another.
pub fn draw_unprepared<S: Subject>(
    case: &Case<S::Options>,
    how: &How,
    source: &mut Source<'_>,
) -> Arrays {
    let mut arrays = Arrays::new(S::SLOTS);
    for (place, slot) in S::SLOTS.iter().enumerate() {
        if slot.optional.is_none_or(|number| how.present >> number & 1 == 1) {
            *arrays.at_mut(place) = array(case, slot, how, source);
        }
    }
    arrays
}

fn array<O>(case: &Case<O>, slot: &Slot<O>, how: &How, source: &mut Source<'_>) -> Array {
    let len = (slot.len)(case);
    let nothing = matches!(slot.role, Role::Write | Role::Result);
    match slot.holds {
        Holds::Bytes => vec![0xC3_u8; len].into(),
        _ if nothing => vec![UNWRITTEN; len].into(),
        Holds::Moments => (0..len).map(|_| source.moments()).collect::<Vec<_>>().into(),
        // Of the layout's length, nearly always.
        Holds::Data => Array::from(source.fill(how.x, &case.layout)).resized(len),
        Holds::Gradient => Array::from(source.fill(how.dy, &case.layout)).resized(len),
        Holds::Any => source.normals(len).into(),
        Holds::Positive => source.variances(len).into(),
        _ if how.odd => source.odd_parameters(len).into(),
        Holds::Variance | Holds::SavedRstd => source.variances(len).into(),
        Holds::Gamma | Holds::Beta | Holds::Mean | Holds::SavedMean | Holds::Nothing => {
            source.normals(len).into()
        }
    }
}

impl Source<'_> {
    /// Moments of some values about 0.
    fn moments(&mut self) -> Moments {
        let n = self.bits() % 100;
        Moments::from_parts(n, self.normal().into(), n as f64 * self.unit())
    }

    /// Any small layout, often with a size of one, sometimes of none; and now and then a long one.
    pub fn layout(&mut self) -> Layout {
        const LIMITS: [[usize; 3]; 4] = [[6, 40, 12], [4, 3, 300], [300, 5, 2], [2, 2, 1500]];
        let [batch, channels, spatial] = self.choose(&LIMITS).map(|limit| self.below(limit));
        let spatial = if self.one_in(3) { 1 } else { spatial };
        if self.one_in(2) {
            Layout::channels_first(batch, channels, spatial)
        } else {
            Layout::channels_last(batch, spatial, channels)
        }
        .expect("small sizes are valid")
    }

    /// An eps of every kind that is valid.
    pub fn eps(&mut self) -> f64 {
        self.choose(&[1e-5, 0.0])
    }

    /// Evenly spread from `low` to `high`.
    pub fn uniforms(&mut self, count: usize, low: f64, high: f64) -> Vec<f32> {
        (0..count).map(|_| (low + (high - low) * self.unit()) as f32).collect()
    }

    /// mean + deviation·N(0, 1), clipped to the finite f32 values.
    pub fn spread(&mut self, count: usize, mean: f64, deviation: f64) -> Vec<f32> {
        let most = f64::from(f32::MAX);
        let mut value = || (mean + deviation * f64::from(self.normal())).clamp(-most, most) as f32;
        (0..count).map(|_| value()).collect()
    }

    /// Factors away from zero, of both signs.
    pub fn gammas(&mut self, count: usize) -> Vec<f32> {
        let sign = |i: usize| if i % 3 == 1 { -1.0 } else { 1.0 };
        (0..count).map(|i| (sign(i) * (0.5 + self.unit())) as f32).collect()
    }

    pub fn normals(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.normal()).collect()
    }

    /// For γ, β and given statistics: zeros, ordinary values, and any bits at all.
    pub fn odd_parameters(&mut self, count: usize) -> Vec<f32> {
        (0..count)
            .map(|_| match self.bits() % 8 {
                0 => 0.0,
                1 | 2 => self.normal(),
                _ => f32::from_bits(self.bits() as u32),
            })
            .collect()
    }

    /// For variances: positive, about 1, some of them 0.
    pub fn variances(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| (self.normal() + 1.0).max(0.0)).collect()
    }

    /// Values of a kind for every place of the layout.
    pub fn fill(&mut self, kind: Kind, layout: &Layout) -> Vec<f32> {
        if let Kind::Constant(value) = kind {
            return vec![value; layout.len()];
        }
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
                    x[shape(layout).index(sample, channel, position)] = self.value(kind, &at);
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
            Kind::ManyChannels => {
                let (mean, deviation) = (at.channel * 7 % 13, at.channel * 5 % 16 + 1);
                (mean as f32 - 6.0) * 0.75 + normal * deviation as f32 / 4.0
            }
            Kind::Zeros => [0.0, -0.0, 0.0, -0.0, 0.0, -0.0, 1.0][self.bits() as usize % 7],
            Kind::Nearly(value, other) => {
                if self.one_in(50) {
                    other
                } else {
                    value
                }
            }
            Kind::WithOdd => {
                let odd = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0, 1e-45, f32::MAX];
                if self.one_in(5) { self.choose(&odd) } else { normal }
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
