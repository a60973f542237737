"""RQ: a job's progress, and its end whatever becomes of it.

queue.enqueue(work, meta={"channel": channel}, on_stopped=Callback(report_stopped))

def work():
    with job_progress(redis) as progress:
        ...

Start workers with ``--worker-class webdis_progress.bridges.rq.ProgressWorker``, as a user who may
use the channels' keys.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rq import Worker, get_current_job
from rq.job import JobStatus

from webdis_progress._progress import Progress
from webdis_progress.bridges._publish import publish

if TYPE_CHECKING:
    from redis import Redis
    from rq.job import Job

# Blocks that have come to their end in a `ProgressWorker`: their jobs may still return a `Retry`.
_left: dict[str, Progress | None] = {}


class _JobProgress(Progress):
    _begins_again = True

    def __init__(self, job: Job, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  # as Progress takes them
        super().__init__(*args, **kwargs)
        self._job = job

    def _end(self, error: BaseException | None) -> int:
        if error is None and self._job.id in _left:
            _left[self._job.id] = self
            return 0
        return super()._end(error)

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
    if (job := get_current_job()) is None:
        raise RuntimeError("job_progress was called outside of a job; RQ's worker has to call it.")
    return _JobProgress(job, redis, job_channel(job), total, **options)


class ProgressWorker(Worker):
    """A worker that ends the streams of jobs that cannot do so: crash, time-out."""

    def perform_job(self, job: Job, *args: Any, **kwargs: Any) -> bool:  # noqa: ANN401  # RQ's
        """Do a job; where its block comes to its end, it may still return a ``Retry``."""
        _left.clear()
        _left[job.id] = None
        return super().perform_job(job, *args, **kwargs)

    def handle_job_success(self, job: Job, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  # RQ's
        """End the stream: the job has returned no ``Retry``."""
        if progress := _left.pop(job.id, None):
            progress.__exit__(None, None, None)
        super().handle_job_success(job, *args, **kwargs)

    def handle_job_retry(self, job: Job, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  # RQ's
        """Say that a job is tried again, or was so too often."""
        super().handle_job_retry(job, *args, **kwargs)
        ended = job.get_status() == JobStatus.FAILED
        words = ("failed", "Tried too often") if ended else ("message", "It will be tried again")
        publish(self.connection, job_channel(job), *words)

    def handle_job_failure(self, job: Job, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  # RQ's
        """Note that a job has failed; RQ calls no callback for one whose process is gone."""
        super().handle_job_failure(job, *args, **kwargs)
        if job.get_status() == JobStatus.FAILED:  # and is not tried again
            publish(self.connection, job_channel(job), "failed", "Ended before it was done")


def report_stopped(job: Job, connection: Redis) -> None:
    """End the stream of a job that somebody has stopped."""
    publish(connection, job_channel(job), "cancelled", "Stopped")
