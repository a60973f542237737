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
DROP_IN = "/run/systemd/system/redis.service.d/clock.conf"
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


@contextmanager
def adjustable(scene: Scene) -> Iterator[Callable[[], None]]:
    """Let the clocks be set for the time of the block; yields what sets them back an hour."""
    (library,) = Path("/usr/lib").glob("*/faketime/libfaketime.so.1")
    theirs = STATE_DIR / scene.instance["name"] / f"closed/rootfs{FOLDER}"
    ours = scene.folder / "clock"
    for folder in (theirs, ours):
        folder.mkdir()
        (folder / library.name).write_bytes(library.read_bytes())
        (folder / "offset").write_text("+0\n")
    variables = " ".join(f"{name}={value}" for name, value in _variables(FOLDER).items())
    scene.command(
        f"mkdir -p {DROP_IN.rpartition('/')[0]} && "
        f"printf '[Service]\\nEnvironment={variables}\\n' > {DROP_IN} && "
        "systemctl daemon-reload && systemctl restart redis"
    )
    scene.environment = _variables(str(ours))

    def set_all(seconds: int) -> None:
        for folder in (theirs, ours):
            (folder / "offset").write_text(f"{seconds:+}\n")

    def set_back() -> None:
        set_all(-HOUR_SECONDS)
        scene.page.evaluate(PAGE)
        theirs_now = int(scene.command("redis-admin TIME").split()[0])
        assert theirs_now < time.time() - HOUR_SECONDS / 2, "Redis has not seen it"

    try:
        scene.wait_until_well()
        yield set_back
    finally:
        set_all(0)
        scene.command(f"rm {DROP_IN} && systemctl daemon-reload && systemctl restart redis")
        subprocess.run(["rm", "-r", theirs], check=True)
