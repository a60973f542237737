"""Publish progress so that no message is lost: to a Redis stream and its channel at once.

Depends on redis-py alone; lift it into your own project.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from redis import Redis

MAX_MESSAGES = 1000
EXPIRY_SECONDS = 3600
# The count outlives the messages: a page that was left open must not take the
# first message of a new count for one that it has shown.
SEQUENCE_EXPIRY_SECONDS = 30 * 24 * 3600
# Webdis corrupts its stream at 65,536 bytes; stay well below it.
MAX_TEXT_CHARACTERS = 5000

# The number, the copy for replay and the publication are one atomic step. The
# message's JSON arrives without its first field, which is the sequence number.
_APPEND = """
local seq = redis.call('INCR', KEYS[1])
local message = '{"seq": ' .. seq .. ', ' .. ARGV[1]
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[2], seq .. '-1', 'message', message)
redis.call('EXPIRE', KEYS[1], ARGV[4])
redis.call('EXPIRE', KEYS[2], ARGV[3])
redis.call('PUBLISH', KEYS[3], message)
return seq
"""


class Progress:
    """Publishes to one channel.

    Args:
        redis: A connection whose user may write the channel's keys.
        channel: For example ``progress:666``; keys ``CHANNEL:seq`` and
            ``CHANNEL:events`` belong to it.
    """

    def __init__(self, redis: Redis, channel: str) -> None:
        self._redis = redis
        self.channel = channel
        self._append = redis.register_script(_APPEND)

    def message(self, text: str) -> int:
        """Publish ``text`` and return its sequence number.

        Args:
            text: Shown as text; what is over 5,000 characters is cut, visibly.

        Raises:
            TypeError: ``text`` is not a string.
            redis.RedisError: Redis is away or refuses.
        """
        if not isinstance(text, str):
            raise TypeError(f"text is {text!r}; a string is needed")
        # Webdis cuts a payload at NUL, and carries nothing that is not UTF-8.
        text = text.replace("\0", "\N{SYMBOL FOR NULL}")
        if len(text) > MAX_TEXT_CHARACTERS:
            text = text[: MAX_TEXT_CHARACTERS - 1] + "\N{HORIZONTAL ELLIPSIS}"
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        body = json.dumps({"ts": now, "kind": "message", "text": text})[1:]
        keys = [f"{self.channel}:seq", f"{self.channel}:events", self.channel]
        limits = [MAX_MESSAGES, EXPIRY_SECONDS, SEQUENCE_EXPIRY_SECONDS]
        return int(self._append(keys=keys, args=[body, *limits]))


def events_after(redis: Redis, channel: str, after: int) -> list[dict[str, Any]]:
    """Return the messages of ``channel`` with a sequence number above ``after``."""
    entries = cast(
        "list[tuple[bytes, dict[bytes, bytes]]]",
        redis.xrange(f"{channel}:events", min=f"({after}-1", count=MAX_MESSAGES),
    )
    return [json.loads(fields[b"message"]) for _, fields in entries]


def last_sequence(redis: Redis, channel: str) -> int:
    """Return the sequence number of the channel's last message; 0 before the first."""
    entries = cast("list[tuple[bytes, object]]", redis.xrevrange(f"{channel}:events", count=1))
    return int(entries[0][0].split(b"-")[0]) if entries else 0
