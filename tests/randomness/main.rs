//! Whether masks and numbers are as random as they claim to be.
//!
//! Every statistic is χ², and every key is fixed: a run either always passes or never. The limit of
//! one in a million ([`chi::SIGNIFICANCE`]) says that a failure after a change is a defect of the bits,
//! not bad luck: all statistics together would fail by chance for one choice of keys in thousands. And for
//! each statistic there is a *control*, a bad mask that it must reject, so that it is known to be able to
//! fail.
//!
//! `cargo test --test randomness -- --nocapture` prints every value. TestU01's SmallCrush, which takes
//! minutes and C, is in `tools/smallcrush`; docs/RANDOMNESS.md has its results.

#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts are far below 2^53, and cells are whole parts"
)]

mod chi;
mod independence;
mod mask;
mod numbers;
mod rates;
mod ties;
