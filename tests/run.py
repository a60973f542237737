"""``python -m tests.run quick|rest|all``: the layers of tests, in lanes side by side.

``tests/layers.py`` says what runs where. Whatever fails, the rest runs, and one summary ends it.
Ctrl-C and SIGTERM end all that was started and remove each instance that the run has made.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from junitparser import JUnitXml, Skipped, TestCase, TestSuite

from kit import container
from kit.checkout import CACHE_DIR, INSTANCES_DIR, NAME, ROOT
from tests.layers import LANES, Lane, Layer, kit

if TYPE_CHECKING:
    from collections.abc import Iterator

REPORTS = ROOT / "test-results"
REPORT_SECONDS = 30.0  # between two lines that say what is running
# How long what was told to end may take, first to put back what it has changed.
END_SECONDS = ((signal.SIGINT, 90.0), (signal.SIGTERM, 10.0), (signal.SIGKILL, 10.0))
LINES_SHOWN = 15  # of the log of a command that failed and has no report
MESSAGE_WIDTH = 300
# In the environment of all that a run starts, so that what is left of it can be found.
MARK = "KIT_TEST_RUN"
CHOICES = {
    "quick": lambda layer: layer.quick,
    "rest": lambda layer: not layer.quick,
    "all": lambda _: True,
}


@dataclass
class Row:
    """What became of one layer.

    Attributes:
        name: Of the layer.
        log: Path of its output, relative to the checkout.
        passed: Tests that passed.
        failed: Tests that failed, or were not run because something before them failed.
        skipped: Tests that were skipped.
        seconds: How long it took.
        failures: A line for each failed test.
        skips: A line for each skipped test, with its reason.
    """

    name: str
    log: str
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0
    failures: list[str] = field(default_factory=list)
    skips: list[str] = field(default_factory=list)


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)


def cases(element: JUnitXml | TestSuite) -> Iterator[TestCase]:
    """Yield the tests of a report, in whichever suite of suites they are."""
    yield from element.iterchildren(TestCase)
    for suite in element.iterchildren(TestSuite):
        yield from cases(suite)


def read_report(row: Row, report: Path) -> None:
    """Count what a JUnit report holds."""
    for case in cases(JUnitXml.fromfile(str(report))):
        where = f"{case.classname or ''} {case.name}".strip()
        # A test may pass, and what cleans up after it fail: that is one that failed.
        troubles = [result for result in case.result if not isinstance(result, Skipped)]
        said = [str(one.message or one.text or "").strip() for one in troubles or case.result]
        # What a page showed instead stands in the lines after the first.
        told = " ".join(said[0].split())[:MESSAGE_WIDTH] if any(said) else ""
        line = f"{where}: {told}" if told else where
        if troubles:
            row.failed += 1
            row.failures.append(line)
        elif case.result:
            row.skipped += 1
            row.skips.append(line)
        else:
            row.passed += 1


def fill_in(row: Row, reports: Path | None, code: int) -> None:
    """Count what a command has done.

    Args:
        row: What is filled in.
        reports: Folder of the JUnit reports that it writes; None for a command that writes
            none and counts as one test.
        code: Its exit code.
    """
    if reports is None:
        row.passed = int(code == 0)
    else:
        for report in sorted(reports.glob("*.xml")):
            try:
                read_report(row, report)
            except SyntaxError as error:  # it was cut off
                row.failures.append(f"{report.relative_to(ROOT)}: {error}")
    if code and not row.failed:
        row.failed = 1
        row.failures.append(f"exit code {code}; the end of its log:")
        lines = (ROOT / row.log).read_text(encoding="utf-8", errors="replace").splitlines()
        row.failures += [f"    {line}" for line in lines[-LINES_SHOWN:]]
    if not code and not row.passed:
        row.failed += 1
        row.failures.append("no test was run")


async def end(process: asyncio.subprocess.Process) -> None:
    """End a command and what runs in its process group: first as Ctrl-C does."""
    for number, seconds in END_SECONDS:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), seconds)
            return


class Run:
    """One run of chosen layers.

    Args:
        folder: For logs and reports.
        choice: Which layers are run, a key of ``CHOICES``.
        lanes: Names of the lanes that are run.
        up: The kit's command that brings an instance up.
    """

    def __init__(self, folder: Path, choice: str, lanes: list[str], up: str) -> None:
        self._folder = folder
        self._up = up
        self._layers = [
            (lane, chosen)
            for lane in LANES
            if lane.name in lanes and (chosen := [*filter(CHOICES[choice], lane.layers)])
        ]
        self._mark = secrets.token_hex(8)
        self._running: dict[str, float] = {}  # since when, by name
        # Tests wait for much of their time, and those of `make test` for more of it: lanes more
        # than there are processors.
        self._spare = 2 if choice == "quick" else 1
        self._places = asyncio.Semaphore((os.cpu_count() or 1) + self._spare)
        self._containers = set(container.of_this_checkout())  # before it
        self._folders = set(INSTANCES_DIR.glob("*"))
        self.rows: dict[str, Row] = {}

    async def lanes(self) -> None:
        """Run all lanes side by side."""
        reporting = asyncio.create_task(self._report())
        try:
            async with asyncio.TaskGroup() as lanes:
                for lane, layers in self._layers:
                    lanes.create_task(self._lane(lane, layers))
        finally:
            reporting.cancel()

    async def _lane(self, lane: Lane, layers: list[Layer]) -> None:
        environment = dict(lane.environment)
        if lane.instance is not None:
            environment["KIT_INSTANCE"] = lane.instance
        async with self._places:
            if lane.up:
                up = Layer(f"make up ({lane.name})", kit(self._up))
                builds = lane.builds and not any((CACHE_DIR / "builds").glob("*.tar.gz"))
                async with contextlib.AsyncExitStack() as spare:
                    for _ in range(self._spare if builds else 0):
                        await spare.enter_async_context(self._places)
                    row = await self._layer(up, environment)
                if row.failed:
                    for layer in layers:
                        row = Row(layer.name, self.rows[up.name].log, failed=1)
                        row.failures.append("not run: there is no instance")
                        self.rows[layer.name] = row
                    layers = []
            for layer in layers:
                await self._layer(layer, environment | layer.environment)
            if lane.instance:  # the checkout's own stays as `make up` leaves it
                destroy = Layer(f"make destroy ({lane.name})", kit("destroy"))
                await self._layer(destroy, environment)

    async def _layer(self, layer: Layer, environment: dict[str, str]) -> Row:
        """Run one layer and return its row."""
        slug = re.sub(r"\W+", "-", layer.name.lower()).strip("-")
        log, reports = self._folder / f"{slug}.log", self._folder / slug
        row = self.rows[layer.name] = Row(layer.name, str(log.relative_to(ROOT)))
        command = [part.replace("{reports}", str(reports)) for part in layer.command]
        reporting = command != layer.command
        if reporting:
            reports.mkdir()
        start = self._running[layer.name] = time.monotonic()
        say(f"     {layer.name}")
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *command,
                cwd=ROOT,
                env=self._environment(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                code = await process.wait()
            except asyncio.CancelledError:
                await end(process)
                row.failed, row.failures = 1, ["it was interrupted"]
                raise
            finally:
                del self._running[layer.name]
                row.seconds = time.monotonic() - start
        fill_in(row, reports if reporting else None, code)
        state = "FAIL" if row.failed else "ok  "
        say(f"{state} {layer.name}: {counts([row])} in {row.seconds:.0f} s")
        return row

    def _environment(self, more: dict[str, str]) -> dict[str, str]:
        # A `make` that is told of another above it speaks of folders. Where images of containers
        # forbid to keep what is compiled, each of hundreds of programs compiles its libraries.
        without = {"MAKEFLAGS", "MFLAGS", "MAKELEVEL", "PYTHONDONTWRITEBYTECODE"}
        own = {name: value for name, value in os.environ.items() if name not in without}
        path = f"{ROOT / '.venv/bin'}:{os.environ['PATH']}"  # Node.js is there
        return own | {"PATH": path, MARK: self._mark} | more

    async def _report(self) -> None:
        """Say every now and then what is running."""
        while True:
            await asyncio.sleep(REPORT_SECONDS)
            now = time.monotonic()
            names = (f"{name} ({now - since:.0f} s)" for name, since in self._running.items())
            say(f"... {', '.join(names)}")

    def clean_up(self) -> None:
        """After an interruption: end what is left, and remove the instances that were made."""
        containers = set(container.of_this_checkout())
        # The processes first: one of them could make another instance. What runs a container
        # ends with it.
        for pid in self._processes() - {
            container.pid(node) for name in containers for node in container.node_names(name)
        }:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for folder in set(INSTANCES_DIR.glob("*")) - self._folders:
            environment = self._environment({"KIT_INSTANCE": folder.name})
            subprocess.run(kit("destroy"), cwd=ROOT, env=environment, check=False)
        made = set(container.of_this_checkout()) - self._containers
        if NAME in made:
            subprocess.run(kit("destroy"), cwd=ROOT, check=False)
        for name in made - {NAME}:  # of a scenario, or without its folder
            container.destroy(name)

    def _processes(self) -> set[int]:
        """Return the ids of the processes that carry this run's mark."""
        found = set()
        for file in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):  # it has ended
                if f"{MARK}={self._mark}".encode() in file.read_bytes().split(b"\0"):
                    found.add(int(file.parent.name))
        return found


def processor_seconds() -> tuple[float, float]:
    """Return what all processors of this host have been idle, and in all, since it started.

    The first line of /proc/stat; waiting for a disk is idle, too (proc_stat(5)).
    """
    first = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0]
    ticks = [int(word) for word in first.split()[1:9]]  # guests are counted in user already
    return ticks[3] + ticks[4], sum(ticks)


def counts(rows: list[Row]) -> str:
    """Return the sums of rows, the way test runners say it."""
    return ", ".join(
        f"{sum(getattr(row, kind) for row in rows)} {kind}"
        for kind in ("passed", "failed", "skipped")
    )


def summary(rows: list[Row]) -> str:
    """Return a table of the rows, and below it what failed and what was skipped."""
    width = max(len(row.name) for row in rows)
    lines = [f"{'layer':{width}}  passed  failed  skipped  seconds  log"]
    lines += [
        f"{row.name:{width}}  {row.passed:6}  {row.failed:6}  {row.skipped:7}  "
        f"{row.seconds:7.0f}  {row.log}"
        for row in rows
    ]
    for title, kind in (("Failed", "failures"), ("Skipped", "skips")):
        for row in rows:
            if told := getattr(row, kind):
                lines += ["", f"{title}, {row.name}:", *(f"  {line}" for line in told)]
    return "\n".join(lines)


async def run_lanes(run: Run) -> int:
    """Run all lanes; return the number of the signal that ended it, or 0."""
    ended_by = []
    lanes = asyncio.create_task(run.lanes())

    def interrupt(number: int) -> None:
        if not ended_by:
            say("Ending what runs; the instances that this run has made are removed.")
            lanes.cancel()
        ended_by.append(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, interrupt, number)
    with contextlib.suppress(asyncio.CancelledError):
        await lanes
    return ended_by[0] if ended_by else 0


def main() -> int:
    """Run the chosen layers; return the exit code."""
    parser = argparse.ArgumentParser(prog="tests.run", description=__doc__)
    parser.add_argument("choice", choices=CHOICES)
    parser.add_argument("--add", choices=CHOICES, help="count the last run of these, too")
    names = [lane.name for lane in LANES]
    parser.add_argument("--lanes", choices=names, nargs="+", default=names, help="only these")
    arguments = parser.parse_args()
    folder = REPORTS / arguments.choice
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    start, (idle, in_all) = time.monotonic(), processor_seconds()
    # The checkout's own instance is as the run before has left it.
    up = "ensure" if arguments.add else "up"
    run = Run(folder, arguments.choice, arguments.lanes, up)
    ended_by = asyncio.run(run_lanes(run))
    if ended_by:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        run.clean_up()
    rows = list(run.rows.values())
    (folder / "rows.json").write_text(json.dumps([asdict(row) for row in rows]))
    share = [now - before for now, before in zip(processor_seconds(), (idle, in_all), strict=True)]
    say(
        f"\n{summary(rows)}\n\n{time.monotonic() - start:.0f} s, "
        f"processors idle {share[0] / share[1]:.0%} of it"
    )
    if arguments.add:
        before = json.loads((REPORTS / arguments.add / "rows.json").read_text())
        rows += [Row(**row) for row in before]
    say(counts(rows))
    return 128 + ended_by if ended_by else int(any(row.failed for row in rows))


if __name__ == "__main__":
    sys.exit(main())
