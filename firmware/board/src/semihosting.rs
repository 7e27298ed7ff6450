//! Text and an exit code for the debugger, which here is QEMU.

use crate::Line;
use crate::machine::call_debugger;

/// An exit code, beside the programs' own.
const HARD_FAULT: u32 = 3;

const SYS_WRITE0: usize = 0x04;
const SYS_EXIT_EXTENDED: usize = 0x20;
const APPLICATION_EXIT: usize = 0x0002_0026;

/// Prints bytes, of which the last must be 0.
pub(crate) fn print(text: &[u8]) {
    call_debugger(SYS_WRITE0, text.as_ptr());
}

/// Ends the emulation.
pub fn exit(code: u32) -> ! {
    let block = [APPLICATION_EXIT, code as usize];
    call_debugger(SYS_EXIT_EXTENDED, block.as_ptr().cast());
    // Not reached in QEMU.
    loop {
        core::hint::spin_loop();
    }
}

/// What a processor does instead of an instruction that it can't execute.
pub(crate) fn fault() -> ! {
    Line::new().text("hard fault").print();
    exit(HARD_FAULT)
}
