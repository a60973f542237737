#!/bin/sh
# The Vagrantfile and what it is made of: unit tests (minitest), then Vagrant's own check.
# Installs Ruby and Vagrant where the distribution has them.
set -eu
cd "$(dirname "$0")/../.."
.venv/bin/python - <<'PYTHON'
import sys

from kit.errors import KitError
from kit.system import ensure_packages

try:
    ensure_packages(["ruby", "ruby-minitest", "vagrant"])
except KitError as error:
    sys.exit(f"Error: {error} The Vagrantfile cannot be tested without them.")
PYTHON
for test in tests/ruby/test_*.rb; do
    echo "$test"
    ruby -I vagrant/lib -I tests/ruby "$test"
done
vagrant validate --ignore-provider </dev/null
