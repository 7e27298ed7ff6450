//! What only dropout has to answer for: decisions by index, and pieces of a tensor.

use evenkeel::{Backend, Dropout, Layout, Scaling, in_place};
use ops::draw::{How, Kind, ORDINARY};
use ops::dropout::{
    Backward, Forward, Infer, KEYS, Options, WriteMask, offsets, probabilities, stream,
};
use ops::reference::dropout::{inverted_scale, keep, threshold};
use ops::reference::philox::Domain;
use ops::{Case, Fused, Source};

use crate::guarded::assert_bits;
use crate::judge::check;

fn key(turn: usize) -> evenkeel::Key {
    let (seed, stream) = KEYS[turn % KEYS.len()];
    evenkeel::Key::with_stream(seed, stream).expect("a stream below 2^62")
}

/// A row of `length` elements.
fn case(length: usize, p: f64, offset: u64, turn: usize) -> Case<Options> {
    let scaling = [Scaling::Inverted, Scaling::AtInference][turn / 3 % 2];
    Case {
        layout: Layout::channels_first(1, 1, length).expect("a small layout"),
        options: Options { p, key: key(turn), offset, scaling },
        fused: Fused::default(),
    }
}

/// Values, gradients and the mask, of numbers with what a multiplication by zero would not remove.
fn check_all(case: &Case<Options>, turn: usize) {
    let how = How { x: Kind::WithOdd, ..ORDINARY };
    check::<Forward>(case, &how, turn);
    check::<Backward>(case, &how, turn);
    check::<WriteMask>(case, &how, turn);
}

#[test]
fn every_length() {
    for length in (0..=300).chain([1000, 1023, 1024, 1025, 4095, 4097, 20_000]) {
        for offset in [0, 3, 16, (1 << 36) - 37] {
            let turn = length + offset as usize % 16;
            check_all(&case(length, 0.3, offset, turn), turn);
        }
    }
}

#[test]
fn every_offset() {
    for (turn, p) in [0.3, 0.5, 1e-6].into_iter().enumerate() {
        for offset in offsets(300) {
            let turn = turn + offset as usize % 256;
            check_all(&case(300, p, offset, turn), turn);
        }
    }
}

#[test]
fn every_probability() {
    for p in probabilities() {
        for turn in 0..20 {
            check_all(&case(2000, p, turn as u64 * 1_000_003, turn), turn);
        }
    }
}

/// 16 times 16 starts of input and output within a vector.
#[test]
fn every_alignment() {
    for turn in 0..256 {
        check_all(&case(100, 0.3, turn as u64 % 17, turn), turn);
    }
}

#[test]
fn keep_is_the_decision() {
    for (turn, p) in probabilities().into_iter().enumerate() {
        let (threshold, key) = (threshold(p), key(turn));
        // The offset is not added: the index is absolute.
        let op = Dropout::new(p).expect("a probability").offset(12_345);
        for start in offsets(300) {
            for index in start..start + 100 {
                let expected = keep(threshold, stream(key), index);
                assert_eq!(op.keep(key, index), expected, "p {p}, index {index}");
            }
        }
        let expected = keep(threshold, stream(key), u64::MAX);
        assert_eq!(op.keep(key, u64::MAX), expected, "p {p}, the last index");
    }
}

/// Probabilities made for one element: its byte ties, and its refinement word is at, just above or
/// just below the threshold. T and half a step above it are exact in an f64.
#[test]
fn ties_are_decided_to_the_last_bit() {
    for turn in 0..200 {
        let stream = stream(key(turn));
        let index = turn as u64 * 37;
        let word = stream.block(Domain::Words, index / 16)[(index % 16 / 4) as usize];
        let byte = u64::from(word >> (8 * (index % 4)) & 255);
        let tie = byte << 32 | u64::from(stream.word(Domain::Refinement, index));
        let p = |threshold: f64| threshold / 2.0_f64.powi(40);
        let half_above = tie as f64 + 0.5;
        let decisions = [
            (p(tie as f64), true),
            (p(tie as f64 + 1.0), false),
            (p(half_above), false),
            (p(half_above.next_down()), true),
        ];
        for (p, kept) in decisions {
            assert_eq!(keep(threshold(p), stream, index), kept, "turn {turn}, p {p}");
            check_all(&case(41, p, index.saturating_sub(20), turn), turn);
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
            let case = case(17 * turn, p, 0, turn);
            let case = Case { options: Options { scaling, ..case.options }, ..case };
            check::<Infer>(&case, &How { x: Kind::WithOdd, ..ORDINARY }, turn);
        }
    }
}

/// A call may be split anywhere: each piece is told its offset.
#[test]
fn pieces_are_the_whole() {
    let mut source = Source::new(77);
    for turn in 0..100 {
        let case = case(1500, 0.3, source.bits() >> 2, turn);
        let Options { p, key, offset, scaling } = case.options;
        let x = Source::new(turn).fill(Kind::WithOdd, &case.layout);
        for backend in Backend::available() {
            let op = Dropout::new(p).expect("a probability").scaling(scaling).backend(backend);
            let mut whole = x.clone();
            op.offset(offset).forward(in_place(&mut whole), key).expect("a correct call");
            let mut pieces = x.clone();
            let (mut rest, mut offset) = (&mut pieces[..], offset);
            while !rest.is_empty() {
                let size = rest.len().min(source.bits() as usize % 200);
                let (piece, after) = rest.split_at_mut(size);
                op.offset(offset).forward(in_place(piece), key).expect("a correct call");
                (rest, offset) = (after, offset + size as u64);
            }
            assert_bits(&pieces, &whole, "y of the pieces", &case);
        }
    }
}
