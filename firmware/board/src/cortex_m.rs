//! Cortex-M: cortex-m-rt starts it and calls `main`.

use core::arch::asm;

use cortex_m_rt::{ExceptionFrame, exception};

pub use crate::semihosting::exit;
use crate::semihosting::fault;
pub(crate) use crate::semihosting::print;

pub(crate) fn call_debugger(operation: usize, argument: *const u8) {
    // SAFETY: the debugger reads what `argument` points to: for the operations of `semihosting`,
    // memory that the caller borrows for the length of the call. It writes nothing but r0.
    unsafe { asm!("bkpt 0xAB", inlateout("r0") operation => _, in("r1") argument) }
}

pub(crate) fn stack_end() -> *mut u32 {
    unsafe extern "C" {
        /// By cortex-m-rt's linker script.
        static mut _stack_end: u32;
    }
    &raw mut _stack_end
}

#[exception]
unsafe fn HardFault(_: &ExceptionFrame) -> ! {
    fault()
}
