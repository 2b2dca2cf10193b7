#!/usr/bin/env bash
# Format, lints and documentation for every set of features that changes the build, lints for macOS,
# and the lock files of the packages outside of this workspace.
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

# Nothing is linked or run, so the C code of dependencies need not be compiled.
other=aarch64-apple-darwin
say "clippy for $other"
if rustup target add "$other" 2>/dev/null; then
    CC=true AR=true cargo clippy --locked --all-targets --all-features --target "$other" -- \
        -D warnings
else
    echo "SKIPPED clippy for $other: rustup cannot add its standard library"
fi

say "documentation"
RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --all-features
RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps

# Workspaces of their own, which are built by hand only, with --locked.
for apart in fuzz scripts/datawal-import scripts/power-cuts; do
    say "lock file of $apart"
    cargo metadata --locked --format-version 1 --manifest-path "$apart/Cargo.toml" >/dev/null
done
