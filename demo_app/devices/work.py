"""A run of the lesson "devices", as the worker does it."""

from __future__ import annotations

import functools
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demo_app.devices import inventory, jobs
from demo_app.devices.backups import Backups
from demo_app.devices.playbook import Playbook
from demo_app.devices.report import Reporter
from demo_app.devices.runner import Row, Run, Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from webdis_progress import Progress

CANCEL_POLL_SECONDS = 0.3
# Failures first: what wants a person's eyes.
ORDER = ("failed", "drift", "cancelled", "ok")


def visit(  # noqa: PLR0913  # a run is all of these
    progress: Progress,
    config: Mapping[str, Any],
    *,
    job: str,
    names: list[str],
    change: str,
    kept: list[dict[str, Any]],
    leave: Callable[[list[dict[str, Any]]], None],
) -> list[Row]:
    """Do a job on devices, and end the run as it came out.

    Args:
        progress: Of the run.
        config: Of the application.
        job: ``check``, ``playbook`` (the same, over Ansible), ``backup``, ``preview`` or ``apply``.
        names: Of the devices, as the inventory has them.
        change: Name of the change, for the last two.
        kept: Rows of an earlier run that stay as they are.
        leave: Is given the rows so far, whenever there is one more.

    Returns:
        The rows, failures first.
    """
    known = inventory.devices(config)
    rows = [Row(**row) for row in kept]
    progress.total = len(names)
    progress.current = 0

    def finished(row: Row) -> None:
        rows.append(row)
        leave([one.as_dict() for one in in_order(rows)])

    settings = Settings(
        login=inventory.login(config),
        workers=int(config["DEVICES_WORKERS"]),
        logins_per_second=float(config["DEVICES_LOGINS_PER_SECOND"]),
        connect_seconds=float(config["DEVICES_CONNECT_SECONDS"]),
    )
    devices = [known[name] for name in names]
    if job == "playbook":
        playbook = Playbook(devices, config, progress, finished)
        with _cancelled_on_request(progress, playbook.cancel):
            playbook.start()
    else:
        run = Run(devices, _work(config, job, change), settings, finished)
        with _cancelled_on_request(progress, run.cancel):
            run.start(Reporter(progress), name=job)
    verdict = say(rows)
    if any(row.state == "cancelled" for row in rows):
        progress.cancelled(f"Cancelled. {verdict}")
    elif any(row.state == "failed" for row in rows):
        progress.failed(verdict)
    else:
        progress.done(verdict)
    return in_order(rows)


def in_order(rows: list[Row]) -> list[Row]:
    """Return rows, failures first, and as people count devices: r2 before r10."""
    return sorted(
        rows, key=lambda row: (ORDER.index(row.state), not row.slow, len(row.device), row.device)
    )


def say(rows: list[Row]) -> str:
    """Return what became of all devices, in a sentence."""
    well = sum(row.state == "ok" for row in rows)
    parts = [f"{well} of {len(rows)} are well"]
    for row in in_order(rows):
        if row.state != "ok":
            parts.append(f"{row.device} {row.state}: {row.text}")
        elif row.slow:
            parts.append(f"{row.device} is slow: {row.seconds:.0f} s")
    return "; ".join(parts)


def _work(config: Mapping[str, Any], job: str, change: str) -> Callable[..., jobs.Outcome]:
    lab = config["INSTANCE"]["lab"]
    if job == "check":
        return functools.partial(jobs.check, version=lab["version"])
    if job == "backup":
        store = Backups(Path(str(config["KIT_DIR"])) / "backups")
        return functools.partial(jobs.back_up, store=store)
    if job == "preview":
        return functools.partial(jobs.preview, change=change)
    return functools.partial(jobs.apply, change=change, version=lab["version"])


@contextmanager
def _cancelled_on_request(progress: Progress, cancel: Callable[[], None]) -> Iterator[None]:
    """Call `cancel` as soon as somebody asks for it, or as this process has to stop."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(CANCEL_POLL_SECONDS):
            if progress.cancel_requested():
                cancel()
                return

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    except BaseException:
        cancel()
        raise
    finally:
        ended.set()
        watcher.join()
