//! Masks as bits, 64 elements a number.

use evenkeel::{Dropout, Key};

/// Elements of one number.
pub(crate) const BITS: usize = 64;

pub(crate) fn dropout(p: f64) -> Dropout {
    Dropout::new(p).expect("p is a probability")
}

/// What a key keeps of `numbers`·64 elements from `offset` on: a set bit is a kept element.
pub(crate) fn kept(dropout: Dropout, key: Key, offset: u64, numbers: usize) -> Vec<u64> {
    let mut bytes = vec![0; numbers * BITS / 8];
    dropout.offset(offset).write_mask(numbers * BITS, key, &mut bytes).expect("the mask fits");
    bytes.as_chunks().0.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect()
}

/// The same of probability `p`, from the first element on.
pub(crate) fn of(p: f64, key: Key, numbers: usize) -> Vec<u64> {
    kept(dropout(p), key, 0, numbers)
}

/// How many bits are set.
pub(crate) fn ones(mask: impl Iterator<Item = u64>) -> u64 {
    mask.map(|number| u64::from(number.count_ones())).sum()
}

/// A mask from element `lag` on; as many numbers less as it takes.
pub(crate) fn shifted(mask: &[u64], lag: usize) -> impl Iterator<Item = u64> + Clone + '_ {
    let (skip, bits) = (lag / BITS, lag % BITS);
    // Shifted twice, so that nothing is shifted by all 64 bits.
    let join = move |pair: &[u64]| pair[0] >> bits | pair[1] << 1 << (BITS - 1 - bits);
    mask[skip..].windows(2).map(join)
}

#[test]
fn a_mask_is_shifted_by_elements() {
    let mask = of(0.5, Key::new(1), 8);
    let bit = |i: usize| mask[i / BITS] >> (i % BITS) & 1;
    for lag in [0, 1, 15, 63, 64, 65, 128, 200] {
        for (j, number) in shifted(&mask, lag).enumerate() {
            for i in 0..BITS {
                assert_eq!(number >> i & 1, bit(j * BITS + i + lag), "{lag} {j} {i}");
            }
        }
    }
}
