"""What the kit asks of this host: packages, and commands that need root."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from typing import TYPE_CHECKING, Any

from kit.checkout import ROOT
from kit.errors import KitError
from kit.run_logged import run_logged

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


def ask(command: Sequence[str | Path], **options: Any) -> subprocess.CompletedProcess[str]:  # noqa: ANN401  # as subprocess.run takes them
    """Return what a command says, which finds nobody to ask, and how it ends."""
    quiet = {} if "input" in options else {"stdin": subprocess.DEVNULL}
    options |= quiet | {"capture_output": True, "text": True}
    return subprocess.run(command, check=False, **options)


def as_root(command: list[str]) -> list[str]:
    """Return ``command`` so that it runs as root without ever asking a question.

    Raises:
        KitError: This is not root and sudo would ask for a password.
    """
    if os.geteuid() == 0:
        return command
    if not shutil.which("sudo"):
        raise KitError(
            "This needs root, and there is no sudo: run it as root. "
            "See docs/troubleshooting.md#root-and-sudo."
        )
    if ask(["sudo", "-n", "true"]).returncode:
        raise KitError(
            "This needs root, and sudo would ask for a password: run `sudo -v` first. "
            "See docs/troubleshooting.md#root-and-sudo."
        )
    return ["sudo", "-n", *command]


def missing_packages(names: list[str]) -> list[str]:
    """Return those of the Debian packages that are not installed."""
    listed = ask(["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *names]).stdout
    installed = {line.split()[0] for line in listed.splitlines() if line.endswith(" installed")}
    return [name for name in names if name not in installed]


def ensure_packages(names: list[str]) -> None:
    """Install the Debian packages that are missing, and say which.

    Args:
        names: Package names, as ``apt-get install`` takes them.

    Raises:
        KitError: This is no Debian or Ubuntu, or apt-get failed.
    """
    if not shutil.which("apt-get"):
        raise KitError(
            "Only Debian and Ubuntu can be set up for this by the kit; install by hand: "
            + " ".join(names)
        )
    missing = missing_packages(names)
    if not missing:
        return
    print(f"Installing system packages: {' '.join(missing)}", flush=True)
    apt = [str(ROOT / "kit/apt_get.sh")]
    hint = (
        "Check the network and /etc/apt, then run the same command again. "
        "See docs/troubleshooting.md#packages-cannot-be-installed."
    )
    run_logged("Package lists", as_root([*apt, "update"]), log="apt-update", hint=hint)
    run_logged(
        "System packages",
        as_root([*apt, "install", "-y", "--no-install-recommends", *missing]),
        log="apt-install",
        hint=hint,
    )


def wait_while(
    problem: Callable[[], object], timeout_seconds: float, complaint: Callable[[object], str]
) -> None:
    """Return when there is no problem any more.

    Args:
        problem: Asked every 50 ms; what it returns is false where there is none.
        timeout_seconds: How long to wait.
        complaint: Returns the sentence for when it stays, given what it was at last.

    Raises:
        KitError: It was still there when the time was over.
    """
    deadline = time.monotonic() + timeout_seconds
    while found := problem():
        if time.monotonic() > deadline:
            raise KitError(complaint(found))
        time.sleep(0.05)
