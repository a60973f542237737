#!/bin/sh
# Resolve the dependency groups of pyproject.toml into requirements/GROUP.txt,
# with hashes. Run through `make lock`; needs uv.
set -eu
cd "$(dirname "$0")/.."
constraints=""
for group in ops compiler demo test bench devices; do
    # shellcheck disable=SC2086  # a list of options, empty for the first group
    uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
        --no-emit-index-url --no-emit-find-links \
        --custom-compile-command "make lock" --upgrade $constraints \
        --group "pyproject.toml:$group" --output-file "requirements/$group.txt"
    constraints="$constraints --constraint requirements/$group.txt"
done
