"""What a message costs: `Progress.message`, a bare PUBLISH, `emit` of Flask-SocketIO.

They are timed in turns, a batch of each, so that a busy machine slows all alike.
Prints the seconds a call and their ratio; fails if ours is above the limit.
"""

from __future__ import annotations

import secrets
import statistics
import sys
import time
from typing import TYPE_CHECKING
from urllib.parse import quote

from flask_socketio import SocketIO

from kit.checkout import read_instance
from kit.verify import publisher
from webdis_progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable

    import redis

BATCHES = 60
CALLS = 100  # in a batch
LIMIT = 1.5
BARE, OURS = "bare PUBLISH", "Progress.message"
TEXT = "Importing row 1234 of 99999"


def batch_seconds(call: Callable[[], object]) -> float:
    """Return the seconds that one call takes, on average over a batch."""
    start = time.perf_counter()
    for _ in range(CALLS):
        call()
    return (time.perf_counter() - start) / CALLS


def _url(connection: redis.Redis) -> str:
    """Return the URL that leads where the connection leads."""
    options = connection.get_connection_kwargs()
    scheme, query = "redis", ""
    if authority := options.get("ssl_ca_certs"):
        scheme, query = "rediss", f"?ssl_ca_certs={quote(authority)}"
    login = f"{options['username']}:{quote(options['password'])}"
    return f"{scheme}://{login}@{options['host']}:{options['port']}/0{query}"


def measure(connection: redis.Redis) -> dict[str, list[float]]:
    """Return the seconds a call, of each batch, by what is called.

    Args:
        connection: As the user ``publisher``.
    """
    channel = f"progress:{secrets.token_hex(16)}"
    progress = Progress(connection, channel, total=99_999)
    # Its queue is a channel that this user may publish on.
    emitter = SocketIO(message_queue=_url(connection), channel=f"{channel}:emit")
    calls: dict[str, Callable[[], object]] = {
        BARE: lambda: connection.publish(channel, TEXT),
        OURS: lambda: progress.message(TEXT),
        "Flask-SocketIO emit": lambda: emitter.emit("progress", TEXT, to=channel),
    }
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for batch in range(BATCHES + 1):
        for name, call in calls.items():
            taken = batch_seconds(call)
            if batch:  # the first one warms up
                seconds[name].append(taken)
    progress.done()
    return seconds


def ratio(seconds: dict[str, list[float]], name: str) -> float:
    """Return how much longer a call takes than a bare PUBLISH, by the batches of one turn."""
    pairs = zip(seconds[BARE], seconds[name], strict=True)
    return statistics.median(one / bare for bare, one in pairs)


def main() -> int:
    """Measure, print and return the exit code."""
    with publisher(read_instance()) as connection:
        seconds = measure(connection)
    for name, values in seconds.items():
        print(
            f"{name:20} {statistics.median(values) * 1e6:6.1f} us, {ratio(seconds, name):.2f} "
            f"times a bare PUBLISH, median of {BATCHES} batches"
        )
    print(f"{OURS}: at most {LIMIT} times is allowed")
    return int(ratio(seconds, OURS) > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
