"""Tells pages what Nornir does: a task a device on the channel of the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from webdis_progress.bridges.nornir import ProgressProcessor

if TYPE_CHECKING:
    from nornir.core.inventory import Host
    from nornir.core.task import MultiResult, Task

    from demo_app.devices.runner import Row
    from webdis_progress import Progress


class Reporter(ProgressProcessor):
    """The publisher's bridge to Nornir, where each device ends as its row says.

    Args:
        progress: The run, which begins and ends elsewhere; its total is the number of devices.
    """

    def __init__(self, progress: Progress) -> None:
        super().__init__(progress)
        self._run = progress

    def task_instance_completed(self, task: Task, host: Host, result: MultiResult) -> None:  # noqa: ARG002  # Nornir's
        """End a device's task; one step more of the run is done."""
        row: Row = result[0].result
        bar = self._bar(host.name)
        data = {"state": row.state, "seconds": row.seconds, "attempts": row.attempts}
        if row.missing is not None:
            data["missing"] = row.missing
        with self._run.batch():
            if row.state == "failed":
                bar.failed(row.text, level="error", data=data)
            elif row.state == "cancelled":
                bar.cancelled(row.text, data=data)
            else:
                level = "warning" if row.state == "drift" or row.slow else "info"
                bar.done(row.text, level=level, data=data)
            self._run.advance(1)
