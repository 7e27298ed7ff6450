#!/usr/bin/env bash
# Runs cargo for other targets than this machine: cargo.sh TARGET[,TARGET]... ARGUMENT...
# Uses rustup's targets where all are installed (`rustup target add TARGET`), or else Debian's
# compiler, which brings the sources of `core` (package rust-web-src) to build it from.
set -euo pipefail
cd "$(dirname "$0")"
targets=${1//,/ }
shift
# Who calls this looks for the results in target/ beside it.
unset CARGO_TARGET_DIR

cargo=(cargo)
for target in $targets; do
    set -- "$@" --target "$target"
    if ! rustup target list --installed 2>/dev/null | grep -qx "$target"; then
        cargo=(/usr/bin/cargo)
    fi
done
if [[ ${cargo[0]} == /* ]]; then
    export RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1
    set -- "$@" -Zbuild-std=core
fi
exec "${cargo[@]}" "$@"
