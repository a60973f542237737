"""Publishes a numbered message every 20 ms until its input is closed or the channel has ended.

``python -m tests.faults.publisher CHANNEL FIRST`` prints a line for each message: its number,
the time at which Redis had taken it, and ``taken`` or the error with which it was given up.
"""

from __future__ import annotations

import select
import sys
import time

from demo_app import connections, create_app
from webdis_progress import EndedError, NotSentError, Progress

INTERVAL_SECONDS = 0.02
MOST_MESSAGES = 100_000  # an end, should nobody close the input
# What the clock said at the start: one of the faults turns it back.
CLOCK_SECONDS = time.time() - time.monotonic()


def main() -> None:
    app = create_app()
    with app.app_context():
        progress = Progress(
            connections.publisher(), sys.argv[1], durability=connections.durability()
        )
        for number in range(int(sys.argv[2]), MOST_MESSAGES):
            due = time.monotonic() + INTERVAL_SECONDS
            try:
                progress.message(str(number))
                outcome = "taken"
            except EndedError:
                return
            except NotSentError as error:
                outcome = f"{type(error).__name__} {error}".replace("\n", " ")
            print(number, CLOCK_SECONDS + time.monotonic(), outcome, flush=True)
            pause_seconds = max(0.0, due - time.monotonic())
            if select.select([sys.stdin], [], [], pause_seconds)[0]:
                return


if __name__ == "__main__":
    main()
