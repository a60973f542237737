"""RQ: a worker does the work, also while the web server is restarted.

flask --app with_rq run
rq worker --url "$REDIS_URL" --worker-class webdis_progress.bridges.rq.ProgressWorker
"""

import time

from app import create_app, redis
from rq import Callback, Queue

from webdis_progress.bridges.rq import job_progress, report_stopped

queue = Queue(connection=redis)


def import_rows(count: int) -> None:
    """Do the slow work; what it raises ends the run as failed."""
    with job_progress(redis) as progress:
        for row in progress.track(range(1, count + 1), "Importing"):
            if row % 10 == 0:
                progress.message(f"{row} rows are in", level="debug")
            time.sleep(0.1)


def start(channel: str) -> None:
    """Put the work into the queue."""
    # The worker and report_stopped say so where the work cannot: it has crashed or was stopped.
    stopped = Callback(report_stopped)
    queue.enqueue(import_rows, 50, meta={"channel": channel}, on_stopped=stopped)


app = create_app(start, "element.html")
