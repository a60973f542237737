"""What messages and pages cost each node: ``python -m bench.growth``, after `make up NODES=3`.

Opens pages on each node, each of a run of its own, and publishes to one after the other, as fast as
one publisher can. Reads what processor time and memory the programs of each node took for it.
Prints one line of JSON.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import secrets
import sys
import time
from typing import TYPE_CHECKING, Any, cast

from websockets.asyncio.client import connect
from websockets.typing import Origin

from kit import verify
from kit.checkout import read_instance
from kit.ssh import ssh
from webdis_progress import Progress

if TYPE_CHECKING:
    from collections.abc import Iterator

    import redis

MESSAGES = 10_000
PAGES_OF_A_NODE = 200
DEADLINE_SECONDS = 240
TEXT = "Importing row 1234 of 99999"
UNITS = ("redis", "webdis")
# Of each unit the processor time of all its threads, in µs, and its memory, in KiB.
READ = (
    "pid=$(systemctl show -p MainPID --value {}); "
    "cat /proc/$pid/task/*/schedstat | awk '{{ sum += $1 }} END {{ print int(sum / 1000) }}'; "
    "awk '/^VmRSS/ {{ print $2 }}' /proc/$pid/status"
)


def used(node: dict[str, Any]) -> dict[str, tuple[int, int]]:
    """Return what a node's programs use: µs of processor time since they started, KiB of memory."""
    answer = ssh(node["name"], "; ".join(map(READ.format, UNITS)))
    answer.check_returncode()
    numbers = list(map(int, answer.stdout.split()))
    return dict(zip(UNITS, zip(numbers[::2], numbers[1::2], strict=True), strict=True))


def replication_bytes(primary: redis.Redis) -> int:
    """Return what a primary has sent each replica so far; it does not count without one."""
    return int(cast("dict[str, Any]", primary.info("replication"))["master_repl_offset"])


def shares(pages: int) -> Iterator[int]:
    """Yield how many of the messages each page gets."""
    whole, rest = divmod(MESSAGES, pages)
    yield from (whole + (page < rest) for page in range(pages))


async def listen(url: str, channel: str, messages: int, subscribed: asyncio.Barrier) -> None:
    """Be a page until its messages have come.

    Args:
        url: Of a Webdis.
        channel: What it subscribes to.
        messages: How many come.
        subscribed: Passed by all pages together, before and after their cost is read.
    """
    origin = Origin("http://127.0.0.1")
    async with connect(url, origin=origin, proxy=None, close_timeout=0.2) as page:
        await page.send(json.dumps(["SUBSCRIBE", channel]))
        await page.recv()
        await subscribed.wait()
        await subscribed.wait()
        for _ in range(messages):
            await page.recv()


async def measure(instance: dict[str, Any]) -> dict[str, Any]:
    """Open pages, publish, and return what it took."""
    nodes = instance["nodes"]
    urls = [node["webdis"] for node in nodes] * PAGES_OF_A_NODE
    channels = [f"progress:{secrets.token_hex(16)}" for _ in urls]
    subscribed = asyncio.Barrier(len(urls) + 1)
    primary = verify.primary(instance)

    def publish() -> float:
        runs = [
            Progress(
                primary, channel, durability="replicated" if instance["sentinels"] else "primary"
            )
            for channel in channels
        ]
        start = time.monotonic()
        for run in itertools.islice(itertools.cycle(runs), MESSAGES):
            run.message(TEXT)
        return time.monotonic() - start

    empty = [used(node) for node in nodes]
    async with asyncio.TaskGroup() as pages:
        for url, channel, messages in zip(urls, channels, shares(len(urls)), strict=True):
            pages.create_task(listen(url, channel, messages, subscribed))
        await subscribed.wait()
        before = [used(node) for node in nodes]
        offset = replication_bytes(primary)
        await subscribed.wait()
        seconds = await asyncio.to_thread(publish)
        replicated = replication_bytes(primary) - offset
    after = [used(node) for node in nodes]
    return {
        "nodes": len(nodes),
        "messages": MESSAGES,
        "pages_of_a_node": PAGES_OF_A_NODE,
        "messages_a_second": round(MESSAGES / seconds),
        "bytes_to_each_replica_a_message": round(replicated / MESSAGES),
        "kib_a_page": [
            {unit: round((open_[unit][1] - none[unit][1]) / PAGES_OF_A_NODE, 1) for unit in UNITS}
            for none, open_ in zip(empty, before, strict=True)
        ],
        "microseconds_a_message": [
            {unit: round((late[unit][0] - early[unit][0]) / MESSAGES, 1) for unit in UNITS}
            for early, late in zip(before, after, strict=True)
        ],
    }


def main() -> int:
    """Measure the running instance; return the exit code."""
    result = asyncio.run(asyncio.wait_for(measure(read_instance()), DEADLINE_SECONDS))
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
