"""What the worker does: each function is one kind of job, and reports its progress."""

from __future__ import annotations

import contextlib
import functools
import importlib
import time
from typing import TYPE_CHECKING, Any

from flask import current_app
from rq.exceptions import AbandonedJobError
from rq.timeouts import JobTimeoutException

from demo_app import connections, metrics, ownership
from demo_app.devices import inventory
from demo_app.jobs import ports, queue
from webdis_progress import EndedError, Progress, ProgressError

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis import Redis
    from rq.job import Job

BROKEN = "It failed because of an error in its program. The log has the details."
LOST = "It failed because its worker was stopped. Start it again."
# Of the start page's run.
SAMPLE_STEPS = {"core-1": 14, "edge-1": 12, "edge-2": 10}
UNREPORTED = "Redis was away for too long: how it ended is not known. The log has what there is."


def _reported(work: Callable[..., None]) -> Callable[..., None]:
    """Return ``work`` as a job: its run is reported from started to its end.

    Args:
        work: Takes the run's `Progress`, and what else the job has; the job itself takes
            the run's token in place of the `Progress`. When it fails, people are told why.
    """
    metrics.kinds.append(work.__name__)

    @functools.wraps(work)
    def job(token: str, **options: object) -> None:
        progress = Progress(
            connections.publisher(),
            ownership.channel_of(token),
            durability=connections.durability(),
        )
        # Ended already: it was cancelled while it waited, and there is nothing to do.
        with contextlib.suppress(EndedError), metrics.of_job(queue.own_job(), progress), progress:
            progress.raise_if_cancelled()
            try:
                work(progress, **options)
            except JobTimeoutException:
                progress.failed("It failed because it took longer than it may.")
                raise
            except ProgressError:
                raise
            except Exception:
                progress.failed(BROKEN)
                raise
        # The work outlives its reporting, but the page waits for an end.
        if progress.unsent:
            raise ProgressError(UNREPORTED)

    return job


@_reported
def count(progress: Progress, steps: int, ending: str) -> None:
    """Take ``steps`` steps, and do what a job does: succeed, fail, or take too long.

    Args:
        progress: Of the run.
        steps: How many.
        ending: ``done``, ``failed`` (in the middle) or ``timeout``.
    """
    pause_seconds = float(current_app.config["JOB_STEP_SECONDS"])
    for step in progress.track(range(1, steps + 1), "Working"):
        if ending == "failed" and step > steps / 2:
            raise RuntimeError("This job was started in order to fail.")
        if ending == "timeout":
            progress.message("This step takes longer than the job may.")
            time.sleep(3600)
        time.sleep(pause_seconds)


@_reported
def sample(progress: Progress) -> None:
    """Take the steps of three devices in turn, for the start page; it makes way for other jobs."""
    pause_seconds = float(current_app.config["JOB_STEP_SECONDS"])
    bars = {name: progress.task(name, steps) for name, steps in SAMPLE_STEPS.items()}
    turns = [
        name
        for step in range(max(SAMPLE_STEPS.values()))
        for name, steps in SAMPLE_STEPS.items()
        if step < steps
    ]
    for name in progress.track(turns, lambda name: f"Reading {name}", per_second=2):
        if queue.current().count:
            progress.done("Ended early, as another job waits")
            return
        time.sleep(pause_seconds)
        bars[name].advance()
        if bars[name].current == bars[name].total and name != turns[-1]:
            bars[name].done("Read")
    bars[turns[-1]].done("Read")  # after the last words of `track`


@_reported
def audit(progress: Progress) -> None:
    """Check the instance's ports from here; leave a row for each."""
    config = current_app.config
    targets = ports.targets(config["INSTANCE"])
    progress.total = len(targets)
    rows: list[dict[str, Any]] = []
    for row in ports.check(targets, float(config["AUDIT_PORT_SECONDS"])):
        rows.append(row)
        progress.update(len(rows), f"{row['name']} {row['service']}: {row['finding']}")
        progress.raise_if_cancelled()
    queue.leave_result(sorted(rows, key=ports.order))
    end = progress.done if all(row["agrees"] for row in rows) else progress.failed
    end(ports.verdict(rows))


def preload() -> None:
    """Load what a job on devices needs, if there are any: each job would take 0.6 s for it."""
    if inventory.devices(current_app.config):
        with contextlib.suppress(ImportError):  # the job will say so
            importlib.import_module("demo_app.devices.work")


@_reported
def devices(progress: Progress, **options: Any) -> None:  # noqa: ANN401  # as `work.visit` has them
    """Visit devices; leave a row for each as soon as it is known."""
    # Nornir, Netmiko and git: only this job needs them, and only a lab has them installed.
    from demo_app.devices import work  # noqa: PLC0415

    leave = functools.partial(queue.leave_result_of, queue.own_job())
    work.visit(progress, current_app.config, leave=leave, **options)


def report_failure(
    job: Job, _connection: Redis, _kind: type, error: Exception, _traceback: object
) -> None:
    """End the stream of a job that could not do so itself; RQ calls this."""
    texts = {AbandonedJobError: LOST, ProgressError: UNREPORTED}
    end_stream(job, texts.get(type(error), BROKEN))


def end_stream(job: Job, text: str) -> None:
    """Publish that a job has failed, unless its stream has ended."""
    with contextlib.suppress(EndedError):
        Progress(
            connections.publisher(),
            ownership.channel_of(job.args[0]),
            durability=connections.durability(),
        ).failed(text)
        metrics.job_ended(str(job.description), "lost")
