"""The command line's answers to mistakes, and what follows from a checkout's path."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys

import pytest

from kit import container, scenarios
from kit.checkout import BRIDGE, KIT_DIR, ROOT
from kit.progress import run_logged


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


def test_one_instance_is_not_changed_by_two_commands_at_once():
    name = "at-once"
    folder = KIT_DIR / "instances" / name
    folder.mkdir(parents=True)
    try:
        with (folder / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            answer = run_kit("down", KIT_INSTANCE=name)
            assert answer.returncode == 1
            assert "wait until it has ended, then run `make down` again" in answer.stderr
        assert run_kit("down", KIT_INSTANCE=name).returncode == 0
    finally:
        run_kit("destroy", KIT_INSTANCE=name)
    assert not folder.exists()


DRY_RUN = "INFO     [default > check] Executing"
RECAP = "server                     : ok=90   changed={}   unreachable=0    failed=0"


@pytest.mark.parametrize(
    ("printed", "changes"),
    [
        ([DRY_RUN, RECAP.format(23)], 0),  # of an empty machine, which changes by its nature
        ([DRY_RUN, RECAP.format(23), DRY_RUN, RECAP.format(0), *["verified"] * 500], 0),
        ([DRY_RUN, RECAP.format(23), DRY_RUN, RECAP.format(2), *["verified"] * 500], 2),
    ],
)
def test_changes_of_the_last_dry_run_are_counted(printed, changes):
    command = [sys.executable, "-c", "import sys; print(sys.argv[1])", "\n".join(printed)]
    lines = run_logged("A scenario", command, log="dry-run-test")
    assert scenarios.changes_of_last_dry_run(lines) == changes
