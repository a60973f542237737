"""`ProgressProcessor`: a bar for each host of a Nornir run.

with Progress(redis, channel, count_tasks=True) as progress:
    nornir.with_processors([ProgressProcessor(progress)]).run(task=backup)
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any

from webdis_progress._errors import EndedError
from webdis_progress._event import of_type, short_name
from webdis_progress._progress import Progress

if TYPE_CHECKING:
    from nornir.core.inventory import Host
    from nornir.core.task import AggregatedResult, MultiResult, Task

    from webdis_progress._progress import Task as Bar


class ProgressProcessor:
    """Publishes a task for each host, and a step for each of its subtasks.

    A host that fails ends its own bar only. Of an exception the class is published: its text
    may hold what the device has said. Where somebody else has ended the run, the work goes on.

    Args:
        progress: The run; several calls of ``run`` may share it, one after the other, and this.
        steps: How many subtasks a host has, if that is known.
    """

    def __init__(self, progress: Progress, steps: int | None = None) -> None:
        of_type("progress", progress, Progress)
        self._progress = progress
        self._steps = steps
        self._bars: dict[str, Bar] = {}
        self._lock = threading.Lock()

    def task_started(self, task: Task) -> None:
        """Show all hosts at once, in one call: the last of many waits for long."""
        self._bars.clear()  # of the call before; of the same names, they begin again
        with contextlib.suppress(EndedError), self._progress.batch():
            for name in task.nornir.inventory.hosts if task.nornir else ():
                self._bar(name).message(f"{task.name}: waits")

    def task_completed(self, task: Task, result: AggregatedResult) -> None:  # noqa: ARG002  # Nornir's
        """End the bars of hosts that were not run: they had failed before."""
        with contextlib.suppress(EndedError), self._progress.batch():
            for name, bar in self._bars.items():
                if name not in result and not bar.ended:
                    bar.skipped("Failed before")

    def task_instance_started(self, task: Task, host: Host) -> None:
        """Begin a host's bar."""
        self._publish(host, "started", task.name)

    def task_instance_completed(self, task: Task, host: Host, result: MultiResult) -> None:
        """End a host's bar."""
        if not result.failed:
            self._publish(host, "done")
            return
        errors = (one.exception for one in reversed(result) if one.exception)
        self._publish(host, "failed", next(errors, f"{task.name}: failed"))

    def subtask_instance_started(self, task: Task, host: Host) -> None:
        """Say what a host is doing."""
        self._publish(host, "message", task.name)

    def subtask_instance_completed(self, task: Task, host: Host, result: MultiResult) -> None:
        """Count a step of a host."""
        if result.failed:
            self._publish(host, "message", f"{task.name}: failed", level="error")
        else:
            self._publish(host, "advance")

    def _publish(self, host: Host, method: str, *values: Any, **options: Any) -> None:  # noqa: ANN401  # as `Task` takes them
        with contextlib.suppress(EndedError):
            getattr(self._bar(host.name), method)(*values, **options)

    def _bar(self, name: str) -> Bar:
        with self._lock:
            if name not in self._bars:
                self._bars[name] = self._progress.task(short_name(name), self._steps)
            return self._bars[name]
