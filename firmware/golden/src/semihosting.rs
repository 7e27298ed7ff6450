//! Text and an exit code for the debugger, which here is QEMU.

use core::arch::asm;

const SYS_WRITE0: u32 = 0x04;
const SYS_EXIT_EXTENDED: u32 = 0x20;
const APPLICATION_EXIT: u32 = 0x0002_0026;

fn call(operation: u32, argument: *const u8) {
    // SAFETY: the debugger reads what `argument` points to: for both operations used here, memory
    // that the caller borrows for the length of the call. It writes nothing but r0.
    unsafe { asm!("bkpt 0xAB", inlateout("r0") operation => _, in("r1") argument) }
}

/// Ends the emulation.
pub(crate) fn exit(code: u32) -> ! {
    let block = [APPLICATION_EXIT, code];
    call(SYS_EXIT_EXTENDED, block.as_ptr().cast());
    // Not reached in QEMU.
    loop {
        core::hint::spin_loop();
    }
}

/// A line of text. What does not fit is cut off.
pub(crate) struct Line {
    bytes: [u8; 120],
    len: usize,
}

impl Line {
    pub(crate) const fn new() -> Self {
        Self { bytes: [0; 120], len: 0 }
    }

    pub(crate) fn text(mut self, text: &str) -> Self {
        text.bytes().for_each(|byte| self.push(byte));
        self
    }

    /// The lowest `digits` hexadecimal digits.
    pub(crate) fn hex(mut self, value: u64, digits: u32) -> Self {
        for digit in (0..digits).rev() {
            let nibble = (value >> (4 * digit) & 15) as u8;
            self.push(if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 });
        }
        self
    }

    pub(crate) fn decimal(mut self, value: u32) -> Self {
        let mut unit = 1;
        while value / unit > 9 {
            unit *= 10;
        }
        while unit > 0 {
            self.push(b'0' + (value / unit % 10) as u8);
            unit /= 10;
        }
        self
    }

    pub(crate) fn print(mut self) {
        self.push(b'\n');
        call(SYS_WRITE0, self.bytes.as_ptr());
    }

    /// Keeps the last byte 0, which ends the text for the debugger.
    fn push(&mut self, byte: u8) {
        if self.len + 1 < self.bytes.len() {
            self.bytes[self.len] = byte;
            self.len += 1;
        }
    }
}
