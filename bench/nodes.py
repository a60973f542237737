"""``make bench-nodes``: what a message costs each of three nodes, in processor time.

Every page has a channel of its own. The same pages are on one node, then spread over two, then over
all; a publisher sends to them in turn. On an instance made with ``NODES=3``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import statistics
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from websockets.asyncio.client import connect

from bench.documents import commit
from kit import verify
from kit.checkout import read_instance
from kit.ssh import ssh
from kit.websocket import as_page
from webdis_progress import Progress

RESULTS = Path(__file__).parent / "results/nodes.json"
PAGES = 90
MESSAGES_PER_SECOND = 200.0
SECONDS = 10.0
WARM_SECONDS = 1.0
LATE_SECONDS = 5.0  # for what is still on its way
PROGRAMS = ("redis", "webdis", "sentinel")
# Processor nanoseconds of each one's threads: the first word of schedstat (proc_schedstat(5)).
USED = f"""for unit in {" ".join(PROGRAMS)}; do
    cat /proc/$(systemctl show --property=MainPID --value $unit)/task/*/schedstat |
        awk -v unit=$unit '{{ sum += $1 }} END {{ print unit, sum }}'
done"""
TEXT = "Importing row 1234 of 99999"

Durability = Literal["primary", "replicated"]
Used = dict[str, dict[str, int]]  # nanoseconds, by node and program


def used(instance: dict[str, Any]) -> Used:
    """Return how much processor time the programs of each node have had."""
    found = {}
    for node in instance["nodes"]:
        lines = ssh(node["name"], USED).stdout.splitlines()
        found[node["name"]] = {unit: int(sum_) for unit, sum_ in map(str.split, lines)}
    return found


class Pages:
    """Open pages, and how many messages they have had.

    Args:
        instance: The content of ``.kit/instance.json``.
        on: The nodes whose Webdis they are connected to.
    """

    def __init__(self, instance: dict[str, Any], on: list[dict[str, Any]]) -> None:
        self.channels = [f"progress:{secrets.token_hex(16)}" for _ in range(PAGES)]
        self.received = 0
        self._more = asyncio.Event()
        self._urls = [on[number % len(on)]["webdis"] for number in range(PAGES)]
        self._options = as_page(instance)

    async def listen(self, channel: str, url: str, subscribed: asyncio.Event) -> None:
        """Count what one page is sent."""
        async with connect(url, **self._options) as page:
            await page.send(json.dumps(["SUBSCRIBE", channel]))
            await page.recv()
            subscribed.set()
            async for _ in page:
                self.received += 1
                self._more.set()

    async def had(self, count: int) -> None:
        """Wait until so many messages have come."""
        while self.received < count:
            self._more.clear()
            await self._more.wait()

    async def open(self, tasks: asyncio.TaskGroup) -> list[asyncio.Task[None]]:
        """Open all, and return what listens once all are subscribed."""
        ready = [asyncio.Event() for _ in self.channels]
        of_each = zip(self.channels, self._urls, ready, strict=True)
        listening = [tasks.create_task(self.listen(*each)) for each in of_each]
        for event in ready:
            await event.wait()
        return listening


def publish(progresses: list[Progress], seconds: float) -> int:
    """Publish to all channels in turn, at one rate; return how many messages."""
    count = int(seconds * MESSAGES_PER_SECOND)
    start = time.monotonic()
    for number in range(count):
        time.sleep(max(0.0, start + number / MESSAGES_PER_SECOND - time.monotonic()))
        progresses[number % len(progresses)].message(TEXT)
    return count


async def measure(instance: dict[str, Any], spread: int, durability: Durability) -> dict[str, Any]:
    """Return what a message costs each node.

    Args:
        instance: The content of ``.kit/instance.json``.
        spread: On how many nodes the pages are.
        durability: The publisher's.
    """
    pages = Pages(instance, instance["nodes"][:spread])
    with verify.primary(instance) as client:
        progresses = [Progress(client, name, durability=durability) for name in pages.channels]
        async with asyncio.TaskGroup() as tasks:
            listening = await pages.open(tasks)
            sent = await asyncio.to_thread(publish, progresses, WARM_SECONDS)
            before = used(instance)
            count = await asyncio.to_thread(publish, progresses, SECONDS)
            after = used(instance)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(pages.had(sent + count), LATE_SECONDS)
            for task in listening:
                task.cancel()
    primary = verify.primary_address(instance)
    return {
        "durability": durability,
        "spread": spread,
        "messages": count,
        "lost": sent + count - pages.received,
        "nodes": [
            {
                "name": node["name"],
                "primary": node["address"] == primary,
                "us": {
                    program: (after[node["name"]][program] - before[node["name"]][program])
                    / count
                    / 1000
                    for program in PROGRAMS
                },
            }
            for node in instance["nodes"]
        ],
    }


def row(one: dict[str, Any]) -> dict[str, Any]:
    """Return a line of the table: what a message costs, in microseconds of processor time."""
    replicas = [node["us"]["redis"] for node in one["nodes"] if not node["primary"]]
    webdis = [node["us"]["webdis"] for node in one["nodes"]]
    return {
        "durability": one["durability"],
        "spread": one["spread"],
        "primary": next(node["us"]["redis"] for node in one["nodes"] if node["primary"]),
        "replica": statistics.mean(replicas),
        "webdis": webdis,
        "sentinel": statistics.mean(node["us"]["sentinel"] for node in one["nodes"]),
        "messages": one["messages"],
        "lost": one["lost"],
    }


def main() -> int:
    """Measure, print, write what docs/benchmark.md shows; return the exit code."""
    instance = read_instance()
    if len(instance["nodes"]) == 1:
        print(
            "Error: this instance has one node: KIT_INSTANCE=nodes make up NODES=3, "
            "then KIT_INSTANCE=nodes make bench-nodes.",
            file=sys.stderr,
        )
        return 1
    load = os.getloadavg()[0]
    rows = []
    for durability in get_args(Durability):
        for spread in range(1, len(instance["nodes"]) + 1):
            one = row(asyncio.run(measure(instance, spread, durability)))
            rows.append(one)
            served = ", ".join(f"{us:.0f}" for us in one["webdis"])
            print(
                f"{durability:10} pages on {spread}: the primary's Redis {one['primary']:.0f} us "
                f"a message, a replica's {one['replica']:.0f}, Webdis {served}; "
                f"{one['lost']} lost of {one['messages']}"
            )
    at = datetime.now(UTC).isoformat(timespec="minutes")
    result = {"at": at, "commit": commit(), "load_before": load, "pages": PAGES}
    result |= {"rate": MESSAGES_PER_SECOND, "rows": rows}
    RESULTS.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return int(any(one["lost"] for one in rows))


if __name__ == "__main__":
    sys.exit(main())
