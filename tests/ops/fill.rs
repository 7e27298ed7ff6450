//! Random numbers: filled in, and multiplied by (Gaussian dropout).

use crate::call::{Args, Case, Holds, Op, Slot, decorated, elements};
use evenkeel::{Backend, Error, Fill, GaussianDropout, Key};

#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Low and high, or mean and deviation.
    pub parameters: [f32; 2],
    pub key: Key,
    pub offset: u64,
}

fn fill(case: &Case<Options>, backend: Backend) -> Fill {
    Fill::new(case.options.key).offset(case.options.offset).backend(backend)
}

const OUT: &[Slot<Options>] = &[Slot::write("out", elements).unchecked()];

pub struct Uniform;

impl Op for Uniform {
    const NAME: &'static str = "Fill::uniform";
    type Options = Options;
    const SLOTS: &'static [Slot<Options>] = OUT;

    fn call(case: &Case<Options>, backend: Backend, args: Args<'_>) -> Result<(), Error> {
        let ([out, ..], [low, high]) = (args, case.options.parameters);
        fill(case, backend).uniform(out.f32(), low, high)
    }
}

pub struct Normal;

impl Op for Normal {
    const NAME: &'static str = "Fill::normal";
    type Options = Options;
    const SLOTS: &'static [Slot<Options>] = OUT;

    fn call(case: &Case<Options>, backend: Backend, args: Args<'_>) -> Result<(), Error> {
        let ([out, ..], [mean, deviation]) = (args, case.options.parameters);
        fill(case, backend).normal(out.f32(), mean, deviation)
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Drop {
    pub p: f64,
    pub key: Key,
    pub offset: u64,
}

fn dropout(case: &Case<Drop>, backend: Backend) -> Result<GaussianDropout, Error> {
    Ok(GaussianDropout::new(case.options.p)?.offset(case.options.offset).backend(backend))
}

pub struct Forward;

impl Op for Forward {
    const NAME: &'static str = "GaussianDropout::forward";
    type Options = Drop;
    const SLOTS: &'static [Slot<Drop>] = &[Slot::x().unchecked(), Slot::y(), Slot::residual()];

    fn call(case: &Case<Drop>, backend: Backend, args: Args<'_>) -> Result<(), Error> {
        let [x, y, residual, ..] = args;
        dropout(case, backend)?.forward(decorated(case, x, y, residual), case.options.key)
    }
}

pub struct Backward;

impl Op for Backward {
    const NAME: &'static str = "GaussianDropout::backward";
    type Options = Drop;
    const SLOTS: &'static [Slot<Drop>] = &[
        Slot::read("dy", Holds::Data, elements).unchecked(),
        Slot::result("dx", elements),
        Slot::residual(),
    ];

    fn call(case: &Case<Drop>, backend: Backend, args: Args<'_>) -> Result<(), Error> {
        let [dy, dx, residual, ..] = args;
        dropout(case, backend)?.backward(decorated(case, dy, dx, residual), case.options.key)
    }
}

#[cfg(feature = "judges")]
mod judged {
    use super::{Backward, Drop, Forward, Normal, Options, Uniform};
    use crate::call::Case;
    use crate::dropout::{KEYS, offsets, past, stream};
    use crate::oracle::within_f32;
    use crate::reference::numbers as reference;
    use crate::subject::{Expected, Limits, Subject};
    use crate::{Arrays, Source};
    use evenkeel::{Error, Key, Layout};

    fn key_and_offset(layout: &Layout, source: &mut Source<'_>) -> (Key, u64) {
        let (seed, stream) = source.choose(&KEYS);
        let far: Vec<u64> = offsets(layout.len()).collect();
        let key = Key::with_stream(seed, stream).expect("a stream below 2^62");
        (key, source.choose(&far))
    }

    impl Options {
        fn drawn(layout: &Layout, source: &mut Source<'_>, choices: &[[f32; 2]]) -> Self {
            let (key, offset) = key_and_offset(layout, source);
            Self { parameters: source.choose(choices), key, offset }
        }

        fn refused(layout: &Layout, bad: Vec<([f32; 2], Error)>) -> Vec<(Self, Error)> {
            let good = Self::drawn(layout, &mut Source::new(0), &[[0.0, 1.0]]);
            let bad = bad.into_iter().map(|(parameters, e)| (Self { parameters, ..good }, e));
            let far = past(layout.len());
            bad.chain(far.map(|offset| (Self { offset, ..good }, Error::TooLarge))).collect()
        }

        fn words(&self, layout: &Layout) -> impl Iterator<Item = u32> + use<> {
            let (stream, offset) = (stream(self.key), self.offset);
            (0..layout.len()).map(move |i| reference::word(stream, offset + i as u64))
        }
    }

    impl Drop {
        fn drawn(layout: &Layout, source: &mut Source<'_>) -> Self {
            let (key, offset) = key_and_offset(layout, source);
            let p = source.choose(&[0.0, 1e-12, 0.1, 0.3, 0.5, 0.9, 1.0 - 1e-9]);
            Self { p, key, offset }
        }

        fn refused(layout: &Layout) -> Vec<(Self, Error)> {
            let good = Self { p: 0.5, ..Self::drawn(layout, &mut Source::new(0)) };
            let bad = [f64::NAN, -0.1, 1.0, 1.1, f64::INFINITY];
            let bad = bad.map(|p| (Self { p, ..good }, Error::Probability { found: p }));
            let far = past(layout.len());
            let far = far.map(|offset| (Self { offset, ..good }, Error::TooLarge));
            bad.into_iter().chain(far).collect()
        }

        fn multiplied(&self, layout: &Layout, x: &[f32]) -> Vec<f32> {
            let deviation = (self.p / (1.0 - self.p)).sqrt() as f32;
            let factor = |i: usize| {
                let word = reference::word(stream(self.key), self.offset + i as u64);
                reference::normal(word, 1.0, deviation)
            };
            assert_eq!(x.len(), layout.len());
            x.iter().enumerate().map(|(i, &x)| x * factor(i)).collect()
        }

        /// The normal number is the reference's; the rest in f64.
        fn oracle(&self, x: &[f32], name: &'static str) -> Vec<Expected> {
            let deviation = (self.p / (1.0 - self.p)).sqrt();
            let y = x.iter().enumerate().map(|(i, &x)| {
                let word = reference::word(stream(self.key), self.offset + i as u64);
                let noise = f64::from(reference::standard_normal(word)) * deviation;
                let y = f64::from(x) * (1.0 + noise);
                (within_f32(y), f64::from(x) * noise.abs().max(1.0))
            });
            vec![Expected::new(name, y)]
        }
    }

    /// Low, high, and the number in f64 for u in [0, 1).
    const RANGES: [[f32; 2]; 5] = [[0.0, 1.0], [-1.0, 1.0], [-0.1, 3.0], [5.0, 5.0], [-1e38, 1e38]];
    const NORMALS: [[f32; 2]; 4] = [[0.0, 1.0], [1.0, 0.5], [-3.0, 0.0], [1e10, 1e20]];

    const LIMIT: Limits = [2.5; 17];

    impl Subject for Uniform {
        const LIMITS: &'static [(&'static str, Limits)] = &[("out", LIMIT)];
        const BY_PLACE: bool = true;

        fn options(layout: &Layout, source: &mut Source<'_>) -> Options {
            Options::drawn(layout, source, &RANGES)
        }

        fn refused(layout: &Layout) -> Vec<(Options, Error)> {
            let bad = [[1.0, 0.0], [f32::NAN, 1.0], [0.0, f32::INFINITY], [f32::MIN, f32::MAX]];
            let error = |bad: [f32; 2]| (bad, Error::Range { low: bad[0], high: bad[1] });
            Options::refused(layout, bad.map(error).into())
        }

        fn reference(case: &Case<Options>, arrays: &mut Arrays) {
            let [low, high] = case.options.parameters;
            let words = case.options.words(&case.layout);
            let out: Vec<f32> = words.map(|w| reference::uniform(w, low, high)).collect();
            arrays.write("out", out);
        }

        fn oracle(case: &Case<Options>, _: &Arrays) -> Vec<Expected> {
            let [low, high] = case.options.parameters.map(f64::from);
            let out = case.options.words(&case.layout).map(|word| {
                let u = f64::from(word >> 8) / f64::from(1 << 24);
                (low + u * (high - low), low.abs().max(u * (high - low)))
            });
            vec![Expected::new("out", out)]
        }
    }

    impl Subject for Normal {
        const LIMITS: &'static [(&'static str, Limits)] = &[("out", LIMIT)];
        const BY_PLACE: bool = true;

        fn options(layout: &Layout, source: &mut Source<'_>) -> Options {
            Options::drawn(layout, source, &NORMALS)
        }

        fn refused(layout: &Layout) -> Vec<(Options, Error)> {
            let bad = [[0.0, -1.0], [f32::NAN, 1.0], [f32::INFINITY, 1.0], [0.0, f32::NAN]];
            let error = |bad: [f32; 2]| (bad, Error::Normal { mean: bad[0], deviation: bad[1] });
            Options::refused(layout, bad.map(error).into())
        }

        fn reference(case: &Case<Options>, arrays: &mut Arrays) {
            let [mean, deviation] = case.options.parameters;
            let words = case.options.words(&case.layout);
            let out: Vec<f32> = words.map(|w| reference::normal(w, mean, deviation)).collect();
            arrays.write("out", out);
        }

        /// The standard normal number is the reference's (tests/fill.rs judges it).
        fn oracle(case: &Case<Options>, _: &Arrays) -> Vec<Expected> {
            let [mean, deviation] = case.options.parameters.map(f64::from);
            let out = case.options.words(&case.layout).map(|word| {
                let scaled = f64::from(reference::standard_normal(word)) * deviation;
                (mean + scaled, mean.abs().max(scaled.abs()))
            });
            vec![Expected::new("out", out)]
        }
    }

    /// σ, the noise, the factor and the product are rounded, each at most by a half of what may be
    /// two ulps of the result.
    const DROP_LIMIT: Limits = [4.0; 17];

    impl Subject for Forward {
        const LIMITS: &'static [(&'static str, Limits)] = &[("y", DROP_LIMIT)];
        const BY_PLACE: bool = true;

        fn options(layout: &Layout, source: &mut Source<'_>) -> Drop {
            Drop::drawn(layout, source)
        }

        fn refused(layout: &Layout) -> Vec<(Drop, Error)> {
            Drop::refused(layout)
        }

        fn reference(case: &Case<Drop>, arrays: &mut Arrays) {
            arrays.write("y", case.options.multiplied(&case.layout, arrays.f32("x")));
        }

        fn oracle(case: &Case<Drop>, arrays: &Arrays) -> Vec<Expected> {
            case.options.oracle(arrays.f32("x"), "y")
        }
    }

    impl Subject for Backward {
        const LIMITS: &'static [(&'static str, Limits)] = &[("dx", DROP_LIMIT)];
        const BY_PLACE: bool = true;

        fn options(layout: &Layout, source: &mut Source<'_>) -> Drop {
            Drop::drawn(layout, source)
        }

        fn refused(layout: &Layout) -> Vec<(Drop, Error)> {
            Drop::refused(layout)
        }

        fn reference(case: &Case<Drop>, arrays: &mut Arrays) {
            arrays.write("dx", case.options.multiplied(&case.layout, arrays.f32("dy")));
        }

        fn oracle(case: &Case<Drop>, arrays: &Arrays) -> Vec<Expected> {
            case.options.oracle(arrays.f32("dy"), "dx")
        }
    }
}
