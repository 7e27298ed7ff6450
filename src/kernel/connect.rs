//! Products of weights and inputs in which every connection may be dropped, anew for every sample.
//!
//! A decision belongs to a connection of a sample, so there are as many as there are products. They are
//! made where they are needed, packed into a few bytes on the stack, and sixteen bits of those become a
//! mask of lanes. Two orders meet here: sums over inputs ([`rows`]), where decisions lie one behind the
//! other, and sums over outputs or samples ([`columns`]), where those of a row do.

pub(crate) mod columns;
pub(crate) mod rows;

use super::mask::Draw;

/// A matrix of outputs × inputs, and a bias for each output.
#[derive(Clone, Copy)]
pub(crate) struct Layer<'a> {
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    pub(crate) matrix: &'a [f32],
    pub(crate) bias: Option<&'a [f32]>,
}

/// The number of the decision about the first input of an output, counted through the samples of a call.
/// The bias's is behind those of the inputs.
#[inline(always)]
const fn first_decision(draw: Draw, inputs: usize, output: usize) -> u64 {
    let each = (inputs as u64).wrapping_add(1);
    draw.offset.wrapping_add((output as u64).wrapping_mul(each))
}
