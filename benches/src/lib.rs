//! What the criterion benches and the `ratios` binary share: shapes, data, buffers, and one
//! [`Case`] for every op, shape and layout.
//!
//! Each case knows how to run its op and how to copy the same tensor into the same output. The
//! copy is the yardstick: an op that reads its input once and writes its output once can't be
//! faster, so the quotient of the two says how far from the floor an op is, on any machine.

pub mod baseline;
pub mod cases;
pub mod data;
pub mod tensors;

pub use cases::{Case, Work};
pub use tensors::Tensors;
