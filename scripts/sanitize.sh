#!/usr/bin/env bash
# Runs the tests of the ring, of the hand-over between callers and the ring thread, and of the API
# with many threads, under AddressSanitizer (with its leak check) and ThreadSanitizer. Needs a
# nightly compiler, for ThreadSanitizer with rust-src. `scripts/sanitize.sh address` runs only the
# first, `thread` only the second. RINGWAL_NIGHTLY names a toolchain other than nightly.
set -uo pipefail
cd "$(dirname "$0")/.."
host=$(rustc -vV | sed -n 's/^host: //p')
nightly=${RINGWAL_NIGHTLY:-nightly}
failed=0

run() { # sanitizer, then arguments of cargo
    local sanitizer=$1 started=$SECONDS
    shift
    if ! cargo "+$nightly" --version >/dev/null 2>&1; then
        echo "SKIPPED $sanitizer sanitizer: there is no nightly compiler"
        return
    fi
    if RUSTFLAGS="-Zsanitizer=$sanitizer" RUST_BACKTRACE=0 \
        CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/sanitize/$sanitizer" \
        cargo "+$nightly" test --quiet --target "$host" "$@"; then
        echo "== $sanitizer sanitizer: nothing found, $((SECONDS - started)) s"
    else
        echo "== $sanitizer sanitizer: FAILED after $((SECONDS - started)) s"
        failed=1
    fi
}

tests=(io:: buf:: sys:: engine::commit engine::tests)

address() {
    # These tests make rings fail, and a failed ring leaks on purpose the buffers that the kernel may
    # still write.
    local supp
    supp=$(mktemp)
    echo "leak:ringwal::io::uring::tests::" >"$supp"
    export LSAN_OPTIONS="suppressions=$supp:print_suppressions=0:fast_unwind_on_malloc=0"
    run address --lib -- "${tests[@]}" segment:: recovery
    run address --test api --test events
    rm -f "$supp"
}

thread() {
    # The sanitizer does not see the locks of a standard library that was built without it, and
    # would report everything that they protect.
    if [ ! -d "$(rustc "+$nightly" --print sysroot 2>/dev/null)/lib/rustlib/src/rust/library" ]; then
        echo "SKIPPED thread sanitizer: the nightly compiler has no source of the standard" \
            "library; rustup component add rust-src --toolchain $nightly"
        return
    fi
    run thread -Zbuild-std --lib -- "${tests[@]}"
    run thread -Zbuild-std --test api --test events
}

[ $# -eq 0 ] && set -- address thread
for sanitizer in "$@"; do "$sanitizer"; done
exit $failed
