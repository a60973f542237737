"""Publish progress so that no message is lost, doubled or out of order.

with Progress(redis, "progress:" + secrets.token_hex(16)) as progress:
    for row in progress.track(rows, "Importing"):
        ...

What is published, and what a page is told: PROTOCOL.md.
"""

from webdis_progress._aio import AsyncProgress, AsyncTask
from webdis_progress._errors import CancelledError, EndedError, NotSentError, ProgressError
from webdis_progress._event import LEVELS, TERMINAL
from webdis_progress._limits import (
    EXPIRY_SECONDS,
    INTEGER_LIMIT,
    JOIN_MESSAGES,
    MAX_CHANNEL_BYTES,
    MAX_CHANNEL_BYTES_WHEN_TIGHT,
    MAX_DATA_BYTES,
    MAX_MESSAGES,
    MAX_PAYLOAD_BYTES,
    MAX_TASKS,
    MAX_WRITERS,
    REPLAY_MESSAGES,
)
from webdis_progress._observer import Observer, set_observer
from webdis_progress._progress import Progress, Task
from webdis_progress._replay import (
    Position,
    Replay,
    State,
    events_after,
    last_events,
    position,
    replay,
    replay_async,
)

__all__ = [
    "EXPIRY_SECONDS",
    "INTEGER_LIMIT",
    "JOIN_MESSAGES",
    "LEVELS",
    "MAX_CHANNEL_BYTES",
    "MAX_CHANNEL_BYTES_WHEN_TIGHT",
    "MAX_DATA_BYTES",
    "MAX_MESSAGES",
    "MAX_PAYLOAD_BYTES",
    "MAX_TASKS",
    "MAX_WRITERS",
    "REPLAY_MESSAGES",
    "TERMINAL",
    "AsyncProgress",
    "AsyncTask",
    "CancelledError",
    "EndedError",
    "NotSentError",
    "Observer",
    "Position",
    "Progress",
    "ProgressError",
    "Replay",
    "State",
    "Task",
    "events_after",
    "last_events",
    "position",
    "replay",
    "replay_async",
    "set_observer",
]
