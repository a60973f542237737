"""Threads: one bar for each device, eight devices at a time.

flask --app with_threads run
"""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

from app import create_app, redis

from webdis_progress import Progress

STEPS = ("Connecting", "Reading the configuration", "Comparing", "Closing")
DEVICES = [f"edge-{number}" for number in range(1, 21)]


def check(progress: Progress, device: str) -> None:
    """Do the slow work on one device."""
    with progress.task(device) as task:  # ends by itself: done, or failed with what was raised
        for step in task.track(STEPS, lambda step: step):
            if (device, step) == ("edge-7", "Comparing"):
                raise ValueError(f"{device} has another configuration")
            time.sleep(0.1)


def check_all(channel: str) -> None:
    """Check all devices; one that fails stops no other."""
    with Progress(redis, channel, count_tasks=True) as progress:
        with ThreadPoolExecutor(8) as pool:
            checks = [pool.submit(check, progress, device) for device in DEVICES]
        failed = sum(one.exception() is not None for one in checks)
        progress.done(f"{len(DEVICES) - failed} as they should be, {failed} not")


def start(channel: str) -> None:
    """Start the work and return at once."""
    threading.Thread(target=check_all, args=[channel]).start()


app = create_app(start, "element.html")
