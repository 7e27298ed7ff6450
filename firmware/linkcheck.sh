#!/usr/bin/env bash
# Proves that no path in any public operation leads to a panic: every `check_…` function of
# linkcheck/src/lib.rs must link although the panic handler calls a function that does not exist.
# The `control_…` functions do panic, and must not link.
#
# Scalar code is proven on two microcontrollers; vector code on x86-64 (SSE2, AVX2 and AVX-512 are
# all in one build: the argument `backend` is a run-time value), aarch64 (NEON) and wasm (simd128).
#
# Other settings than those that must hold can be named: ./linkcheck.sh overflow-checks=true
set -euo pipefail
cd "$(dirname "$0")"

readonly vector_targets=(x86_64-unknown-linux-gnu aarch64-unknown-none wasm32-unknown-unknown)
readonly scalar_targets=(thumbv6m-none-eabi thumbv7em-none-eabihf)
# What must be found in the disassembly of the vector targets, or nothing would be proven.
declare -rA vectors=(
    [x86_64-unknown-linux-gnu]='%zmm' [aarch64-unknown-none]='\bv[0-9]+\.4s' [wasm32-unknown-unknown]=f32x4
)

# The settings of cargo that apply $1 to every crate but `core`, which keeps its one build.
configure() {
    for package in evenkeel linkcheck fearless_simd libm rand_core; do
        printf '%s\n' --config "profile.release.package.$package.$1"
    done
}

# link TARGET LIBRARY FUNCTION IMAGE [OPTION...]: links one function and what it needs. A function
# that does not exist is an error.
link() {
    local target=$1 library=$2 function=$3 image=$4 emulation
    shift 4
    case $target in
        wasm32-*)
            wasm-ld --no-entry --gc-sections --export="$function" "$@" -o "$image" "$library"
            return
            ;;
        x86_64-*)
            emulation=elf_x86_64
            # What a C library and an unwinder would bring.
            for symbol in mem{cpy,move,set,cmp} bcmp rust_eh_personality; do
                set -- "$@" --defsym "$symbol=0"
            done
            ;;
        aarch64-*) emulation=aarch64elf ;;
        thumb*) emulation=armelf ;;
    esac
    ld.lld -m "$emulation" --fatal-warnings --gc-sections --entry="$function" "$@" -o "$image" "$library"
}

# Names the functions that call one that panics, for an export that doesn't link. (Not on wasm, whose
# disassembly has no names.)
explain() {
    local image=target/linked
    [[ $1 != wasm32-* ]] || return 0
    link "$1" "$2" "$3" "$image" --no-fatal-warnings --defsym evenkeel_can_panic=0 2>/dev/null
    # Without the symbols that mark where code begins: they would hide the functions' names.
    llvm-objcopy --wildcard --strip-symbol='$*' "$image"
    llvm-objdump --disassemble --demangle --no-show-raw-insn --triple="$1" "$image" |
        awk '/^[0-9a-f]+ </ { caller = $0; sub(/^[0-9a-f]+ /, "", caller) }
             /<.*(panic|unwrap_failed|slice_.*fail)/ && caller !~ /core::|rust_begin_unwind/ {
                 print "      in " caller
             }' | sort -u
}

check() {
    local target=$1 library=target/$1/release/liblinkcheck.a functions function
    # llvm-nm fails, after all names, where it is older than the compiler that made the library.
    functions=$({ llvm-nm --defined-only --format=just-symbols "$library" 2>/dev/null || true; } |
        grep -E '^(check|control)_' | sort)
    [[ $functions == *check_* && $functions == *control_* ]]
    for function in $functions control_that_does_not_exist; do
        if link "$target" "$library" "$function" target/linked 2>/dev/null; then
            if [[ $function == control_* ]]; then
                echo "  $function links: this check proves nothing"
                failed=1
            fi
        elif [[ $function == check_* ]]; then
            echo "  $function can panic:"
            explain "$target" "$library" "$function"
            failed=1
        fi
    done
    if [[ -n ${vectors[$target]-} ]] &&
        ! { llvm-objdump --disassemble "$library" 2>/dev/null || true; } |
            grep -Ec "${vectors[$target]}" >/dev/null; then
        echo "  no vector instruction (${vectors[$target]}): this check proves nothing"
        failed=1
    fi
    echo "  $(grep -c check_ <<<"$functions") functions checked"
}

# build_and_check TARGET SETTING...
build_and_check() {
    local target=$1 setting configuration
    shift
    for setting in "$@"; do
        echo "--- $target, $setting"
        mapfile -t configuration < <(configure "$setting")
        ./cargo.sh "$target" build --release --locked --package linkcheck "${configuration[@]}"
        check "$target"
    done
}

failed=0
for target in "${scalar_targets[@]}"; do
    if (($#)); then
        build_and_check "$target" "$@"
    else
        build_and_check "$target" 'opt-level=3' 'opt-level="s"'
    fi
done
for target in "${vector_targets[@]}"; do
    case $target in
        # Calls by name instead of through a table, for `explain`.
        x86_64-*) export RUSTFLAGS=-Crelocation-model=static ;;
        wasm32-*) export RUSTFLAGS=-Ctarget-feature=+simd128 ;;
        *) unset RUSTFLAGS ;;
    esac
    build_and_check "$target" "${@:-opt-level=3}"
done
exit "$failed"
