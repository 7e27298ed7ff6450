//! The kernels: generic over the instruction set, the place of the numeric contract.
//!
//! # How a reduction gets the same bits everywhere
//!
//! The sum of n numbers in floating point depends on the order of the additions, and the order
//! that is natural for a machine depends on the width of its vectors. So the order is fixed
//! instead, as one that every machine can follow at full speed:
//!
//! - Elements are dealt to **sixteen lanes**, a group of sixteen at a time. That is one vector
//!   register of AVX-512, two of AVX2, four of NEON, and sixteen scalar registers of a Cortex-M4F.
//! - Groups are dealt to four **chains** in turn. The chains do not depend on each other: wide
//!   machines run them side by side to hide the latency of an addition (and read memory in its
//!   order), a microcontroller runs them one by one.
//! - A lane of a chain adds at most 16 numbers: 64 groups are a **block** of 1024 elements, 4 KiB, which
//!   stays in the first-level cache while it is passed over twice. Few additions keep rounding
//!   errors small (an outlier spoils 16 of them, not thousands). Planes that are shorter than a
//!   block are joined.
//! - Blocks are **merged in f64 along a fixed binary tree** ([`tree`]). So it does not matter who
//!   computes which block, nor when.
//!
//! Within a block, two passes over the cached data give mean and variance without the cancellation
//! of Σx² − (Σx)²/n ([`moments`]). A block whose squares overflow or underflow f32 is computed once
//! more in f64 with the same lanes: [`lanes`] provides both arithmetics, and the algorithms above
//! it are written once for both.
//!
//! Where channels are interleaved, a lane is a channel and a group is a row instead ([`columns`]).
//! What the two have in common is [`block`].
//!
//! Every rule, with the case that fails without it, is in docs/NUMERICS.md.
//!
//! # How a kernel keeps its instruction set
//!
//! `dispatch!` (backend.rs) enters a function compiled for one instruction set. What touches vectors
//! below must be inlined into it, hence `#[inline(always)]` nearly everywhere; what is kept out of
//! line on purpose enters again through `vectorize`. (Code without vectors, such as
//! `mask::decide_one_by_one`, may be compiled for the baseline.)

/// Whether stack is scarce: without an operating system there may be 16 KB of memory in all. Then
/// frames are kept small where that costs a little speed. The bits do not depend on it.
pub(crate) const SMALL: bool = cfg!(target_os = "none");

pub(crate) mod apply;
pub(crate) mod backward;
pub(crate) mod block;
pub(crate) mod columns;
pub(crate) mod finish;
pub(crate) mod grouped;
pub(crate) mod lanes;
pub(crate) mod mask;
pub(crate) mod moments;
pub(crate) mod per_channel;
pub(crate) mod rows;
pub(crate) mod strip;
pub(crate) mod tree;
