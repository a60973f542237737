#!/bin/sh
# run.sh [REPORTS]: the Vagrantfile and what it is made of: unit tests (minitest), then Vagrant's
# own check. Leaves JUnit reports in the folder REPORTS. Installs Ruby, and Vagrant where the
# distribution has it.
set -eu
cd "$(dirname "$0")/../.."
REPORTS=${1:-test-results/ruby}
mkdir -p "$REPORTS"
REPORTS=$(realpath "$REPORTS")
export REPORTS

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

install ruby ruby-minitest ruby-minitest-reporters
command -v vagrant >/dev/null || install vagrant || true
status=0
for test in tests/ruby/test_*.rb; do
    echo "$test"
    ruby -I vagrant/lib -I tests/ruby -r report "$test" || status=1
done
if command -v vagrant >/dev/null; then
    for choice in "KIT_ANSIBLE=host" "KIT_ANSIBLE=host NODES=3" "KIT_ANSIBLE=guest"; do
        # shellcheck disable=SC2086  # one or two variables
        env $choice vagrant validate --ignore-provider </dev/null || status=1
    done
fi
exit "$status"
