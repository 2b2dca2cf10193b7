#!/bin/sh
# Does every kind of damage to logs of several shapes and prints what became of them, as a table.
# Takes every place; `scripts/damage-table.sh 50` takes 50 of each kind and shape instead.
set -eu
cd "$(dirname "$0")/.."
export RINGWAL_DAMAGE_PLACES="${1:-all}"
exec cargo test --release --quiet --features sim --test damage -- --nocapture
