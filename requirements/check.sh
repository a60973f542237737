#!/bin/sh
# Drop the stamps of an environment that cannot work any more: the folder was moved or
# copied, or the host has another Python now. Its programs name both by their paths.
# `check.sh --write` notes what it was made for.
cd "$(dirname "$0")/.." || exit 1
[ -d .venv ] || exit 0
made_for=$(pwd -P; readlink -f .venv/bin/python)
if [ "${1:-}" = --write ]; then
    printf '%s\n' "$made_for" >.venv/made_for
elif [ ! -x .venv/bin/python ] || [ "$(cat .venv/made_for 2>/dev/null)" != "$made_for" ]; then
    rm -f .venv/made_for .venv/*.stamp
fi
