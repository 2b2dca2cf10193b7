#!/usr/bin/env bash
# Format, lints and documentation, for every set of features that changes what is compiled, and the
# lock files of what is built apart.
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

# They are workspaces of their own, built by hand only, with --locked.
for apart in fuzz scripts/power-cuts; do
    say "lock file of $apart"
    cargo metadata --locked --format-version 1 --manifest-path "$apart/Cargo.toml" >/dev/null
done
