"""What a message costs: `Progress.message`, a bare PUBLISH, `emit` of Flask-SocketIO.

They are timed in turns, a batch of each, so that a busy machine slows all alike; and what
counts is processor time, the client's and Redis's, which other work hardly changes. Prints both
and the ratio to a bare PUBLISH; fails if ours is above the limit.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast
from urllib.parse import quote

from flask_socketio import SocketIO

from demo_app import metrics
from kit.checkout import read_instance
from kit.verify import publisher
from webdis_progress import Observer, Progress, set_observer

if TYPE_CHECKING:
    from collections.abc import Callable

    import redis

RESULTS = Path(__file__).parent / "results/publisher.json"
BATCHES = 40
CALLS = 300  # in a batch
IN_ONE_CALL = 10
BARE, OURS, TASK, TEN = "bare PUBLISH", "Progress.message", "task.message", "ten in a batch, each"
COUNTED = "Progress.message, counted"  # by the demo's metrics
FLOOR = "XADD, PUBLISH in a script"  # keeps a message, and neither numbers it nor knows a retry
# Processor time a message, in bare PUBLISHes: 1.62 to 1.78, 1.65 to 1.85 and 0.40 to 0.48 were
# measured, the highest at a load of 15 on two cores.
LIMITS = {OURS: 1.9, TASK: 1.9, TEN: 0.5}
APPEND = """
redis.call('XADD', KEYS[1], 'MAXLEN', '~', 10000, '*', 'message', ARGV[2])
return redis.call('PUBLISH', ARGV[1], ARGV[2])
"""
TEXT = "Importing row 1234 of 99999"


class Cost(NamedTuple):
    """Of one message, on average over a batch.

    Attributes:
        seconds: That a caller waits.
        cpu: Processor seconds, the client's and Redis's.
    """

    seconds: float
    cpu: float


def _cpu_seconds(connection: redis.Redis) -> float:
    used = cast("dict[str, float]", connection.info("cpu"))
    return time.process_time() + used["used_cpu_sys"] + used["used_cpu_user"]


def batch_cost(connection: redis.Redis, call: Callable[[], object], messages: int) -> Cost:
    """Return what a message costs.

    Args:
        connection: To the Redis that the call goes to.
        call: What publishes.
        messages: How many one call publishes.
    """
    cpu = _cpu_seconds(connection)
    start = time.perf_counter()
    for _ in range(CALLS // messages):
        call()
    seconds = time.perf_counter() - start
    return Cost(seconds / CALLS, (_cpu_seconds(connection) - cpu) / CALLS)


def _url(connection: redis.Redis) -> str:
    """Return the URL that leads where the connection leads."""
    options = connection.get_connection_kwargs()
    scheme, query = "redis", ""
    if authority := options.get("ssl_ca_certs"):
        scheme, query = "rediss", f"?ssl_ca_certs={quote(authority)}"
    login = f"{options['username']}:{quote(options['password'])}"
    return f"{scheme}://{login}@{options['host']}:{options['port']}/0{query}"


def measure(connection: redis.Redis) -> dict[str, list[Cost]]:
    """Return the costs of a message, of each batch, by what is called.

    Args:
        connection: As the user ``publisher``.
    """
    channel = f"progress:{secrets.token_hex(16)}"
    progress = Progress(connection, channel, total=99_999)
    task = progress.task("core-1", total=4)
    # Its queue is a channel that this user may publish on.
    emitter = SocketIO(message_queue=_url(connection), channel=f"{channel}:emit")

    def ten() -> None:
        with progress.batch():
            for _ in range(IN_ONE_CALL):
                progress.message(TEXT)

    event = TEXT * 6  # as long as an event's JSON
    floor_key = f"progress:{secrets.token_hex(16)}:events"
    connection.eval(APPEND, 1, floor_key, channel, event)
    digest = hashlib.sha1(APPEND.encode(), usedforsecurity=False).hexdigest()
    calls: dict[str, tuple[Callable[[], object], int]] = {
        BARE: (lambda: connection.publish(channel, TEXT), 1),
        FLOOR: (lambda: connection.evalsha(digest, 1, floor_key, channel, event), 1),
        OURS: (lambda: progress.message(TEXT), 1),
        COUNTED: (lambda: progress.message(TEXT), 1),
        TASK: (lambda: task.message(TEXT), 1),
        TEN: (ten, IN_ONE_CALL),
        "Flask-SocketIO emit": (lambda: emitter.emit("progress", TEXT, to=channel), 1),
    }
    costs: dict[str, list[Cost]] = {name: [] for name in calls}
    for batch in range(BATCHES + 1):
        for name, (call, messages) in calls.items():
            metrics.observe() if name == COUNTED else set_observer(Observer())
            cost = batch_cost(connection, call, messages)
            if batch:  # the first one warms up
                costs[name].append(cost)
    progress.done()
    connection.delete(floor_key)
    return costs


def ratios(costs: dict[str, list[Cost]], name: str, to: str = BARE) -> Cost:
    """Return how much more a message costs than another way, by the batches of one turn."""
    pairs = list(zip(costs[to], costs[name], strict=True))
    return Cost(
        statistics.median(one.seconds / bare.seconds for bare, one in pairs),
        statistics.median(one.cpu / bare.cpu for bare, one in pairs),
    )


def main() -> int:
    """Measure, print, write what docs/benchmark.md shows; return the exit code."""
    load = os.getloadavg()[0]
    with (
        publisher(read_instance()) as connection,
        tempfile.TemporaryDirectory() as os.environ[metrics.FOLDER],
    ):
        costs = measure(connection)
    print(f"{'a message, median of ' + str(BATCHES):24} {'waits':>17} {'processor':>18}")
    rows = {}
    for name, values in costs.items():
        ratio = ratios(costs, name)
        seconds, cpu = (statistics.median(each) * 1e6 for each in zip(*values, strict=True))
        limit = f"  (at most {LIMITS[name]})" if name in LIMITS else ""
        print(
            f"{name:24} {seconds:8.1f} us {ratio.seconds:.2f}x "
            f"{cpu:9.1f} us {ratio.cpu:.2f}x{limit}"
        )
        rows[name] = {"us": seconds, "ratio": ratio.seconds, "cpu_us": cpu, "cpu_ratio": ratio.cpu}
    counted = ratios(costs, COUNTED, OURS)
    print(f"Counting a message takes {counted.cpu - 1:+.1%} of what it costs.")
    at = datetime.now(UTC).isoformat(timespec="seconds")
    result = {"at": at, "load_before": load, "rows": rows}
    RESULTS.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return int(any(ratios(costs, name).cpu > limit for name, limit in LIMITS.items()))


if __name__ == "__main__":
    sys.exit(main())
