#!/usr/bin/env bash
# The compiler with one deliberate bug switched on, for scripts/mutations.sh.
if [ -n "${RINGWAL_MUTATION:-}" ]; then
    set -- "$@" --cfg "ringwal_mutation=\"$RINGWAL_MUTATION\""
fi
exec "$@"
