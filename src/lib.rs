//! Normalization and dropout kernels on plain slices: `no_std`, no allocation, no `unsafe`, no
//! panic, SIMD, and **the same bits on every target**, from a Cortex-M0 to a server.
//!
//! | to do | use |
//! |---|---|
//! | normalize activations per channel, train and infer | [`BatchNorm`] |
//! | normalize activations per sample and group of channels, or channel | [`GroupNorm`], [`InstanceNorm`] |
//! | normalize every row, by its mean and deviation or its root mean square | [`LayerNorm`], [`RmsNorm`] |
//! | bring inputs to mean 0 and variance 1 | [`Standardize`] |
//! | activate self-normalizing networks | [`Selu`] |
//! | drop random activations | [`Dropout`], keyed by a [`Key`] |
//! | drop random connections of a linear layer | [`DropConnect`] |
//! | gather statistics over parts, batches, machines | [`Moments`] |
//! | draw reproducible random words | [`Philox`] |
//! | have the random numbers and masks of another system, bit for bit | [`stream`] |
//!
//! An operation is a small `Copy` value: make it from a [`Layout`], set options, call its verb with
//! (input and output, parameters, statistics). Input and output are [`apart`] or [`in_place`]. It
//! holds no buffers and never allocates. Everything is checked before the first write: a call
//! that returns an [`Error`] has changed nothing. Empty input is fine and does nothing.
//!
//! ```
//! use evenkeel::{Affine, BatchNorm, Keep, Layout, in_place};
//! let layout = Layout::channels_last(2, 3, 1)?; // batch 2, 3 positions, 1 channel
//! let mut x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
//! BatchNorm::new(layout).train(in_place(&mut x), Affine::NONE, Keep::NOTHING)?;
//! assert!((x[0] + 1.4638).abs() < 1e-4);
//! # Ok::<(), evenkeel::Error>(())
//! ```
//!
//! # Same bits everywhere
//!
//! Sums are formed in one fixed order of 16 lanes on every target, so that results do not depend on
//! the instruction set, the target, the build profile, or on how a caller splits work. The order is
//! chosen for accuracy and speed at once; docs/NUMERICS.md in the repository is the complete
//! specification. Excepted are the sign and payload of a NaN, and vector units that flush subnormal
//! numbers by design (Helium, NEON of 32-bit Arm).
//!
//! # Features
//!
//! - `std` (default): finds the best instruction set at run time. Without it the crate is `no_std`
//!   and, on x86, uses what the compilation target guarantees.
//! - `scalar`: makes the scalar [`Backend`] available everywhere, for tests.

#![no_std]
#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod alpha_dropout;
mod backend;
mod batch_norm;
mod drop_connect;
mod dropout;
mod drops;
mod element;
mod error;
mod feature_alpha_dropout;
mod feature_dropout;
mod fill;
mod gaussian_dropout;
mod group_norm;
mod init;
mod instance_norm;
mod io;
mod kernel;
mod layer_norm;
mod layout;
mod moments;
pub mod philox;
mod rms_norm;
mod running;
mod selu;
mod selu_alpha_dropout;
mod standardize;
pub mod stream;
mod words;

pub use alpha_dropout::AlphaDropout;
pub use backend::Backend;
pub use batch_norm::{BatchNorm, Weight};
pub use drop_connect::{DropConnect, WeightGradients, Weights};
pub use dropout::{Dropout, Scaling};
pub use element::Element;
pub use error::Error;
pub use feature_alpha_dropout::FeatureAlphaDropout;
pub use feature_dropout::FeatureDropout;
pub use fill::Fill;
pub use gaussian_dropout::GaussianDropout;
pub use group_norm::GroupNorm;
pub use init::Init;
pub use instance_norm::InstanceNorm;
pub use io::{
    Activation, Affine, Given, Gradients, Io, Keep, Running, Saved, Source, Statistics, apart,
    in_place,
};
pub use layer_norm::LayerNorm;
pub use layout::{Layout, Rows};
pub use moments::Moments;
pub use philox::{Key, Philox};
pub use rms_norm::RmsNorm;
pub use running::{Momentum, RunningVariance};
pub use selu::Selu;
pub use selu_alpha_dropout::SeluAlphaDropout;
pub use standardize::{Constant, Standardize};

/// So that the code of the page is compiled and run with the documentation's examples.
#[cfg(doctest)]
#[doc = include_str!("../docs/RANDOMNESS.md")]
struct Randomness;
