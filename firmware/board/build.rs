//! Tells the linker where the emulated board has its memory.

use std::{env, fs, path::Path};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=../machines.txt");

    let target = env::var("TARGET").expect("cargo sets TARGET");
    let line = include_str!("../machines.txt").lines().find(|line| line.starts_with(&target));
    let columns: Vec<&str> = line.unwrap_or_default().split_whitespace().collect();
    // Hosts have no memory there, and a target that nothing runs on has no line.
    let [_, _, flash, flash_size, ram, ram_size] = columns[..] else {
        return;
    };
    let memory = format!(
        "MEMORY {{
            FLASH : ORIGIN = {flash}, LENGTH = {flash_size}
            RAM : ORIGIN = {ram}, LENGTH = {ram_size}
        }}\n"
    );
    let (name, script) = if target.starts_with("riscv") {
        ("link.x", memory + RISC_V)
    } else {
        // cortex-m-rt brings the rest.
        ("memory.x", memory)
    };
    let out = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    fs::write(Path::new(&out).join(name), script).expect("OUT_DIR is writable");
    println!("cargo::rustc-link-search={out}");
}

/// The emulator jumps to the first address, and sets the initialized and the zeroed data itself.
const RISC_V: &str = "
ENTRY(_start)
SECTIONS {
    .text : { KEEP(*(.start)) *(.text .text.*) *(.rodata .rodata.*) } > FLASH
    .data : { *(.data .data.* .sdata .sdata.*) } > RAM
    .bss : { *(.bss .bss.* .sbss .sbss.*) } > RAM
    _stack_end = ALIGN(16);
    _stack_start = ORIGIN(RAM) + LENGTH(RAM);
    /DISCARD/ : { *(.eh_frame) }
}
";
