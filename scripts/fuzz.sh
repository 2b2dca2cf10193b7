#!/usr/bin/env bash
# Runs each fuzz target for SECONDS (default 60) with cargo-fuzz, AddressSanitizer and a nightly
# compiler, starting from the golden corpus, and prints the number of inputs. Findings are in
# fuzz/artifacts; copy one to tests/fuzz/kept/<target>/, where the stable test replays it.
# `scripts/fuzz.sh 60 state` runs only the target `state`.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds="${1:-60}"
targets=(batch segment state directory events logs)
[ $# -gt 1 ] && targets=("${@:2}")

skip() { printf 'SKIPPED fuzz: %s\n' "$*"; exit 0; }
cargo +nightly --version >/dev/null 2>&1 || skip "there is no nightly compiler"
PATH="$PWD/target/tools/bin:$PATH"
if ! cargo fuzz --version >/dev/null 2>&1; then
    cargo install cargo-fuzz --locked --root target/tools || skip "cargo-fuzz cannot be installed"
fi

RINGWAL_FUZZ_SEEDS="$PWD/fuzz/corpus" cargo test --quiet --features sim --test fuzz_corpus >/dev/null
failed=0
for target in "${targets[@]}"; do
    log="fuzz/$target.log"
    cargo +nightly fuzz build --release "$target" 2>"$log" || { cat "$log"; exit 2; }
    # The inputs have some kilobytes, so a large allocation means that a false length was believed.
    if cargo +nightly fuzz run --release "$target" -- -max_total_time="$seconds" -max_len=20000 \
        -timeout=10 -rss_limit_mb=2048 -malloc_limit_mb=64 -print_final_stats=1 >"$log" 2>&1; then
        runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
        printf '%-10s %12s inputs in %s s, nothing found\n' "$target" "$runs" "$seconds"
    else
        failed=1
        printf '%-10s FOUND something:\n' "$target"
        grep -E 'panicked|ERROR|SUMMARY|Test unit written' -A1 "$log" | head -20
    fi
done
exit $failed
