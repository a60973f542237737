#!/bin/sh
# Seconds of `make up`, by phase: with nothing cached, with a warm cache, with
# nothing to do; and how long the first message takes to the browser. The
# instance of this checkout is removed first and left running afterwards.
set -eu
cd "$(dirname "$0")/.."
cold_cache=$(mktemp -d)
trap 'rm -rf "$cold_cache"' EXIT

measure() {
    start=$(date +%s.%N)
    "$@" >.kit/logs/bench-up.log 2>&1 || { tail -n 30 .kit/logs/bench-up.log; exit 1; }
    end=$(date +%s.%N)
    printf '%-24s %6.1f s   %s\n' "$label" "$(echo "$end $start" | awk '{print $1 - $2}')" \
        "$(grep '^Seconds:' .kit/logs/bench-up.log)"
}

make --no-print-directory destroy
label="cold, nothing cached"; measure env XDG_CACHE_HOME="$cold_cache" make up
make --no-print-directory destroy >/dev/null
make --no-print-directory up >/dev/null
make --no-print-directory destroy >/dev/null
label="warm cache"; measure make up
label="nothing to do"; measure make up
.venv/bin/python -m pytest -q -s tests/e2e -k three_messages | grep 'first message'
