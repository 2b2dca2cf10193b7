#!/usr/bin/env bash
# Deliberate bugs, one at a time: each has to be caught by some test. Prints a table of them: by
# which tests, and after how many seconds of building and testing. A test that never ends is ended.
# `scripts/mutations.sh name...` tries only those.
set -uo pipefail
cd "$(dirname "$0")/.."
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/mutations"
export RUST_BACKTRACE=0 RINGWAL_SIM_SECONDS="${RINGWAL_SIM_SECONDS:-20}"
# Slower to build and much faster to run.
export CARGO_PROFILE_DEV_OPT_LEVEL=1
export RUSTC_WORKSPACE_WRAPPER="$PWD/scripts/mutated-rustc.sh"

mutations=("$@")
if [ ${#mutations[@]} -eq 0 ]; then
    mapfile -t mutations < <(
        grep -rhoE 'ringwal_mutation = "[a-z_]+"' src | cut -d'"' -f2 | sort -u
    )
fi
log=$(mktemp)
trap 'rm -f "$log"; touch src/lib.rs' EXIT

# Runs the tests with a mutation; `caught` are those that fail.
try() {
    touch src/lib.rs
    RINGWAL_MUTATION=$1 timeout 200 cargo test --features sim --lib --test simulation \
        --no-fail-fast >"$log" 2>&1
    local status=$?
    if grep -q "could not compile" "$log"; then
        echo "$1 does not compile" >&2
        exit 2
    fi
    mapfile -t caught < <(sed -n 's/^test \(.*\) \.\.\. FAILED$/\1/p' "$log" | sort -u)
    if [ "$status" -eq 124 ]; then
        mapfile -t -O ${#caught[@]} caught < <(
            sed -n 's/^test \(.*\) has been running for over .*/\1 (never ends)/p' "$log"
        )
    fi
}

survived=0
printf '%-26s %7s  %s\n' mutation seconds "caught by"
for mutation in "${mutations[@]}"; do
    started=$SECONDS
    try "$mutation"
    by="${caught[0]:-SURVIVED}"
    [ ${#caught[@]} -gt 0 ] || survived=$((survived + 1))
    [ ${#caught[@]} -lt 2 ] || by="$by, and $((${#caught[@]} - 1)) more"
    # Whether whole lives show it, too, is worth knowing: they know nothing of the code.
    for test in "${caught[@]}"; do
        case $test in random_lives* | a_fault_at*) by="$by [simulation]" && break ;; esac
    done
    printf '%-26s %7d  %s\n' "$mutation" $((SECONDS - started)) "$by"
done
echo "${#mutations[@]} mutations, $survived survived"
[ "$survived" -eq 0 ]
