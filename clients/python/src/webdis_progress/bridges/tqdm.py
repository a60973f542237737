"""`tqdm`, as everybody writes it, and a page that shows it too.

from webdis_progress.bridges.tqdm import tqdm

for row in tqdm(rows, desc="Importing", progress=progress):
    ...
"""

from __future__ import annotations

import itertools
from typing import Any

from tqdm.std import tqdm as _tqdm

from webdis_progress._event import of_type
from webdis_progress._progress import Progress

_numbers = itertools.count(1)


class tqdm(_tqdm):  # type: ignore[misc]  # noqa: N801  # untyped; the name that it stands in for
    """A tqdm that has a task of a run, beside its line in the terminal.

    Args:
        args: As tqdm takes them.
        progress: The run. Without it, or with ``disable``, this is tqdm and nothing more.
        kwargs: As tqdm takes them; ``desc`` is the task's label.
    """

    def __init__(self, *args: Any, progress: Progress | None = None, **kwargs: Any) -> None:  # noqa: ANN401  # tqdm's
        super().__init__(*args, **kwargs)
        self._task = None
        if progress is None or self.disable:
            return
        of_type("progress", progress, Progress)
        total = None if self.total is None else int(self.total)
        label = (self.desc or "").rstrip(": ") or None
        self._task = progress.task(f"tqdm {next(_numbers)}", total, label=label and label[:200])
        self._task.started()

    def display(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  # tqdm's
        """Publish what is shown: as often as tqdm would draw it."""
        task = getattr(self, "_task", None)
        if task is not None and not task.ended:
            task.total = None if self.total is None else int(self.total)
            task.update(self._count, self.postfix or "")
        return super().display(*args, **kwargs)

    def close(self) -> None:
        """End the task: done if all was seen, else cut off."""
        task = getattr(self, "_task", None)
        if task is not None and not task.ended and not self.disable:
            task.current = self._count
            if self.total is None or self.n >= self.total:
                task.done()
            else:
                task.cancelled(f"Stopped at {self._count} of {int(self.total)}")
        super().close()

    @property
    def _count(self) -> int:
        return max(0, int(self.n))  # a terminal shows less than none, too
