"""What `track` publishes, and when; how to wait for Redis is its callers' own."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sized
from typing import TYPE_CHECKING, Any, Generic

from webdis_progress import _event
from webdis_progress._bar import Bar, Sent, TaskBar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import SupportsIndex

    from webdis_progress._run import RunBar


class Tracking(Generic[Sent]):
    """One `track` at work.

    Args:
        bar: Whose numbers are counted.
        text: Goes with each report; a function is given the item.
        per_second: Reports a second at most.
        is_task: Whether ``bar`` is there for this only, and ends with it.
    """

    def __init__(
        self, bar: Bar[Sent], text: str | Callable[[Any], str], per_second: float, *, is_task: bool
    ) -> None:
        self._bar, self._is_task = bar, is_task
        self._text_of = text if callable(text) else None
        self._text = "" if callable(text) else text
        self._interval_seconds = 1 / _event.number("per_second", per_second, least=0.001)
        self._count, self._reported, self._reported_at = 0, -1, 0.0

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
        if self._is_task:
            yield self._bar.done


@contextlib.contextmanager
def tracking(  # noqa: PLR0913  # as `track` has them
    run: RunBar[Sent],
    bar: Bar[Sent],
    items: object,
    text: str | Callable[[Any], str],
    *,
    total: SupportsIndex | None,
    per_second: float,
) -> Iterator[Tracking[Sent]]:
    """Track by the bar, or by a task of its own where the bar is being tracked already."""
    depth = bar._depth  # noqa: SLF001  # this package's own, as are those below
    tracker = bar
    if depth:
        prefix = f"{bar.name}/" if isinstance(bar, TaskBar) else ""
        label = text if isinstance(text, str) and text else None
        tracker = run._new_task(f"{prefix}track {depth + 1}", label)  # noqa: SLF001
    length = len(items) if isinstance(items, Sized) else None
    tracker._begin(length if total is None else total)  # noqa: SLF001
    bar._depth += 1  # noqa: SLF001
    try:
        yield Tracking(tracker, text, per_second, is_task=depth > 0)
    finally:
        bar._depth -= 1  # noqa: SLF001
