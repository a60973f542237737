"""What a queue publishes for work that cannot do so itself."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from webdis_progress._errors import EndedError
from webdis_progress._progress import Progress

if TYPE_CHECKING:
    from redis import Redis


def publish(redis: Redis, channel: str, kind: str, text: str, *, patient: bool = True) -> bool:
    """Publish an event unless the run has ended; tell whether Redis has it.

    Args:
        redis: A client whose user may use the channel's keys.
        channel: Of the run.
        kind: Of the event.
        text: Of the event.
        patient: Try again for as long as patience lasts.
    """
    progress = Progress(redis, channel, required=False)
    with contextlib.suppress(EndedError):
        getattr(progress, kind)(text)
        if patient:
            progress.flush()
    return not progress.unsent
