"""Clocks that can be turned back: of Redis, the publisher and the page.

Only these processes see it (libfaketime): a container's clock is its host's.
Webdis reads no clock but the monotonic one.
"""

from __future__ import annotations

import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from kit.container import STATE_DIR

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.faults.scene import Scene

HOUR_SECONDS = 3600
FOLDER = "/opt/faults-clock"
PAGE = f"Date.now = (now => () => now() - {HOUR_SECONDS * 1000})(Date.now)"


def _variables(folder: str) -> dict[str, str]:
    return {
        "LD_PRELOAD": f"{folder}/libfaketime.so.1",
        "FAKETIME_TIMESTAMP_FILE": f"{folder}/offset",
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_DONT_RESET": "1",
    }


def _set(folder: Path, seconds: int) -> None:
    (folder / "offset").write_text(f"{seconds:+}\n")


def _make(folder: Path) -> None:
    (library,) = Path("/usr/lib").glob("*/faketime/libfaketime.so.1")
    folder.mkdir()
    (folder / library.name).write_bytes(library.read_bytes())
    _set(folder, 0)


def _folder(name: str) -> Path:
    return STATE_DIR / name / f"closed/rootfs{FOLDER}"


def set_clock(name: str, seconds: int) -> None:
    """Set the clock of a server's programs that `server_clock` has given one.

    Args:
        name: Of the container.
        seconds: Later than the right time, or earlier where negative.
    """
    _set(_folder(name), seconds)


@contextmanager
def server_clock(name: str, command: Callable[[str], object], *units: str) -> Iterator[None]:
    """Give units a clock that can be set for the time of the block; restarts them.

    Args:
        name: Of the container.
        command: Runs a shell command in it, which must succeed.
        units: Are restarted before and after.
    """
    _make(_folder(name))
    variables = " ".join(f"{key}={value}" for key, value in _variables(FOLDER).items())
    drop_ins = [f"/run/systemd/system/{unit}.service.d/clock.conf" for unit in units]
    write = " && ".join(
        f"mkdir -p $(dirname {file}) && printf '[Service]\\nEnvironment={variables}\\n' > {file}"
        for file in drop_ins
    )
    restart = f"systemctl daemon-reload && systemctl restart {' '.join(units)}"
    command(f"{write} && {restart}")
    try:
        yield
    finally:
        set_clock(name, 0)
        command(f"rm {' '.join(drop_ins)} && {restart}")
        subprocess.run(["rm", "-r", _folder(name)], check=True)


@contextmanager
def adjustable(scene: Scene) -> Iterator[Callable[[], None]]:
    """Let the clocks be set for the time of the block; yields what sets them back an hour."""
    name, ours = scene.instance["name"], scene.folder / "clock"
    _make(ours)
    scene.environment = _variables(str(ours))

    def set_back() -> None:
        set_clock(name, -HOUR_SECONDS)
        _set(ours, -HOUR_SECONDS)
        scene.page.evaluate(PAGE)
        theirs_now = int(scene.command("redis-admin TIME").split()[0])
        assert theirs_now < time.time() - HOUR_SECONDS / 2, "Redis has not seen it"

    with server_clock(name, scene.command, "redis"):
        scene.wait_until_well()
        yield set_back
