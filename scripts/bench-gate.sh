#!/usr/bin/env bash
# The goals for speed, each a ratio of two measurements of the same run: the log beside the log that
# one would write by hand, beside the raw limits of the file system, beside itself on the std
# backend, prepared and growing, old and young. Prints each beside its goal. A missed goal is
# printed as missed, and so is one that could not be measured or that the flushes of the device do
# not explain; then the exit code is 1. Run it by hand before a release, on a machine that does
# nothing else; CI measures no times.
#   scripts/bench-gate.sh [--parts LIST] [DIR]     measures in DIR
# Environment: ROUNDS (5), SECS (0.8) of each measurement. Parts, separated by commas:
#   crowd     threads that wait: by hand, p99, io_uring beside std, growing beside prepared
#   tasks     the same for tasks, and processor time at 16,000 of them beside 256
#   large     records of 16 KiB beside the ideal batch
#   first     one thread beside the floor, and the first append to a new log
#   hogs      threads and tasks beside one and two busy loops
#   table     these five: the default, 12 to 15 minutes
#   limits    small records and one submitter beside the raw limits, also with busy loops
#   recovery  opening beside a raw read
#   age       a log that had 16 times its live bytes appended and truncated beside a young one
#   all       everything
# Where a log is called prepared, its segments are made before its time starts, and the file by hand
# is as large: for small records those that a log prepares by default, for large ones as many as a
# burst needs. Needs 2.5 GiB of room.
set -euo pipefail
cd "$(dirname "$0")/.."
parts=table
dir=.
while [ $# -gt 0 ]; do
    case $1 in
    --parts=*) parts=${1#*=} ;;
    --parts)
        parts=${2:?--parts needs a list}
        shift
        ;;
    -h | --help)
        sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0"
        exit
        ;;
    -*)
        echo "unknown option $1; --help lists them" >&2
        exit 2
        ;;
    *) dir=$1 ;;
    esac
    shift
done
parts=,$parts,
parts=${parts//,all,/,table,limits,recovery,age,}
parts=${parts//,table,/,crowd,tasks,large,first,hogs,}
for part in ${parts//,/ }; do
    case $part in
    crowd | tasks | large | first | hogs | limits | recovery | age) ;;
    *)
        echo "unknown part $part; --help lists them" >&2
        exit 2
        ;;
    esac
done
dir=$(realpath "$dir")
rounds=${ROUNDS:-5}
secs=${SECS:-0.8}
cargo build --quiet --release --features cli
ringwal=${CARGO_TARGET_DIR:-target}/release/ringwal
tables=$(mktemp -d)
trap 'rm -rf "$tables"' EXIT
goals=0
missed=0
begun=$SECONDS

# takes PART: whether it was asked for.
takes() {
    [[ $parts == *,$1,* ]]
}

# measure NAME OPTION...: runs `ringwal bench` and keeps its table under NAME. If that fails, all of
# its goals are missed.
measure() {
    local name=$1
    shift
    echo "== ringwal bench --rounds $rounds --secs $secs $*" >&2
    if ! "$ringwal" bench "$dir" --rounds "$rounds" --secs "$secs" "$@" >"$tables/$name"; then
        echo "== it failed: its goals count as missed" >&2
        : >"$tables/$name"
    fi
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
# a missed goal. With the operator `shown` there is no goal.
verdict() {
    local text=$1 value=${2:--} operator=$3 goal=$4 explained=${5:-yes} range=${6:-} word=ok
    if [ "$operator" = shown ]; then
        word=shown
    else
        goals=$((goals + 1))
        goal="$operator $goal"
        if ! awk -v value="$value" -v goal="$goal" 'BEGIN {
            if (value !~ /^[0-9.]+$/) exit 1
            split(goal, it, " ")
            exit !(it[1] == ">=" ? value + 0 >= it[2] + 0 : value + 0 <= it[2] + 0)
        }'; then
            word=MISSED
        fi
        if [ "$explained" = NO ]; then
            word="MISSED: the flushes do not explain it"
        fi
    fi
    case $word in MISSED*) missed=$((missed + 1)) ;; esac
    if [ -n "$range" ] && awk -v range="$range" \
        'BEGIN { split(range, it, /[.][.]/); exit !(it[2] + 0 > 2 * it[1]) }'; then
        range="$range, more than twofold: was the machine idle?"
    fi
    printf '%-78s %8s  %-8s %s%s\n' "$text" "$value" "$goal" "$word" "${range:+ (rounds: $range)}"
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

# quotient NAME COLUMN A B: the column where A holds, divided by that where B holds.
quotient() {
    local name=$1 column=$2 a b
    a=$(cell "$name" mode "$column" "threads=$3" segments=prepared)
    b=$(cell "$name" mode "$column" "threads=$4" segments=prepared)
    awk -v a="$a" -v b="$b" 'BEGIN { if (a ~ /^[0-9.]+$/ && b + 0 > 0) printf "%.2f", a / b }'
}

threads=(1 16 64 256 1000)
tasks=(64 256 1000 4000 16000)
list() {
    local IFS=,
    echo "$*"
}
burst=(--segment-bytes 64MiB --spare-segments 16)
# Without a ring there would be nothing to show, so it is asked for.
ring=(--backend uring)
waiting=(--threads "$(list "${threads[@]}")" --size 100)
awaiting=(--mode tasks --threads "$(list "${tasks[@]}")" --size 100)
no_floors=(--floors false)

if takes crowd; then
    measure crowd "${waiting[@]}" "${ring[@]}" "${no_floors[@]}" --beside-std --grow
fi
if takes tasks; then
    measure tasks "${awaiting[@]}" "${ring[@]}" "${no_floors[@]}" --beside-std --grow
fi
if takes large; then
    measure large --threads 16,64 --size 16384 "${ring[@]}" "${burst[@]}" --beside-std
fi
if takes first; then
    measure first --threads 1 --size 100
fi
for hogs in 1 2; do
    busy=(--hogs "$hogs" "${no_floors[@]}")
    if takes hogs; then
        measure "crowd-$hogs" "${waiting[@]}" "${busy[@]}"
        measure "tasks-$hogs" "${awaiting[@]}" "${busy[@]}"
    fi
done
if takes limits; then
    for hogs in 0 1 2; do
        async=(--hogs "$hogs" --by-hand false --mode async --threads 1 --size 100)
        measure "small-$hogs" --hogs "$hogs" --by-hand false --threads 1,16,64,256 --size 100
        measure "async-256-$hogs" "${async[@]}" --window 256
        for held in "" -prepared; do
            segments=(${held:+"${burst[@]}"})
            measure "large$held-$hogs" --hogs "$hogs" --by-hand false --threads 16,64 --size 16384 \
                "${segments[@]}"
            measure "async-4096$held-$hogs" "${async[@]}" --window 4096 "${segments[@]}"
        done
    done
fi
if takes recovery; then
    measure recovery --mode recovery --size 1024 --bytes 512MiB
fi
if takes age; then
    # One strategy for all, because the choice that a log makes at open does not depend on its age.
    measure age --mode age --size 100,1024 --ages 1,4,16 --strategy write-then-sync
fi

# beside_std TEXT NAME COLUMN=VALUE...: io_uring beside std.
beside_std() {
    local text=$1 name=$2
    shift 2
    goal "$text: io_uring, of std" "$name" x-std ">=" 0.95 "$@"
}

# growing TEXT NAME COLUMN=VALUE...: a log that grows.
growing() {
    local text=$1 name=$2
    shift 2
    goal "$text, growing: of the same log prepared" "$name" x-prepared ">=" 0.8 "$@"
    goal "$text, growing: of the log by hand, growing" "$name" x-hand ">=" 1.0 "$@"
    beside_std "$text, growing" "$name" "$@"
}

threads_of() {
    if [ "$1" = 1 ]; then echo thread; else echo threads; fi
}

judge_crowd() {
    local number text row
    for number in "${threads[@]}"; do
        text="$number $(threads_of "$number"), 100 B"
        row=("threads=$number" segments=prepared)
        case $number in
        1) goal "$text: of the log by hand" crowd x-hand shown "" "${row[@]}" ;;
        16) goal "$text: of the log by hand" crowd x-hand ">=" 1.3 "${row[@]}" ;;
        *)
            goal "$text: of the log by hand" crowd x-hand ">=" 1.15 "${row[@]}"
            goal "$text, std: of the log by hand" crowd x-hand-std ">=" 1.15 "${row[@]}"
            ;;
        esac
        if [ "$number" = 256 ]; then
            goal "$text: p99, of that by hand" crowd x-hand-p99 "<=" 1.0 "${row[@]}"
        fi
        beside_std "$text" crowd "${row[@]}"
        growing "$text" crowd "threads=$number" segments=growing
    done
}

judge_tasks() {
    local number text row least
    for number in "${tasks[@]}"; do
        text="$number tasks, 100 B"
        row=("threads=$number" segments=prepared)
        least=1.3
        [ "$number" != 64 ] || least=1.5
        goal "$text: of the log by hand" tasks x-hand ">=" "$least" "${row[@]}"
        goal "$text: p99, of that by hand" tasks x-hand-p99 "<=" 1.0 "${row[@]}"
        beside_std "$text" tasks "${row[@]}"
        growing "$text" tasks "threads=$number" segments=growing
    done
    verdict "processor time per append: 16,000 tasks, of 256" "$(quotient tasks cpu-us 16000 256)" \
        "<=" 1.3
}

judge_large() {
    local number
    for number in 16:0.65 64:0.85; do
        goal "${number%:*} threads, 16 KiB, prepared: of the ideal batch" large x-ideal ">=" \
            "${number#*:}" "threads=${number%:*}"
        goal "${number%:*} threads, 16 KiB, prepared: of the log by hand" large x-hand shown "" \
            "threads=${number%:*}"
        beside_std "${number%:*} threads, 16 KiB, prepared" large "threads=${number%:*}"
    done
}

judge_first() {
    goal "1 thread, 100 B: of the floor" first x-floor ">=" 1.0 threads=1
    goal "first append to a new log, in flushes" first x-first "<=" 3 threads=1
}

judge_hogs() {
    local hogs number beside
    for hogs in 1 2; do
        for number in "${threads[@]}"; do
            beside="$(threads_of "$number"), 100 B, beside $hogs busy"
            goal "$number $beside: of the log by hand" "crowd-$hogs" x-hand ">=" 0.9 \
                "threads=$number"
        done
        for number in "${tasks[@]}"; do
            goal "$number tasks, 100 B, beside $hogs busy: of the log by hand" "tasks-$hogs" \
                x-hand ">=" 0.9 "threads=$number"
        done
    done
}

judge_limits() {
    local held ideal hogs beside threads
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
        goal "async, 256 outstanding, $beside: of the ideal batch" "async-256-$hogs" x-ideal \
            ">=" 0.5
        for held in "" -prepared; do
            ideal="$beside${held:+, segments prepared}: of the ideal batch"
            for threads in 16 64; do
                goal "$threads threads, 16 KiB, $ideal" "large$held-$hogs" x-ideal ">=" 0.5 \
                    "threads=$threads"
            done
            goal "async, 4096 outstanding, $ideal" "async-4096$held-$hogs" x-ideal ">=" 0.5
        done
    done
}

judge_recovery() {
    verdict "recovery of 512 MiB of 1 KiB records: of a raw read" \
        "$(cell recovery recovery x-raw size=1024)" ">=" 0.85
}

judge_age() {
    local size old what per
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
}

echo
printf '%-78s %8s  %-8s %s\n' case reached goal verdict
for part in crowd tasks large first hogs limits recovery age; do
    ! takes "$part" || "judge_$part"
done
echo
echo "$((goals - missed)) of $goals goals reached in $((SECONDS - begun)) s," \
    "medians of $rounds rounds of $secs s"
[ "$missed" = 0 ]
