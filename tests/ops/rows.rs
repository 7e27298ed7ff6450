//! The kinds of data that accuracy is measured on: rows of the table, whose columns are the limits
//! that the operations' files name.
//!
//! Every limit is the largest error that a test accepts, in ulps (f32). The unit of an output is
//! the ulp of max(|y|, |γ| + |β|); of a saved mean that of max(|μ|, σ); of a running statistic
//! that of (1 − m)·|r| + m·max(|μ|, σ) or, for the variance, of the result; of a gradient that of
//! the sum of its terms' absolute values (for dγ of rows and groups, of |dy|·max(|x̂|, |μ|/σ, 1), since
//! the saved mean was rounded).
//!
//! A limit is what `tests/accuracy.rs` measured on its data, rounded up to the next quarter, so
//! that a change of a kernel that costs accuracy shows here. It is not a bound for all data:
//! [`ANY_ORDINARY`] is.

/// What the data are: how a row of the table is made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Data {
    /// mean + deviation·N(0, 1), clipped to finite values.
    Normal { mean: f64, deviation: f64 },
    /// Uniform in [0, 1).
    Uniform,
    /// One value for each channel.
    Constant,
    /// N(0, 1) with one value of 1e6 in every channel.
    Outlier,
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    pub name: &'static str,
    pub data: Data,
    pub eps: f64,
    /// What the crate promises for outputs, where it promises something.
    pub promise: Option<f64>,
}

/// What no output of ordinary data is off by, in the unit of outputs: at most seven values go into
/// the product (x − μ)·rstd·γ that are each rounded once, or nearly (x − μ twice, the variance, its
/// root, the reciprocal, two products). That is 7·2^-24 of a product below twice the scale's
/// power of two, which is 7 ulps; the last sum adds half of one, and the sums in the variance some.
pub const ANY_ORDINARY: f64 = 8.0;

const fn row(name: &'static str, data: Data, eps: f64, promise: Option<f64>) -> Row {
    Row { name, data, eps, promise }
}

const fn normal(mean: f64, deviation: f64) -> Data {
    Data::Normal { mean, deviation }
}

// One line a row, so that it stays a table.
#[rustfmt::skip]
pub const ROWS: [Row; 17] = [
    row("N(0, 1)",            normal(0.0, 1.0),   1e-5, Some(4.0)),
    row("uniform in [0, 1)",  Data::Uniform,      1e-5, Some(4.0)),
    row("mean/σ = 1e3",       normal(1e3, 1.0),   1e-5, Some(8.0)),
    row("mean/σ = 1e6",       normal(1e6, 1.0),   1e-5, Some(8.0)),
    row("mean/σ = 1e7",       normal(1e7, 1.0),   1e-5, None),
    row("σ = 1e-20",          normal(0.0, 1e-20), 1e-5, Some(8.0)),
    row("σ = 1e-15",          normal(0.0, 1e-15), 1e-5, Some(8.0)),
    row("σ = 1e15",           normal(0.0, 1e15),  1e-5, Some(8.0)),
    row("σ = 1e30",           normal(0.0, 1e30),  1e-5, Some(8.0)),
    row("σ = 1e38",           normal(0.0, 1e38),  1e-5, Some(8.0)),
    row("σ = 1e-15, no eps",  normal(0.0, 1e-15), 0.0,  Some(8.0)),
    row("σ = 1e-20, no eps",  normal(0.0, 1e-20), 0.0,  Some(8.0)),
    row("σ = 1e-30, no eps",  normal(0.0, 1e-30), 0.0,  None),
    row("σ = 1e-40, no eps",  normal(0.0, 1e-40), 0.0,  None),
    row("constant",           Data::Constant,     1e-5, Some(8.0)),
    row("constant, no eps",   Data::Constant,     0.0,  Some(8.0)),
    row("one outlier of 1e6", Data::Outlier,      1e-5, Some(8.0)),
];
