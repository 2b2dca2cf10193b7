#!/usr/bin/env bash
# All tests: with all features, with default features, and without io_uring. Uses cargo-nextest if
# it is installed, else cargo test. The examples in the documentation run once.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '\n== %s\n' "$*"; }

if cargo nextest --version >/dev/null 2>&1; then
    run_tests() { cargo nextest run --locked --no-fail-fast "$@"; }
else
    run_tests() { cargo test --locked --lib --bins --tests --no-fail-fast "$@"; }
fi

say "tests with all features"
run_tests --all-features
say "tests with default features"
run_tests
say "tests without io_uring"
run_tests --no-default-features --features internals
say "examples in the documentation"
cargo test --locked --all-features --doc
