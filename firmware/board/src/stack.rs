//! Measures stack use: paint what is free, run something, look how far down the paint is gone.

use core::ptr;

use crate::machine::stack_end;

const PAINT: u32 = 0xcccc_cccc;

/// More is not painted: some boards have megabytes.
const MOST: usize = 256 * 1024;

/// Left alone below the caller's frame, for the frames of `paint` itself.
const MARGIN: usize = 128;

/// Measures from the frame of whoever creates it.
pub struct Stack {
    top: *mut u32,
    bottom: *mut u32,
}

impl Stack {
    #[inline(never)]
    pub fn paint() -> Self {
        let local = 0u32;
        let top = (&raw const local).cast_mut().wrapping_byte_sub(MARGIN);
        let end = stack_end();
        let size = (top.addr() - end.addr()).min(MOST);
        let bottom = top.wrapping_byte_sub(size);
        let mut word = bottom;
        while word < top {
            // SAFETY: word-aligned, between the stack's end and the frames in use.
            unsafe { ptr::write_volatile(word, PAINT) };
            word = word.wrapping_add(1);
        }
        Self { top, bottom }
    }

    /// Bytes used since; `None` if not even the lowest word is paint any more.
    #[inline(never)]
    pub fn used(&self) -> Option<usize> {
        let mut word = self.bottom;
        // SAFETY: as above.
        while word < self.top && unsafe { ptr::read_volatile(word) } == PAINT {
            word = word.wrapping_add(1);
        }
        (word > self.bottom).then(|| self.top.addr() - word.addr() + MARGIN)
    }
}
