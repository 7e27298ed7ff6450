#!/usr/bin/env bash
# Proves that no path in any public operation leads to a panic: every `check_…` function of
# linkcheck/src/lib.rs must link although the panic handler calls a function that does not exist.
# The `control_…` functions do panic, and must not link.
#
# Other settings than the two that must hold can be named: ./linkcheck.sh overflow-checks=true
set -euo pipefail
cd "$(dirname "$0")"

readonly targets=(thumbv6m-none-eabi thumbv7em-none-eabihf)
# `core` keeps its one build; only what is ours (and what is generic) is compiled for each setting.
(($#)) || set -- 'opt-level=3' 'opt-level="s"'
readonly settings=("$@")

# The settings of cargo that apply $1 to every crate but `core`.
configure() {
    for package in evenkeel linkcheck fearless_simd libm rand_core; do
        printf '%s\n' --config "profile.release.package.$package.$1"
    done
}

# Links one function and what it needs. `--require-defined` makes a misspelt name an error.
links() {
    arm-none-eabi-ld --gc-sections --require-defined="$2" -e "$2" -o /dev/null "$1" 2>/dev/null
}

# Names the functions that call one that panics, for an export that doesn't link.
explain() {
    local image=target/explain.elf
    arm-none-eabi-ld --gc-sections --defsym evenkeel_can_panic=0 -e "$2" -o "$image" "$1"
    # Without the symbols that mark where code begins: they would hide the functions' names.
    llvm-objcopy --wildcard --strip-symbol='$*' "$image"
    llvm-objdump --disassemble --demangle --no-show-raw-insn --triple="$3" "$image" |
        awk '/^[0-9a-f]+ </ { caller = substr($0, 10) }
             /<.*(panic|unwrap_failed|slice_.*fail)/ && caller !~ /core::|rust_begin_unwind/ {
                 print "      in " caller
             }' | sort -u
}

check() {
    local library=target/$1/release/liblinkcheck.a functions function
    functions=$(llvm-nm --defined-only --format=just-symbols "$library" 2>/dev/null |
        grep -E '^(check|control)_' | sort)
    [[ $functions == *check_* && $functions == *control_* ]]
    for function in $functions; do
        if links "$library" "$function"; then
            if [[ $function == control_* ]]; then
                echo "  $function links: this check proves nothing"
                failed=1
            fi
        elif [[ $function == check_* ]]; then
            echo "  $function can panic:"
            explain "$library" "$function" "$1"
            failed=1
        fi
    done
    echo "  $(grep -c check_ <<<"$functions") functions checked"
}

failed=0
for target in "${targets[@]}"; do
    for setting in "${settings[@]}"; do
        echo "--- $target, $setting"
        mapfile -t configuration < <(configure "$setting")
        ./cargo.sh "$target" build --release --locked --package linkcheck "${configuration[@]}"
        check "$target"
    done
done
exit "$failed"
