#!/usr/bin/env bash
# Deliberate bugs, one at a time: some test has to catch each. One build has all bugs, and a name
# switches one on. Prints a table: the tests that catch each bug, and after how many seconds.
# `scripts/mutations.sh NAME...` tries only these bugs. A name that starts with handover_ is for the
# model checkers, one that starts with datawal_ for the tests of that facade; other tests do not run.
set -euo pipefail
cd "$(dirname "$0")/.."
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/mutations"
export RUSTFLAGS="${RUSTFLAGS:-} --cfg ringwal_mutations"
export RUST_BACKTRACE=0 RINGWAL_SIM_SECONDS="${RINGWAL_SIM_SECONDS:-10}"

known=$(grep -rhoE 'mutated\("[a-z_]+"\)' src | cut -d'"' -f2 | sort -u | grep -vx name)
mutations=("$@")
[ ${#mutations[@]} -gt 0 ] || mapfile -t mutations <<<"$known"
for mutation in "${mutations[@]}"; do
    grep -qx "$mutation" <<<"$known" || { echo "there is no mutation $mutation" >&2; exit 2; }
done

# Slower to build than a debug build, and much faster to run.
started=$SECONDS
mapfile -t binaries < <(
    CARGO_PROFILE_DEV_OPT_LEVEL=1 cargo test --features sim,datawal --lib --test simulation \
        --test kv_simulation --test kv --test edges --test fork --test limits --test pauses \
        --test datawal --no-run \
        --message-format=json | sed -n 's/.*"executable":"\([^"]*\)".*/\1/p'
)
[ ${#binaries[@]} -eq 9 ]
facade=()
for at in "${!binaries[@]}"; do
    if [[ ${binaries[at]##*/} == datawal-* ]]; then
        facade=("${binaries[at]}")
        unset "binaries[at]"
    fi
done
[ ${#facade[@]} -eq 1 ]
checkers=()
for checker in loom shuttle; do
    mapfile -t -O ${#checkers[@]} checkers < <(
        CARGO_PROFILE_DEV_OPT_LEVEL=1 CARGO_TARGET_DIR="$CARGO_TARGET_DIR/$checker" \
            RUSTFLAGS="$RUSTFLAGS --cfg ringwal_$checker" cargo test --lib --no-run \
            --message-format=json | sed -n 's/.*"executable":"\([^"]*\)".*/\1/p'
    )
done
[ ${#checkers[@]} -eq 2 ]
echo "built in $((SECONDS - started)) s"
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# Runs all tests with a mutation, or with none; `caught` lists the tests that fail. A mutation may
# make a test wait for ever; that test is ended, and listed.
try() {
    caught=()
    local binary status filter="" asked=("${binaries[@]}")
    [[ $1 != *handover* ]] || { asked=("${checkers[@]}") filter=handover; }
    [[ $1 != *datawal* ]] || asked=("${facade[@]}")
    for binary in "${asked[@]}"; do
        status=0
        RINGWAL_MUTATION=$1 timeout 150 "$binary" $filter >"$log" 2>&1 || status=$?
        mapfile -t -O ${#caught[@]} caught < <(
            sed -n 's/^test \(.*\) \.\.\. FAILED$/\1/p' "$log" | sort -u
        )
        if [ "$status" -eq 124 ]; then
            caught+=("a test that never ends: $(sed -n \
                's/^test \(.*\) has been running for over .*/\1/p' "$log" | head -1)")
        elif [ "$status" -ne 0 ] && [ ${#caught[@]} -eq 0 ]; then
            caught+=("the tests of $(basename "$binary"), which die of it")
        fi
    done
}

for none in none no_handover no_datawal; do
    try "$none"
    if [ ${#caught[@]} -gt 0 ]; then
        echo "these tests fail without any mutation: ${caught[*]}" >&2
        exit 2
    fi
done
survived=0
printf '%-34s %7s  %s\n' mutation seconds "caught by"
for mutation in "${mutations[@]}"; do
    started=$SECONDS
    try "$mutation"
    by="${caught[0]:-SURVIVED}"
    [ ${#caught[@]} -gt 0 ] || survived=$((survived + 1))
    [ ${#caught[@]} -lt 2 ] || by="$by, and $((${#caught[@]} - 1)) more"
    # Show whether the random lives catch it, too: they do not depend on the code's structure.
    for test in "${caught[@]}"; do
        case $test in random_lives* | a_fault_at* | lives_with*) by="$by [simulation]" && break ;; esac
    done
    printf '%-34s %7d  %s\n' "$mutation" $((SECONDS - started)) "$by"
done
echo "${#mutations[@]} mutations, $survived survived"
[ "$survived" -eq 0 ]
