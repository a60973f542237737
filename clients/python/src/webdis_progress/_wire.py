"""One connection to Redis of a publisher's own, made as its client's pool makes them."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Any, cast

from redis.backoff import NoBackoff
from redis.exceptions import (
    NoScriptError,
    TimeoutError,  # noqa: A004  # the name that redis-py gives it
)
from redis.retry import Retry

from webdis_progress._scripts import PUBLISH, REQUEST_CANCEL

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from redis import Redis

    from webdis_progress._outbox import Answer

# For a client that has none: what hangs is given up.
TIMEOUT_SECONDS = 5.0
SHORTEST_TIMEOUT_SECONDS = 0.05
# How long a message waits for a replica, which has it within a round trip where all is well.
WAIT_MILLISECONDS = 200
SHA = hashlib.sha1(PUBLISH.encode(), usedforsecurity=False).hexdigest().encode()


class UnconfirmedError(TimeoutError):
    """Redis has taken it, and no replica has said in time that it has it, too.

    Args:
        answer: Redis's.
    """

    def __init__(self, answer: Answer) -> None:
        super().__init__(f"No replica confirmed it within {WAIT_MILLISECONDS} ms.")
        self.answer = answer


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


def ample_seconds(patience_seconds: float) -> float:
    """Return what a connection needs in order to be kept: less is for one call only."""
    return 0.9 * min(patience_seconds, TIMEOUT_SECONDS)


def packed(words: Sequence[bytes]) -> bytes:
    """Return words of a command as Redis reads them; takes a fifth of redis-py's time for it."""
    return b"".join([b"$%d\r\n%b\r\n" % (len(word), word) for word in words])


class Commands:
    """What is sent to Redis for one channel, packed; nearly all of it is always the same.

    Args:
        channel: As given to `Progress`.
        replicated: Each script is followed by a wait for a replica, in the same packet.
    """

    def __init__(self, channel: str, *, replicated: bool) -> None:
        self.replicated = replicated
        name = channel.encode()
        state = name + b":state"
        rest = (b"2", state, name + b":events", name)
        self._by_digest = packed((b"EVALSHA", SHA, *rest))
        self._by_text = packed((b"EVAL", PUBLISH.encode(), *rest))
        wait = b"*3\r\n" + packed((b"WAIT", b"1", b"%d" % WAIT_MILLISECONDS))
        self._wait = wait if replicated else b""
        self._constant = 2 + len(rest)
        self.ask_for_cancel = b"*3\r\n" + packed((b"HGET", state, b"cancel"))
        self.forget = b"*3\r\n" + packed((b"DEL", state, name + b":events"))
        script = REQUEST_CANCEL.encode()
        self.request_cancel = b"*4\r\n" + packed((b"EVAL", script, b"1", state))

    def publish(self, arguments: Sequence[bytes], *, whole: bool = False) -> bytes:
        """Return what runs the script.

        Args:
            arguments: After the channel.
            whole: With its text: Redis does not know it yet.
        """
        count = self._constant + len(arguments)
        start = self._by_text if whole else self._by_digest
        return b"*%d\r\n%b%b%b" % (count, start, packed(arguments), self._wait)


class Wire:
    """Sends commands for one publisher; not for two threads at once."""

    def __init__(self, redis: Redis, commands: Commands, patience: float) -> None:
        self._redis = redis
        self._commands = commands
        self._ample_seconds = ample_seconds(patience)
        self._connection: Any = None  # none also while it is used

    def publish(self, arguments: Sequence[bytes], deadline: float) -> Answer:
        """Run the script and return its answer.

        Args:
            arguments: After the channel.
            deadline: On the monotonic clock.

        Raises:
            UnconfirmedError: It was taken, and by no replica; there is no connection then.
            redis.RedisError: It was not taken, or nobody knows; likewise.
        """
        read = _read_confirmed if self._commands.replicated else _read
        try:
            answer = self._call(self._commands.publish(arguments), deadline, read)
        except NoScriptError:
            whole = self._commands.publish(arguments, whole=True)
            answer = self._call(whole, deadline, read)
        return cast("Answer", answer)

    def ask(self, command: bytes, deadline: float) -> object:
        """Return the answer to a packed command; raises as `publish`."""
        return self._call(command, deadline, _read)

    def _call(self, command: bytes, deadline: float, read: Callable[[Any], object]) -> object:
        # Taken: a signal's handler that asks meanwhile would read this one's answer.
        connection, self._connection = self._connection, None
        hurried = False  # its time-outs are for one call only
        try:
            if connection is None:
                seconds = deadline - time.monotonic()
                hurried = seconds < self._ample_seconds
                connection = own_connection(
                    self._redis.connection_pool, Retry(NoBackoff(), 0), seconds
                )
                connection.connect()
            connection.send_packed_command([command])
            answer = read(connection)
        except NoScriptError:
            self._put_back(connection)
            raise
        except BaseException:
            # An answer that nobody has read would pass for the next one's; and only a new
            # connection asks Sentinel who is the primary now.
            if connection is not None:
                connection.disconnect()
            raise
        if hurried:
            connection.disconnect()
        else:
            self._put_back(connection)
        return answer

    def _put_back(self, connection: Any) -> None:  # noqa: ANN401  # as above
        if self._connection is None:
            self._connection = connection
        else:
            connection.disconnect()

    def drop(self) -> None:
        """Give the connection up."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.disconnect()


def _read(connection: Any) -> object:  # noqa: ANN401  # as above
    return connection.read_response()


def _read_confirmed(connection: Any) -> object:  # noqa: ANN401  # as above
    """Return the script's answer once a replica has what it wrote."""
    try:
        answer = connection.read_response()
    except NoScriptError:
        connection.read_response()  # of WAIT: it would pass for the next one's
        raise
    if connection.read_response() < 1:
        raise UnconfirmedError(answer)
    return answer
