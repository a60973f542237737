"""Ports that tests and bench give to the servers that they start."""

from __future__ import annotations

import subprocess
import sys

from bench.processes import free_port
from kit.checkout import ROOT
from kit.local.provider import FIRST_PORT

GIVEN = "from bench.processes import free_port; print(*(free_port() for _ in range(20)))"


def test_no_other_program_gets_a_port_before_its_server_starts():
    own = {free_port() for _ in range(20)}
    other = set(map(int, subprocess.check_output([sys.executable, "-c", GIVEN], cwd=ROOT).split()))
    assert len(own) == len(other) == 20, "one is given twice"
    assert not own & other
    assert max(own | other) < FIRST_PORT, "from there on PROVIDER=local has its own"
    assert max(own | other) < 32_768, "from there on Linux gives ports by itself (ip(7))"
