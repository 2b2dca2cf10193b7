#!/usr/bin/env bash
# Compares the built-in rule of the commit delay with fixed delays of batches: none, 50, 200 and
# 1000 us. The loads are 1 to 256 threads that append without a pause, that pause for 0.3 or 3 ms on
# average before each append, and that append 16 records in a row before each pause. The settings
# take turns in one run, and every record is compared. Prints medians over the rounds, as multiples
# of the rule's: records per second, and the times within which half and 99 of 100 appends were
# acknowledged. Run it on a machine that does nothing else.
#   scripts/compare-gathering.sh [DIR]      measures in DIR; environment: ROUNDS (5), SECS (0.3),
#                                           HOGS (0): busy loops beside it
set -euo pipefail
cd "$(dirname "$0")/.."
dir=$(realpath "${1:-.}")
rounds=${ROUNDS:-5}
cargo build --quiet --release --features cli
results=$(mktemp)
trap 'rm -f "$results"' EXIT

names=(rule at-once held-50 held-200 held-1000)
options=(
    ""
    "--gather false"
    "--gather false --batch-delay-us 50"
    "--gather false --batch-delay-us 200"
    "--gather false --batch-delay-us 1000"
)
loads=("--think-us 0,300,3000" "--think-us 3000 --burst 16")

for _ in $(seq "$rounds"); do
    for load in "${loads[@]}"; do
        for at in "${!names[@]}"; do
            # shellcheck disable=SC2086  # the options are words
            "${CARGO_TARGET_DIR:-target}/release/ringwal" bench "$dir" --floors false --rounds 1 --secs "${SECS:-0.3}" \
                --hogs "${HOGS:-0}" --size 100 --threads 1,4,16,64,256 \
                --strategy write-then-sync $load ${options[at]} |
                awk -v name="${names[at]}" '
                    $1 == "mode" { for (i = 1; i <= NF; i++) at[$i] = i }
                    $1 == "blocking" {
                        print name, $at["threads"], $at["think"], $at["burst"],
                            $at["acked/s"], $at["p50"], $at["p99"]
                    }' >>"$results"
        done
    done
done

awk -v names="${names[*]}" '
    function median(text,    values, count, i, j, held) {
        count = split(text, values, " ")
        for (i = 2; i <= count; i++) {
            held = values[i] + 0
            for (j = i - 1; j > 0 && values[j] + 0 > held; j--) values[j + 1] = values[j]
            values[j + 1] = held
        }
        return values[int((count + 1) / 2)]
    }
    {
        key = $2 " " $3 " " $4
        if (!(key in seen)) { seen[key] = 1; loads[++known] = key }
        for (i = 5; i <= 7; i++) found[key, $1, i] = found[key, $1, i] " " $i
    }
    END {
        count = split(names, name, " ")
        split("x x x x acked/s p50 p99", figure, " ")
        printf "%7s %6s %5s  %-8s %9s", "threads", "think", "burst", "figure", name[1]
        for (n = 2; n <= count; n++) printf " %9s", name[n]
        print ""
        for (l = 1; l <= known; l++) {
            split(loads[l], load, " ")
            for (i = 5; i <= 7; i++) {
                base = median(found[loads[l], name[1], i])
                printf "%7s %6s %5s  %-8s %9.0f", load[1], load[2], load[3], figure[i], base
                for (n = 2; n <= count; n++)
                    printf " %9.2f", base ? median(found[loads[l], name[n], i]) / base : 0
                print ""
            }
        }
    }' "$results"
