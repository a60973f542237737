"""One connection to Redis of a publisher's own, made as its client's pool makes them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, cast

from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError
from redis.retry import Retry

from webdis_progress._scripts import PUBLISH

if TYPE_CHECKING:
    from redis import Redis

# For a client that has none: what hangs is given up.
TIMEOUT_SECONDS = 5.0
SHORTEST_TIMEOUT_SECONDS = 0.05


def own_connection(connection_pool: Any, retry: Any, seconds: float) -> Any:  # noqa: ANN401  # redis-py's classes have no common type for it
    """Return a connection of the pool's kind that is not of the pool, not connected yet.

    One that the pool has lent would redial the same host after a failover, and would
    try again on its own for longer than anybody has patience.

    Args:
        connection_pool: Of a client, also of Sentinel's.
        retry: A policy that tries nothing again.
        seconds: After which it gives up connecting, sending or waiting for an answer,
            unless its client has a shorter time-out.
    """
    connection = connection_pool.connection_class(**connection_pool.connection_kwargs)
    connection.retry = retry
    for name in ("socket_timeout", "socket_connect_timeout"):
        if hasattr(connection, name):
            own_seconds = getattr(connection, name) or TIMEOUT_SECONDS
            setattr(connection, name, max(SHORTEST_TIMEOUT_SECONDS, min(own_seconds, seconds)))
    return connection


def packed(command: tuple[Any, ...]) -> bytes:
    """Return a command as Redis reads it; takes a fifth of redis-py's time for it.

    Args:
        command: Words that are bytes, ASCII or UTF-8 strings, or integers.
    """
    words = [word if isinstance(word, bytes) else str(word).encode() for word in command]
    pieces = [b"*%d\r\n" % len(words)]
    pieces += [b"$%d\r\n%b\r\n" % (len(word), word) for word in words]
    return b"".join(pieces)


class Wire:
    """Sends commands for one publisher; not for two threads at once."""

    def __init__(self, redis: Redis, sha: str, keys: tuple[bytes, bytes], patience: float) -> None:
        self._redis = redis
        self._sha = sha
        self._keys = keys
        self._ample_seconds = 0.9 * min(patience, TIMEOUT_SECONDS)
        self._hurried = False  # its time-outs are for one call only
        self._connection: Any = None

    def publish(self, arguments: list[Any], deadline: float) -> tuple[int, int]:
        """Run the script and return its answer.

        Args:
            arguments: After the keys.
            deadline: On the monotonic clock.

        Raises:
            redis.RedisError: It was not taken, or nobody knows; there is no connection then.
        """
        try:
            answer = self.call(deadline, "EVALSHA", self._sha, 2, *self._keys, *arguments)
        except NoScriptError:
            answer = self.call(deadline, "EVAL", PUBLISH, 2, *self._keys, *arguments)
        return cast("tuple[int, int]", answer)

    def call(self, deadline: float, *command: Any) -> object:  # noqa: ANN401  # as redis-py takes them
        """Send a command and return its answer."""
        connection = self._connection
        try:
            if connection is None:
                seconds = deadline - time.monotonic()
                connection = own_connection(
                    self._redis.connection_pool, Retry(NoBackoff(), 0), seconds
                )
                connection.connect()
                self._connection = connection
                self._hurried = seconds < self._ample_seconds
            connection.send_packed_command([packed(command)])
            answer = connection.read_response()
        except NoScriptError:
            raise
        except BaseException:
            # An answer that nobody has read would pass for the next one's; and only a new
            # connection asks Sentinel who is the primary now.
            self.drop()
            raise
        if self._hurried:
            self.drop()
        return cast("object", answer)

    def drop(self) -> None:
        """Give the connection up."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.disconnect()

    def forget(self) -> None:
        """Leave the connection to the process that this one was forked from."""
        self._connection = None
