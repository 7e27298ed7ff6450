//! Every backend against the plain implementation of docs/NUMERICS.md in tests/reference/, bit for
//! bit (all NaNs count as one).
//!
//! Each axis (sizes, layouts, alignments, kinds of data, options) is walked in full, the others
//! turning meanwhile: the product of all of them would take days.

#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "roundings are the subject of these tests, and sizes are small"
)]

mod deep;
mod dropout;
mod group_norm;
mod guarded;
mod hostile;
mod judge;
mod moments;
mod shapes;
mod statistics;
mod subjects;
