//! Linux: the C library's start calls `main`.

// Tables of `core` name functions of the unwinder there, though nothing unwinds.
#[cfg_attr(target_arch = "arm", link(name = "gcc_s"))]
#[link(name = "c")]
unsafe extern "C" {
    #[link_name = "exit"]
    safe fn c_exit(code: i32) -> !;
    fn write(file: i32, bytes: *const u8, len: usize) -> isize;
}

const STANDARD_OUTPUT: i32 = 1;

/// Prints bytes, all but the last.
pub(crate) fn print(text: &[u8]) {
    let len = text.len().saturating_sub(1);
    // SAFETY: the bytes are borrowed for the length of the call. A short write shows in the result.
    unsafe { write(STANDARD_OUTPUT, text.as_ptr(), len) };
}

pub fn exit(code: u32) -> ! {
    c_exit(code.cast_signed())
}

/// There is more than `Stack` ever paints.
pub(crate) fn stack_end() -> *mut u32 {
    core::ptr::null_mut()
}
