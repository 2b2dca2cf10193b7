#!/bin/sh
# Damages logs of several shapes in every way, and prints the outcomes as a table. Covers every
# place; `scripts/damage-table.sh 50` covers 50 places of each kind and shape.
set -eu
cd "$(dirname "$0")/.."
export RINGWAL_DAMAGE_PLACES="${1:-all}"
exec cargo test --release --quiet --features sim --test damage -- --nocapture
