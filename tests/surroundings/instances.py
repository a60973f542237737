"""Commands as a person says them, and instances of this checkout that a test has for itself."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from kit.checkout import ROOT

if TYPE_CHECKING:
    from pathlib import Path


def run(
    *command: str, cwd: Path = ROOT, seconds: float = 240, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a command with nobody at the keyboard, and return what came of it.

    Args:
        command: Program and arguments.
        cwd: Folder in which it runs.
        seconds: That it may take.
        environment: Added to that of the tests.
    """
    return subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


def kit(instance: str, command: str, *, seconds: float = 200, **environment: str) -> str:
    """Run a command of the kit on one; return what it printed.

    Args:
        instance: Its name, as ``KIT_INSTANCE`` takes it.
        command: As ``python -m kit`` takes it.
        seconds: That it may take.
        environment: Added to that of the tests.
    """
    words = (sys.executable, "-m", "kit", command)
    answer = run(*words, seconds=seconds, KIT_INSTANCE=instance, **environment)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout
