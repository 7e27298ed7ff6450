//! Where everything that is drawn comes from.

/// Raw numbers: the fuzzer's bytes while there are any, then (or at once, from a seed) SplitMix64.
#[derive(Clone, Debug)]
pub struct Source<'a> {
    bytes: &'a [u8],
    state: u64,
}

impl<'a> Source<'a> {
    /// The same numbers for the same seed.
    pub const fn new(seed: usize) -> Self {
        Self::seeded(seed as u64)
    }

    /// The same, with a seed of 64 bits.
    pub const fn seeded(seed: u64) -> Self {
        Self { bytes: &[], state: seed }
    }

    /// The fuzzer's choices.
    pub const fn of(bytes: &'a [u8]) -> Self {
        Self { bytes, state: bytes.len() as u64 }
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        if let Some((first, rest)) = self.bytes.split_first_chunk() {
            self.bytes = rest;
            // What follows the last byte depends on all of them.
            self.state = self.state.rotate_left(7) ^ u64::from_le_bytes(*first);
            return u64::from_le_bytes(*first);
        }
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.state ^ (self.state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is small: the bias of the remainder does not matter.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.bits() % bound.max(1) as u64) as usize
    }

    /// One of some.
    pub fn choose<T: Copy>(&mut self, some: &[T]) -> T {
        some[self.below(some.len())]
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.bits().is_multiple_of(n)
    }

    /// Evenly spread in [0, 1).
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Nearly N(0, 1): a sum of twelve uniforms (two of each word). Box and Muller's form would need
    /// a logarithm and a cosine, whose last bits differ between platforms.
    pub fn normal(&mut self) -> f32 {
        let sum: u64 = (0..6).map(|_| self.bits()).map(|b| (b >> 32) + (b & 0xFFFF_FFFF)).sum();
        (sum as f64 / (1_u64 << 32) as f64 - 6.0) as f32
    }
}
