"""What `track` publishes, and when; how to wait for Redis is its callers' own."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sized
from typing import TYPE_CHECKING, Any, Generic, Self

from webdis_progress import _event
from webdis_progress._bar import Bar, Sent, TaskBar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import SupportsIndex

    from webdis_progress._run import RunBar


def _length(items: object) -> int | None:
    # A view of what is endless has a length that raises; range(10**20) one that C cannot hold.
    with contextlib.suppress(TypeError, OverflowError):
        return len(items) if isinstance(items, Sized) else None
    return None


class Tracking(Generic[Sent]):
    """One `track` at work: by its bar, or by a task of its own where that is tracked already.

    Args:
        run: Whose bar it is.
        bar: Whose numbers are counted.
        items: What is gone through.
        text: Goes with each report; a function is given the item.
        total: How many items there are; none: their length.
        per_second: Reports a second at most.
    """

    def __init__(  # noqa: PLR0913  # as `track` has them
        self,
        run: RunBar[Sent, Any, Any],
        bar: Bar[Sent],
        items: object,
        text: str | Callable[[Any], str],
        *,
        total: SupportsIndex | None,
        per_second: float,
    ) -> None:
        self._run, self._tracked, self._bar = run, bar, bar
        self._total = _length(items) if total is None else total
        self._text_of = text if callable(text) else None
        self._text = "" if callable(text) else text
        self._interval_seconds = 1 / _event.number("per_second", per_second, least=0.001)
        self._count, self._reported, self._reported_at = 0, -1, 0.0
        self._number = 0  # among those of its bar that are at work; none: it is not

    def __enter__(self) -> Self:
        """Begin to count."""
        bar = self._tracked
        self._number = 1
        # The first that is free; threads may begin at the same time.
        while bar._tracks.setdefault(self._number, self) is not self:  # noqa: SLF001  # this package's own, as are those below
            self._number += 1
        try:
            if self._number > 1:
                prefix = f"{bar.name}/" if isinstance(bar, TaskBar) else ""
                label = self._text and _event.short_name(self._text)
                name = _event.short_name(f"{prefix}track {self._number}")
                self._bar = self._run._task_type(self._run, name, label=label or None)  # noqa: SLF001
            self._bar._begin(self._total)  # noqa: SLF001
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the bar to the next one; once only."""
        if self._number:
            del self._tracked._tracks[self._number]  # noqa: SLF001
        self._number = 0

    def is_due(self, item: object) -> bool:
        """Take the next item; tell whether it is time to report."""
        if self._text_of:
            self._text = self._text_of(item)
        since = time.monotonic() - self._reported_at
        return self._reported < 0 or since >= self._interval_seconds

    def report(self) -> Sent:
        """Publish how many are done."""
        self._reported, self._reported_at = self._count, time.monotonic()
        return self._bar.update(self._count, self._text)

    def count(self) -> None:
        """Take note that the item is done."""
        self._count += 1
        self._bar.current = self._count

    def rest(self) -> Iterator[Callable[[], Sent]]:
        """Yield what is to be published after the last item."""
        if self._reported != self._count:
            yield self.report
        if self._bar is not self._tracked:
            yield self._bar.done
