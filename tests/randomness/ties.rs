//! Elements whose byte ties with the threshold, one in 256: a word of 32 bits decides them.

use crate::chi::{Chi, accept_all};
use crate::mask;
use evenkeel::{Fill, Key, Philox};
use rand_core::Rng as _;

/// Numbers of 64 elements at a time.
const NUMBERS: usize = 1 << 14;
/// Elements at a time, 2^20.
const ELEMENTS: usize = NUMBERS * mask::BITS;
/// How often.
const PARTS: u64 = 32;
/// Words of a block, of which each decides every fourth tie.
const WORDS: usize = 4;

const KEY: Key = Key::new(0x00C0_FFEE);

/// The threshold p·2^40 as docs/NUMERICS.md has it: the byte that ties, and the word's threshold.
fn threshold(p: f64) -> (u8, u32) {
    let t = (p * 2.0_f64.powi(40)).round() as u64;
    ((t >> 32) as u8, t as u32)
}

/// What there is to know of one tied element.
struct Tie {
    element: usize,
    is_dropped: bool,
}

/// One part of the elements: their bytes, and those that tie.
struct Part {
    bytes: Vec<u8>,
    ties: Vec<Tie>,
}

impl Part {
    /// Where bytes do not tie, they have decided; not one exception.
    fn new(p: f64, number: u64) -> Self {
        let (limit, _) = threshold(p);
        let offset = number * ELEMENTS as u64;
        let kept = mask::kept(mask::dropout(p), KEY, offset, NUMBERS);
        let bytes = bytes(offset);
        let mut ties = Vec::new();
        for (element, &byte) in bytes.iter().enumerate() {
            let is_dropped = kept[element / mask::BITS] >> (element % mask::BITS) & 1 == 0;
            if byte == limit {
                ties.push(Tie { element, is_dropped });
            } else {
                assert_eq!(is_dropped, byte < limit, "p = {p}, byte {byte}");
            }
        }
        Self { bytes, ties }
    }
}

/// The bytes that decide, from an element on.
fn bytes(offset: u64) -> Vec<u8> {
    let mut words = Philox::new(KEY);
    words.set_word_pos(u128::from(offset / WORDS as u64));
    let mut bytes = vec![0; ELEMENTS];
    words.fill_bytes(&mut bytes);
    bytes
}

/// Ties and dropped ones among them, for each word of a block.
fn counts(p: f64) -> [[u64; 2]; WORDS] {
    let mut counts = [[0; 2]; WORDS];
    for part in (0..PARTS).map(|number| Part::new(p, number)) {
        for tie in part.ties {
            let [ties, dropped] = &mut counts[tie.element % WORDS];
            *ties += 1;
            *dropped += u64::from(tie.is_dropped);
        }
    }
    counts
}

fn rates(counts: &[[u64; 2]; WORDS], p: f64) -> Vec<Chi> {
    counts.iter().map(|&[ties, dropped]| Chi::binomial(dropped, ties, p)).collect()
}

/// Of the ties 1/5, 4/5, 1/3, 1/2 and, for 1e-6, one in 3906 are dropped.
#[test]
fn ties_are_dropped_as_often_as_p_asks() {
    let third = 1.0 / 256.0 + 1.0 / 3.0 / 256.0;
    for p in [25.2 / 256.0, 0.3, third, HALF, 1e-6, 0.999_999] {
        let counts = counts(p);
        let ties =
            counts.map(|[ties, _]| Chi::binomial(ties, PARTS * ELEMENTS as u64 / 4, 1.0 / 256.0));
        accept_all(&format!("ties of p = {p}"), &ties);
        let rate = f64::from(threshold(p).1) / 2.0_f64.powi(32);
        accept_all(&format!("{rate:.4} of the ties of p = {p}"), &rates(&counts, rate));
    }
}

/// Where nothing is left to refine, a tie is kept.
#[test]
fn ties_are_kept_where_p_is_a_number_of_bytes() {
    for p in [0.5, 0.25, 3.0 / 256.0] {
        assert!(counts(p).iter().all(|&[ties, dropped]| ties > 0 && dropped == 0), "{p}");
    }
}

/// Control: ties that are dropped a hundredth more often than p asks, and a coin in place of 4/5.
#[test]
fn ties_that_are_dropped_too_often_are_noticed() {
    let counts = counts(0.3);
    for wrong in [0.8 / 1.01, 0.5] {
        rates(&counts, wrong).into_iter().sum::<Chi>().reject("a rate of ties");
    }
}

/// Two events of ties, counted: the tie is dropped, and something else.
#[derive(Clone, Copy, Default)]
struct Joint {
    dropped: u64,
    other: u64,
    both: u64,
    ties: u64,
}

impl Joint {
    fn add(&mut self, is_dropped: bool, other: bool) {
        self.dropped += u64::from(is_dropped);
        self.other += u64::from(other);
        self.both += u64::from(is_dropped && other);
        self.ties += 1;
    }

    fn chi(self) -> Chi {
        Chi::joint(self.dropped, self.other, self.both, self.ties)
    }
}

/// Half of the ties are dropped here, by the first bit of their word.
const HALF: f64 = 77.5 / 256.0;

/// The refinement word of element i and word i of the bytes come of counters that differ in one bit.
#[test]
fn refinement_is_independent_of_the_word_of_the_same_number() {
    let mut bits = [Joint::default(); 32];
    let mut words = vec![0; ELEMENTS];
    for number in 0..PARTS {
        Fill::new(KEY).offset(number * ELEMENTS as u64).words(&mut words).unwrap();
        for tie in Part::new(HALF, number).ties {
            for (bit, joint) in bits.iter_mut().enumerate() {
                joint.add(tie.is_dropped, words[tie.element] >> bit & 1 == 1);
            }
        }
    }
    accept_all("refinement and words", &bits.map(Joint::chi));
}

/// And of the bytes around it, in its own block and in others.
#[test]
fn refinement_is_independent_of_bytes_nearby() {
    const LAGS: [usize; 9] = [1, 2, 3, 4, 5, 12, 15, 16, 64];
    let mut bits = [[Joint::default(); 8]; LAGS.len()];
    let mut control = Joint::default();
    for Part { bytes, ties } in (0..PARTS).map(|number| Part::new(HALF, number)) {
        for (tie, count) in ties.iter().zip(0_u64..) {
            for (lag, joints) in LAGS.into_iter().zip(&mut bits) {
                let Some(byte) = bytes.get(tie.element + lag) else { continue };
                for (bit, joint) in joints.iter_mut().enumerate() {
                    joint.add(tie.is_dropped, byte >> bit & 1 == 1);
                }
            }
            // One tie in 50 is decided by the byte itself, which a tie has in common with all.
            let byte = bytes.get(tie.element + 1).is_some_and(|byte| byte >> 7 == 1);
            control.add(if count % 50 == 0 { byte } else { tie.is_dropped }, byte);
        }
    }
    accept_all("refinement and bytes", bits.map(|joints| joints.map(Joint::chi)).as_flattened());
    control.chi().reject("one tie in 50 decided by the next byte");
}
