#!/usr/bin/env bash
# Runs cargo for a bare-metal target: cargo.sh TARGET ARGUMENT...
# Uses rustup's target where it is installed (`rustup target add TARGET`), or else Debian's
# compiler, which brings the sources of `core` (package rust-web-src) to build it from.
set -euo pipefail
cd "$(dirname "$0")"
target=$1
shift
# Who calls this looks for the results in target/ beside it.
unset CARGO_TARGET_DIR

if rustup target list --installed 2>/dev/null | grep -qx "$target"; then
    exec cargo "$@" --target "$target"
fi
export RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1
exec /usr/bin/cargo "$@" --target "$target" -Zbuild-std=core
