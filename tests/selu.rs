//! What only SELU has to answer for: its exponentials, over all numbers; its special values; and that
//! it keeps mean 0 and variance 1, which is what it was made for.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "bits are counted through, and counts are small"
)]

use evenkeel::{Activation, Backend, Dropout, Key, Selu, apart, in_place};
use ops::Source;
use ops::arrays::bits;
use ops::oracle::{self, ulp};
use ops::reference::selu::{self as reference, LAMBDA_ALPHA};
use std::fmt;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

/// The largest error of a function, and where.
#[derive(Clone, Copy, Default)]
struct Worst {
    ulps: f64,
    at: f32,
}

impl Worst {
    fn see(&mut self, at: f32, found: f32, exact: f64) {
        let ulps = (f64::from(found) - exact).abs() / ulp(exact);
        if ulps > self.ulps || ulps.is_nan() {
            *self = Self { ulps, at };
        }
    }
}

impl fmt::Display for Worst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3} ulp at {:e} ({:08X})", self.ulps, self.at, self.at.to_bits())
    }
}

/// A name and a limit for each; the exponentials' are what they were made for.
const LIMITS: [(&str, f64); 5] =
    [("expm1", 1.5), ("exp", 1.5), ("SELU", 2.0), ("slope", 1.5), ("SELU above zero", 1.25)];

type Errors = [Worst; LIMITS.len()];

/// Adds one number, which is no NaN.
fn judge(x: f32, errors: &mut Errors) {
    let [expm1, exp, selu, slope, above] = errors;
    let exact = f64::from(x);
    let y = reference::selu(x);
    if x > 0.0 {
        // What is above the largest f32 is infinite.
        return if y.is_finite() {
            above.see(x, y, oracle::selu(exact))
        };
    }
    expm1.see(x, reference::expm1(x), exact.exp_m1());
    exp.see(x, reference::exp(1.0, x), exact.exp());
    selu.see(x, y, oracle::selu(exact));
    slope.see(x, reference::slope(x), oracle::selu_slope(exact));
}

fn assert_limits(errors: &Errors) {
    for ((name, limit), worst) in LIMITS.iter().zip(errors) {
        println!("{name}: {worst}");
        assert!(worst.ulps <= *limit, "{name}: {worst}, limit {limit}");
    }
}

/// The reference has the bits of the crate, which the contract's judges see to.
#[test]
fn a_sample_is_within_the_limits() {
    let mut errors = Errors::default();
    for bits in (0..=u32::MAX).step_by(4001) {
        let x = f32::from_bits(bits);
        if !x.is_nan() {
            judge(x, &mut errors);
        }
    }
    // Around every place where n changes, and both limits.
    let places = (0..152).map(|n| -(f64::from(n) + 0.5) * std::f64::consts::LN_2);
    for place in places.chain([-18.0, -105.0]) {
        let bits = (place as f32).to_bits();
        (bits - 500..bits + 500).for_each(|bits| judge(f32::from_bits(bits), &mut errors));
    }
    assert_limits(&errors);
}

/// Calls forward and backward on every backend, and compares all bits with the reference.
fn assert_reference(x: &[f32], dy: &[f32]) {
    let (forward, backward) = (reference::forward(x), reference::backward(dy, x));
    let same = |found: &[f32], expected: &[f32], what: &str, backend| {
        let different = found.iter().zip(expected).position(|(f, e)| bits(*f) != bits(*e));
        if let Some(i) = different {
            let (x, found, expected) = (x[i], found[i], expected[i]);
            panic!("{what} of {x:e} is {found:e}, not {expected:e}, on {backend}");
        }
    };
    let mut found = vec![0.0; x.len()];
    for backend in Backend::available() {
        let selu = Selu::new().backend(backend);
        selu.forward(apart(x, &mut found)).expect("equal lengths");
        same(&found, &forward, "y", backend);
        selu.backward(apart(dy, &mut found), x).expect("equal lengths");
        same(&found, &backward, "dx", backend);
    }
}

/// All bits whose upper half is in a range, as pieces.
fn pieces(upper: Range<u32>) -> impl Iterator<Item = Vec<f32>> {
    upper.map(|upper| (0..1 << 16).map(|lower| f32::from_bits(upper << 16 | lower)).collect())
}

/// Every f32 there is: the errors, and the bits of every backend. Minutes on two cores; what it found
/// is recorded in docs/NUMERICS.md, section 19.
#[test]
#[ignore = "takes minutes"]
fn all_numbers() {
    let (next, errors) = (AtomicU32::new(0), Mutex::new(Errors::default()));
    let work = || {
        let mut mine = Errors::default();
        loop {
            let upper = next.fetch_add(1, Ordering::Relaxed);
            let Some(x) = pieces(upper..(upper + 1).min(1 << 16)).next() else { break };
            assert_reference(&x, &vec![1.0; x.len()]);
            x.iter().filter(|x| !x.is_nan()).for_each(|&x| judge(x, &mut mine));
        }
        let mut all = errors.lock().expect("no thread failed");
        for (all, mine) in all.iter_mut().zip(mine) {
            if mine.ulps > all.ulps || mine.ulps.is_nan() {
                *all = mine;
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    assert_limits(&errors.into_inner().expect("no thread failed"));
}

/// All signs and exponents, with a few fractions each; among vectors, and one by one.
#[test]
fn every_exponent_has_the_bits_of_the_reference() {
    let all: Vec<f32> = pieces(0..1 << 16).flat_map(|x| x.into_iter().step_by(4099)).collect();
    let mut source = Source::new(1);
    let dy = source.normals(all.len());
    assert_reference(&all, &dy);
    for (x, dy) in all.iter().zip(&dy).step_by(1009) {
        assert_reference(&[*x], &[*dy]);
    }
}

#[test]
fn special_values() {
    let x = [f32::NEG_INFINITY, -1e30, -18.0, -1e-45, -0.0, 0.0, 1e-45, f32::INFINITY, f32::NAN];
    let y = [-LAMBDA_ALPHA, -LAMBDA_ALPHA, -LAMBDA_ALPHA, -3e-45, -0.0, 0.0, 1e-45];
    let [one, infinite, nan] = [f32::from_bits(0x3F86_7D5F), f32::INFINITY, f32::NAN];
    let slopes =
        [0.0, 0.0, 2.677_581_7e-8, LAMBDA_ALPHA, LAMBDA_ALPHA, LAMBDA_ALPHA, one, one, nan];
    assert_eq!(LAMBDA_ALPHA, 1.758_099_340_847_376_6_f64 as f32);
    for backend in Backend::available() {
        let (selu, mut found) = (Selu::new().backend(backend), x);
        selu.forward(in_place(&mut found)).expect("one slice");
        let expected = y.into_iter().chain([infinite, nan]);
        assert!(found.map(bits).into_iter().eq(expected.map(bits)), "{found:?} on {backend}");
        let mut found = [1.0; 9];
        selu.backward(in_place(&mut found), &x).expect("equal lengths");
        assert_eq!(found.map(bits), slopes.map(bits), "{found:?} on {backend}");
    }
}

/// As an activation of another call: here of one that leaves everything as it is.
#[test]
fn the_activation_is_the_operation() {
    let x: Vec<f32> = pieces(0..1 << 16).map(|x| x[77]).collect();
    let mut activated = x.clone();
    let io = in_place(&mut activated).then(Activation::Selu);
    Dropout::new(0.0).expect("a probability").forward(io, Key::new(1)).expect("one slice");
    let expected = reference::forward(&x);
    assert!(activated.iter().zip(&expected).all(|(a, e)| bits(*a) == bits(*e)));
}

/// E\[SELU(z)\] = 0 and E\[SELU(z)²\] = 1 for z ~ N(0, 1): equations 4 and 5 of the paper at their
/// fixed point.
#[test]
fn mean_and_variance_stay() {
    // The trapezoidal rule, which for such integrands is exact to far more digits than f32 has.
    let (step, mut moments) = (1.0 / 64.0, [0.0; 2]);
    let z: Vec<f32> = (-640..=640).map(|i| i as f32 * step).collect();
    let mut y = z.clone();
    Selu::new().forward(in_place(&mut y)).expect("one slice");
    for (&z, &y) in z.iter().zip(&y) {
        let (z, y) = (f64::from(z), f64::from(y));
        let weight = f64::from(step) * (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
        moments[0] += weight * y;
        moments[1] += weight * y * y;
    }
    // The kink at zero costs the rule h²/12 times the jump of the slope and the density.
    let kink = f64::from(step * step) / 12.0 * 0.7074 * 0.39894;
    println!("mean {:e}, second moment − 1: {:e}", moments[0], moments[1] - 1.0);
    assert!((moments[0].abs() - kink).abs() < 1e-6, "{moments:?}");
    assert!((moments[1] - 1.0).abs() < 1e-6, "{moments:?}");
}
