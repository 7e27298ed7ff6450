//! Slices at chosen offsets of a larger buffer, whose surroundings must stay as they are, and the
//! comparison of bits.

use std::fmt::Debug;

use evenkeel::Moments;
use ops::arrays::bits;
use ops::{Arg, Array};

/// More than the widest vector on either side.
const MARGIN: usize = 32;

/// A slice in a buffer with canaries around it.
pub(crate) struct Guarded {
    buffer: Array,
    start: usize,
    length: usize,
}

/// Not a value that any kernel writes.
const CANARY: f32 = f32::from_bits(0x5EA5_1DE5);
const CANARY_BYTE: u8 = 0xA5;

fn canary_moments() -> Moments {
    Moments::from_parts(77, 0.125, 1e33)
}

impl Guarded {
    /// A copy of `contents` that starts `offset` elements past a multiple of 64 bytes (f32).
    pub(crate) fn new(contents: &Array, offset: usize) -> Self {
        let length = contents.len();
        let all = MARGIN + 16 + offset + length + MARGIN;
        let start = MARGIN + 16 + offset;
        let inside = start..start + length;
        match contents {
            Array::Absent => Self { buffer: Array::Absent, start: 0, length: 0 },
            Array::F32(contents) => {
                let mut buffer = vec![CANARY; all];
                let misaligned = buffer.as_ptr().addr() / size_of::<f32>() % 16;
                let start = start - misaligned;
                buffer[start..start + length].copy_from_slice(contents);
                Self { buffer: buffer.into(), start, length }
            }
            Array::Moments(contents) => {
                let mut buffer = vec![canary_moments(); all];
                buffer[inside].copy_from_slice(contents);
                Self { buffer: buffer.into(), start, length }
            }
            Array::Bytes(contents) => {
                let mut buffer = vec![CANARY_BYTE; all];
                buffer[inside].copy_from_slice(contents);
                Self { buffer: buffer.into(), start, length }
            }
        }
    }

    pub(crate) fn of(contents: &[f32], offset: usize) -> Self {
        Self::new(&contents.to_vec().into(), offset)
    }

    pub(crate) fn arg(&mut self) -> Arg<'_> {
        let inside = self.start..self.start + self.length;
        match &mut self.buffer {
            Array::Absent => Arg::Absent,
            Array::F32(buffer) => Arg::F32(&mut buffer[inside]),
            Array::Moments(buffer) => Arg::Moments(&mut buffer[inside]),
            Array::Bytes(buffer) => Arg::Bytes(&mut buffer[inside]),
        }
    }

    pub(crate) fn inside(&mut self) -> &mut [f32] {
        self.arg().f32()
    }

    /// The contents are `expected`, and nothing around them was written.
    #[track_caller]
    pub(crate) fn assert(&self, expected: &Array, what: &str, context: &impl Debug) {
        let (start, end) = (self.start, self.start + self.length);
        let intact = match (&self.buffer, expected) {
            (Array::F32(buffer), Array::F32(expected)) => {
                assert_bits(&buffer[start..end], expected, what, context);
                let around = buffer[..start].iter().chain(&buffer[end..]);
                around.into_iter().all(|v| v.to_bits() == CANARY.to_bits())
            }
            (Array::Bytes(buffer), Array::Bytes(expected)) => {
                assert_eq!(buffer[start..end], expected[..], "{what}: {context:?}");
                buffer[..start].iter().chain(&buffer[end..]).all(|&v| v == CANARY_BYTE)
            }
            (Array::Moments(buffer), Array::Moments(expected)) => {
                assert_moments(&buffer[start..end], expected, what, context);
                buffer[..start].iter().chain(&buffer[end..]).all(|&v| v == canary_moments())
            }
            (found, expected) => panic!("{what} is {found:?}, not {expected:?}: {context:?}"),
        };
        assert!(intact, "{what} wrote outside its slice: {context:?}");
    }
}

/// Bit for bit, all NaNs being one: the sign and the payload of a NaN are outside the contract.
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
fn assert_moments(actual: &[Moments], expected: &[Moments], what: &str, context: &impl Debug) {
    assert_eq!(actual.len(), expected.len(), "length of {what}: {context:?}");
    for (i, (actual, expected)) in actual.iter().zip(expected).enumerate() {
        let context = &(what, i, context);
        assert_eq!(actual.count(), expected.count(), "count: {context:?}");
        assert_same_f64(actual.mean(), expected.mean(), "mean", context);
        assert_same_f64(actual.m2(), expected.m2(), "m2", context);
    }
}

#[track_caller]
pub(crate) fn assert_same_f64(actual: f64, expected: f64, what: &str, context: &impl Debug) {
    let same = actual.to_bits() == expected.to_bits() || (actual.is_nan() && expected.is_nan());
    assert!(same, "{what} is {actual:e}, the contract says {expected:e}: {context:?}");
}
