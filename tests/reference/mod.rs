//! A second implementation of docs/NUMERICS.md: scalar, allocating, and as close to the words of
//! that page as code can be. Section numbers in the comments are those of the page.
//!
//! Nothing here is fast, and nothing is shared with the crate: of its types only those that carry
//! arguments (`Layout`, `Momentum`, …) appear.

#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast is how the contract's conversions are written"
)]

pub(crate) mod backward;
pub(crate) mod batch_norm;
pub(crate) mod dropout;
pub(crate) mod fold;
pub(crate) mod group_norm;
pub(crate) mod moments;
#[allow(dead_code, reason = "`fold_in` is compared in tests/known_answers.rs, which includes it")]
pub(crate) mod philox;
pub(crate) mod real;
pub(crate) mod reduction;
