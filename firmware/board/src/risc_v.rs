//! RISC-V, in the emulator's memory (board/build.rs has the linker script).

use core::arch::{asm, global_asm};

pub use crate::semihosting::exit;
use crate::semihosting::fault;
pub(crate) use crate::semihosting::print;

// What it takes to start: a stack, and a place to go to when something is wrong.
global_asm!(
    ".section .start, \"ax\"",
    ".global _start",
    "_start: la sp, _stack_start",
    "la t0, 1f",
    "csrw mtvec, t0",
    "call main",
    ".balign 4", // as the register demands
    "1: call {trap}",
    trap = sym trap,
);

extern "C" fn trap() -> ! {
    fault()
}

pub(crate) fn call_debugger(operation: usize, argument: *const u8) {
    // SAFETY: the debugger reads what `argument` points to: for the operations of `semihosting`,
    // memory that the caller borrows for the length of the call. It writes nothing but a0.
    unsafe {
        // These three uncompressed instructions, on one page, are the call.
        asm!(
            ".balign 16",
            ".option push",
            ".option norvc",
            "slli x0, x0, 0x1f",
            "ebreak",
            "srai x0, x0, 7",
            ".option pop",
            inlateout("a0") operation => _,
            in("a1") argument,
        );
    }
}

pub(crate) fn stack_end() -> *mut u32 {
    unsafe extern "C" {
        static mut _stack_end: u32;
    }
    &raw mut _stack_end
}
