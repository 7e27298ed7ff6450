#!/usr/bin/env bash
# Runs an image in QEMU, on the machine that the target in its path stands for: qemu.sh IMAGE
set -euo pipefail

case $1 in
    *thumbv6m*)
        source "$(dirname "$0")/cortex-m0.env"
        machine=(microbit
            -global "nrf51-soc.flash-size=$((FLASH_KIB * 1024))"
            -global "nrf51-soc.sram-size=$((RAM_KIB * 1024))")
        ;;
    *thumbv7em*) machine=(mps2-an386) ;;
    *) echo "no machine for $1" >&2; exit 2 ;;
esac
exec timeout 120 qemu-system-arm -machine "${machine[@]}" -nographic -monitor none -serial none \
    -chardev stdio,id=text -semihosting-config enable=on,target=native,chardev=text -kernel "$1"
