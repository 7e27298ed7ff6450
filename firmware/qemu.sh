#!/usr/bin/env bash
# Runs a program in QEMU, on the machine that machines.txt names for the target in its path:
# qemu.sh PROGRAM [OPTION OF QEMU]...
set -euo pipefail

program=$1
shift
while read -r target emulator _ flash _ ram; do
    [[ $program == *"$target"* ]] && break
done < <(grep -v '^#' "$(dirname "$0")/machines.txt")
if [[ $program != *"$target"* ]]; then
    echo "machines.txt has no machine for $program" >&2
    exit 2
fi

case $emulator in
    qemu-system-*)
        options=(-machine "${emulator#*:}" -nographic -monitor none -serial none
            -chardev stdio,id=text -semihosting-config enable=on,target=native,chardev=text)
        case $emulator in
            # The one machine whose memory can be chosen; README.md says why it is.
            *:microbit) options+=(-global "nrf51-soc.flash-size=$((${flash%K} * 1024))"
                -global "nrf51-soc.sram-size=$((${ram%K} * 1024))") ;;
            # Without a floating-point unit, as the target says.
            *:virt) options+=(-bios none -cpu 'rv32,f=false,d=false') ;;
        esac
        exec timeout 300 "${emulator%:*}" "${options[@]}" "$@" -kernel "$program"
        ;;
    *)
        # Where Debian keeps the C library of another architecture.
        case $target in
            armv7-*) libraries=/usr/arm-linux-gnueabihf ;;
            *) libraries=/usr/${target/-unknown/} ;;
        esac
        exec timeout 300 "$emulator" -L "$libraries" "$@" "$program"
        ;;
esac
