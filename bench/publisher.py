"""What a message costs: `Progress.message` against a bare PUBLISH, on one connection.

Both are timed in turns, a batch of each, so that a busy machine slows both alike.
Prints the seconds a call and their ratio; fails if the ratio is above the limit.
"""

from __future__ import annotations

import secrets
import statistics
import sys
import time
from typing import TYPE_CHECKING

from demo_app.progress import Progress
from kit.checkout import read_instance
from kit.verify import publisher

if TYPE_CHECKING:
    from collections.abc import Callable

BATCHES = 60
CALLS = 100  # in a batch
LIMIT = 1.5
TEXT = "Importing row 1234 of 99999"


def batch_seconds(call: Callable[[], object]) -> float:
    """Return the seconds that one call takes, on average over a batch."""
    start = time.perf_counter()
    for _ in range(CALLS):
        call()
    return (time.perf_counter() - start) / CALLS


def main() -> int:
    """Measure, print and return the exit code."""
    channel = f"progress:{secrets.token_hex(16)}"
    with publisher(read_instance()) as connection:
        progress = Progress(connection, channel, total=99_999)
        calls = {
            "bare PUBLISH": lambda: connection.publish(channel, TEXT),
            "Progress.message": lambda: progress.message(TEXT),
        }
        seconds: dict[str, list[float]] = {name: [] for name in calls}
        for batch in range(BATCHES + 1):
            for name, call in calls.items():
                taken = batch_seconds(call)
                if batch:  # the first one warms up
                    seconds[name].append(taken)
        progress.done()
    for name, values in seconds.items():
        print(f"{name:18} {statistics.median(values) * 1e6:6.1f} us, median of {BATCHES} batches")
    pairs = zip(*seconds.values(), strict=True)
    ratio = statistics.median(ours / bare for bare, ours in pairs)
    print(f"ratio              {ratio:6.2f}, at most {LIMIT} is allowed")
    return int(ratio > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
