"""How the programs of ``PROVIDER=local`` are: what `kit.server_status` says of a server's."""

from __future__ import annotations

import re
import shutil
import subprocess
from datetime import datetime
from typing import Any

from kit.checkout import LOG_DIR
from kit.local.configuration import LOCAL_DIR
from kit.local.provider import PROC
from kit.server_status import process, subscribers

PROGRAMS = ("redis", "webdis")
# What supervisord writes: "2026-11-27 08:41:47,338 WARN exited: webdis (terminated by SIGKILL; …)".
_ENTRY = re.compile(r"^(?P<time>\S+ [0-9:]+),\d+ \w+ (?P<what>.*)$", re.MULTILINE)
_ENDED = re.compile(r"exited: (?P<name>\w+) \((?P<how>[^;]*)")


def read(port: int) -> dict[str, Any]:
    """Return what can be told here.

    Args:
        port: Webdis's.
    """
    services: dict[str, dict[str, Any]] = {name: {"restarts": 0} for name in PROGRAMS}
    last_fault = None
    for entry in _ENTRY.finditer((LOG_DIR / "supervisord.log").read_text(encoding="utf-8")):
        if entry["what"].startswith("supervisord started"):
            services = {name: {"restarts": 0} for name in PROGRAMS}
        elif (ended := _ENDED.match(entry["what"])) and ended["name"] in services:
            services[ended["name"]]["restarts"] += 1
            at = datetime.fromisoformat(entry["time"]).timestamp()
            last_fault = {"what": f"{ended['name']}: {ended['how']}", "at": at}
    for name, service in services.items():
        service |= _process(name)  # noqa: PLW2901  # in place
    disk = shutil.disk_usage(LOCAL_DIR)
    found = {
        "services": services,
        "last_fault": last_fault,
        "disk_free_ratio": disk.free / disk.total,
    }
    return found | ({"subscribers": subscribers(str(port))} if shutil.which("ss") else {})


def _process(name: str) -> dict[str, Any]:
    try:
        pid = (LOCAL_DIR / f"{name}.pid").read_text(encoding="ascii").strip()
    except OSError:
        return {"active": False}
    # The same on macOS.
    ps = ["ps", "-o", "rss=,lstart=", "-p", pid]
    answer = subprocess.run(
        ps, capture_output=True, text=True, check=False, env={"LC_ALL": "C"}
    ).stdout.split(maxsplit=1)
    if not answer:
        return {"active": False}
    since = datetime.strptime(answer[1].strip(), "%a %b %d %H:%M:%S %Y")  # noqa: DTZ007  # ps has none
    memory = {"memory_bytes": int(answer[0]) * 1024}
    if PROC.exists():
        memory = process(int(pid))
    return {"active": True, "since": since.timestamp(), **memory}
