#!/usr/bin/env bash
# Measures what each operation of budget/src/lib.rs costs, and fails where it is above budgets.txt:
# flash (linked alone), stack (in the emulator) and instructions for an element (the same).
#
# ./budget.sh --lower writes what was measured into budgets.txt, where that is less or new.
set -euo pipefail
cd "$(dirname "$0")"

targets=(thumbv7em-none-eabihf)
mkdir -p target

# measure TARGET: prints a line for each operation, with the columns of budgets.txt.
measure() {
    local target=$1 release=target/$1/release op stack instructions text
    ./cargo.sh "$target" build --release --locked --package budget
    # Each instruction takes a nanosecond of the emulator's clock.
    ./qemu.sh "$release/budget" -icount shift=0 </dev/null >"$release/budget.txt" ||
        { tail -n 3 "$release/budget.txt" >&2; return 1; }
    while read -r op stack instructions; do
        ld.lld -m armelf --fatal-warnings --gc-sections --entry="op_$op" -o target/linked \
            "$release/libbudget.a"
        text=$(llvm-size target/linked | awk 'NR == 2 { print $1 }')
        printf '%-27s %-22s %7d %7d %8s\n' "$op" "$target" "$text" "$stack" "$instructions"
    done <"$release/budget.txt"
}

for target in "${targets[@]}"; do
    measure "$target"
done >target/measured.txt
cat target/measured.txt

# Compares the two files, or with `lower` prints a new budgets.txt.
compare() {
    awk -v lower="${1:-}" '
        # Another compiler may need a little more.
        function above(measured, budget) { return measured > budget * 1.03 }
        function least(measured, budget) { return budget == "" || measured < budget ? measured : budget }
        /^#/ || NF == 0 { if (lower) print; next }
        { key = $1 " " $2 }
        FILENAME == "budgets.txt" {
            for (column = 3; column <= 5; column++) budget[key, column] = $column
            known[key] = 1
            next
        }
        lower {
            printf "%-27s %-22s %7d %7d %8.1f\n", $1, $2, least($3, budget[key, 3]), \
                least($4, budget[key, 4]), least($5, budget[key, 5])
            next
        }
        { measured[key] = 1 }
        !(key in known) { print key ": not in budgets.txt"; failed = 1; next }
        {
            split("bytes of text,bytes of stack,instructions an element", unit, ",")
            for (column = 3; column <= 5; column++) if (above($column, budget[key, column])) {
                print key ": " $column " " unit[column - 2] ", more than " budget[key, column]
                failed = 1
            }
        }
        END {
            for (key in known) if (!lower && !(key in measured)) {
                print key ": in budgets.txt, but not measured"
                failed = 1
            }
            exit failed
        }
    ' budgets.txt target/measured.txt
}

if [[ ${1-} == --lower ]]; then
    compare lower >target/budgets.txt
    cp target/budgets.txt budgets.txt
else
    compare
fi
