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

mod backward;
mod batch_norm;
mod data;
mod deep;
mod dropout;
mod fold;
mod group_norm;
mod guarded;
mod hostile;
mod moments;
#[path = "../common/oracle.rs"]
mod oracle;
#[path = "../reference/mod.rs"]
mod reference;
mod shapes;
mod statistics;
