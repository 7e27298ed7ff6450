//! Dropout: decisions, values and packed masks.

use evenkeel::{Backend, Dropout, Key, Scaling, apart, in_place};

use crate::data::Source;
use crate::guarded::{Guarded, assert_bits};
use crate::reference::dropout::{apply, infer, inverted_scale, keep, mask, threshold};
use crate::reference::philox::{Domain, Stream};

/// Every border of T = p·2^40: zero, below and at one half of a step, whole bytes (no refinement),
/// the last steps before 1.
fn probabilities() -> Vec<f64> {
    let step = 2.0_f64.powi(-40);
    vec![
        0.0,
        0.5_f64.next_down() * step,
        0.5 * step,
        step,
        1e-12,
        1e-6,
        1.0 / 256.0 - step,
        1.0 / 256.0,
        1.0 / 256.0 + step,
        0.1,
        0.25,
        0.3,
        0.5_f64.next_down(),
        0.5,
        0.9,
        255.0 / 256.0,
        0.999,
        1.0 - step,
        1.0 - 0.75 * step,
        1.0 - 0.5 * step,
        1.0_f64.next_down(),
        1.0,
    ]
}

#[derive(Clone, Copy, Debug)]
struct Case {
    p: f64,
    key: Stream,
    offset: u64,
    length: usize,
    scaling: Scaling,
    turn: usize,
}

const KEYS: [Stream; 5] = [
    Stream { seed: 0, stream: 0 },
    Stream { seed: 1, stream: 0 },
    Stream { seed: 0x0123_4567_89AB_CDEF, stream: 5 },
    Stream { seed: u64::MAX, stream: (1 << 62) - 1 },
    Stream { seed: 1 << 32, stream: 1 << 32 },
];

fn key(stream: Stream) -> Key {
    Key::with_stream(stream.seed, stream.stream).expect("a stream below 2^62")
}

impl Case {
    /// Normal values with what a multiplication by zero would not remove.
    fn values(&self) -> Vec<f32> {
        let mut source = Source::new(self.turn);
        let odd = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0, 1e-45, f32::MAX];
        let value = |i: usize| if i % 5 == 3 { odd[i / 5 % odd.len()] } else { source.normal() };
        (0..self.length).map(value).collect()
    }

    fn threshold(&self) -> u64 {
        threshold(self.p)
    }

    fn scale(&self) -> f32 {
        match self.scaling {
            Scaling::Inverted => inverted_scale(self.threshold()),
            Scaling::AtInference => 1.0,
        }
    }

    fn op(&self, backend: Backend) -> Dropout {
        Dropout::new(self.p)
            .expect("a probability")
            .scaling(self.scaling)
            .offset(self.offset)
            .backend(backend)
    }

    fn check(&self) {
        let x = self.values();
        let expected = apply(self.threshold(), self.scale(), self.key, self.offset, &x);
        let mask = mask(self.threshold(), self.key, self.offset, self.length);
        for backend in Backend::available() {
            self.check_values(backend, &x, &expected);
            self.check_mask(backend, &mask);
        }
    }

    fn check_values(&self, backend: Backend, x: &[f32], expected: &[f32]) {
        let context = (backend.name(), self);
        let op = self.op(backend);
        let (from, to) = (self.turn % 16, self.turn / 16 % 16);
        let x = Guarded::new(x, from);
        let mut y = Guarded::output(self.length, to);
        op.forward(apart(x.values(), y.inside()), key(self.key)).expect("a correct call");
        y.assert(expected, "y of forward", &context);

        let mut dx = Guarded::output(self.length, to);
        op.backward(apart(x.values(), dx.inside()), key(self.key)).expect("a correct call");
        dx.assert(expected, "dx of backward", &context);

        let mut z = Guarded::new(x.values(), to);
        op.forward(in_place(z.inside()), key(self.key)).expect("a correct call");
        z.assert(expected, "y of forward_in_place", &context);

        let mut z = Guarded::new(x.values(), to);
        op.backward(in_place(z.inside()), key(self.key)).expect("a correct call");
        z.assert(expected, "dx of backward_in_place", &context);
    }

    fn check_mask(&self, backend: Backend, expected: &[u8]) {
        let op = self.op(backend);
        let guard = self.turn % 16 + 1;
        let mut bytes = vec![0xA5; guard + expected.len() + 16];
        let slice = &mut bytes[guard..guard + expected.len()];
        op.write_mask(self.length, key(self.key), slice).expect("a correct call");
        assert_eq!(slice, expected, "mask: {} {self:?}", backend.name());
        let around = bytes[..guard].iter().chain(&bytes[guard + expected.len()..]);
        assert!(around.into_iter().all(|&byte| byte == 0xA5), "mask wrote outside: {self:?}");
    }
}

fn case(turn: usize) -> Case {
    Case {
        p: 0.3,
        key: KEYS[turn % KEYS.len()],
        offset: 0,
        length: 300,
        scaling: [Scaling::Inverted, Scaling::AtInference][turn / 3 % 2],
        turn,
    }
}

/// Offsets around a block of the bytes (16), of the refinement (4), of the carry into each one's
/// second counter word, and up to the end of the index.
fn offsets(length: usize) -> impl Iterator<Item = u64> {
    let far = [
        (1 << 32) - 5,
        (1 << 34) - 5,
        (1 << 36) - 5,
        (1 << 60) + 3,
        u64::MAX - length as u64,
        u64::MAX - length as u64 - 7,
    ];
    (0..=40).chain(far)
}

#[test]
fn every_length() {
    for length in (0..=300).chain([1000, 1023, 1024, 1025, 4095, 4097, 20_000]) {
        for offset in [0, 3, 16, (1 << 36) - 37] {
            Case { length, offset, ..case(length + offset as usize % 16) }.check();
        }
    }
}

#[test]
fn every_offset() {
    for (turn, p) in [0.3, 0.5, 1e-6].into_iter().enumerate() {
        for offset in offsets(300) {
            Case { p, offset, ..case(turn + offset as usize % 256) }.check();
        }
    }
}

#[test]
fn every_probability() {
    for p in probabilities() {
        for turn in 0..20 {
            Case { p, length: 2000, offset: turn as u64 * 1_000_003, ..case(turn) }.check();
        }
    }
}

/// 16 times 16 starts of input and output within a vector.
#[test]
fn every_alignment() {
    for turn in 0..256 {
        Case { length: 100, offset: turn as u64 % 17, ..case(turn) }.check();
    }
}

#[test]
fn keep_is_the_decision() {
    for (turn, p) in probabilities().into_iter().enumerate() {
        let (threshold, stream) = (threshold(p), KEYS[turn % KEYS.len()]);
        // The offset is not added: the index is absolute.
        let op = Dropout::new(p).expect("a probability").offset(12_345);
        for start in offsets(300) {
            for index in start..start + 100 {
                let expected = keep(threshold, stream, index);
                assert_eq!(op.keep(key(stream), index), expected, "p {p}, index {index}");
            }
        }
        let expected = keep(threshold, stream, u64::MAX);
        assert_eq!(op.keep(key(stream), u64::MAX), expected, "p {p}, the last index");
    }
}

/// Probabilities made for one element: its byte ties, and its refinement word is at, just above or
/// just below the threshold. T and half a step above it are exact in an f64.
#[test]
fn ties_are_decided_to_the_last_bit() {
    for turn in 0..200 {
        let case = case(turn);
        let index = case.offset + turn as u64 * 37;
        let word = case.key.block(Domain::Words, index / 16)[(index % 16 / 4) as usize];
        let byte = u64::from(word >> (8 * (index % 4)) & 255);
        let tie = byte << 32 | u64::from(case.key.word(Domain::Refinement, index));
        let p = |threshold: f64| threshold / 2.0_f64.powi(40);
        let half_above = tie as f64 + 0.5;
        let decisions = [
            (p(tie as f64), true),
            (p(tie as f64 + 1.0), false),
            (p(half_above), false),
            (p(half_above.next_down()), true),
        ];
        for (p, kept) in decisions {
            let around = Case { p, offset: index.saturating_sub(20), length: 41, ..case };
            assert_eq!(keep(threshold(p), case.key, index), kept, "{around:?}");
            around.check();
        }
    }
}

#[test]
fn scales() {
    for p in probabilities() {
        let op = Dropout::new(p).expect("a probability");
        assert_eq!(op.scale().to_bits(), inverted_scale(threshold(p)).to_bits(), "p {p}");
        let kept = op.scaling(Scaling::AtInference).scale();
        assert_eq!(kept.to_bits(), 1.0_f32.to_bits(), "p {p}");
    }
}

#[test]
fn inference() {
    for (turn, p) in probabilities().into_iter().enumerate() {
        for scaling in [Scaling::Inverted, Scaling::AtInference] {
            let case = Case { p, scaling, length: 17 * turn, ..case(turn) };
            let x = case.values();
            let expected = match scaling {
                Scaling::Inverted => x.clone(),
                Scaling::AtInference => infer(case.threshold(), &x),
            };
            for backend in Backend::available() {
                let context = (backend.name(), &case);
                let mut z = Guarded::new(&x, turn % 16);
                let mut y = Guarded::output(x.len(), 15 - turn % 16);
                let op = case.op(backend);
                op.infer(apart(z.values(), y.inside())).expect("a correct call");
                op.infer(in_place(z.inside())).expect("a correct call");
                y.assert(&expected, "y of infer", &context);
                z.assert(&expected, "y of infer_in_place", &context);
            }
        }
    }
}

/// A call may be split anywhere: each piece is told its offset.
#[test]
fn pieces_are_the_whole() {
    let mut source = Source::new(77);
    for turn in 0..100 {
        let case = Case { length: 1500, offset: source.bits() >> 2, ..case(turn) };
        let x = case.values();
        for backend in Backend::available() {
            let op = case.op(backend);
            let mut whole = x.clone();
            op.forward(in_place(&mut whole), key(case.key)).expect("a correct call");
            let mut pieces = x.clone();
            let (mut rest, mut offset) = (&mut pieces[..], case.offset);
            while !rest.is_empty() {
                let size = rest.len().min(source.bits() as usize % 200);
                let (piece, after) = rest.split_at_mut(size);
                op.offset(offset).forward(in_place(piece), key(case.key)).expect("a correct call");
                (rest, offset) = (after, offset + size as u64);
            }
            assert_bits(&pieces, &whole, "y of the pieces", &case);
        }
    }
}
