"""`tqdm`, as everybody writes it, and a page that shows it too.

from webdis_progress.bridges.tqdm import tqdm

for row in tqdm(rows, desc="Importing", progress=progress):
    ...
"""

from __future__ import annotations

import contextlib
import itertools
from typing import Any

from tqdm.std import tqdm as _tqdm

from webdis_progress._errors import EndedError
from webdis_progress._event import of_type, short_name
from webdis_progress._limits import INTEGER_LIMIT
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
        self._first_desc = self.desc
        label = (self.desc or "").rstrip(": ")
        name = f"tqdm {next(_numbers)}"
        self._task = progress.task(name, self._whole, label=short_name(label or name))
        with contextlib.suppress(EndedError):  # the run, by somebody else
            self._task.started()

    def refresh(self, nolock: bool = False, **kwargs: Any) -> Any:  # noqa: ANN401, FBT001, FBT002  # tqdm's
        """Publish what is shown as often as it changes; not what is only drawn again."""
        drawn = super().refresh(nolock, **kwargs)
        task = getattr(self, "_task", None)
        if task is not None and not task.ended and not nolock:
            with contextlib.suppress(EndedError):  # the run, by somebody else: the work goes on
                task.total = self._whole
                desc = "" if self.desc == self._first_desc else self.desc
                task.update(self._count, f"{desc}{self.postfix or ''}".removesuffix(": "))
        return drawn

    def close(self) -> None:
        """End the task: done if all was seen, else cut off."""
        is_open = not self.disable
        super().close()
        task = getattr(self, "_task", None)
        if task is None or task.ended or not is_open:
            return
        with contextlib.suppress(EndedError):
            task.current, task.total = self._count, self._whole
            if task.total is None or task.current >= task.total:
                task.done()
            else:
                task.cancelled(f"Stopped at {task.current} of {task.total}")

    # A terminal shows any number.
    @property
    def _count(self) -> int:
        return int(min(max(0, self.n), INTEGER_LIMIT - 1))

    @property
    def _whole(self) -> int | None:
        known = self.total is not None and 0 <= self.total < INTEGER_LIMIT
        return int(self.total) if known else None
