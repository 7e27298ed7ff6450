//! Tells the linker where the emulated board has its memory.

use std::{env, fs, path::Path};

fn main() {
    let target = env::var("TARGET").expect("cargo sets TARGET");
    let memory = if target.starts_with("thumbv6m") {
        // QEMU's microbit: Cortex-M0. Memory as in ../qemu.sh.
        "FLASH : ORIGIN = 0x00000000, LENGTH = 512K\nRAM : ORIGIN = 0x20000000, LENGTH = 32K"
    } else {
        // QEMU's mps2-an386: Cortex-M4F.
        "FLASH : ORIGIN = 0x00000000, LENGTH = 4M\nRAM : ORIGIN = 0x20000000, LENGTH = 4M"
    };
    let out = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    let script = format!("MEMORY {{\n{memory}\n}}\n");
    fs::write(Path::new(&out).join("memory.x"), script).expect("OUT_DIR is writable");

    println!("cargo::rustc-link-search={out}");
    println!("cargo::rustc-link-arg-bins=-Tlink.x");
    println!("cargo::rustc-link-arg-bins=--nmagic");
    println!("cargo::rerun-if-changed=build.rs");
}
