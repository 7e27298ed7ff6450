//! The random numbers and masks of other systems against what those systems put out, every file of
//! tests/data/streams; against their comparisons of floats; and with wrong arguments.
//!
//! `cargo test --test streams -- --nocapture` prints how many answers of each file were right.

mod properties;
mod vectors;
mod wrong;

use core::num::NonZero;
use evenkeel::stream::Stream;

/// One of each.
fn streams() -> [Stream; 9] {
    let (offset, blocks) = (NonZero::<i64>::MIN, NonZero::<u32>::MIN);
    [
        Stream::Native,
        Stream::Triton,
        Stream::Inductor,
        Stream::Jax,
        Stream::JaxOriginal { len: 501 },
        Stream::TensorFlow { seed1: 2 },
        Stream::OneDnn,
        Stream::OneDnnOffset { offset },
        Stream::PyTorchCuda { len: 501, offset: 0, blocks },
    ]
}
