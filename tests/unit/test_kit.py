"""The command line's answers to mistakes, and what follows from a checkout's path."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from kit import container
from kit.checkout import BRIDGE, ROOT


def run_kit(command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "kit", command],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("variable", "valid"),
    [("PROVIDER", "virtualbox, libvirt, container"), ("SUITE", "trixie"), ("SOURCES", "upstream")],
)
def test_unknown_choice_names_the_valid_ones(variable, valid):
    answer = run_kit("up", **{variable: "nonsense"})
    assert answer.returncode == 2
    assert f"{variable}=nonsense" in answer.stderr
    assert valid in answer.stderr
    assert "Traceback" not in answer.stderr


def test_bridge_name_fits_into_linux():
    assert len(BRIDGE) <= 15


def test_subnets_stay_in_their_range():
    for checkout_id in ("000000", "ffffff", "abc123"):
        assert 66 <= container.subnet_number(checkout_id) <= 255
