"""``python -m bench.devices``: how long a check of the lab takes, and what reporting it costs.

Each repeat does every case, in another order, so that what else the machine does falls on all.
Writes the table into docs/devices.md, between its two marks.
"""

from __future__ import annotations

import functools
import random
import resource
import secrets
import statistics
import sys
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from demo_app.devices import inventory, jobs
from demo_app.devices.report import Reporter
from demo_app.devices.runner import Run, Settings
from kit.checkout import KIT_DIR, ROOT, read_instance
from kit.verify import publisher
from webdis_progress import Progress

if TYPE_CHECKING:
    from demo_app.devices.runner import Row

WORKERS = (1, 4, 8, 16)
COMPARED = 8  # workers, as the demo has them
REPEATS = 7
DOCUMENT = ROOT / "docs" / "devices.md"
MARKS = ("<!-- Made by `make bench-devices` -->", "<!-- End of what it made -->")


class Cost(NamedTuple):
    """What one run took, in seconds."""

    wall: float
    processor: float


def check(config: dict[str, Any], workers: int, *, reported: bool) -> Cost:
    """Check every device of the lab once; return what that took."""
    devices = list(inventory.devices(config).values())
    settings = Settings(inventory.login(config), workers=workers, logins_per_second=1000.0)
    work = functools.partial(jobs.check, version=config["INSTANCE"]["lab"]["version"])
    with publisher(config["INSTANCE"]) as redis:
        progress = Progress(redis, f"progress:{secrets.token_hex(16)}")
        before, began = _processor_seconds(), time.monotonic()
        if reported:
            progress.started()
            rows = Run(devices, work, settings).start(Reporter(progress))
            progress.done()
        else:
            rows = Run(devices, work, settings).start()
        cost = Cost(time.monotonic() - began, _processor_seconds() - before)
    _all_well(rows)
    return cost


def _all_well(rows: list[Row]) -> None:
    wrong = [f"{row.device}: {row.text}" for row in rows if row.state != "ok"]
    if wrong:
        sys.exit(f"A figure of a lab that is not well would say nothing: {'; '.join(wrong)}.")


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def table(costs: dict[tuple[int, bool], list[Cost]], devices: int) -> str:
    """Return what was measured, as Markdown."""
    lines = [
        f"{devices} devices, check, median of {REPEATS} runs on two cores that the lab shares:",
        "",
        "| Workers | Seconds | Processor seconds |",
        "|---|---|---|",
    ]
    for workers in WORKERS:
        wall, processor = _medians(costs[workers, True])
        lines.append(f"| {workers} | {wall:.1f} | {processor:.1f} |")
    with_it, without = _medians(costs[COMPARED, True]), _medians(costs[COMPARED, False])
    lines.append("")
    lines.append(
        f"Against the same run that reports nothing, with {COMPARED} workers: "
        f"{_percent(with_it[0], without[0])} seconds, "
        f"{_percent(with_it[1], without[1])} processor seconds."
    )
    return "\n".join(lines)


def _medians(costs: list[Cost]) -> tuple[float, float]:
    walls, processors = zip(*costs, strict=True)
    return statistics.median(walls), statistics.median(processors)


def _percent(value: float, base: float) -> str:
    return f"{100 * (value / base - 1):+.1f} %"


def main() -> None:
    """Measure, print and write the table."""
    config = {"INSTANCE": read_instance(), "KIT_DIR": str(KIT_DIR)}
    devices = len(inventory.devices(config))
    if not devices:
        sys.exit("This instance has no lab of routers; `make up LAB=20` adds one.")
    cases = [*((workers, True) for workers in WORKERS), (COMPARED, False)]
    costs: dict[tuple[int, bool], list[Cost]] = {case: [] for case in cases}
    check(config, COMPARED, reported=True)  # imports, and connections to Redis
    for _ in range(REPEATS):
        for workers, reported in random.sample(cases, len(cases)):
            costs[workers, reported].append(check(config, workers, reported=reported))
    made = table(costs, devices)
    print(made)
    _write(made)


def _write(made: str) -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    before, _, rest = text.partition(MARKS[0])
    _, _, after = rest.partition(MARKS[1])
    DOCUMENT.write_text(f"{before}{MARKS[0]}\n\n{made}\n\n{MARKS[1]}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
