//! Tells the linker where the emulated board has its memory.

use std::{env, fs, path::Path};

fn main() {
    let target = env::var("TARGET").expect("cargo sets TARGET");
    let memory = if target.starts_with("thumbv6m") {
        // QEMU's microbit: Cortex-M0.
        let [flash, ram] = ["FLASH_KIB", "RAM_KIB"].map(cortex_m0);
        format!(
            "FLASH : ORIGIN = 0x00000000, LENGTH = {flash}K\nRAM : ORIGIN = 0x20000000, LENGTH = {ram}K"
        )
    } else {
        // QEMU's mps2-an386: Cortex-M4F.
        String::from(
            "FLASH : ORIGIN = 0x00000000, LENGTH = 4M\nRAM : ORIGIN = 0x20000000, LENGTH = 4M",
        )
    };
    let out = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    let script = format!("MEMORY {{\n{memory}\n}}\n");
    fs::write(Path::new(&out).join("memory.x"), script).expect("OUT_DIR is writable");

    println!("cargo::rustc-link-search={out}");
    println!("cargo::rustc-link-arg-bins=-Tlink.x");
    println!("cargo::rustc-link-arg-bins=--nmagic");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=../cortex-m0.env");
}

/// A number of `cortex-m0.env`, which `qemu.sh` reads too.
fn cortex_m0(name: &str) -> &'static str {
    let lines = include_str!("../cortex-m0.env").lines();
    let mut values = lines.filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    values.next().expect("cortex-m0.env has both sizes")
}
