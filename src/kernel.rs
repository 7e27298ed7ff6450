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
//! of Σx² − (Σx)²/n ([`statistic::moments`]). A block whose squares overflow or underflow f32 is
//! computed once more in f64 with the same lanes: the algorithms are written once for both
//! ([`lanes::Precision`]).
//!
//! Where channels are interleaved, a lane is a channel and a group is a row instead ([`columns`]).
//! What the two have in common is [`block`].
//!
//! # The words
//!
//! ```text
//!  channels first: a plane a channel           channels last: a row a position
//!  ┌──────── plane ────────┐                   ┌ strip ┐┌ strip ┐
//!  │ group │ group │ …     │  16 elements      │16 chan.│16 chan.│ …  row
//!  └───────────────────────┘  to 16 lanes      ├────────┼────────┤
//!    64 groups: a block                        │        │        │    64 rows of a strip: a block
//!                                              └── band, 64 rows: tile ──┘
//! ```
//!
//! | word | meaning |
//! |---|---|
//! | reduction | the elements that share one mean and one deviation |
//! | lane | one of sixteen accumulators; of columns, a channel |
//! | group | sixteen neighbouring elements, one a lane |
//! | chain | one of four sets of lanes; groups go to them in turn |
//! | block | what is summed in f32: at most 1024 elements, or 64 rows of a strip |
//! | segment | a contiguous piece of a reduction: a plane, a row |
//! | strip, band | sixteen neighbouring channels; up to four strips, sixteen if there are many channels |
//! | along | said of what has one value for each place along a reduction, the same for all: γ of a row |
//! | wide row | several short rows of a matrix that are written as one |
//! | tile | up to sixteen neighbouring reductions; of a band, 64 rows |
//! | rescued | a block that was computed again in f64 |
//! | wide | a reduction that is applied in f64 |
//!
//! Every rule, with the case that fails without it, is in docs/NUMERICS.md.
//!
//! # How a kernel keeps its instruction set
//!
//! `dispatch!` (backend.rs) enters a function compiled for one instruction set. What touches vectors
//! below must be inlined into it, hence `#[inline(always)]` nearly everywhere; what is kept out of
//! line on purpose enters again through `vectorize`. (Code without vectors, such as
//! `mask::decide_one_by_one`, may be compiled for the baseline.)

pub(crate) mod apply;
pub(crate) mod backward;
pub(crate) mod block;
pub(crate) mod columns;
pub(crate) mod connect;
pub(crate) mod constants;
pub(crate) mod decorate;
pub(crate) mod exponential;
pub(crate) mod feature;
pub(crate) mod foreign;
pub(crate) mod gradient;
pub(crate) mod group_backward;
pub(crate) mod groups;
pub(crate) mod lanes;
pub(crate) mod map;
pub(crate) mod mask;
pub(crate) mod normalize;
pub(crate) mod numbers;
pub(crate) mod philox;
pub(crate) mod pieces;
pub(crate) mod pointwise;
pub(crate) mod reduce;
pub(crate) mod row_backward;
pub(crate) mod rows;
pub(crate) mod sets;
pub(crate) mod small;
pub(crate) mod statistic;
pub(crate) mod tree;
