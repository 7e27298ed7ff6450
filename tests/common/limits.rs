//! The accuracy limits: the one table that all tests read.
//!
//! Every number is the largest error that a test accepts, in ulps (f32). The unit of an output is
//! the ulp of max(|y|, |γ| + |β|); of a saved mean that of max(|μ|, σ); of a running statistic
//! that of (1 − m)·|r| + m·max(|μ|, σ) or, for the variance, of the result; of a gradient that of
//! the sum of its terms' absolute values.
//!
//! A limit is what `tests/accuracy.rs` measured on its data, rounded up to the next quarter, so
//! that a change of a kernel that costs accuracy shows here. It is not a bound for all data:
//! [`ANY_ORDINARY`] is.

#![allow(dead_code, reason = "every test crate uses its own part of this file")]

/// What is measured: a column of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Train,
    Infer,
    InferPopulation,
    GroupNorm,
    Standardize,
    SavedMean,
    SavedRstd,
    RunningMean,
    RunningVar,
    Dx,
    DxInference,
    Dgamma,
    Dbeta,
}

/// The columns in order, with their headings.
pub(crate) const OPS: [(Op, &str); 13] = [
    (Op::Train, "train"),
    (Op::Infer, "infer"),
    (Op::InferPopulation, "infer, population"),
    (Op::GroupNorm, "group norm"),
    (Op::Standardize, "standardize"),
    (Op::SavedMean, "saved mean"),
    (Op::SavedRstd, "saved rstd"),
    (Op::RunningMean, "running mean"),
    (Op::RunningVar, "running variance"),
    (Op::Dx, "dx"),
    (Op::DxInference, "dx, inference"),
    (Op::Dgamma, "dγ"),
    (Op::Dbeta, "dβ"),
];

/// What the data are: how a row of the table is made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Data {
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
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) data: Data,
    pub(crate) eps: f64,
    /// What the crate promises for outputs, where it promises something.
    pub(crate) promise: Option<f64>,
    pub(crate) limits: [f64; OPS.len()],
}

impl Row {
    pub(crate) fn limit(&self, op: Op) -> f64 {
        let column = OPS.iter().position(|&(o, _)| o == op);
        self.limits[column.expect("every op is a column")]
    }
}

/// What no output of ordinary data is off by, in the unit of outputs: at most seven values go into
/// the product (x − μ)·rstd·γ that are each rounded once, or nearly (x − μ twice, the variance, its
/// root, the reciprocal, two products). That is 7·2^-24 of a product below twice the scale's
/// power of two, which is 7 ulps; the last sum adds half of one, and the sums in the variance some.
pub(crate) const ANY_ORDINARY: f64 = 8.0;

/// The row of that name.
pub(crate) fn row(name: &str) -> &'static Row {
    ROWS.iter().find(|r| r.name == name).expect("the table has a row of that name")
}

const fn normal(mean: f64, deviation: f64) -> Data {
    Data::Normal { mean, deviation }
}

/// Not measured: the statistics, or their reciprocal, do not fit into an f32.
const NONE: f64 = f64::INFINITY;

// One line a row, so that it stays a table.
#[rustfmt::skip]
pub(crate) const ROWS: [Row; 17] = [
    //                                                                                                  train  infr  popl   grp  stdz  mean  rstd   rmn  rvar    dx   dxi    dγ    dβ
    Row { name: "N(0, 1)",            data: normal(0.0, 1.0),   eps: 1e-5, promise: Some(4.0), limits: [2.75, 2.75, 3.00, 2.75, 2.00, 0.75, 1.00, 1.25, 1.25, 2.25, 2.00, 0.75, 0.75] },
    Row { name: "uniform in [0, 1)",  data: Data::Uniform,      eps: 1e-5, promise: Some(4.0), limits: [3.50, 3.50, 3.50, 3.25, 2.75, 0.75, 1.00, 1.50, 1.25, 2.25, 1.75, 0.75, 0.75] },
    Row { name: "mean/σ = 1e3",       data: normal(1e3, 1.0),   eps: 1e-5, promise: Some(8.0), limits: [3.00, 2.75, 3.00, 3.50, 2.00, 0.75, 1.00, 1.50, 1.25, 2.00, 2.00, 1.25, 0.75] },
    Row { name: "mean/σ = 1e6",       data: normal(1e6, 1.0),   eps: 1e-5, promise: Some(8.0), limits: [2.75, 2.50, 2.75, 3.25, 1.75, 0.75, 0.75, 1.00, 1.25, 2.50, 2.00, 1.00, 0.75] },
    Row { name: "mean/σ = 1e7",       data: normal(1e7, 1.0),   eps: 1e-5, promise: None,      limits: [2.25, 1.75, 2.25, 2.25, 1.75, 0.50, 0.75, 1.00, 1.25, 2.00, 2.00, 1.00, 0.75] },
    Row { name: "σ = 1e-20",          data: normal(0.0, 1e-20), eps: 1e-5, promise: Some(8.0), limits: [0.25, 0.25, 0.25, 0.25, 0.75, 0.25, 0.50, 1.00, 1.00, 2.00, 2.25, 1.25, 0.75] },
    Row { name: "σ = 1e-15",          data: normal(0.0, 1e-15), eps: 1e-5, promise: Some(8.0), limits: [0.25, 0.25, 0.25, 0.25, 2.00, 0.25, 0.50, 1.00, 1.00, 2.00, 2.25, 1.25, 0.75] },
    Row { name: "σ = 1e15",           data: normal(0.0, 1e15),  eps: 1e-5, promise: Some(8.0), limits: [2.75, 2.75, 2.75, 3.50, 2.00, 0.50, 1.25, 0.25, 2.00, 2.50, 2.00, 1.00, 0.75] },
    Row { name: "σ = 1e30",           data: normal(0.0, 1e30),  eps: 1e-5, promise: Some(8.0), limits: [0.75, NONE, 0.75, 0.75, 0.75, 0.25, 0.75, 0.25, 0.25, 2.00, NONE, 1.50, 0.50] },
    Row { name: "σ = 1e38",           data: normal(0.0, 1e38),  eps: 1e-5, promise: Some(8.0), limits: [0.75, NONE, 0.75, 0.75, 0.75, 0.25, 0.75, 0.25, 0.25, 2.25, NONE, 1.25, 0.50] },
    Row { name: "σ = 1e-15, no eps",  data: normal(0.0, 1e-15), eps: 0.0,  promise: Some(8.0), limits: [2.75, 2.75, 2.75, 3.00, 2.00, 0.25, 1.50, 1.00, 1.00, 2.25, 1.75, 1.75, 0.75] },
    Row { name: "σ = 1e-20, no eps",  data: normal(0.0, 1e-20), eps: 0.0,  promise: Some(8.0), limits: [0.75, 2.50, 0.75, 0.75, 0.75, 0.25, 0.50, 1.00, 1.00, 2.00, 2.00, 1.25, 0.75] },
    Row { name: "σ = 1e-30, no eps",  data: normal(0.0, 1e-30), eps: 0.0,  promise: None,      limits: [0.75, NONE, 0.75, 0.75, 0.75, 0.25, 0.75, 1.00, 1.00, 2.00, NONE, 1.50, 0.50] },
    Row { name: "σ = 1e-40, no eps",  data: normal(0.0, 1e-40), eps: 0.0,  promise: None,      limits: [0.75, NONE, 0.75, 0.75, 0.75, 0.75, 0.25, 1.00, 1.00, NONE, NONE, NONE, NONE] },
    Row { name: "constant",           data: Data::Constant,     eps: 1e-5, promise: Some(8.0), limits: [0.25, 0.25, 0.25, 1.25, 0.25, 0.50, 1.00, 1.25, 1.00, 2.25, 2.25, 0.25, 0.75] },
    Row { name: "constant, no eps",   data: Data::Constant,     eps: 0.0,  promise: Some(8.0), limits: [0.25, 0.25, 0.25, 1.25, 0.25, 0.50, 1.75, 1.25, 1.00, 0.25, 0.25, 0.25, 0.75] },
    Row { name: "one outlier of 1e6", data: Data::Outlier,      eps: 1e-5, promise: Some(8.0), limits: [2.75, 2.25, 2.75, 2.75, 3.25, 0.75, 3.75, 0.50, 7.75, 3.75, 2.25, 1.75, 0.75] },
];
