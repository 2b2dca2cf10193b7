#!/usr/bin/env bash
# Power cuts under real file systems, and under one that keeps no more than POSIX requires. Checks
# after each that every acknowledged record is there. Needs root, FUSE and loop devices.
#
#   scripts/power-cuts.sh [KIND...]     files ext4 xfs btrfs; without KIND, all that are available
#   scripts/power-cuts.sh --prove       deliberate bugs: fails unless each one is found
#
# POINTS=n tries n moments per kind (1000), SEED=n chooses others. Findings stay in SCRATCH.
set -uo pipefail
cd "$(dirname "$0")/.."
points=${POINTS:-1000}
seed=${SEED:-$RANDOM}
scratch=${SCRATCH:-/dev/shm/ringwal-power-cuts.$$}
target=$PWD/${CARGO_TARGET_DIR:-target}/power-cuts

if [ "$(id -u)" -ne 0 ] || [ ! -e /dev/fuse ] || [ ! -e /dev/loop-control ]; then
    echo "SKIPPED power-cuts: it needs root, /dev/fuse and /dev/loop-control"
    exit 0
fi

# In a mount namespace of its own: the mounts end with this script, and no other process keeps them.
if [ -z "${RINGWAL_OWN_MOUNTS:-}" ]; then
    RINGWAL_OWN_MOUNTS=1 exec unshare --mount --propagation private "$0" "$@"
fi

# Unmounts only what is in this script's own scratch directory.
clean_up() {
    local dir
    for dir in "$scratch"/*/mounted "$scratch"/*/served; do
        while mountpoint -q "$dir" 2>/dev/null; do umount -l "$dir" || break; done
    done
    losetup -l -n -O NAME,BACK-FILE | grep -F "$scratch/" | cut -d' ' -f1 | xargs -r losetup -d
    rm -rf "$scratch"/*/{cut,fresh,served,mounted}
    rmdir "$scratch"/* "$scratch" 2>/dev/null
    [ ! -e "$scratch" ] || echo "findings: $scratch"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

# Builds the program, with a deliberate bug if given, and prints its path.
build() {
    export RINGWAL_MUTATION=${1:-}
    local dir=$target
    if [ -n "$RINGWAL_MUTATION" ]; then
        dir=$target/mutations
        export RUSTC_WRAPPER=$PWD/scripts/mutated-rustc.sh
        touch src/lib.rs
    fi
    CARGO_TARGET_DIR=$dir cargo build --quiet --release --locked \
        --manifest-path scripts/power-cuts/Cargo.toml || exit 2
    echo "$dir/release/power-cuts"
}

can_have() {
    [ "$1" = files ] && return
    if ! command -v "mkfs.$1" >/dev/null; then
        echo "SKIPPED $1: there is no mkfs.$1"
        return 1
    fi
    if ! grep -qw "$1" /proc/filesystems; then
        echo "SKIPPED $1: this kernel does not have it"
        return 1
    fi
}

run_kind() {
    # A file system that hangs would make it wait for ever.
    timeout --kill-after=10 $((points * 3 + 120)) \
        "$1" "$2" --points "$points" --seed "$seed" --scratch "$scratch/$2"
}

prove() {
    local survived=0 bug kind program said
    # The bugs that each kind has to find.
    for pair in skip_directory_sync:files skip_sync:files skip_sync:ext4 \
        acknowledge_without_name:files show_unsynced_names:files \
        skip_state_sync:files; do
        bug=${pair%:*} kind=${pair#*:}
        can_have "$kind" || continue
        program=$(build "$bug") || exit 2
        if said=$(run_kind "$program" "$kind" 2>&1); then
            echo "$bug SURVIVED $kind: $said"
            survived=1
        else
            echo "$bug is found by $kind: $(echo "$said" | head -1)"
        fi
        rm -rf "$scratch/$kind"/*-found
    done
    return $survived
}

if [ "${1:-}" = --prove ]; then
    prove
    exit
fi
kinds=("$@")
[ ${#kinds[@]} -gt 0 ] || kinds=(files ext4 xfs btrfs)
program=$(build) || exit 2
broken=0
for kind in "${kinds[@]}"; do
    can_have "$kind" || continue
    run_kind "$program" "$kind" || broken=1
done
exit $broken
