#!/bin/sh
# What Ansible Galaxy asks of a collection, of a scratch copy: ansible-test sanity, galaxy-importer
# and its changelog. A scratch HOME, too: a person's pip configuration is not for the environments
# that ansible-test makes.
set -eu
cd "$(dirname "$0")/../.."
PATH=$PWD/.venv/bin:$PATH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
copy=$work/ansible_collections/webdis_kit/server
mkdir -p "$copy" "$work/home"
git ls-files -z ansible | tar -c --null --files-from=- | tar -x -C "$copy" --strip-components=1
# The importer wants an address, which the project does not have yet.
echo 'repository: https://example.org/webdis_kit/server' >>"$copy/galaxy.yml"
export HOME="$work/home" LC_ALL=C.UTF-8
cd "$copy"
git init --quiet && git add .
antsibull-changelog lint
ansible-test sanity --color no --python default
ansible-galaxy collection build --output-path "$work" >/dev/null
cd "$work"
python -m galaxy_importer.main --print-result webdis_kit-server-*.tar.gz
