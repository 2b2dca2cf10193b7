#!/usr/bin/env bash
# Compiles the tests and examples of the crate datawal 0.1.5, from the registry, against
# ringwal::datawal. Prints which tests pass, and why the others cannot. Fails if a test fails and no
# reason is listed here, and if a listed test passes.
#
# Conversely, tests/datawal/surface.rs, which uses every public name of that crate, runs against the
# crate itself. That shows that our test states the names of that crate correctly.
#
#   scripts/datawal-suite.sh [FILTER]     only the tests whose names contain FILTER
#
# Nothing is committed: the sources and the files of the tests stay in the target directory.
#
# Their test of a full disk, enospc_on_tmpfs_poisons_writer, fills /dev/shm, which is the memory of
# the machine, so it never runs here. manual_disk_full, which asserts the same, gets a file system
# of 96 MiB. That needs Linux and the right to mount in a namespace.
set -euo pipefail
cd "$(dirname "$0")/.."
filter=${1:-}
root=$PWD
scratch=$root/target/datawal-suite
version=0.1.5
# Their test fills it, so a smaller one is faster.
small_mib=96

bytes="it writes to or looks at .dwal files, which only the import reads here"
names="it expects the names 00000001.dwal or .lock in the directory"

# The tests that cannot pass, and why.
declare -A why=(
    [record_log::open_new_dir_creates_first_segment]=$names
    [record_log::rotate_creates_new_segment_and_scan_preserves_order]=$names
    [record_log::crc_mismatch_in_payload_returns_error_or_report]=$bytes
    [record_log::truncated_tail_record_is_ignored_or_reported]=$bytes
    [record_log::unknown_magic_errors]=$bytes
    [record_log::unknown_version_errors]=$bytes
    [record_log::unknown_record_type_errors]=$bytes
    [record_log::scan_iter_tail_truncation_matches_scan]=$bytes
    [record_log::scan_iter_closed_segment_crc_error_matches_scan]=$bytes
    [integration::tail_truncation_after_reopen]=$bytes
    [keydir_by_offset::get_revalidates_crc_and_errors_on_corruption]=$bytes
    [reader_api::reader_tolerates_unfsynced_tail_on_last_segment]=$bytes
    [reader_api::reader_hard_errors_on_corrupt_sealed_segment]=$bytes
)

# Our test of their public names, against the crate itself.
prepare_surface() {
    local surface=$scratch/surface
    mkdir -p "$surface"/{src,tests}
    touch "$surface/src/lib.rs"
    cat >"$surface/Cargo.toml" <<TOML
[package]
name = "surface"
version = "0.0.0"
edition = "2024"
[workspace]
[dev-dependencies]
anyhow = "1"
datawal = "=$version"
tempfile = "3"
TOML
    grep -vx 'use ringwal::datawal;' tests/datawal/surface.rs >"$surface/tests/surface.rs"
}

# A package of their name that re-exports the facade, so that their files need no change.
prepare() {
    mkdir -p "$scratch"/{fetch/src,suite/src}
    touch "$scratch/fetch/src/lib.rs"
    cat >"$scratch/fetch/Cargo.toml" <<TOML
[package]
name = "fetch"
version = "0.0.0"
edition = "2021"
[workspace]
[dependencies]
datawal = "=$version"
TOML
    cat >"$scratch/suite/Cargo.toml" <<TOML
[package]
name = "datawal"
version = "$version"
edition = "2021"
[workspace]
[dependencies]
ringwal = { path = "$root", features = ["datawal"] }
[dev-dependencies]
anyhow = "1"
base64 = "0.22"
proptest = { version = "1.5", default-features = false, features = ["std"] }
serde = { version = "1", features = ["derive"] }
serde_json = "1"
tempfile = "3"
TOML
    echo "pub use ringwal::datawal::*;" >"$scratch/suite/src/lib.rs"
    cargo fetch --quiet --manifest-path "$scratch/fetch/Cargo.toml"
    local manifest source
    manifest=$(cargo metadata --offline --format-version 1 \
        --manifest-path "$scratch/fetch/Cargo.toml" |
        grep -o "\"manifest_path\":\"[^\"]*/datawal-$version/Cargo.toml\"" | cut -d'"' -f4)
    source=$(dirname "$manifest")
    rm -rf "$scratch/suite"/{tests,examples}
    cp -r "$source/tests" "$source/examples" "$scratch/suite/"
}

# Prints FILE::TEST and the result, one a line.
run_tests() {
    CARGO_TARGET_DIR=$scratch/target cargo test --manifest-path "$scratch/suite/Cargo.toml" \
        --tests --no-fail-fast -- "$filter" --skip enospc_on_tmpfs_poisons_writer 2>&1 |
        tee "$scratch/log" |
        sed -nE 's|^ *Running tests/([a-z_]+)\.rs.*|FILE \1|p;
                 s/^test ([a-z_0-9:]+) \.\.\. (ok|FAILED|ignored).*/TEST \1 \2/p' |
        while read -r kind name result; do
            case $kind in
                FILE) file=$name ;;
                TEST) echo "$file::$name $result" ;;
            esac
        done
}

# Their test of a full disk, on a small file system. Fails before the test without one.
run_disk_full() {
    local binary=$1 small=$scratch/small
    mkdir -p "$small"
    unshare --mount --map-root-user --propagation private bash -euc '
        mount -t tmpfs -o size="$3"M tmpfs "$2"
        mib=$(df --output=size --block-size=1M "$2" | tail -1)
        [ "$mib" -le "$3" ] || { echo "the small file system has $mib MiB"; exit 1; }
        DATAWAL_DISK_FULL_DIR=$2 "$1" --ignored --exact manual_disk_full
    ' - "$binary" "$small" "$small_mib"
}

export TMPDIR=$scratch/tmp
rm -rf "$scratch/tmp"
mkdir -p "$scratch/tmp"
prepare
prepare_surface
echo "== our test of their public names, against the crate itself"
CARGO_TARGET_DIR=$scratch/target cargo test --quiet --manifest-path "$scratch/surface/Cargo.toml" \
    --test surface >"$scratch/surface.log" 2>&1 || { tail -40 "$scratch/surface.log"; exit 1; }
sed -nE 's/^test result: (.*)/   \1/p' "$scratch/surface.log"
echo "== the examples compile"
CARGO_TARGET_DIR=$scratch/target cargo build --quiet --manifest-path "$scratch/suite/Cargo.toml" \
    --examples
echo "== their soak, for 10 seconds: it swaps directories by rename"
DATAWAL_SOAK_DURATION=10 DATAWAL_SOAK_LOG_DIR=$scratch/soak-log \
    DATAWAL_SOAK_WORK_DIR=$scratch/soak-work "$scratch/target/debug/examples/soak" |
    sed 's/^/   /'

echo "== their tests"
results=$(run_tests || true)
passed=0 cannot=0 failed=0
while read -r name result; do
    [ -n "$name" ] || continue
    reason=${why[$name]:-}
    case $name in corpus_fixtures::*) reason=$bytes ;; esac
    case "$result $name" in
        # The script runs it, below.
        ignored*manual_disk_full) ;;
        ignored*) echo "   ignored  $name" ;;
        # They expect a refused open, and every directory of .dwal files is refused.
        "ok corpus_fixtures::"*) cannot=$((cannot + 1)) && echo "   cannot   $name: $reason" ;;
        ok*)
            if [ -z "$reason" ]; then
                passed=$((passed + 1)) && echo "   passes   $name"
            else
                failed=$((failed + 1)) && echo "   PASSES, but is listed among those that cannot: $name"
            fi
            ;;
        *)
            if [ -n "$reason" ]; then
                cannot=$((cannot + 1)) && echo "   cannot   $name: $reason"
            else
                failed=$((failed + 1)) && echo "   FAILED   $name, see $scratch/log"
            fi
            ;;
    esac
done <<<"$results"
echo "== their test of a full disk, on one of $small_mib MiB"
binary=$(sed -nE 's|^ *Running tests/disk_full\.rs \((.*)\)$|\1|p' "$scratch/log")
if ! unshare --mount --map-root-user true 2>/dev/null; then
    echo "   SKIPPED  disk_full::manual_disk_full: it needs a mount of its own"
elif run_disk_full "$binary" >"$scratch/disk-full.log" 2>&1; then
    passed=$((passed + 1)) && echo "   passes   disk_full::manual_disk_full"
else
    failed=$((failed + 1)) && echo "   FAILED   manual_disk_full, see $scratch/disk-full.log"
fi
echo "   never    disk_full::enospc_on_tmpfs_poisons_writer: it would fill /dev/shm"
echo "$passed pass, $cannot cannot, $failed unexpected"
[ $((passed + cannot)) -gt 0 ] || { echo "no test ran, see $scratch/log"; exit 1; }
[ "$failed" -eq 0 ]
