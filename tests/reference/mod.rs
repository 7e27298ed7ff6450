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

pub mod backward;
pub mod batch_norm;
pub mod drop_connect;
pub mod dropout;
pub mod fold;
pub mod group_norm;
pub mod moments;
pub mod numbers;
pub mod philox;
pub mod real;
pub mod reduction;
pub mod row_norm;
pub mod selu;
