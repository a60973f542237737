#!/bin/sh
# run.sh [--without-linters]
#
# What Ansible Galaxy asks of a collection, of a scratch copy: ansible-test sanity, galaxy-importer
# and its changelog. `make lint` has linters of its own: without them here, it takes a quarter of the
# time. HOME is a folder of the cache: ansible-test keeps its environments there, for which a person's
# pip configuration is not meant.
set -eu
cd "$(dirname "$0")/../.."
# Not the whole of it: a version manager has programs for Pythons that it would not run.
PATH=$PWD/.venv/bin:/usr/local/bin:/usr/bin:/bin
skipped=
if [ "${1:-}" = --without-linters ]; then
    skipped="--skip-test pep8 --skip-test pylint --skip-test yamllint"
    export GALAXY_IMPORTER_RUN_ANSIBLE_LINT=false
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
copy=$work/ansible_collections/webdis_kit/server
mkdir -p "$copy"
git ls-files -z ansible ':!ansible/molecule' | tar -c --null --files-from=- | tar -x -C "$copy" --strip-components=1
# The importer wants an address, which the project does not have yet.
echo 'repository: https://example.org/webdis_kit/server' >>"$copy/galaxy.yml"
export HOME="${XDG_CACHE_HOME:-$HOME/.cache}/webdis-kit/ansible-test" LC_ALL=C.UTF-8
# In place of the script that it would fetch from a host of its own, for the pip of its environments.
mkdir -p "$HOME/.ansible/test/cache"
exec 9>"$HOME/.lock"
flock 9 # another checkout may be making the same environments
cat >"$HOME/.ansible/test/cache/get_pip_24_2.py" <<'END'
import subprocess, sys
subprocess.check_call([sys.executable, "-m", "ensurepip"])  # in this process, it would forget pip's configuration
wanted = [word for word in sys.argv[1:] if not word.startswith("--no-")]
sys.exit(subprocess.call([sys.executable, "-m", "pip", "install", *wanted]))
END
cd "$copy"
git init --quiet && git add .
antsibull-changelog lint
ansible-test sanity --color no --python default $skipped
ansible-galaxy collection build --output-path "$work" >/dev/null
cd "$work"
python -m galaxy_importer.main --print-result webdis_kit-server-*.tar.gz
