//! Runs the golden cases without `std`, on any machine, and prints the lines of the golden file.
//!
//! `../run.sh` compares them with the file. Lines that begin with `#` are for the reader.

#![no_std]
#![no_main]

#[path = "../../../tests/common/golden_cases.rs"]
mod golden_cases;

use board::{Line, Stack, exit};
use evenkeel::Backend;
use golden_cases::{CASES, Case, Digest, MEMORY, Observer, Values};

const CASE_FAILED: u32 = 1;
const STACK_FULL: u32 = 2;

static mut MEMORY_OF_CASES: [f32; MEMORY] = [0.0; MEMORY];

#[unsafe(no_mangle)]
extern "C" fn main() -> ! {
    let memory = &raw mut MEMORY_OF_CASES;
    // SAFETY: `main` is called once, by the start of the machine; nothing else knows this memory.
    let memory = unsafe { &mut *memory };
    for case in CASES {
        print(case, memory);
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
