#!/usr/bin/env bash
# The goals for speed. Most are ratios to raw limits of the same file system in the same run; the
# others compare a log that had 16 times its live bytes appended and truncated with a young one.
# Prints each ratio beside its goal. Fails if a goal is missed, or if a rate is higher than the
# flushes of the device explain. The rate of an old log beside a young one is shown and not judged,
# because it depends on the disk. Where batches are large, a log is measured with the default number
# of spare segments and with as many as a burst needs; they are prepared beforehand, as the files of
# the raw limits are. Needs 1.1 GiB of room. Run it by hand before a release, on a machine that does
# nothing else; CI measures no times.
#   scripts/bench-gate.sh [DIR]      measures in DIR; environment: ROUNDS (5), SECS (1)
set -euo pipefail
cd "$(dirname "$0")/.."
dir=$(realpath "${1:-.}")
rounds=${ROUNDS:-5}
secs=${SECS:-1}
cargo build --quiet --release --features cli
ringwal=target/release/ringwal
tables=$(mktemp -d)
trap 'rm -rf "$tables"' EXIT
missed=0

# measure NAME OPTION...: runs `ringwal bench` and keeps its table under NAME.
measure() {
    local name=$1
    shift
    echo "== ringwal bench --rounds $rounds --secs $secs $*" >&2
    "$ringwal" bench "$dir" --rounds "$rounds" --secs "$secs" "$@" >"$tables/$name"
    cat "$tables/$name" >&2
}

# cell NAME FIRST COLUMN [COLUMN=VALUE...]: a cell of the first row below the heading that begins
# with FIRST in which the columns have those values; empty if there is no such row.
cell() {
    local name=$1 first=$2 column=$3
    shift 3
    awk -v first="$first" -v column="$column" -v wanted="$*" '
        BEGIN { count = split(wanted, pairs, " ") }
        $1 == first { for (i = 1; i <= NF; i++) at[$i] = i; columns = NF; below = 1; next }
        !(column in at) { next }
        !below || NF != columns { below = 0; next }
        {
            for (i = 1; i <= count; i++) {
                split(pairs[i], pair, "=")
                if ($at[pair[1]] != pair[2]) next
            }
            print $at[column]
            exit
        }' "$tables/$name"
}

# verdict TEXT VALUE OPERATOR GOAL [EXPLAINED [RANGE]]: prints a line; a missing figure counts as
# a missed goal.
verdict() {
    local text=$1 value=${2:--} operator=$3 goal=$4 explained=${5:-yes} range=${6:-} word=ok
    if ! awk -v value="$value" -v operator="$operator" -v goal="$goal" 'BEGIN {
        if (value !~ /^[0-9.]+$/) exit 1
        exit !(operator == ">=" ? value + 0 >= goal + 0 : value + 0 <= goal + 0)
    }'; then
        word=MISSED
    elif [ "$explained" = NO ]; then
        word="MISSED: the flushes do not explain it"
    fi
    [ "$word" = ok ] || missed=1
    if [ -n "$range" ] && awk -v range="$range" \
        'BEGIN { split(range, it, /[.][.]/); exit !(it[2] + 0 > 2 * it[1]) }'; then
        range="$range, more than twofold: was the machine idle?"
    fi
    printf '%-78s %8s  %s %-5s %s%s\n' "$text" "$value" "$operator" "$goal" "$word" \
        "${range:+ (rounds: $range)}"
}

# goal TEXT NAME COLUMN OPERATOR GOAL COLUMN=VALUE...: a cell of a case, judged.
goal() {
    local text=$1 name=$2 column=$3 operator=$4 goal=$5
    shift 5
    verdict "$text" "$(cell "$name" mode "$column" "$@")" "$operator" "$goal" \
        "$(cell "$name" mode explained "$@")" "$(cell "$name" mode "${column#x-}-range" "$@")"
}

# aged TEXT FIRST COLUMN OPERATOR GOAL COLUMN=VALUE...: a cell of the tables of aged logs, judged.
aged() {
    local text=$1 first=$2 column=$3 operator=$4 goal=$5
    shift 5
    verdict "$text" "$(cell age "$first" "$column" "$@")" "$operator" "$goal" yes \
        "$(cell age "$first" "${column#x-}-range" "$@")"
}

for hogs in 0 1 2; do
    async=(--hogs "$hogs" --mode async --threads 1 --size 100)
    measure "small-$hogs" --hogs "$hogs" --threads 1,16,64,256 --size 100
    measure "async-256-$hogs" "${async[@]}" --window 256
    for held in "" -prepared; do
        segments=(${held:+--spare-segments 16 --segment-bytes 64MiB})
        measure "large$held-$hogs" --hogs "$hogs" --threads 16,64 --size 16384 "${segments[@]}"
        measure "async-4096$held-$hogs" "${async[@]}" --window 4096 "${segments[@]}"
    done
done
measure recovery --mode recovery --size 1024 --bytes 512MiB
# One strategy for all, because the choice that a log makes at open does not depend on its age.
measure age --mode age --size 100,1024 --ages 1,4,16 --strategy write-then-sync

echo
echo "strategies: $(for threads in 1 16 64 256; do
    echo "$threads threads $(cell small-0 mode strategy threads=$threads);"
done | xargs)"
goal "1 thread, 100 B, blocking: of the floor" small-0 x-floor ">=" 1.0 threads=1
goal "16 threads, 100 B: of the ideal batch" small-0 x-ideal ">=" 0.55 threads=16
goal "64 threads, 100 B: of the ideal batch" small-0 x-ideal ">=" 0.35 threads=64
goal "256 threads, 100 B: of the ideal batch" small-0 x-ideal ">=" 0.15 threads=256
goal "async, 1 submitter, 256 outstanding: of the ideal batch" async-256-0 x-ideal ">=" 0.85
for held in "" -prepared; do
    ideal="${held:+, segments prepared}: of the ideal batch"
    goal "16 threads, 16 KiB$ideal" "large$held-0" x-ideal ">=" 0.7 threads=16
    goal "64 threads, 16 KiB$ideal" "large$held-0" x-ideal ">=" 0.85 threads=64
    goal "async, 1 submitter, 4096 outstanding$ideal" "async-4096$held-0" x-ideal ">=" 0.65
done
goal "CPU us per append at 64 threads, 100 B" small-0 cpu-us "<=" 8 threads=64
for hogs in 1 2; do
    beside="beside $hogs busy"
    goal "1 thread, 100 B, $beside: of the floor" "small-$hogs" x-floor ">=" 0.5 threads=1
    for threads in 16 64 256; do
        goal "$threads threads, 100 B, $beside: of the ideal batch" "small-$hogs" x-ideal ">=" \
            0.5 "threads=$threads"
    done
    goal "async, 256 outstanding, $beside: of the ideal batch" "async-256-$hogs" x-ideal ">=" 0.5
    for held in "" -prepared; do
        ideal="$beside${held:+, segments prepared}: of the ideal batch"
        for threads in 16 64; do
            goal "$threads threads, 16 KiB, $ideal" "large$held-$hogs" x-ideal ">=" 0.5 \
                "threads=$threads"
        done
        goal "async, 4096 outstanding, $ideal" "async-4096$held-$hogs" x-ideal ">=" 0.5
    done
done
verdict "recovery of 512 MiB of 1 KiB records: of a raw read" \
    "$(cell recovery recovery x-raw size=1024)" ">=" 0.85
for size in 100 1024; do
    old="$size B, age 16"
    aged "$old: CPU per append, of a young log's" age x-cpu "<=" 1.25 age=16 "size=$size"
    aged "$old: memory, of a young log's" age x-memory "<=" 1.25 age=16 "size=$size"
    for what in open recovery; do
        per="$old: $what per live MiB, of"
        aged "$per a young log's" live "x-$what" "<=" 1.25 live=1 age=16 "size=$size"
        aged "$per a quarter's" live "x-$what-part" "<=" 1.25 live=1 age=16 "size=$size"
    done
done
exit "$missed"
