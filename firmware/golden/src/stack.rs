//! Measures stack use: paint what is free, run something, look how far down the paint is gone.

use core::ptr;

const PAINT: u32 = 0xcccc_cccc;

/// More is not painted: the Cortex-M4F's board has megabytes.
const MOST: usize = 64 * 1024;

/// Left alone below the caller's frame, for the frames of `paint` itself.
const MARGIN: usize = 128;

unsafe extern "C" {
    /// The lowest address of the stack, by cortex-m-rt's linker script.
    static mut _stack_end: u32;
}

/// Measures from the frame of whoever creates it.
pub(crate) struct Stack {
    top: *mut u32,
    bottom: *mut u32,
}

impl Stack {
    #[inline(never)]
    pub(crate) fn paint() -> Self {
        let local = 0u32;
        let top = (&raw const local).cast_mut().wrapping_byte_sub(MARGIN);
        let end = &raw mut _stack_end;
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
    pub(crate) fn used(&self) -> Option<usize> {
        let mut word = self.bottom;
        // SAFETY: as above.
        while word < self.top && unsafe { ptr::read_volatile(word) } == PAINT {
            word = word.wrapping_add(1);
        }
        (word > self.bottom).then(|| self.top.addr() - word.addr() + MARGIN)
    }
}
