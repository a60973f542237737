#!/bin/sh
# Seconds of `make up`, by phase: with nothing cached, with a warm cache, with nothing to do. The
# instance of this checkout is removed first and left running afterwards. Written to
# bench/results/up.json, which `make bench` renders.
set -eu
cd "$(dirname "$0")/.."
cold_cache=$(mktemp -d)
trap 'rm -rf "$cold_cache"' EXIT
rows=""

measure() {
    label=$1
    shift
    start=$(date +%s.%N)
    "$@" >.kit/logs/bench-up.log 2>&1 || { tail -n 30 .kit/logs/bench-up.log; exit 1; }
    seconds=$(echo "$(date +%s.%N) $start" | awk '{printf "%.1f", $1 - $2}')
    phases=$(sed -n 's/^Seconds: *//p' .kit/logs/bench-up.log)
    printf '%-24s %6s s   %s\n' "$label" "$seconds" "$phases"
    rows="$rows${rows:+,
  }{\"label\": \"$label\", \"seconds\": $seconds, \"phases\": \"$phases\"}"
}

load=$(cut -d ' ' -f 1 /proc/loadavg)
make --no-print-directory destroy
measure "cold, nothing cached" env XDG_CACHE_HOME="$cold_cache" make up
make --no-print-directory destroy >/dev/null
make --no-print-directory up >/dev/null
make --no-print-directory destroy >/dev/null
measure "warm cache" make up
measure "nothing to do" make up
printf '{"load_before": %s, "rows": [\n  %s\n]}\n' "$load" "$rows" >bench/results/up.json
