"""How a server's services are, as JSON. Run on the server, by its own Python, from standard input.

Whatever cannot be told there is left out.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

UNITS = ("redis", "sentinel", "webdis", "nginx")
# Where there are metrics. Nothing is said of one that runs.
METRICS = (
    *("webdis-metrics", "prometheus-node-exporter", "prometheus-redis-exporter"),
    *("prometheus-nginx-exporter", "prometheus"),
)
# "Unit failed with result": see `journalctl --catalog`.
FAILED = "d9b373ed55a64feb8242e02dbe79a49c"
PROPERTIES = "LoadState,ActiveState,UnitFileState,NRestarts,ActiveEnterTimestampMonotonic,MainPID"


def output(*command: str) -> str:
    """Return what a command prints; nothing if it fails."""
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def process(pid: int) -> dict[str, int]:
    """Return the memory of a process and, if it has a limit, that, in bytes.

    Args:
        pid: Of a process of this machine.
    """
    status = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    limits = Path(f"/proc/{pid}/limits").read_text().splitlines()
    (limit,) = (line.split()[3] for line in limits if line.startswith("Max data size"))
    # What LimitDATA counts.
    found = {"memory_bytes": int(status["VmData"].split()[0]) * 1024}
    return found | ({} if limit == "unlimited" else {"memory_limit_bytes": int(limit)})


def unit(name: str) -> dict[str, object]:
    """Return how a unit is; nothing if there is none, or nobody wants it."""
    shown = output("systemctl", "show", name, "--property", PROPERTIES)
    properties = dict(line.split("=", 1) for line in shown.splitlines())
    if properties.get("LoadState") != "loaded" or properties["UnitFileState"] == "disabled":
        return {}
    since = int(properties["ActiveEnterTimestampMonotonic"]) / 1e6
    pid = int(properties["MainPID"])
    return {
        "active": properties["ActiveState"] == "active",
        "since": time.time() - (time.monotonic() - since),
        "restarts": int(properties["NRestarts"]),
        **(process(pid) if pid else {}),
    }


def last_fault() -> dict[str, object] | None:
    """Return which unit failed last, how, and when; nothing if none has since the journal began."""
    matches = [f"UNIT={name}.service" for name in UNITS]
    newest = output("journalctl", "-q", "-r", "-n1", "-ojson", f"MESSAGE_ID={FAILED}", *matches)
    if not newest:
        return None
    entry = json.loads(newest)
    what = f"{entry['UNIT'].removesuffix('.service')}: {entry['UNIT_RESULT']}"
    return {"what": what, "at": int(entry["__REALTIME_TIMESTAMP"]) / 1e6}


def subscribers(port: str) -> int:
    """Return how many sockets are open to a port of this machine."""
    return len(output("ss", "-Htn", "state", "established", f"sport = :{port}").splitlines())


if __name__ == "__main__":
    disk = shutil.disk_usage("/var/lib")
    found = {
        "services": {name: state for name in UNITS if (state := unit(name))},
        "metrics_stopped": [name for name in METRICS if unit(name).get("active") is False],
        "last_fault": last_fault(),
        "subscribers": subscribers(sys.argv[1]),
        "disk_free_ratio": disk.free / disk.total,
    }
    print(json.dumps(found))
