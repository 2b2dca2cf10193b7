#!/usr/bin/env bash
# Kills many writers (default 3000), one after another in one directory, at random moments and at
# named points, and checks the log after each. Prints where they were killed and how often.
# RINGWAL_KILL_SEED=n chooses other lives; a failure prints the command that repeats it.
set -euo pipefail
cd "$(dirname "$0")/.."
export RINGWAL_KILL_CYCLES="${1:-3000}"
export RINGWAL_KILL_SEED="${RINGWAL_KILL_SEED:-$RANDOM$RANDOM}"
echo "seed $RINGWAL_KILL_SEED"
exec cargo test --release --test kill -- --nocapture killed_writers
