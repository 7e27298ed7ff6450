//! Text without an allocator.

use crate::machine;

/// A line of text. What does not fit is cut off.
pub struct Line {
    bytes: [u8; 120],
    len: usize,
}

impl Line {
    #[expect(clippy::new_without_default, reason = "a line begins in one way")]
    pub const fn new() -> Self {
        Self { bytes: [0; 120], len: 0 }
    }

    pub fn text(mut self, text: &str) -> Self {
        text.bytes().for_each(|byte| self.push(byte));
        self
    }

    /// The lowest `digits` hexadecimal digits.
    pub fn hex(mut self, value: u64, digits: u32) -> Self {
        for digit in (0..digits).rev() {
            let nibble = (value >> (4 * digit) & 15) as u8;
            self.push(if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 });
        }
        self
    }

    pub fn decimal(mut self, value: u32) -> Self {
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

    pub fn print(mut self) {
        self.push(b'\n');
        machine::print(&self.bytes[..=self.len]);
    }

    /// Keeps the last byte 0, which ends the text for the debugger.
    fn push(&mut self, byte: u8) {
        if self.len + 1 < self.bytes.len() {
            self.bytes[self.len] = byte;
            self.len += 1;
        }
    }
}
