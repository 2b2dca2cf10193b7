#!/usr/bin/env bash
# Compares the ways to commit, interleaved in one run: acknowledged records per second, as medians
# over the rounds and as ratios to the std backend. Each thread appends one record and waits for it.
# After each run the log is verified and its records are counted. Run it on a machine that does
# nothing else.
#   scripts/compare-variants.sh [ROUNDS] [DIR]
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${1:-7}
dir=${2:-$(mktemp -d)}/compare
cargo build --quiet --release --features cli
ringwal=${CARGO_TARGET_DIR:-target}/release/ringwal

names=(std std-not-preallocated std-reserved linked dsync dsync-depth-1 write-then-sync
    write-then-sync-no-gather write-then-sync-no-inline write-then-sync-neither)
options=(
    "--backend std"
    "--backend std --preallocate never"
    "--backend std --preallocate reserve"
    "--backend uring --strategy linked"
    "--backend uring --strategy dsync"
    "--backend uring --strategy dsync --depth 1"
    "--backend uring --strategy write-then-sync"
    "--backend uring --strategy write-then-sync --gather false"
    "--backend uring --strategy write-then-sync --inline false"
    "--backend uring --strategy write-then-sync --gather false --inline false"
)

# Appends and prints records/s; fails if an acknowledged record is missing.
run() {
    local threads=$1 records=$2
    shift 2
    rm -rf "$dir"
    "$ringwal" append "$dir" --generate "$records" --size 100 --threads "$threads" --window 1 "$@" \
        2>&1 | sed -n 's/.*: \([0-9]*\) records\/s.*/\1/p'
    "$ringwal" verify "$dir" | grep -q "^records:  $records (1 to $records)$"
}

median() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

for load in "1 1500" "16 12000" "64 40000" "256 80000"; do
    read -r threads records <<<"$load"
    results=$(mktemp)
    for _ in $(seq "$rounds"); do
        for at in "${!names[@]}"; do
            # shellcheck disable=SC2086  # the options are words
            echo "${names[at]} $(run "$threads" "$records" ${options[at]})" >>"$results"
        done
    done
    base=$(awk '$1 == "std" { print $2 }' "$results" | median)
    echo "$threads threads, std = $base records/s"
    for name in "${names[@]}"; do
        own=$(awk -v name="$name" '$1 == name { print $2 }' "$results" | median)
        awk -v name="$name" -v own="$own" -v base="$base" \
            'BEGIN { printf "  %-26s %.2f\n", name, own / base }'
    done
    rm -f "$results"
done
rm -rf "$dir"
