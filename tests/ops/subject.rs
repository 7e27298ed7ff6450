//! What a call must give.

use crate::oracle::{Shape, ulp};
use crate::rows::ROWS;
use crate::{Arrays, Op, Source, call::Case};
use evenkeel::{Error, Layout};

/// A verb that is judged.
pub trait Subject: Op {
    /// The largest error of each output, in ulps, for every row of [`ROWS`]. See there.
    const LIMITS: &'static [(&'static str, Limits)];
    /// The result is γ·x̂ + β with x̂ of mean 0 and variance 1: a constant gives β, and neither
    /// scale nor shift of x matter.
    const NORMALIZES: bool = false;
    /// Parameters belong to the places of a sample, not to channels.
    const BY_ROW: bool = false;
    /// The result depends on where in the tensor an element lies, beside its channel.
    const BY_PLACE: bool = false;
    /// The forward pass has no derivative at x = 0.
    const KINK: bool = false;

    /// The parameters by which gradients are taken; the second may be missing.
    const PARAMETERS: [&'static str; 2] = ["gamma", "beta"];

    /// Draws options that fit the layout.
    fn options(layout: &Layout, source: &mut Source<'_>) -> Self::Options;

    /// The same options with another eps, if there is one.
    fn with_eps(_: Self::Options, _: f64) -> Option<Self::Options> {
        None
    }

    /// Options that are refused, each with its error. Where two are wrong, the first one's.
    fn refused(_: &Layout) -> Vec<(Self::Options, Error)> {
        Vec::new()
    }

    /// Computes those inputs that follow from others, as statistics from data.
    fn prepare(_: &Case<Self::Options>, _: &mut Arrays) {}

    /// Does the call by the reference: the bits of the contract. Nothing is fused, nothing is in
    /// place.
    fn reference(case: &Case<Self::Options>, arrays: &mut Arrays);

    /// What the outputs are in f64, from prepared inputs. An output that is not named is judged by
    /// the reference alone.
    fn oracle(case: &Case<Self::Options>, arrays: &Arrays) -> Vec<Expected>;

    /// The oracle's forward pass as a function of x and the two [`PARAMETERS`](Self::PARAMETERS), where
    /// this is a backward pass: its dx, dgamma and dbeta, or what they are called, are the derivatives.
    fn forward(_: &Case<Self::Options>, _: &Arrays, _: [&[f64]; 3]) -> Option<Vec<f64>> {
        None
    }

    /// Whether what an element holds reaches a result. Both are given by sample and channel.
    fn meets(_: &Case<Self::Options>, from: (usize, usize), to: (usize, usize)) -> bool {
        from == to
    }
}

/// A number for every row of [`ROWS`].
pub type Limits = [f64; ROWS.len()];

/// Not measured: statistics, or their reciprocals, do not fit into an f32.
pub const NONE: f64 = f64::INFINITY;

/// An output by the oracle.
#[derive(Clone, Debug)]
pub struct Expected {
    pub name: &'static str,
    pub values: Vec<f64>,
    /// What the error of each is measured by: the unit is the ulp of this.
    pub scale: Vec<f64>,
    /// The output is f64: its range is not that of f32.
    pub wide: bool,
}

impl Expected {
    pub fn new(name: &'static str, each: impl Iterator<Item = (f64, f64)>) -> Self {
        let (values, scale) = each.unzip();
        Self { name, values, scale, wide: false }
    }

    /// The distance of two values of element i, in ulps of f32.
    pub fn apart(&self, i: usize, left: f64, right: f64) -> f64 {
        if left == right || (left.is_nan() && right.is_nan()) {
            return 0.0;
        }
        let scale = self.scale[i];
        let unit = if self.wide { scale.abs() * 2.0_f64.powi(-23) } else { ulp(scale) };
        let error = (left - right).abs() / unit;
        if error.is_nan() { f64::INFINITY } else { error }
    }
}

/// The oracle's view of a layout.
pub fn shape(layout: &Layout) -> Shape {
    Shape {
        batch: layout.batch(),
        channels: layout.channels(),
        spatial: layout.spatial(),
        channels_last: layout.is_channels_last(),
    }
}

/// The crate's layout of an oracle's shape.
pub fn layout(shape: Shape) -> Layout {
    if shape.channels_last {
        Layout::channels_last(shape.batch, shape.spatial, shape.channels)
    } else {
        Layout::channels_first(shape.batch, shape.channels, shape.spatial)
    }
    .expect("a test's tensor fits into memory")
}
