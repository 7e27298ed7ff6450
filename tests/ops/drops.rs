//! Alpha dropout, feature dropout, feature alpha dropout, and SELU with alpha dropout, forward and
//! backward.

use crate::call::{Args, Case, Holds, Op, Slot, decorated, elements};
use core::marker::PhantomData;
use evenkeel::{
    AlphaDropout, Backend, Error, FeatureAlphaDropout, FeatureDropout, Io, Key, Layout,
};

#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub p: f64,
    pub key: Key,
    pub offset: u64,
}

/// One of the operations.
pub trait Kind: 'static {
    const FORWARD: &'static str;
    const BACKWARD: &'static str;
    /// A decision for each channel of each sample, not for each element.
    const FEATURES: bool;
    /// Dropped elements become what SELU saturates at.
    const ALPHA: bool;

    fn forward(case: &Case<Options>, backend: Backend, io: Io<'_>) -> Result<(), Error>;
    fn backward(case: &Case<Options>, backend: Backend, io: Io<'_>) -> Result<(), Error>;
}

macro_rules! kind {
    ($op:ident, $features:expr, $alpha:expr, $case:ident => $new:expr) => {
        pub struct $op;

        impl Kind for $op {
            const FORWARD: &'static str = concat!(stringify!($op), "Dropout::forward");
            const BACKWARD: &'static str = concat!(stringify!($op), "Dropout::backward");
            const FEATURES: bool = $features;
            const ALPHA: bool = $alpha;

            fn forward($case: &Case<Options>, on: Backend, io: Io<'_>) -> Result<(), Error> {
                let Options { key, offset, .. } = $case.options;
                $new?.offset(offset).backend(on).forward(io, key)
            }

            fn backward($case: &Case<Options>, on: Backend, io: Io<'_>) -> Result<(), Error> {
                let Options { key, offset, .. } = $case.options;
                $new?.offset(offset).backend(on).backward(io, key)
            }
        }
    };
}
kind!(Alpha, false, true, case => AlphaDropout::new(case.options.p));
kind!(Feature, true, false, case => FeatureDropout::new(case.layout, case.options.p));
kind!(FeatureAlpha, true, true, case => FeatureAlphaDropout::new(case.layout, case.options.p));

pub struct Forward<K>(PhantomData<K>);

impl<K: Kind> Op for Forward<K> {
    const NAME: &'static str = K::FORWARD;
    type Options = Options;
    const SLOTS: &'static [Slot<Options>] = if K::FEATURES {
        &[Slot::x(), Slot::y(), Slot::residual()]
    } else {
        &[Slot::x().unchecked(), Slot::y(), Slot::residual()]
    };

    fn call(case: &Case<Options>, backend: Backend, args: Args<'_>) -> Result<(), Error> {
        let [x, y, residual, ..] = args;
        K::forward(case, backend, decorated(case, x, y, residual))
    }
}

pub struct Backward<K>(PhantomData<K>);

const DY: Slot<Options> = Slot::read("dy", Holds::Data, elements);
const DX: Slot<Options> = Slot::result("dx", elements);

impl<K: Kind> Op for Backward<K> {
    const NAME: &'static str = K::BACKWARD;
    type Options = Options;
    const SLOTS: &'static [Slot<Options>] = if K::FEATURES {
        &[DY, DX, Slot::residual()]
    } else {
        &[DY.unchecked(), DX, Slot::residual()]
    };

    fn call(case: &Case<Options>, backend: Backend, args: Args<'_>) -> Result<(), Error> {
        let [dy, dx, residual, ..] = args;
        K::backward(case, backend, decorated(case, dy, dx, residual))
    }
}

/// How many decisions a call takes.
pub fn decisions<K: Kind>(layout: &Layout) -> usize {
    if K::FEATURES && !layout.is_empty() {
        layout.batch() * layout.channels()
    } else {
        layout.len()
    }
}

/// The number of the decision about an element.
pub fn decision<K: Kind>(layout: &Layout, element: usize) -> usize {
    let (channels, spatial) = (layout.channels(), layout.spatial());
    if !K::FEATURES {
        element
    } else if layout.is_channels_last() {
        element / (spatial * channels) * channels + element % channels
    } else {
        element / spatial
    }
}

#[cfg(feature = "judges")]
pub use judged::exact;

#[cfg(feature = "judges")]
mod judged {
    use super::{Backward, Forward, Kind, Options, decision, decisions};
    use crate::call::Case;
    use crate::dropout::{KEYS, offsets, past, probabilities, stream};
    use crate::oracle::within_f32;
    use crate::reference::dropout as reference;
    use crate::subject::{Expected, Limits, Subject};
    use crate::{Arrays, Source};
    use evenkeel::{Error, Key, Layout};

    impl Options {
        pub fn drawn<K: Kind>(layout: &Layout, source: &mut Source<'_>) -> Self {
            let (seed, stream) = source.choose(&KEYS);
            let far: Vec<u64> = offsets(decisions::<K>(layout)).collect();
            Self {
                p: source.choose(&probabilities()),
                key: Key::with_stream(seed, stream).expect("a stream below 2^62"),
                offset: source.choose(&far),
            }
        }

        /// Wrong probabilities, and offsets that overflow.
        pub fn refused<K: Kind>(layout: &Layout) -> Vec<(Self, Error)> {
            let good = Self { p: 0.5, ..Self::drawn::<K>(layout, &mut Source::new(0)) };
            let bad = [f64::NAN, -0.1, 1.1, f64::NEG_INFINITY];
            let bad = bad.map(|p| (Self { p, ..good }, Error::Probability { found: p }));
            let far = past(decisions::<K>(layout));
            let far = far.map(|offset| (Self { offset, ..good }, Error::TooLarge));
            bad.into_iter().chain(far).collect()
        }
    }

    /// Each element and whether it is kept.
    fn decided<'a, K: Kind>(
        case: &'a Case<Options>,
        values: &'a [f32],
    ) -> impl Iterator<Item = (f32, bool)> + 'a {
        let Options { p, key, offset } = case.options;
        let threshold = reference::threshold(p);
        values.iter().enumerate().map(move |(i, &value)| {
            let number = offset + decision::<K>(&case.layout, i) as u64;
            (value, reference::keep(threshold, stream(key), number))
        })
    }

    /// The exact a, b and dropped value of alpha dropout, or those of dropout.
    pub fn exact<K: Kind>(p: f64) -> [f64; 3] {
        let steps = 2.0_f64.powi(40);
        let drop = (p * steps).round() / steps;
        if drop == 1.0 {
            return [0.0; 3];
        }
        if !K::ALPHA {
            return [1.0 / (1.0 - drop), 0.0, 0.0];
        }
        let saturation = 1.050_700_987_355_480_5 * 1.673_263_242_354_377_2;
        let a = ((1.0 - drop) * (1.0 + drop * saturation * saturation)).powf(-0.5);
        [a, a * saturation * drop, -(a * saturation) * (1.0 - drop)]
    }

    /// The roundings of a, b, the product and the sum. Where the sum cancels, it is measured by
    /// its terms.
    const LIMIT: Limits = [2.5; 17];

    impl<K: Kind> Subject for Forward<K> {
        const LIMITS: &'static [(&'static str, Limits)] = &[("y", LIMIT)];
        const BY_PLACE: bool = true;

        fn options(layout: &Layout, source: &mut Source<'_>) -> Options {
            Options::drawn::<K>(layout, source)
        }

        fn refused(layout: &Layout) -> Vec<(Options, Error)> {
            Options::refused::<K>(layout)
        }

        fn reference(case: &Case<Options>, arrays: &mut Arrays) {
            let threshold = reference::threshold(case.options.p);
            let scale = reference::inverted_scale(threshold);
            let value = |(x, keep): (f32, bool)| match (K::ALPHA, keep) {
                (true, keep) => reference::alpha_value(threshold, keep, x),
                (false, true) => x * scale,
                (false, false) => 0.0,
            };
            let y: Vec<f32> = decided::<K>(case, arrays.f32("x")).map(value).collect();
            arrays.write("y", y);
        }

        fn oracle(case: &Case<Options>, arrays: &Arrays) -> Vec<Expected> {
            let [a, b, dropped] = exact::<K>(case.options.p);
            let y = decided::<K>(case, arrays.f32("x")).map(|(x, keep)| {
                let terms = [f64::from(x) * a, b];
                if keep {
                    let largest = terms[0].abs().max(terms[1].abs());
                    (within_f32(terms[0] + terms[1]), largest)
                } else {
                    (dropped, dropped)
                }
            });
            vec![Expected::new("y", y)]
        }
    }

    impl<K: Kind> Subject for Backward<K> {
        const LIMITS: &'static [(&'static str, Limits)] = &[("dx", LIMIT)];
        const BY_PLACE: bool = true;

        fn options(layout: &Layout, source: &mut Source<'_>) -> Options {
            Options::drawn::<K>(layout, source)
        }

        fn refused(layout: &Layout) -> Vec<(Options, Error)> {
            Options::refused::<K>(layout)
        }

        fn reference(case: &Case<Options>, arrays: &mut Arrays) {
            let threshold = reference::threshold(case.options.p);
            let factor = match K::ALPHA {
                true => reference::alpha(threshold)[0],
                false => reference::inverted_scale(threshold),
            };
            let value = |(dy, keep): (f32, bool)| if keep { dy * factor } else { 0.0 };
            let dx: Vec<f32> = decided::<K>(case, arrays.f32("dy")).map(value).collect();
            arrays.write("dx", dx);
        }

        fn oracle(case: &Case<Options>, arrays: &Arrays) -> Vec<Expected> {
            let [a, ..] = exact::<K>(case.options.p);
            let value = |(dy, keep): (f32, bool)| {
                let dx = if keep { within_f32(f64::from(dy) * a) } else { 0.0 };
                (dx, dx)
            };
            vec![Expected::new("dx", decided::<K>(case, arrays.f32("dy")).map(value))]
        }
    }
}
