#!/usr/bin/env bash
# Format, lints and documentation, for every set of features that changes what is compiled.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '\n== %s\n' "$*"; }

say "format"
cargo fmt --all --check

for features in "" "--all-features" "--no-default-features"; do
    say "clippy ${features:-(default features)}"
    # shellcheck disable=SC2086  # one word or none
    cargo clippy --locked --all-targets $features -- -D warnings
done

say "documentation"
RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --all-features
