#!/bin/sh
# The Vagrantfile and what it is made of: unit tests (minitest), then Vagrant's own check.
# Installs Ruby and Vagrant where the distribution has them.
set -eu
cd "$(dirname "$0")/../.."

install() {
    .venv/bin/python - "$@" <<'PYTHON'
import sys

from kit.errors import KitError
from kit.system import ensure_packages

try:
    ensure_packages(sys.argv[1:])
except KitError as error:
    sys.exit(f"Error: {error}")
PYTHON
}

install ruby ruby-minitest
tests=$(ls tests/ruby/test_*.rb)
if ! command -v vagrant >/dev/null && ! install vagrant; then
    echo "NOT TESTED: this distribution has no Vagrant, so the Vagrantfile itself was not read:" \
        "https://developer.hashicorp.com/vagrant/install"
    tests=$(echo "$tests" | grep -v test_vagrantfile)
elif ! ruby -e 'require "vagrant"' 2>/dev/null; then
    echo "NOT TESTED: tests/ruby/test_vagrantfile.rb, which needs the distribution's Vagrant"
    tests=$(echo "$tests" | grep -v test_vagrantfile)
fi
for test in $tests; do
    echo "$test"
    ruby -I vagrant/lib -I tests/ruby "$test"
done
if command -v vagrant >/dev/null; then
    for ansible in host guest; do
        KIT_ANSIBLE=$ansible vagrant validate --ignore-provider </dev/null
    done
fi
