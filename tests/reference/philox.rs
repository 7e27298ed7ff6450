//! Section 13: Philox4x32-10 and how a key's words are numbered.

/// Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3" (2011).
pub fn philox4x32(mut c: [u32; 4], mut k: [u32; 2]) -> [u32; 4] {
    for round in 0..10 {
        if round > 0 {
            k = [k[0].wrapping_add(0x9E37_79B9), k[1].wrapping_add(0xBB67_AE85)];
        }
        let product0 = 0xD251_1F53_u64 * u64::from(c[0]);
        let product1 = 0xCD9E_8D57_u64 * u64::from(c[2]);
        c = [
            high(product1) ^ c[1] ^ k[0],
            low(product1),
            high(product0) ^ c[3] ^ k[1],
            low(product0),
        ];
    }
    c
}

pub fn low(value: u64) -> u32 {
    (value & 0xFFFF_FFFF) as u32
}

pub fn high(value: u64) -> u32 {
    (value >> 32) as u32
}

/// A seed and a stream below 2^62.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stream {
    pub seed: u64,
    pub stream: u64,
}

/// The top two bits of the counter's last word.
#[derive(Clone, Copy)]
pub enum Domain {
    Words = 0b00,
    Refinement = 0b10,
    FoldIn = 0b11,
}

impl Stream {
    pub fn block(self, domain: Domain, block: u64) -> [u32; 4] {
        let last = high(self.stream) | (domain as u32) << 30;
        let counter = [low(block), high(block), low(self.stream), last];
        philox4x32(counter, [low(self.seed), high(self.seed)])
    }

    /// Word `index` of the key.
    pub fn word(self, domain: Domain, index: u64) -> u32 {
        self.block(domain, index / 4)[(index % 4) as usize]
    }

    pub fn fold_in(self, data: u64) -> Self {
        let [r0, r1, r2, r3] = self.block(Domain::FoldIn, data).map(u64::from);
        Self { seed: r0 | r1 << 32, stream: (r2 | r3 << 32) % (1 << 62) }
    }
}
