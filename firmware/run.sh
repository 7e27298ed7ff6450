#!/usr/bin/env bash
# Runs the golden cases on an emulated Cortex-M0 and Cortex-M4F; fails if a bit differs from
# tests/golden/v1.txt.
set -euo pipefail
cd "$(dirname "$0")"

# Optimized for size on one and for speed on the other: the bits don't depend on that either.
golden() {
    local target=$1 opt_level=$2 image=target/$1/release/golden
    echo "--- $target, opt-level $opt_level"
    ./cargo.sh "$target" build --release --locked --package golden \
        --config "profile.release.package.evenkeel.opt-level=$opt_level"
    llvm-size "$image"
    # Its text begins with `#` where it is not a line of the golden file.
    if ! ./qemu.sh "$image" </dev/null >"$image.txt"; then
        tail -n 3 "$image.txt"
        return 1
    fi
    diff <(grep -v '^#' ../tests/golden/v1.txt) <(grep -v '^#' "$image.txt")
    echo "$(grep -vc '^#' "$image.txt") cases equal, bit for bit; the most stack (without the interface):"
    grep '^#' "$image.txt" | sort -k 2nr | head -n 5
}

golden thumbv6m-none-eabi '"s"'
golden thumbv7em-none-eabihf 3
