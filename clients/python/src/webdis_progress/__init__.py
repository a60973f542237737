"""Publish progress so that no message is lost, doubled or out of order.

with Progress(redis, "progress:" + secrets.token_hex(16)) as progress:
    for row in progress.track(rows, "Importing"):
        ...

What is published, and what a page is told: clients/PROTOCOL.md.
"""

from webdis_progress._aio import AsyncProgress, AsyncTask
from webdis_progress._errors import CancelledError, EndedError, NotSentError, ProgressError
from webdis_progress._event import (
    INTEGER_LIMIT,
    LEVELS,
    MAX_DATA_BYTES,
    MAX_PAYLOAD_BYTES,
    TERMINAL,
)
from webdis_progress._observer import Observer, set_observer
from webdis_progress._progress import Progress, Task
from webdis_progress._replay import (
    JOIN_MESSAGES,
    REPLAY_MESSAGES,
    Position,
    Replay,
    State,
    events_after,
    last_events,
    position,
    replay,
    replay_async,
)
from webdis_progress._scripts import (
    EXPIRY_SECONDS,
    MAX_CHANNEL_BYTES,
    MAX_MESSAGES,
    MAX_TASKS,
    MAX_WRITERS,
)

__all__ = [
    "EXPIRY_SECONDS",
    "INTEGER_LIMIT",
    "JOIN_MESSAGES",
    "LEVELS",
    "MAX_CHANNEL_BYTES",
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
