#!/bin/sh
# Writes the golden corpus in tests/corpus as this version writes it. The output is deterministic;
# `git diff --stat tests/corpus` shows the changes. A committed file may change only together with
# the format version.
set -eu
cd "$(dirname "$0")/.."
mkdir -p tests/corpus
RINGWAL_REGENERATE_CORPUS=1 cargo test --quiet --features internals --test format_golden -- this_version_still_writes
git diff --stat -- tests/corpus
