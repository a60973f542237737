"""How much: of an event, of a channel, of an answer. What a docstring tells is public."""

from __future__ import annotations

# Webdis corrupts its stream at a message of 65,536 bytes; stay well below.
MAX_PAYLOAD_BYTES = 32 * 1024
"""Of an event's JSON; a longer text is cut."""
# What an event has besides its text, its data and the names of its task needs less than 500 bytes.
MAX_TEXT_BYTES = MAX_PAYLOAD_BYTES - 512
MAX_DATA_BYTES = 8 * 1024
"""Of an event's `data` as JSON."""
MAX_NAME_LENGTH = 200
# What is kept of an event as a bar's last state.
MAX_STATE_BYTES = 2048
MAX_STATE_TEXT_BYTES = 1024
INTEGER_LIMIT = 2**53
"""`current` and `total` are below it: JavaScript tells such integers apart."""

MAX_MESSAGES = 10_000
"""Events that a channel keeps for replay; a few more until the next trimming."""
MAX_CHANNEL_BYTES = 8 * 1024 * 1024
"""Of the events that a channel keeps for replay; the oldest go first."""
# So a channel pays for its messages with its own earlier ones, and small channels keep theirs.
MAX_CHANNEL_BYTES_WHEN_TIGHT = 256 * 1024
"""The same bound while three quarters of Redis's memory are in use."""
TIGHT = 0.75
TRIM_BYTES = 64 * 1024  # so many bytes from one trimming to the next
EXPIRY_SECONDS = 24 * 3600
"""From a channel's last event until Redis forgets the channel."""
# The half that was heard longest ago is forgotten when there are more. No retry is that late.
MAX_TASKS = 2000
"""Tasks of a channel whose last states are kept; of more, those of the older half go."""
MAX_WRITERS = 2000
"""Writers of a channel whose counts are kept; of more, those of the older half go."""
# More than can be published between two syncs of the append-only file.
LOST_MESSAGES = 1_000_000

REPLAY_MESSAGES = 1000
"""Events in one answer of `replay`."""
JOIN_MESSAGES = 100
"""Events in the answer to a page that joins."""
