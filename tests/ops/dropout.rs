//! Dropout: forward, backward, inference, and the packed mask.

use crate::call::{Args, Case, Holds, Op, Role, Slot, decorated, elements};
use evenkeel::{Backend, Dropout, Error, Key, Scaling};

#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub p: f64,
    pub key: Key,
    pub offset: u64,
    pub scaling: Scaling,
}

fn op(case: &Case<Options>, backend: Backend) -> Result<Dropout, Error> {
    let Options { p, offset, scaling, .. } = case.options;
    Ok(Dropout::new(p)?.scaling(scaling).offset(offset).backend(backend))
}

pub struct Forward;

impl Op for Forward {
    const NAME: &'static str = "Dropout::forward";
    type Options = Options;
    const SLOTS: &'static [Slot<Options>] = &[Slot::x().unchecked(), Slot::y(), Slot::residual()];

    fn call(case: &Case<Options>, backend: Backend, args: Args<'_>) -> Result<(), Error> {
        let [x, y, residual, ..] = args;
        op(case, backend)?.forward(decorated(case, x, y, residual), case.options.key)
    }
}

pub struct Backward;

impl Op for Backward {
    const NAME: &'static str = "Dropout::backward";
    type Options = Options;
    const SLOTS: &'static [Slot<Options>] = &[
        Slot::read("dy", Holds::Data, elements).unchecked(),
        Slot::result("dx", elements),
        Slot::residual(),
    ];

    fn call(case: &Case<Options>, backend: Backend, args: Args<'_>) -> Result<(), Error> {
        let [dy, dx, residual, ..] = args;
        op(case, backend)?.backward(decorated(case, dy, dx, residual), case.options.key)
    }
}

pub struct Infer;

impl Op for Infer {
    const NAME: &'static str = "Dropout::infer";
    type Options = Options;
    const SLOTS: &'static [Slot<Options>] = &[Slot::x().unchecked(), Slot::y(), Slot::residual()];

    fn call(case: &Case<Options>, backend: Backend, args: Args<'_>) -> Result<(), Error> {
        let [x, y, residual, ..] = args;
        op(case, backend)?.infer(decorated(case, x, y, residual))
    }
}

pub struct WriteMask;

fn mask_bytes(case: &Case<Options>) -> usize {
    case.layout.len().div_ceil(8)
}

impl Op for WriteMask {
    const NAME: &'static str = "Dropout::write_mask";
    type Options = Options;
    const SLOTS: &'static [Slot<Options>] =
        &[Slot { role: Role::Write, ..Slot::read("mask", Holds::Bytes, mask_bytes) }];

    fn call(case: &Case<Options>, backend: Backend, args: Args<'_>) -> Result<(), Error> {
        let [mask, ..] = args;
        op(case, backend)?.write_mask(case.layout.len(), case.options.key, mask.bytes())
    }
}

#[cfg(feature = "judges")]
pub use judged::{KEYS, offsets, past, probabilities, stream};

#[cfg(feature = "judges")]
mod judged {
    use super::{Backward, Forward, Infer, Options, WriteMask};
    use crate::call::Case;
    use crate::oracle::within_f32;
    use crate::reference::dropout as reference;
    use crate::reference::philox::Stream;
    use crate::subject::{Expected, Limits, Subject};
    use crate::{Arrays, Source};
    use evenkeel::{Error, Key, Layout, Scaling};

    /// Every border of T = p·2^40: zero, below and at one half of a step, whole bytes (no
    /// refinement), the last steps before 1.
    pub fn probabilities() -> Vec<f64> {
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

    pub const KEYS: [(u64, u64); 5] =
        [(0, 0), (1, 0), (0x0123_4567_89AB_CDEF, 5), (u64::MAX, (1 << 62) - 1), (1 << 32, 1 << 32)];

    /// Offsets around a block of the bytes (16), of the refinement (4), of the carry into each
    /// one's second counter word, and up to the end of the index.
    pub fn offsets(length: usize) -> impl Iterator<Item = u64> {
        let far = [
            (1 << 32) - 5,
            (1 << 34) - 5,
            (1 << 36) - 5,
            (1 << 60) + 3,
            // The last element has the last number.
            (u64::MAX - length as u64).saturating_add(1),
            u64::MAX - length as u64 - 7,
        ];
        (0..=40).chain(far)
    }

    /// Offsets with which the last of some elements has no number.
    pub fn past(length: usize) -> impl Iterator<Item = u64> {
        let least = (u64::MAX - length as u64).saturating_add(2);
        [least, least.saturating_add(1), u64::MAX].into_iter().filter(move |_| length > 1)
    }

    /// The key as the reference has it.
    pub fn stream(key: Key) -> Stream {
        Stream { seed: key.seed(), stream: key.stream() }
    }

    impl Options {
        fn drawn(layout: &Layout, source: &mut Source<'_>) -> Self {
            let (seed, stream) = source.choose(&KEYS);
            let far: Vec<u64> = offsets(layout.len()).collect();
            Self {
                p: source.choose(&probabilities()),
                key: Key::with_stream(seed, stream).expect("a stream below 2^62"),
                offset: source.choose(&far),
                scaling: source.choose(&[Scaling::Inverted, Scaling::AtInference]),
            }
        }

        /// Wrong probabilities, and offsets that overflow.
        fn refused(layout: &Layout, draws: bool) -> Vec<(Self, Error)> {
            let good = Self { p: 0.5, ..Self::drawn(layout, &mut Source::new(0)) };
            let bad = [f64::NAN, -0.1, 1.1, -f64::MIN_POSITIVE, 1.0 + f64::EPSILON, f64::INFINITY];
            let bad = bad.map(|p| (Self { p, ..good }, Error::Probability { found: p }));
            let far = past(layout.len()).map(|offset| (Self { offset, ..good }, Error::TooLarge));
            bad.into_iter().chain(far.filter(|_| draws)).collect()
        }

        fn threshold(&self) -> u64 {
            reference::threshold(self.p)
        }

        fn scale(&self) -> f32 {
            match self.scaling {
                Scaling::Inverted => reference::inverted_scale(self.threshold()),
                Scaling::AtInference => 1.0,
            }
        }

        fn dropped(&self, x: &[f32]) -> Vec<f32> {
            reference::apply(self.threshold(), self.scale(), stream(self.key), self.offset, x)
        }

        /// The scale in f64, from p itself; and decisions, of which only one way is known.
        fn oracle(&self, from: &'static str, to: &'static str, arrays: &Arrays) -> Vec<Expected> {
            let steps = 2.0_f64.powi(40);
            let scale = match self.scaling {
                Scaling::Inverted if self.threshold() < 1 << 40 => {
                    1.0 / (1.0 - (self.p * steps).round() / steps)
                }
                _ => 1.0,
            };
            let keep = |i: usize| {
                reference::keep(self.threshold(), stream(self.key), self.offset + i as u64)
            };
            let x = arrays.f32(from).iter().enumerate();
            let y = x.map(|(i, &x)| if keep(i) { f64::from(x) * scale } else { 0.0 });
            vec![Expected::new(to, y.map(within_f32).map(|y| (y, y)))]
        }
    }

    /// One rounding of the scale, one of the product.
    const LIMIT: Limits = [1.5; 17];

    impl Subject for Forward {
        const LIMITS: &'static [(&'static str, Limits)] = &[("y", LIMIT)];
        const BY_PLACE: bool = true;

        fn options(layout: &Layout, source: &mut Source<'_>) -> Options {
            Options::drawn(layout, source)
        }

        fn refused(layout: &Layout) -> Vec<(Options, Error)> {
            Options::refused(layout, true)
        }

        fn reference(case: &Case<Options>, arrays: &mut Arrays) {
            arrays.write("y", case.options.dropped(arrays.f32("x")));
        }

        fn oracle(case: &Case<Options>, arrays: &Arrays) -> Vec<Expected> {
            case.options.oracle("x", "y", arrays)
        }
    }

    impl Subject for Backward {
        const LIMITS: &'static [(&'static str, Limits)] = &[("dx", LIMIT)];
        const BY_PLACE: bool = true;

        fn options(layout: &Layout, source: &mut Source<'_>) -> Options {
            Options::drawn(layout, source)
        }

        fn refused(layout: &Layout) -> Vec<(Options, Error)> {
            Options::refused(layout, true)
        }

        fn reference(case: &Case<Options>, arrays: &mut Arrays) {
            arrays.write("dx", case.options.dropped(arrays.f32("dy")));
        }

        fn oracle(case: &Case<Options>, arrays: &Arrays) -> Vec<Expected> {
            case.options.oracle("dy", "dx", arrays)
        }
    }

    impl Subject for Infer {
        const LIMITS: &'static [(&'static str, Limits)] = &[("y", LIMIT)];

        fn options(layout: &Layout, source: &mut Source<'_>) -> Options {
            Options::drawn(layout, source)
        }

        fn refused(layout: &Layout) -> Vec<(Options, Error)> {
            // Inference draws nothing.
            Options::refused(layout, false)
        }

        fn reference(case: &Case<Options>, arrays: &mut Arrays) {
            let y = match case.options.scaling {
                Scaling::Inverted => arrays.f32("x").to_vec(),
                Scaling::AtInference => reference::infer(case.options.threshold(), arrays.f32("x")),
            };
            arrays.write("y", y);
        }

        fn oracle(case: &Case<Options>, arrays: &Arrays) -> Vec<Expected> {
            let steps = 2.0_f64.powi(40);
            let factor = match case.options.scaling {
                Scaling::Inverted => 1.0,
                Scaling::AtInference => 1.0 - (case.options.p * steps).round() / steps,
            };
            let y = arrays.f32("x").iter().map(|&x| f64::from(x) * factor);
            vec![Expected::new("y", y.map(|y| (y, y)))]
        }
    }

    impl Subject for WriteMask {
        const LIMITS: &'static [(&'static str, Limits)] = &[];
        const BY_PLACE: bool = true;

        fn options(layout: &Layout, source: &mut Source<'_>) -> Options {
            Options::drawn(layout, source)
        }

        fn refused(layout: &Layout) -> Vec<(Options, Error)> {
            Options::refused(layout, true)
        }

        fn reference(case: &Case<Options>, arrays: &mut Arrays) {
            let Options { key, offset, .. } = case.options;
            let (threshold, len) = (case.options.threshold(), case.layout.len());
            arrays.write("mask", reference::mask(threshold, stream(key), offset, len));
        }

        fn oracle(_: &Case<Options>, _: &Arrays) -> Vec<Expected> {
            Vec::new()
        }
    }
}
