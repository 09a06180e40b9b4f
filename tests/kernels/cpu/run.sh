#!/usr/bin/env bash
# Builds tests/kernels/cpu/check.cc with the kernel's sources and runs it: as it is, with the address,
# undefined-behaviour and thread sanitizers, and, where these are installed, under valgrind and, for
# ARM64, qemu. First all is compiled, then all checks run beside each other.
set -euo pipefail
cd "$(dirname "$0")/../../.."
native=gru_jax/kernels/cpu
work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$work"' EXIT
common="-std=c++20 -g -ffp-contract=fast -fno-math-errno -fno-trapping-math -Wall -Wextra -Wno-psabi -I$native"
levels=("baseline")
if [ "$(uname -m)" = x86_64 ]; then
    levels+=("avx512 -mavx512f -mavx512dq -mavx512vl -mavx512bw -mavx2 -mfma -mprefer-vector-width=512"
        "avx2 -mavx2 -mfma")
fi

each_check() { # function: calls it with name, cases, runner, compiler with its flags
    local sanitize="-O1 -fsanitize=address,undefined -fno-sanitize-recover=all" cxx=${CXX:-g++}
    "$1" "as it is" 500 "" "$cxx -O3"
    "$1" "address and undefined behaviour" 200 "" "$cxx $sanitize"
    "$1" "threads" 100 "" "$cxx -O1 -fsanitize=thread"
    if command -v valgrind >/dev/null; then
        # check.cc has an operator new of its own, which valgrind would otherwise replace.
        "$1" "valgrind" 8 \
            "valgrind -q --error-exitcode=1 --soname-synonyms=somalloc=nouserintercepts" "$cxx -O1"
    fi
    if [ "$(uname -m)" = x86_64 ] &&
        command -v aarch64-linux-gnu-g++ >/dev/null && command -v qemu-aarch64-static >/dev/null
    then
        levels=("baseline")
        "$1" "ARM64" 30 qemu-aarch64-static "aarch64-linux-gnu-g++ -O3 -static"
    fi
}

print_commands() { # prints a line for each object of a check
    local folder=$work/${1// /_} level source
    mkdir "$folder"
    for level in "${levels[@]}"; do
        echo "$4 $common -DGRU_LEVEL=$level -c $native/variant.cc -o $folder/${level%% *}.o"
    done
    for source in $native/{pass,team,levels}.cc tests/kernels/cpu/check.cc; do
        echo "$4 $common -c $source -o $folder/$(basename "$source" .cc).o"
    done
}

link() {
    local folder=$work/${1// /_}
    # shellcheck disable=SC2086 # words apart
    $4 $common "$folder"/*.o -o "$folder/check" -pthread
}

start() {
    local folder=$work/${1// /_} seed=$RANDOM
    printf '%s, seed %s: ' "$1" "$seed" > "$folder.log"
    $3 "$folder/check" "$2" "$seed" >> "$folder.log" 2>&1 &
    checks[$!]=$folder.log
}

(each_check print_commands) | xargs -d '\n' -P "$(nproc)" -n 1 sh -c '$0'
each_check link
declare -A checks
failed=0
each_check start
for process in "${!checks[@]}"; do
    wait "$process" || failed=$?
    cat "${checks[$process]}"
done
exit "$failed"
