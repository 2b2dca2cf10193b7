#!/bin/sh
# Writes the golden corpus in tests/corpus as this version would write it. The output is the same
# every time; `git diff --stat tests/corpus` shows what changed. A file that is committed may only
# change together with the format version.
set -eu
cd "$(dirname "$0")/.."
mkdir -p tests/corpus
RINGWAL_REGENERATE_CORPUS=1 cargo test --quiet --test format_golden -- this_version_still_writes
git diff --stat -- tests/corpus
