//! The kernels: generic over the instruction set, the place of the numeric contract.
//!
//! # How a reduction gets the same bits everywhere
//!
//! The sum of n numbers in floating point depends on the order of the additions, and the order
//! that is natural for a machine depends on the width of its vectors. So the order is fixed
//! instead, as one that every machine can follow at full speed:
//!
//! - Elements are dealt to **sixteen lanes**. That is one vector register of AVX-512, two of AVX2,
//!   four of NEON, and sixteen scalar registers of a Cortex-M4F.
//! - A lane adds at most 16 numbers before it meets others: 256 elements are a **chain**. Short
//!   chains keep rounding errors small (an outlier spoils 16 additions, not thousands).
//! - Four chains are a **block** of 1024 elements, 4 KiB, which stays in the first-level cache while
//!   it is passed over twice. The four chains do not depend on each other: wide machines run
//!   them side by side to hide the latency of an addition, a microcontroller one by one.
//! - Blocks are **merged in f64 along a fixed binary tree** ([`tree`]). So it does not matter who
//!   computes which block, nor when.
//!
//! Within a block, two passes over the cached data give mean and variance without the cancellation
//! of Σx² − (Σx)²/n ([`moments`]). A block whose squares overflow or underflow f32 is computed once
//! more in f64 with the same lanes: [`lanes`] provides both arithmetics, and the algorithms above
//! it are written once for both.
//!
//! Where channels are interleaved, a lane is a channel instead ([`columns`]); a chain is then 16 rows
//! and a block 64. What the two have in common is [`block`].
//!
//! Every rule, with the case that fails without it, is in docs/NUMERICS.md.
//!
//! # How a kernel keeps its instruction set
//!
//! `dispatch!` (backend.rs) enters a function compiled for one instruction set. All that is called
//! from there must be inlined into it, hence `#[inline(always)]` on every function here; what is
//! kept out of line on purpose enters again through `vectorize`.

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
