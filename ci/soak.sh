#!/usr/bin/env bash
# The soak of the key-value log for a minute, with a fresh seed and killed writers. Prints the seed
# and the operations. `ci/soak.sh 1h` runs longer. The directory is removed if every check passed;
# otherwise its path is printed.
set -euo pipefail
cd "$(dirname "$0")/.."

dir=$(mktemp -d "${TMPDIR:-/tmp}/ringwal-soak.XXXXXX")
echo "soak in $dir"
# The gate ignores options from the caller's environment.
for name in $(compgen -e | grep '^RINGWAL_SOAK_' || true); do unset "$name"; done
cargo run --locked --all-features --bin ringwal -- soak --duration "${1:-1m}" --progress-secs 5 \
    --kill --restart-every 10000 --compact-every 5000 --work-dir "$dir" --log-dir "$dir"
rm -r "$dir"
