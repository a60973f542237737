"""What a message costs each node: ``python -m bench.growth``, after `make up` with one or several.

Publishes messages of one channel while some pages on each node listen, and reads how much
processor time Redis and Webdis of each node needed. Prints one line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
import time
from typing import TYPE_CHECKING, Any, cast

from websockets.asyncio.client import connect
from websockets.typing import Origin

from kit import verify
from kit.checkout import read_instance
from kit.instance import ssh
from webdis_progress import Progress

if TYPE_CHECKING:
    import redis

MESSAGES = 10_000
PAGES_OF_A_NODE = 10
DEADLINE_SECONDS = 120
TEXT = "Importing row 1234 of 99999"
UNITS = ("redis", "webdis")


def used_microseconds(node: dict[str, Any]) -> dict[str, int]:
    """Return the processor time of a node's programs since they started, all their threads'."""
    script = "; ".join(
        f"pid=$(systemctl show -p MainPID --value {unit}); cat /proc/$pid/task/*/schedstat | "
        "awk '{ sum += $1 } END { print int(sum / 1000) }'"
        for unit in UNITS
    )
    answer = ssh(node["name"], script)
    answer.check_returncode()
    return dict(zip(UNITS, map(int, answer.stdout.split()), strict=True))


def replication_bytes(primary: redis.Redis) -> int:
    """Return what a primary has sent each replica so far; it does not count without one."""
    return int(cast("dict[str, Any]", primary.info("replication"))["master_repl_offset"])


async def listen(url: str, channel: str, subscribed: asyncio.Barrier) -> None:
    """Be a page until all messages have come."""
    origin = Origin("http://127.0.0.1")
    async with connect(url, origin=origin, proxy=None, close_timeout=0.2) as page:
        await page.send(json.dumps(["SUBSCRIBE", channel]))
        await page.recv()
        await subscribed.wait()
        for _ in range(MESSAGES):
            await page.recv()


async def measure(instance: dict[str, Any]) -> dict[str, Any]:
    """Publish, and return what it took."""
    channel = f"progress:{secrets.token_hex(16)}"
    nodes = instance["nodes"]
    subscribed = asyncio.Barrier(PAGES_OF_A_NODE * len(nodes) + 1)
    primary = verify.primary(instance)
    progress = Progress(
        primary, channel, durability="replicated" if instance["sentinels"] else "primary"
    )

    def publish() -> float:
        start = time.monotonic()
        for _ in range(MESSAGES):
            progress.message(TEXT)
        return time.monotonic() - start

    async with asyncio.TaskGroup() as pages:
        for node in nodes:
            for _ in range(PAGES_OF_A_NODE):
                pages.create_task(listen(node["webdis"], channel, subscribed))
        await subscribed.wait()
        before = [used_microseconds(node) for node in nodes]
        offset = replication_bytes(primary)
        seconds = await asyncio.to_thread(publish)
        replicated = replication_bytes(primary) - offset
    after = [used_microseconds(node) for node in nodes]
    return {
        "nodes": len(nodes),
        "messages": MESSAGES,
        "pages_of_a_node": PAGES_OF_A_NODE,
        "messages_a_second": round(MESSAGES / seconds),
        "bytes_to_each_replica_a_message": round(replicated / MESSAGES),
        "microseconds_a_message": [
            {unit: round((late[unit] - early[unit]) / MESSAGES, 1) for unit in UNITS}
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
