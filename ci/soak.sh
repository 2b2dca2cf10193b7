#!/usr/bin/env bash
# The soak of the key-value log for a minute, with a fresh seed and writers that are killed. What it
# did is printed, the seed too. `ci/soak.sh 1h` runs it for longer. The directory goes if everything
# held; if not, it is named.
set -euo pipefail
cd "$(dirname "$0")/.."

dir=$(mktemp -d "${TMPDIR:-/tmp}/ringwal-soak.XXXXXX")
echo "soak in $dir"
# The options of whoever runs this are not those of the gate.
for name in $(compgen -e | grep '^RINGWAL_SOAK_' || true); do unset "$name"; done
cargo run --locked --all-features --bin ringwal -- soak --duration "${1:-1m}" --progress-secs 5 \
    --kill --restart-every 10000 --compact-every 5000 --work-dir "$dir" --log-dir "$dir"
rm -r "$dir"
