//! What the programs need from the machine that they run on: a start, text, an exit code, and a look
//! at the stack.
//!
//! A program exports `main`, as in C, and uses something of this crate, or it is not linked.

#![no_std]

mod line;
#[cfg_attr(target_os = "linux", path = "linux.rs")]
#[cfg_attr(target_arch = "riscv32", path = "risc_v.rs")]
#[cfg_attr(all(target_arch = "arm", target_os = "none"), path = "cortex_m.rs")]
mod machine;
#[cfg(target_os = "none")]
mod semihosting;
mod stack;

use core::panic::PanicInfo;

pub use line::Line;
pub use machine::exit;
pub use stack::Stack;

/// An exit code, beside the programs' own.
const PANICKED: u32 = 4;

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    if let Some(location) = info.location() {
        let line = Line::new().text("panic at ").text(location.file());
        line.text(":").decimal(location.line()).print();
    }
    exit(PANICKED)
}
