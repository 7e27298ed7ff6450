#!/usr/bin/env bash
# Runs the golden cases on every machine of machines.txt, or on those of the targets named as
# arguments; fails if a bit differs from tests/golden/v1.txt.
set -euo pipefail
cd "$(dirname "$0")"

targets=("$@")
(($#)) || mapfile -t targets < <(awk '/^[^#]/ { print $1 }' machines.txt)

# For these cases the compiler uses the s390x's MDEB (f32 × f32 → f64), which QEMU 7.2 gets wrong.
readonly mdeb_cases='backward-last-2x35x9|backward-last-1e30|backward-inference-last'

# Whether mdeb.c shows that defect in the emulator of a target.
mdeb_is_wrong() {
    [[ $1 == s390x-* ]] || return 1
    local program=target/$1/release/mdeb status=0
    s390x-linux-gnu-gcc -O1 -o "$program" mdeb.c || exit
    ./qemu.sh "$program" || status=$?
    ((status == 12))
}

# compare TARGET: runs what was built for it.
compare() {
    local program=target/$1/release/golden left_out='^#'
    # Its text begins with `#` where it is not a line of the golden file.
    if ! ./qemu.sh "$program" </dev/null >"$program.txt"; then
        tail -n 3 "$program.txt"
        return 1
    fi
    if mdeb_is_wrong "$1"; then
        left_out+="|^($mdeb_cases) "
        echo "NOT COMPARED, because this emulator's MDEB is wrong (mdeb.c): ${mdeb_cases//|/, }"
    fi
    diff <(grep -Ev "$left_out" ../tests/golden/v1.txt) <(grep -Ev "$left_out" "$program.txt") || return
    echo "$(grep -Evc "$left_out" "$program.txt") cases equal, bit for bit"
    llvm-size "$program"
    echo "high-water mark of the stack, below the call of a case; the largest of all cases first:"
    # Not `head`: it would end the pipe while there is more to come.
    grep '^#' "$program.txt" | sort -k 2nr | awk 'NR <= 3'
}

# build_and_compare [OPTION OF CARGO]...: builds for all targets at once, so that they share the cores.
build_and_compare() {
    local target
    ./cargo.sh "$(IFS=,; echo "${targets[*]}")" build --release --locked --package golden "$@"
    for target in "${targets[@]}"; do
        echo "--- $target $*"
        compare "$target" || { echo "FAILED on $target"; failed=1; }
    done
}

failed=0
build_and_compare
# The bits don't depend on optimization. A failing overflow check would end the run, with its place.
if [[ " ${targets[*]} " == *" thumbv7em-none-eabihf "* ]]; then
    targets=(thumbv7em-none-eabihf)
    build_and_compare --config profile.release.package.evenkeel.opt-level=3 \
        --config profile.release.package.evenkeel.overflow-checks=true
fi
exit "$failed"
