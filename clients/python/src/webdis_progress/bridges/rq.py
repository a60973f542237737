"""RQ: a job's progress, and its end whatever becomes of it.

queue.enqueue(work, meta={"channel": channel}, on_stopped=Callback(report_stopped))


def work():
    with job_progress(redis) as progress:
        ...

Start workers with ``--worker-class webdis_progress.bridges.rq.ProgressWorker``. The user of
their connection has to be allowed the channels' keys.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from rq import Worker, get_current_job
from rq.job import JobStatus

from webdis_progress._errors import EndedError
from webdis_progress._progress import Progress

if TYPE_CHECKING:
    from redis import Redis
    from rq.job import Job


class _JobProgress(Progress):
    def __init__(self, job: Job, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  # as Progress takes them
        super().__init__(*args, **kwargs)
        self._job = job

    def _tried_again_after(self, error: BaseException) -> BaseException | None:
        return error if self._job.retries_left else None


def job_channel(job: Job) -> str:
    """Return a job's channel: ``meta["channel"]``, or ``progress:`` and the job's id."""
    return str(job.meta.get("channel") or f"progress:{job.id}")


def job_progress(redis: Redis, total: int | None = None, **options: Any) -> Progress:  # noqa: ANN401  # as Progress takes them
    """Return the publisher of the current job. One that RQ tries again goes on in its stream.

    Args:
        redis: A client whose user may use the channel's keys.
        total: How many steps there are, if it is known.
        options: As `Progress` takes them.

    Raises:
        RuntimeError: No job is at work here.
    """
    job = get_current_job()
    if job is None:
        raise RuntimeError("job_progress was called outside of a job; RQ's worker has to call it.")
    return _JobProgress(job, redis, job_channel(job), total, **options)


class ProgressWorker(Worker):
    """A worker that ends the streams of jobs that cannot do so: crash, time-out."""

    def handle_job_failure(self, job: Job, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  # RQ's
        """Note that a job has failed; RQ calls no callback for one whose process is gone."""
        super().handle_job_failure(job, *args, **kwargs)
        if job.get_status() == JobStatus.FAILED:  # and is not tried again
            _end(job, self.connection, "failed", "The job was ended before it was done.")


def report_stopped(job: Job, connection: Redis) -> None:
    """End the stream of a job that somebody has stopped."""
    _end(job, connection, "cancelled", "Stopped")


def _end(job: Job, connection: Redis, kind: str, text: str) -> None:
    with contextlib.suppress(EndedError):
        getattr(Progress(connection, job_channel(job)), kind)(text)
