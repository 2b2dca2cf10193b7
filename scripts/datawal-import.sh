#!/usr/bin/env bash
# Imports directories that the crate datawal 0.1.5 wrote: random puts, deletes, rotations,
# compactions, torn tails and flipped bits, and the corpus of that crate's tests. Every record, key
# and value is compared with what that crate reads, and a directory that it refuses must be refused.
#
#   scripts/datawal-import.sh             300 directories
#   ROUNDS=n SEED=n scripts/datawal-import.sh
set -euo pipefail
cd "$(dirname "$0")/.."
manifest=scripts/datawal-import/Cargo.toml
target=$PWD/${CARGO_TARGET_DIR:-target}/datawal-import
# Not in memory: the files that are kept after a failure may be large.
export TMPDIR=$target/tmp
mkdir -p "$TMPDIR"
CARGO_TARGET_DIR=$target cargo build --quiet --release --locked --manifest-path "$manifest"
theirs=$(cargo metadata --quiet --locked --format-version 1 --manifest-path "$manifest" |
    grep -o '"manifest_path":"[^"]*/datawal-0\.1\.5/Cargo.toml"' | cut -d'"' -f4)
"$target/release/datawal-import" --corpus "$(dirname "$theirs")/tests/corpus" \
    --rounds "${ROUNDS:-300}" --seed "${SEED:-1}"
