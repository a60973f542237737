"""Celery: a task's progress, and its end whatever becomes of it.

watch(app, redis)  # once, in the worker's and in the caller's module

@app.task(bind=True)
def work(self):
    with task_progress(self, redis) as progress:
        ...
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from celery import signals
from celery.exceptions import Ignore, Reject, Retry

from webdis_progress._progress import Progress
from webdis_progress.bridges._publish import publish

if TYPE_CHECKING:
    from celery import Celery, Task
    from redis import Redis


class _TaskProgress(Progress):
    # A revoked task is ended by SIGTERM, which Celery turns into this.
    _stops = (*Progress._stops, SystemExit)  # noqa: SLF001  # its own
    _begins_again = True

    def __init__(self, task: Task, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  # as Progress takes them
        super().__init__(*args, **kwargs)
        self._task = task

    def _tried_again_after(self, error: BaseException) -> BaseException | None:
        if isinstance(error, Retry):
            return error.exc if isinstance(error.exc, BaseException) else error
        if isinstance(error, Reject):
            return error if error.requeue else None
        task = self._task
        never = (Ignore, *getattr(task, "dont_autoretry_for", ()))
        most = getattr(task, "retry_kwargs", {}).get("max_retries", task.max_retries)
        is_left = most is None or task.request.retries < most
        again = isinstance(error, tuple(getattr(task, "autoretry_for", ())))
        return error if again and is_left and not isinstance(error, never) else None


def task_channel(task_id: str) -> str:
    """Return the channel of a task: ``progress:`` and its id, which is random."""
    return f"progress:{task_id}"


def task_progress(
    task: Task,
    redis: Redis,
    total: int | None = None,
    **options: Any,  # noqa: ANN401  # as Progress takes them
) -> Progress:
    """Return the publisher of a bound task. One that Celery tries again goes on in its stream.

    Args:
        task: ``self`` of a task with ``bind=True``.
        redis: A client whose user may use the channel's keys.
        total: How many steps there are, if it is known.
        options: As `Progress` takes them.
    """
    return _TaskProgress(task, redis, task_channel(task.request.id), total, **options)


def watch(app: Celery, redis: Redis) -> None:
    """End the streams of this application's tasks that cannot do so.

    That is: an exception outside of the ``with`` block, a process that was killed, a time
    limit, a revoked task. A retry does not end its stream. Where Redis is away the end is tried
    again for a while, and Celery goes on meanwhile.

    Args:
        app: The application.
        redis: A client whose user may use the channels' keys.
    """

    def end(task_id: str, kind: str, text: str) -> None:
        arguments = (redis, task_channel(task_id), kind, text)
        if not publish(*arguments, patient=False):
            threading.Thread(target=publish, args=arguments, daemon=True).start()

    def failed(sender: Task, task_id: str, exception: Exception, **_: object) -> None:
        if sender.app is app:
            end(task_id, "failed", f"Failed: {type(exception).__name__}")

    def revoked(sender: Task, request: Any, expired: bool, **_: object) -> None:  # noqa: ANN401, FBT001  # Celery's
        if sender.app is app:
            end(request.id, "cancelled", "Expired" if expired else "Cancelled")

    # Celery keeps weak references otherwise, and these two have no other.
    signals.task_failure.connect(failed, weak=False)
    signals.task_revoked.connect(revoked, weak=False)
