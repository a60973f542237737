"""Celery: a worker does the work, also while the web server is restarted.

flask --app with_celery run
celery --app with_celery.celery worker
"""

import os
import time

from app import create_app, redis
from celery import Celery, Task

from webdis_progress.bridges.celery import task_progress, watch

celery = Celery(broker=os.environ["REDIS_URL"])
watch(celery, redis)  # says so where the task cannot: it has crashed or was revoked


@celery.task(bind=True)
def import_rows(self: Task, count: int) -> None:
    """Do the slow work; what it raises ends the run as failed."""
    with task_progress(self, redis) as progress:
        for row in progress.track(range(1, count + 1), "Importing"):
            if row % 10 == 0:
                progress.message(f"{row} rows are in", level="debug")
            time.sleep(0.1)


def start(channel: str) -> None:
    """Send the task: its id is what the channel is called after."""
    import_rows.apply_async([50], task_id=channel.removeprefix("progress:"))


app = create_app(start, "element.html")
