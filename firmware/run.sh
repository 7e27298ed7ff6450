#!/usr/bin/env bash
# Runs the golden cases on an emulated Cortex-M0 and Cortex-M4F; fails if a bit differs from
# tests/golden/v1.txt.
set -euo pipefail
cd "$(dirname "$0")"

# golden TARGET SETTING...: builds evenkeel with these settings of cargo, runs, compares.
golden() {
    local target=$1 image=target/$1/release/golden setting configuration=()
    shift
    echo "--- $target, $*"
    for setting in "$@"; do
        configuration+=(--config "profile.release.package.evenkeel.$setting")
    done
    ./cargo.sh "$target" build --release --locked --package golden "${configuration[@]}"
    llvm-size "$image"
    # Its text begins with `#` where it is not a line of the golden file.
    if ! ./qemu.sh "$image" </dev/null >"$image.txt"; then
        tail -n 3 "$image.txt"
        return 1
    fi
    diff <(grep -v '^#' ../tests/golden/v1.txt) <(grep -v '^#' "$image.txt")
    echo "$(grep -vc '^#' "$image.txt") cases equal, bit for bit"
    echo "high-water mark of the stack, below the call of a case; the largest of all cases first:"
    grep '^#' "$image.txt" | sort -k 2nr | head -n 3
}

# Optimized for size on one and for speed on the other: the bits don't depend on that either. Nor on
# overflow checks, which would end the run with a panic and its place.
golden thumbv6m-none-eabi 'opt-level="s"'
golden thumbv7em-none-eabihf opt-level=3
golden thumbv7em-none-eabihf opt-level=3 overflow-checks=true
