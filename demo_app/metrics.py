"""What the demo counts, for Prometheus: in files that its processes share.

The web server, the workers and the process of each job count for themselves; who is asked for
the numbers adds them up (https://prometheus.github.io/client_python/multiprocess/). No label
names a channel, a session or a run.
"""

from __future__ import annotations

import contextlib
import functools
import os
import threading
import time
from bisect import bisect_left
from collections import deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Histogram,
    generate_latest,
    values,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from redis.exceptions import RedisError

from webdis_progress import EndedError, Observer, set_observer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flask import Flask
    from prometheus_client.core import Metric
    from rq.job import Job

    from webdis_progress import Progress

CONTENT_TYPE = CONTENT_TYPE_LATEST
# The package's own name for the folder of these files.
FOLDER = "PROMETHEUS_MULTIPROC_DIR"
PUBLISH_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5)
JOB_BUCKETS = (0.1, 0.5, 1, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
JOB_ENDS = ("done", "failed", "cancelled", "lost")
FLUSH_SECONDS = 1.0
# Of jobs, as `jobs.tasks` has them.
kinds: list[str] = []

_writer = ""


class _Counts:
    """All that is counted; made once a process."""

    def __init__(self) -> None:
        if FOLDER in os.environ:
            values.ValueClass = values.MultiProcessValue(_identifier)  # type: ignore[no-untyped-call]
        self.messages = Counter("demo_messages_published", "Messages that Redis has taken")
        self.publish_seconds = Histogram(
            "demo_publish_seconds", "Of a call that publishes", buckets=PUBLISH_BUCKETS
        )
        self.retries = Counter("demo_publish_retries", "Calls that were tried again")
        self.dropped = Counter("demo_messages_dropped", "Messages that were given up")
        self.replays = Counter("demo_replay_requests", "Pages that asked for what they missed")
        self.replayed = Counter("demo_replay_messages", "Messages that were sent to them")
        self.jobs = Counter("demo_jobs", "Jobs that have come to an end", ["kind", "end"])
        self.job_wait = Histogram(
            "demo_job_wait_seconds", "From the queue to its start", ["kind"], buckets=JOB_BUCKETS
        )
        self.job_seconds = Histogram(
            "demo_job_seconds", "From its start to its end", ["kind"], buckets=JOB_BUCKETS
        )
        for kind in kinds:  # from 0 on: who asks for an increase would miss the first
            for end in JOB_ENDS:
                self.jobs.labels(kind, end)


@functools.cache
def counts() -> _Counts:
    """Return what this process counts."""
    return _Counts()


def _identifier() -> str:
    """Return what names this process's files, and nobody's who runs at the same time."""
    return _writer or str(os.getpid())


def write_as(name: str) -> None:
    """Count under a name from now on: a process for each job would leave files for each.

    Args:
        name: One after the other may have it, and not two at the same time.
    """
    global _writer  # noqa: PLW0603  # of the process, as its id is
    _writer = name
    _publishing.forget()


class _Publishing(Observer):
    """Notes messages, and counts them now and then: between two calls to Redis nothing is cheap."""

    def __init__(self) -> None:
        self._uncounted = 0
        self.forget()

    def forget(self) -> None:
        """Begin at 0: after a fork the numbers are the parent's."""
        self._lock = threading.Lock()
        self._noted: deque[tuple[int, float]] = deque()
        self._flush_at = 0.0

    def leave_out(self, thread: int) -> None:
        """Count nothing that a thread publishes."""
        self._uncounted = thread

    def published(self, messages: int, seconds: float) -> None:
        if threading.get_ident() == self._uncounted:
            return
        self._noted.append((messages, seconds))
        if time.monotonic() >= self._flush_at:
            self.flush()

    def retried(self, messages: int) -> None:  # noqa: ARG002  # the call is what is counted
        counts().retries.inc()

    def dropped(self, messages: int) -> None:
        counts().dropped.inc(messages)

    def flush(self) -> None:
        """Count what has been noted."""
        with self._lock:
            self._flush_at = time.monotonic() + FLUSH_SECONDS
            total, spent, buckets = 0, 0.0, [0] * (len(PUBLISH_BUCKETS) + 1)
            while self._noted:
                messages, seconds = self._noted.popleft()
                total += messages
                spent += seconds
                buckets[bisect_left(PUBLISH_BUCKETS, seconds)] += 1
            if not total:
                return
            counts().messages.inc(total)
            histogram = counts().publish_seconds
            # As its `observe` does, which takes one at a time.
            histogram._sum.inc(spent)  # noqa: SLF001
            for bucket, number in zip(histogram._buckets, buckets, strict=True):  # noqa: SLF001
                if number:
                    bucket.inc(number)


_publishing = _Publishing()


def flush() -> None:
    """Hand on what this process has counted: at the end of a request, and of a job."""
    _publishing.flush()


def leave_out_this_thread() -> None:
    """Count nothing that it publishes: to show what is counted is no message of the demo's."""
    _publishing.leave_out(threading.get_ident())


def replayed(messages: int) -> None:
    """Count a page that has asked for what it missed, and what it was sent."""
    counts().replays.inc()
    counts().replayed.inc(messages)


def observe() -> None:
    """Count from now on what this process publishes."""
    counts()
    set_observer(_publishing)


def init_app(app: Flask) -> None:
    """Have what this process publishes counted."""
    app.teardown_request(lambda _error: flush())
    observe()


@contextlib.contextmanager
def of_job(job: Job, progress: Progress) -> Iterator[None]:
    """Count how long a job has waited, how long it takes, and how it ends.

    Args:
        job: That this process does.
        progress: Of its run.
    """
    kind = str(job.description)
    started_at = time.monotonic()
    if job.enqueued_at:
        waited = datetime.now(UTC) - job.enqueued_at.replace(tzinfo=UTC)
        counts().job_wait.labels(kind).observe(max(0.0, waited.total_seconds()))
    others_have_ended_it = False
    try:
        yield
    except EndedError:
        others_have_ended_it = True
        raise
    finally:
        counts().job_seconds.labels(kind).observe(time.monotonic() - started_at)
        flush()
        if progress.ended and not progress.unsent and not others_have_ended_it:
            job_ended(kind, progress.ended)


def job_ended(kind: str, end: str) -> None:
    """Count a job that has come to its end, one of `JOB_ENDS`."""
    counts().jobs.labels(kind, end).inc()
    flush()


def _of_all_processes() -> CollectorRegistry:
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return registry


def published() -> float:
    """Return how many messages all processes have published since the demo started."""
    return _of_all_processes().get_sample_value("demo_messages_published_total") or 0.0


class _Gauges:
    """Numbers that are asked for when somebody asks for them."""

    def __init__(self, read: Callable[[], dict[str, tuple[str, float]]]) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        with contextlib.suppress(RedisError):  # then they are missing, which is the truth
            for name, (about, value) in self._read().items():
                yield GaugeMetricFamily(name, about, value)


def text(read: Callable[[], dict[str, tuple[str, float]]]) -> bytes:
    """Return all numbers in Prometheus's text format.

    Args:
        read: Returns gauges by name, each with what it is about and its value.
    """
    registry = _of_all_processes()
    registry.register(_Gauges(read))
    return generate_latest(registry)
