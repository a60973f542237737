"""Nornir: one bar for each host, one step for each subtask.

flask --app with_nornir run
"""

import threading
import time

from app import create_app, redis
from nornir.core import Nornir
from nornir.core.inventory import Host, Hosts, Inventory
from nornir.core.task import Result, Task
from nornir.plugins.runners import ThreadedRunner

from webdis_progress import Progress
from webdis_progress.bridges.nornir import ProgressProcessor

# Yours comes from InitNornir(config_file=...); its tasks from nornir_netmiko, for example.
HOSTS = Hosts({name: Host(name) for name in ("core-1", "core-2", "edge-1", "edge-2")})
nornir = Nornir(inventory=Inventory(HOSTS), runner=ThreadedRunner(num_workers=2))


def read(task: Task) -> Result:
    """Read the configuration of a device."""
    time.sleep(0.5)
    if task.host.name == "edge-1":
        raise TimeoutError("no answer")
    return Result(task.host, result="hostname …")


def backup(task: Task) -> None:
    """Keep what a device is configured to do."""
    task.run(read, name="Read the configuration")
    task.run(read, name="Read it again: it must not change meanwhile")


def backup_all(channel: str) -> None:
    """Back up all devices; one that fails stops no other."""
    with Progress(redis, channel, count_tasks=True) as progress:
        watched = nornir.with_processors([ProgressProcessor(progress, steps=2)])
        results = watched.run(task=backup)
        progress.done(f"{len(results.failed_hosts)} of {len(results)} failed")


def start(channel: str) -> None:
    """Start the work and return at once."""
    threading.Thread(target=backup_all, args=[channel]).start()


app = create_app(start, "element.html")
