"""Tells pages what Nornir does: a task a device on the channel of the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nornir.core.inventory import Host
    from nornir.core.task import AggregatedResult, MultiResult
    from nornir.core.task import Task as NornirTask

    from demo_app.devices.runner import Row
    from webdis_progress import Progress


class Reporter:
    """A processor of Nornir: each device is a task of the run, and each step one of its messages.

    Args:
        progress: The run, which begins and ends elsewhere.
        names: Of the devices, in their order.
    """

    def __init__(self, progress: Progress, names: list[str]) -> None:
        self._progress = progress
        self._bars = {name: progress.task(name) for name in names}

    def waiting(self) -> None:
        """Show every device, before the first begins."""
        with self._progress.batch():
            for bar in self._bars.values():
                bar.started("waiting")

    def finished(self, row: Row) -> None:
        """End a device's task as its row says; one step more of the run is done."""
        bar = self._bars[row.device]
        data = {"state": row.state, "seconds": row.seconds, "attempts": row.attempts}
        with self._progress.batch():
            if row.state == "failed":
                bar.failed(row.text, level="error", data=data)
            elif row.state == "cancelled":
                bar.cancelled(row.text, data=data)
            else:
                level = "warning" if row.state == "drift" or row.slow else "info"
                bar.done(row.text, level=level, data=data)
            self._progress.advance(1)

    def subtask_instance_started(self, task: NornirTask, host: Host) -> None:
        """Say which step a device is at."""
        self._bars[host.name].message(task.name)

    def task_started(self, task: NornirTask) -> None:
        """Nothing: the run has said it."""

    def task_completed(self, task: NornirTask, result: AggregatedResult) -> None:
        """Nothing: the run will say it."""

    def task_instance_started(self, task: NornirTask, host: Host) -> None:
        """Nothing: its first step says it."""

    def task_instance_completed(self, task: NornirTask, host: Host, result: MultiResult) -> None:
        """Nothing: its row says it."""

    def subtask_instance_completed(self, task: NornirTask, host: Host, result: MultiResult) -> None:
        """Nothing: the next step says it."""
