"""Publish progress so that no message is lost, doubled or out of order.

with Progress(redis, "progress:" + secrets.token_hex(16)) as progress:
    for row in progress.track(rows, "Importing"):
        ...
"""

from webdis_progress._progress import (
    EXPIRY_SECONDS,
    INTEGER_LIMIT,
    MAX_MESSAGES,
    MAX_PAYLOAD_BYTES,
    MAX_WRITERS,
    REPLAY_MESSAGES,
    TERMINAL,
    CancelledError,
    EndedError,
    NotSentError,
    Position,
    Progress,
    ProgressError,
    events_after,
    last_events,
    position,
)

__all__ = [
    "EXPIRY_SECONDS",
    "INTEGER_LIMIT",
    "MAX_MESSAGES",
    "MAX_PAYLOAD_BYTES",
    "MAX_WRITERS",
    "REPLAY_MESSAGES",
    "TERMINAL",
    "CancelledError",
    "EndedError",
    "NotSentError",
    "Position",
    "Progress",
    "ProgressError",
    "events_after",
    "last_events",
    "position",
]
