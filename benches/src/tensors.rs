//! Two inputs and an output, placed so that their addresses don't collide.

use crate::data;

/// Bytes after which addresses look alike to a core's store buffer.
const PAGE: usize = 4096;
const FLOAT: usize = size_of::<f32>();
/// Distance of neighbouring tensors modulo [`PAGE`]: 17 cache lines of 64 bytes. Three tensors
/// then lie 17, 17 and 30 of the page's 64 lines apart, so none runs close behind another.
const STEP: usize = 17 * 64;

/// Two input tensors and one output tensor of the same length.
///
/// Allocated one by one, large buffers all begin at the same offset within a page. Then element
/// i of the output and element i of an input agree in the low 12 bits of their addresses, by
/// which a core guesses whether a load depends on an earlier store ("4K aliasing"). Loads then wait
/// for stores that have nothing to do with them: some loops on some cores get slower, and whether
/// they do depends on what happened to be allocated before. So all three come from one
/// allocation, at offsets that differ by many cache lines.
#[derive(Debug)]
pub struct Tensors {
    memory: Vec<f32>,
    starts: [usize; 3],
    len: usize,
}

impl Tensors {
    /// Allocates the three tensors, fills the inputs with normal data and touches the output, so
    /// that no page fault is left for the measurement.
    pub fn new(len: usize) -> Self {
        let stride = (len * FLOAT).next_multiple_of(PAGE) + STEP;
        let mut memory = vec![1.0_f32; (PAGE + 3 * stride) / FLOAT];
        let to_page = memory.as_ptr().addr().wrapping_neg() % PAGE;
        let starts = [0, 1, 2].map(|k| (to_page + k * stride) / FLOAT);
        for (seed, &start) in (1..).zip(&starts[..2]) {
            data::fill_normal(seed, &mut memory[start..start + len]);
        }

        let tensors = Self { memory, starts, len };
        for (k, start) in tensors.starts.into_iter().enumerate() {
            let address = tensors.memory[start..].as_ptr().addr();
            assert_eq!(address % PAGE, k * STEP, "tensor {k} is misplaced");
        }
        tensors
    }

    /// The inputs (`x` and, for a backward pass, `dy`) and the output.
    pub fn split(&mut self) -> ([&[f32]; 2], &mut [f32]) {
        let [x, dy, y] = self.starts;
        let (inputs, output) = self.memory.split_at_mut(y);
        ([&inputs[x..x + self.len], &inputs[dy..dy + self.len]], &mut output[..self.len])
    }
}
