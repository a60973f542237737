"""The slow function of lessons "post", "shared" and "own": it runs within its request."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from typing import TYPE_CHECKING

from flask import current_app, render_template
from werkzeug.exceptions import ServiceUnavailable

from demo_app import connections, ownership
from webdis_progress import Progress, position

if TYPE_CHECKING:
    from collections.abc import Iterator

STEPS = (
    "You have started a server side function",
    "Function running, please wait......",
    "Function still running, almost done.......",
)
# A function that runs within its request keeps a thread of the web server busy.
MOST_AT_ONCE = 8
_running = threading.BoundedSemaphore(MOST_AT_ONCE)


def page(channel: str) -> str:
    """Return the page with the Run button, which listens to a channel."""
    return render_template(
        "function/show.html",
        channel=channel,
        shared=channel == ownership.SHARED_CHANNEL,
        start=position(connections.publisher(), channel),
    )


def finished_page(channel: str) -> str:
    """Do the slow work; return the page that shows what it has said."""
    start = position(connections.publisher(), channel)
    run(channel)
    return render_template("function/finished.html", channel=channel, start=start)


def run(channel: str) -> None:
    """Do the slow work, and publish each step; see `slow_request` for what is raised."""
    with slow_request() as pause_seconds:
        progress = Progress(connections.publisher(), channel, durability=connections.durability())
        for step in STEPS:
            progress.message(step)
            time.sleep(pause_seconds)


@contextlib.contextmanager
def slow_request() -> Iterator[float]:
    """Leave threads of the web server to other requests; yield the pause between two steps.

    Raises:
        ServiceUnavailable: As many as may are at it already.
    """
    pause_seconds = float(current_app.config["PAUSE_SECONDS"])
    if not _running.acquire(blocking=False):
        raise ServiceUnavailable(
            f"The function runs for {MOST_AT_ONCE} others at the moment; try again soon.",
            retry_after=math.ceil(len(STEPS) * pause_seconds),
        )
    try:
        yield pause_seconds
    finally:
        _running.release()
