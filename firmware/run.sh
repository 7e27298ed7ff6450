#!/usr/bin/env bash
# Runs the golden cases on an emulated Cortex-M0 and Cortex-M4F; fails if a bit differs from
# tests/golden/v1.txt.
set -euo pipefail
cd "$(dirname "$0")"

for target in thumbv6m-none-eabi thumbv7em-none-eabihf; do
    echo "--- $target"
    ./cargo.sh "$target" build --release --locked --package golden
    image=target/$target/release/golden
    llvm-size "$image"
    ./qemu.sh "$image" </dev/null | tee "$image.txt" | grep '^#' || { tail -n 3 "$image.txt"; exit 1; }
    diff <(grep -v '^#' ../tests/golden/v1.txt) <(grep -v '^#' "$image.txt")
    echo "$(grep -vc '^#' "$image.txt") cases equal, bit for bit"
done
