"""``python -m demo_app.jobs.worker NAME PARENT``: takes jobs from the queue, one after the other.

Each job runs in a process of its own, forked by RQ. `fail_jobs_of` ends the streams of
those whose worker was killed.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import signal
import socket
import sys
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import ConnectionError, TimeoutError  # noqa: A004  # redis-py's names
from redis.retry import Retry
from rq import Worker, worker_registration
from rq.serializers import JSONSerializer

from demo_app import connections, metrics
from demo_app.jobs import queue, tasks
from demo_app.server.children import begin
from demo_app.server.parents import end_with_parent

if TYPE_CHECKING:
    from redis.client import Pipeline
    from rq import Queue
    from rq.job import Job

HEARTBEAT_SECONDS = 5
# How long a worker that nobody watches over is believed in: this and a minute of RQ's.
WORKER_SECONDS = 30
# Redis may restart under a worker: it waits for about a minute.
RECONNECTS = 60


class DemoWorker(Worker):
    """A worker that ends the stream of each job that fails, whatever the job came to."""

    def heartbeat(self, timeout: int | None = None, pipeline: Pipeline | None = None) -> None:
        """Say that it lives; all of itself where Redis has forgotten it.

        Its key expires where Redis was away for long, or had its clock set. RQ would then write a
        time into it and nothing else, and would strike the worker off.
        """
        if not self.connection.hexists(self.key, "birth"):
            with self.connection.pipeline() as transaction:
                transaction.hset(self.key, mapping=self.serialize())
                worker_registration.register(self, transaction)
                transaction.execute()
        super().heartbeat(timeout, pipeline)

    def main_work_horse(self, job: Job, queue: Queue) -> None:
        """Work on a job, in the process forked for it."""
        end_with_parent(self.pid or 0, signal.SIGKILL)
        metrics.write_as(f"{self.name}-job")
        super().main_work_horse(job, queue)

    def handle_job_failure(
        self, job: Job, queue: Queue, started_job_registry: object = None, exc_string: str = ""
    ) -> None:
        """Note that a job has failed: by an exception, or because its process is gone."""
        # The end comes first: whoever dies here leaves a job that is looked for again.
        tasks.end_stream(job, tasks.LOST)
        super().handle_job_failure(job, queue, started_job_registry, exc_string)


def new_name() -> str:
    """Return a name for a worker of this host that none has had: in Redis a dead one stays."""
    return f"{_host_prefix()}{secrets.token_hex(4)}"


def _host_prefix() -> str:
    """Return how the names of workers begin whose process numbers mean something here."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
        numbers = str(Path("/proc/self/ns/pid").readlink())
    except OSError:  # no Linux
        boot, numbers = str(uuid.getnode()), ""
    host = hashlib.sha256(f"{boot} {numbers}".encode()).hexdigest()[:8]
    return f"{socket.gethostname()}-{host}-"


def make(name: str) -> DemoWorker:
    """Return a worker of the queue, or what speaks for one that is gone."""
    worker = DemoWorker(
        [queue.current()],
        name=name,
        connection=connections.jobs(),
        serializer=JSONSerializer,
        job_monitoring_interval=HEARTBEAT_SECONDS,
        maintenance_interval=WORKER_SECONDS,
        worker_ttl=WORKER_SECONDS,
        # It would look for its address in the list of all clients, which is none of its business.
        prepare_for_work=False,
    )
    worker.hostname, worker.pid = socket.gethostname(), os.getpid()
    return worker


def dead_workers() -> list[str]:
    """Return the names of the queue's workers on this host whose process is gone."""
    workers = DemoWorker.all(queue=queue.current(), serializer=JSONSerializer)
    here = [worker for worker in workers if worker.name.startswith(_host_prefix())]
    return [worker.name for worker in here if worker.pid and not _runs(worker.pid, worker.name)]


def alive() -> int:
    """Return how many workers of the queue, of whatever host, have been heard of lately."""
    workers = DemoWorker.all(queue=queue.current(), serializer=JSONSerializer)
    oldest = datetime.now(UTC) - timedelta(seconds=WORKER_SECONDS)
    return sum(
        1
        for worker in workers
        if worker.last_heartbeat and worker.last_heartbeat.replace(tzinfo=UTC) >= oldest
    )


def _runs(pid: int, name: str) -> bool:
    try:
        os.kill(pid, 0)
        # It may be another's process by now, or one that nobody has asked how it ended.
        return name in Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except ProcessLookupError:
        return False
    except OSError:
        return True  # somebody else's, or no Linux


def fail_jobs_of(dead: str) -> None:
    """End the jobs of a worker that is gone; needs an application context.

    Args:
        dead: Its name.
    """
    worker = make(dead)
    jobs = queue.current()
    for job_id in jobs.started_job_registry.get_job_ids(cleanup=False):
        job = jobs.fetch_job(job_id)
        if job is None or job.worker_name != dead:
            continue
        for worker.execution in job.get_executions():
            worker.handle_job_failure(job, jobs, exc_string="Its worker was killed.")
            worker.log.warning("Job %s has lost its worker %s", job.id, dead)
    worker.register_death()  # type: ignore[no-untyped-call]  # RQ has not typed it


def main() -> int:
    """Work until SIGTERM, which lets the current job finish; a second one does not."""
    name, parent = sys.argv[1], int(sys.argv[2])
    # Ctrl-C reaches the whole process group: it is the parent's to handle.
    os.setpgrp()
    app = begin(parent)
    with app.app_context():
        # redis-py tries again after a lost connection, but not after a refused one (OSError).
        errors = (ConnectionError, TimeoutError, OSError)
        backoff = ExponentialWithJitterBackoff(base=0.1, cap=1)
        connections.jobs().set_retry(Retry(backoff, RECONNECTS, supported_errors=errors))
        tasks.preload()
        make(name).work()
    return 0


if __name__ == "__main__":
    sys.exit(main())
