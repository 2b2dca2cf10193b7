#!/usr/bin/env bash
# Kills so many writers (3000), one after the other in one directory, at random moments and at
# named points, and checks what each left behind. Prints where they were killed and how often.
# RINGWAL_KILL_SEED=n runs other lives; what is printed at a failure runs the same ones again.
set -euo pipefail
cd "$(dirname "$0")/.."
export RINGWAL_KILL_CYCLES="${1:-3000}"
export RINGWAL_KILL_SEED="${RINGWAL_KILL_SEED:-$RANDOM$RANDOM}"
echo "seed $RINGWAL_KILL_SEED"
exec cargo test --release --test kill -- --nocapture killed_writers
