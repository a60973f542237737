"""The job queue, as the web side sees it: put in, look up, cancel.

A run has one token: its channel is named after it, and its job's id is a digest of
it. So the queue's logs name the job without telling who may listen.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, cast

from flask import current_app
from rq import Callback, Queue, get_current_job
from rq.serializers import JSONSerializer

from demo_app import connections, metrics, ownership
from webdis_progress import EXPIRY_SECONDS, EndedError, Progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from rq.job import Job

MOST_WAITING = 50
PATIENCE_SECONDS = 5.0  # of a person who waits for the answer
RESULT = "result"  # the field of a job's own data


class QueueFullError(Exception):
    """So many jobs wait already that another one would not be done soon."""


def current() -> Queue:
    """Return the queue; its jobs are JSON, so that nothing in Redis can be code."""
    name = str(current_app.config["QUEUE"])
    return Queue(name, connection=connections.jobs(), serializer=JSONSerializer)


def enqueue(
    work: Callable[..., object],
    endpoint: str,
    name: str,
    *,
    timeout_seconds: int,
    **options: object,
) -> str:
    """Put a new run into the queue and return its token; the session owns it from then on.

    Args:
        work: A function of `demo_app.jobs.tasks` that takes the token and ``options``.
        endpoint: Of the page that shows the run.
        name: What the run is, for people.
        timeout_seconds: After which the work is stopped and has failed.
        options: What JSON can carry.

    Raises:
        QueueFullError: Too many wait already.
    """
    waiting = current()
    if waiting.count >= MOST_WAITING:
        raise QueueFullError(f"{MOST_WAITING} jobs are waiting already; try again later.")
    # One transaction: neither a run that nobody owns, nor a link to one that never was.
    with waiting.connection.pipeline() as pipeline:
        pipeline.multi()
        token = ownership.record_run(pipeline, endpoint, name)
        waiting.enqueue(
            work,
            token,
            **options,
            job_id=ownership.digest(token),
            job_timeout=timeout_seconds,
            result_ttl=EXPIRY_SECONDS,
            failure_ttl=EXPIRY_SECONDS,
            description=work.__name__,  # without the token
            on_failure=Callback("demo_app.jobs.tasks.report_failure"),
            pipeline=pipeline,
        )
        pipeline.execute()
    return token


def find(token: str) -> Job | None:
    """Return a run's job, unless it has expired."""
    return current().fetch_job(ownership.digest(token))


def result(token: str) -> Any:  # noqa: ANN401  # as the work left it
    """Return what a run's work has left; nothing if it has not, or not yet."""
    job = find(token)
    return job.get_meta().get(RESULT) if job else None


def leave_result(value: object) -> None:
    """Leave ``value`` for the page; called by work, before it reports that it is done."""
    leave_result_of(own_job(), value)


def own_job() -> Job:
    """Return the job that this process does; only its first thread may ask."""
    return cast("Job", get_current_job())


def leave_result_of(job: Job, value: object) -> None:
    """Leave ``value`` as a job's result; its threads may call this, one at a time."""
    job.meta[RESULT] = value
    job.save_meta()  # type: ignore[no-untyped-call]  # RQ has not typed it


def cancel(token: str) -> None:
    """Stop a run: at once if it waits, at its next step if it is being worked on."""
    progress = Progress(
        connections.publisher(),
        ownership.channel_of(token),
        durability=connections.durability(),
        patience_seconds=PATIENCE_SECONDS,
    )
    progress.request_cancel()
    waiting, job_id = current(), ownership.digest(token)
    if job_id not in waiting.get_job_ids():
        return
    job = find(token)
    # The end comes first: whoever dies here leaves a job that finds its stream ended.
    with contextlib.suppress(EndedError):
        progress.cancelled("Cancelled before it began")
        if job:
            metrics.job_ended(str(job.description), "cancelled")
    waiting.remove(job_id)
