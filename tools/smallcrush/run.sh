#!/usr/bin/env bash
# TestU01's SmallCrush on every stream of examples/words.rs, each in both orders of bits, or on those
# named as arguments. Prints a line a run and all suspect statistics; the whole reports are in
# target/smallcrush. Fails if a statistic is suspect. What it needs: README.md.
set -euo pipefail
cd "$(dirname "$0")/../.."

streams=("$@")
(($#)) || streams=(counter seeds streams children mask)

out=target/smallcrush
mkdir -p "$out"
cc -O2 -Wall -Wextra -isystem /usr/include/testu01 -isystem "/usr/include/$(cc -print-multiarch)/testu01" \
    tools/smallcrush/smallcrush.c -o "$out/smallcrush" \
    -ltestu01 -ltestu01probdist -ltestu01mylib -lm
cargo build --release --example words

status=0
for stream in "${streams[@]}"; do
    for order in forward reversed; do
        report=$out/$stream-$order.txt
        # The judge's exit status counts, not that of the words, whose pipe it closes.
        target/release/examples/words "$stream" | "$out/smallcrush" "$order" >"$report" || true
        result=$(grep '^RESULT' "$report") || { echo "$stream: no result" >&2; exit 1; }
        printf '%-9s %-9s %s\n' "$stream" "$order" "${result#RESULT }"
        grep '^suspect' "$report" && status=1
    done
done
exit "$status"
