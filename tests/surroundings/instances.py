"""Instances of this checkout that a test has for itself."""

from __future__ import annotations

import os
import subprocess
import sys

from kit.checkout import ROOT


def kit(instance: str, command: str) -> str:
    """Run a command of the kit on one; return what it printed.

    Args:
        instance: Its name, as ``KIT_INSTANCE`` takes it.
        command: As ``python -m kit`` takes it.
    """
    answer = subprocess.run(
        [sys.executable, "-m", "kit", command],
        cwd=ROOT,
        env={**os.environ, "KIT_INSTANCE": instance},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout
