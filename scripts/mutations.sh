#!/usr/bin/env bash
# Deliberate bugs, one at a time: each has to be caught by some test. Prints by which, and after
# how many seconds of building and testing. `scripts/mutations.sh name...` tries only those.
set -uo pipefail
cd "$(dirname "$0")/.."
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/mutations"
export RUST_BACKTRACE=0 RINGWAL_SIM_SECONDS="${RINGWAL_SIM_SECONDS:-40}"
export RUSTC_WORKSPACE_WRAPPER="$PWD/scripts/mutated-rustc.sh"

mutations=("$@")
if [ ${#mutations[@]} -eq 0 ]; then
    mapfile -t mutations < <(
        grep -rhoE 'ringwal_mutation = "[a-z_]+"' src | cut -d'"' -f2 | sort -u
    )
fi
survived=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT
for mutation in "${mutations[@]}"; do
    started=$SECONDS
    touch src/lib.rs
    # A mutation may make a test wait for ever.
    RINGWAL_MUTATION=$mutation timeout 200 \
        cargo test --features sim --lib --test simulation --no-fail-fast -- \
        engine:: segment:: format:: found:: kept random fault >"$log" 2>&1
    status=$?
    if grep -q "could not compile" "$log"; then
        echo "$mutation: does not compile"
        exit 2
    fi
    caught=$(sed -n 's/^test \(.*\) \.\.\. FAILED$/\1/p' "$log" | sed 's/.*:://' | sort -u | head -4)
    if [ -z "$caught" ] && [ "$status" -eq 124 ]; then
        caught="(a test never ends)"
    elif [ -z "$caught" ]; then
        caught="SURVIVED"
        survived=$((survived + 1))
    fi
    printf '%-26s %4d s  %s\n' "$mutation" $((SECONDS - started)) "$(echo $caught)"
done
touch src/lib.rs
echo "${#mutations[@]} mutations, $survived survived"
[ "$survived" -eq 0 ]
