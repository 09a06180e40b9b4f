#!/usr/bin/env bash
# Builds tests/kernels/cpu/check.cc with the kernel's sources and runs it: as it is, with the address,
# undefined-behaviour and thread sanitizers, and, where these are installed, under valgrind and, for
# ARM64, qemu.
set -euo pipefail
cd "$(dirname "$0")/../../.."
native=gru_jax/kernels/cpu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cxx=${CXX:-g++}
common="-std=c++20 -g -ffp-contract=fast -fno-math-errno -fno-trapping-math -Wall -Wextra -Wno-psabi -I$native"
if [ "$(uname -m)" = x86_64 ]; then
    levels=("avx512 -mavx512f -mavx512dq -mavx512vl -mavx512bw -mavx2 -mfma -mprefer-vector-width=512"
        "avx2 -mavx2 -mfma" "baseline")
else
    levels=("baseline")
fi

check() { # name, cases, flags...
    local name=$1 cases=$2 seed=$RANDOM level
    shift 2
    rm -f "$work"/*.o  # What does not compile is not to be linked from the check before.
    for level in "${levels[@]}"; do
        # shellcheck disable=SC2086 # words apart
        $cxx $common "$@" -DGRU_LEVEL=$level -c $native/variant.cc -o "$work/${level%% *}.o" &
    done
    wait
    # shellcheck disable=SC2086
    $cxx $common "$@" $native/{pass,team,levels}.cc tests/kernels/cpu/check.cc "$work"/*.o \
        -o "$work/check" -pthread
    printf '%s, seed %s: ' "$name" "$seed"
    ${run:-} "$work/check" "$cases" "$seed"
}

check "as it is" 500 -O3
check "address and undefined behaviour" 200 -O1 -fsanitize=address,undefined \
    -fno-sanitize-recover=all
check "threads" 100 -O1 -fsanitize=thread
if command -v valgrind >/dev/null; then
    # check.cc has an operator new of its own, which valgrind would otherwise replace.
    run="valgrind -q --error-exitcode=1 --soname-synonyms=somalloc=nouserintercepts" check "valgrind" 8 -O1
fi
if [ "$(uname -m)" = x86_64 ] && command -v aarch64-linux-gnu-g++ qemu-aarch64-static >/dev/null; then
    levels=("baseline")
    cxx=aarch64-linux-gnu-g++ run=qemu-aarch64-static check "ARM64" 30 -O3 -static
fi
