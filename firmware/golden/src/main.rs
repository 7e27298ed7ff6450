//! Runs the golden cases on a microcontroller and prints the lines of the golden file.
//!
//! `../run.sh` compares them with the file. Lines that begin with `#` are for the reader.

#![no_std]
#![no_main]

#[path = "../../../tests/common/golden_cases.rs"]
mod golden_cases;
mod semihosting;
mod stack;

use core::panic::PanicInfo;

use cortex_m_rt::{ExceptionFrame, entry, exception};
use evenkeel::Backend;
use golden_cases::{CASES, Case, Digest, MEMORY, Observer, Values};
use semihosting::{Line, exit};
use stack::Stack;

const CASE_FAILED: u32 = 1;
const STACK_FULL: u32 = 2;
const HARD_FAULT: u32 = 3;
const PANICKED: u32 = 4;

#[entry]
fn main() -> ! {
    // `entry` makes this a `&mut` that exists once.
    static mut MEMORY_OF_CASES: [f32; MEMORY] = [0.0; MEMORY];
    for case in CASES {
        print(case, MEMORY_OF_CASES);
    }
    exit(0)
}

/// Hashes outputs; inputs don't count.
struct Hasher(Digest);

impl Observer for Hasher {
    fn input(&mut self, _: &'static str, _: &[f32]) {}

    fn output(&mut self, _: &'static str, values: Values<'_>) {
        self.0.add(values);
    }
}

/// Runs a case and prints its line, and its stack use.
fn print(case: &Case, memory: &mut [f32]) {
    let mut hasher = Hasher(Digest::new());
    let stack = Stack::paint();
    if golden_cases::run(case, Backend::detect(), memory, &mut hasher).is_err() {
        Line::new().text(case.name).text(" returned an error").print();
        exit(CASE_FAILED);
    }
    let Some(used) = stack.used() else {
        // It may have grown into the cases' memory.
        Line::new().text(case.name).text(" took all of the stack").print();
        exit(STACK_FULL);
    };
    let Digest { hash, first: [first, second], .. } = hasher.0;
    let line = Line::new().text(case.name).text(" ").hex(hash, 16);
    line.text(" ").hex(first.into(), 8).text(" ").hex(second.into(), 8).print();
    Line::new().text("# ").decimal(used as u32).text(" bytes of stack: ").text(case.name).print();
}

#[exception]
unsafe fn HardFault(_: &ExceptionFrame) -> ! {
    Line::new().text("hard fault").print();
    exit(HARD_FAULT)
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    if let Some(location) = info.location() {
        let line = Line::new().text("panic at ").text(location.file());
        line.text(":").decimal(location.line()).print();
    }
    exit(PANICKED)
}
