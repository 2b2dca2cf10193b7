#!/usr/bin/env bash
# The hand-over between appenders and the ring thread, under model checkers: each protocol under all
# schedules of two or three threads (loom), and random lives of a whole log under random schedules
# (shuttle). RINGWAL_SHUTTLE_ITERATIONS=100000 runs more of the latter. A failing schedule is kept in
# a file, and the command that repeats it is printed.
set -euo pipefail
cd "$(dirname "$0")/.."
target="${CARGO_TARGET_DIR:-target}"
export RUST_BACKTRACE="${RUST_BACKTRACE:-0}"

# Slower to build than a debug build, and much faster to run.
run_tests() {
    CARGO_PROFILE_DEV_OPT_LEVEL=1 CARGO_TARGET_DIR="$target/$1" \
        RUSTFLAGS="${RUSTFLAGS:-} --cfg ringwal_$1" \
        cargo test --locked --lib handover
}

printf '\n== %s\n' "all schedules of a few threads"
run_tests loom
printf '\n== %s\n' "many schedules of a whole log"
if ! run_tests shuttle; then
    newest=$(find "$target/shuttle/debug/deps" -name 'schedule*.txt' -printf '%T@ %p\n' |
        sort -n | tail -1 | cut -d' ' -f2-)
    echo "to repeat it, with the backtrace of each waiting thread:"
    echo "SHUTTLE_CAPTURE_BACKTRACE=1 RINGWAL_SHUTTLE_REPLAY=$(realpath "${newest:-.}") ci/handover.sh"
    exit 1
fi
