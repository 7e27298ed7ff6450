//! Slices at chosen offsets of a larger buffer, whose surroundings must stay as they are, and the
//! comparison of bits.

use std::fmt::Debug;

/// More than the widest vector on either side.
const MARGIN: usize = 32;

/// Not a value that any kernel writes.
const CANARY: f32 = f32::from_bits(0x5EA5_1DE5);

/// A slice in a buffer with canaries around it.
pub(crate) struct Guarded {
    buffer: Vec<f32>,
    start: usize,
    length: usize,
}

impl Guarded {
    /// A copy of `contents` that starts `offset` elements past a multiple of 64 bytes.
    pub(crate) fn new(contents: &[f32], offset: usize) -> Self {
        let buffer = vec![CANARY; MARGIN + 16 + offset + contents.len() + MARGIN];
        let misaligned = buffer.as_ptr().addr() / size_of::<f32>() % 16;
        let start = MARGIN + (16 - misaligned) + offset;
        let mut guarded = Self { buffer, start, length: contents.len() };
        guarded.inside().copy_from_slice(contents);
        guarded
    }

    /// An output slice, filled with what no test expects.
    pub(crate) fn output(length: usize, offset: usize) -> Self {
        Self::new(&vec![CANARY; length], offset)
    }

    pub(crate) fn inside(&mut self) -> &mut [f32] {
        &mut self.buffer[self.start..self.start + self.length]
    }

    pub(crate) fn values(&self) -> &[f32] {
        &self.buffer[self.start..self.start + self.length]
    }

    /// The contents are `expected`, and nothing around them was written.
    #[track_caller]
    pub(crate) fn assert(&self, expected: &[f32], what: &str, context: &impl Debug) {
        assert_bits(self.values(), expected, what, context);
        let (before, after) =
            (&self.buffer[..self.start], &self.buffer[self.start + self.length..]);
        let intact = before.iter().chain(after).all(|v| v.to_bits() == CANARY.to_bits());
        assert!(intact, "{what} wrote outside its slice: {context:?}");
    }
}

/// The sign and the payload of a NaN are outside the contract.
fn bits(value: f32) -> u32 {
    if value.is_nan() { f32::NAN.to_bits() } else { value.to_bits() }
}

#[track_caller]
pub(crate) fn assert_bits(actual: &[f32], expected: &[f32], what: &str, context: &impl Debug) {
    assert_eq!(actual.len(), expected.len(), "length of {what}: {context:?}");
    let differs = |i: &usize| bits(actual[*i]) != bits(expected[*i]);
    if let Some(i) = (0..actual.len()).find(differs) {
        let count = (0..actual.len()).filter(differs).count();
        let (found, wanted) = (actual[i], expected[i]);
        panic!(
            "{what}[{i}] is {found:e} ({:08x}), the contract says {wanted:e} ({:08x}); \
             {count} of {} differ: {context:?}",
            found.to_bits(),
            wanted.to_bits(),
            actual.len(),
        );
    }
}

#[track_caller]
pub(crate) fn assert_same_f64(actual: f64, expected: f64, what: &str, context: &impl Debug) {
    let same = actual.to_bits() == expected.to_bits() || (actual.is_nan() && expected.is_nan());
    assert!(same, "{what} is {actual:e}, the contract says {expected:e}: {context:?}");
}
