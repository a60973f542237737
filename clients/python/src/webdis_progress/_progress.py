"""Publish progress so that no message is lost, doubled or out of order.

Depends on redis-py alone; lift it into your own project:

    with Progress(redis, "progress:" + secrets.token_hex(16)) as progress:
        for row in progress.track(rows, "Importing"):
            ...

A channel is one run of one piece of work. These keys belong to it, all of them
expire: `CHANNEL:state` (hash), `CHANNEL:events` (stream), `CHANNEL:writer:ID`.

What every message is, as JSON of ASCII characters, at most 32 KiB:

    {"seq": 3, "epoch": "9f2c61aa03be-1", "ts": "2026-01-31T12:00:00.000Z",
     "kind": "started|progress|message|done|failed|cancelled",
     "text": "...", "current": 3, "total": 10}

`seq` counts 1, 2, 3, ... within an `epoch`, whoever publishes. `current` and
`total` are null as long as they are not known. After done, failed or cancelled
nothing follows.

When Redis has lost the channel (it expired, was flushed, the server was made
anew), the count begins again at 1 with another `epoch`: a reader that sees
another epoch forgets its last `seq`. When Redis has lost the end of it (power
cut; an append-only file that is synced each second), a writer that was told a higher
number than Redis knows makes the count jump ahead, so that no number is used
twice. A gap is therefore asked for once and then accepted. Where none of these
writers goes on, others use the lost numbers again, with a later `ts`.
"""

from __future__ import annotations

import bisect
import contextlib
import json
import os
import secrets
import threading
import time
from collections.abc import Sized
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeVar, cast
from weakref import WeakSet

from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    ConnectionError,  # noqa: A004  # the name that redis-py gives it
    NoScriptError,
    ReadOnlyError,
    RedisError,
    TimeoutError,  # noqa: A004  # likewise
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType

    from redis import Redis

    Item = TypeVar("Item")

MAX_MESSAGES = 10_000  # kept for replay; trimmed in whole nodes of the stream, so a few more
REPLAY_MESSAGES = 1000  # in one answer
EXPIRY_SECONDS = 24 * 3600
RENEWAL_SECONDS = 60  # how often a writer renews the expiry
# Of a channel that is used for long, the half that was heard longest ago is forgotten
# when there are more. No retry is that late.
MAX_WRITERS = 1000
# Webdis corrupts its stream at a message of 65,536 bytes; stay well below.
MAX_PAYLOAD_BYTES = 32 * 1024
# What a message has besides its text needs less than 300 bytes.
MAX_TEXT_BYTES = MAX_PAYLOAD_BYTES - 512
# Integers that JavaScript tells apart.
INTEGER_LIMIT = 2**53
# More than can be published between two syncs of the append-only file.
LOST_MESSAGES = 1_000_000

TERMINAL = ("done", "failed", "cancelled")

# Number, copy for replay and publication are one atomic step. KEYS: state, events.
# ARGV: writer, its count of its messages and the rest of the message's JSON, in one for
# the time that each argument takes; and now and then: 1 to renew the expiry, the kind
# if it ends the stream, how many of the writer's messages Redis must know. Answers
# the number; a negative one says that a cancel is requested.
#
# The state has, for each writer, its count and the number of its last message. A message
# that comes a second time, because its answer was lost, is known by that: it is
# answered as it was and published no more. And if the count leaves one out, Redis has
# lost it, and perhaps those of other writers: then the number jumps ahead.
_PUBLISH = f"""
local writer, count, fields = string.match(ARGV[1], '^(%x+) (%d+) (.*)$')
local state = redis.call('HMGET', KEYS[1], 'seq', 'epoch', 'ended', 'cancel', writer)
local known = 0
if state[5] then
    local taken, number = string.match(state[5], '(%d+) (%d+)')
    known = tonumber(taken)
    if tonumber(count) <= known then return tonumber(number) end
end
if state[3] then return redis.error_reply('ENDED ' .. state[3]) end
local epoch, seq = state[2], (state[1] or 0) + 1
if epoch and known < tonumber(ARGV[4] or count - 1) then seq = seq + {LOST_MESSAGES} end
seq = string.format('%d', seq)
redis.call('HSET', KEYS[1], 'seq', seq, writer, count .. ' ' .. seq)
if not epoch then
    epoch = writer .. '-' .. count
    redis.call('HSET', KEYS[1], 'epoch', epoch)
    redis.call('DEL', KEYS[2])
end
local message = '{{"seq": ' .. seq .. ', "epoch": "' .. epoch .. '", ' .. fields
redis.call('XADD', KEYS[2], 'MAXLEN', '~', {MAX_MESSAGES}, seq .. '-1', 'message', message)
if ARGV[3] and ARGV[3] ~= '' then redis.call('HSET', KEYS[1], 'ended', ARGV[3]) end
if ARGV[2] == '1' or not state[2] then
    redis.call('EXPIRE', KEYS[1], {EXPIRY_SECONDS})
    redis.call('EXPIRE', KEYS[2], {EXPIRY_SECONDS})
end
if not state[5] and redis.call('HLEN', KEYS[1]) > {MAX_WRITERS} then
    local all, writers = redis.call('HGETALL', KEYS[1]), {{}}
    for i = 1, #all, 2 do
        local number = string.match(all[i + 1], '^%d+ (%d+)$')
        if number then table.insert(writers, {{tonumber(number), all[i]}}) end
    end
    table.sort(writers, function(a, b) return a[1] < b[1] end)
    for i = 1, #writers / 2 do redis.call('HDEL', KEYS[1], writers[i][2]) end
end
redis.call('PUBLISH', string.sub(KEYS[1], 1, -1 - #':state'), message)
return state[4] and -seq or tonumber(seq)
"""

_REQUEST_CANCEL = f"""
if redis.call('HGET', KEYS[1], 'ended') then return 0 end
redis.call('HSET', KEYS[1], 'cancel', 1)
redis.call('EXPIRE', KEYS[1], {EXPIRY_SECONDS})
return 1
"""

_json = json.JSONEncoder().encode  # json.dumps looks at its options each time
_BACKOFF = ExponentialWithJitterBackoff(base=0.05, cap=1)


class ProgressError(Exception):
    """What this module raises; the message is one sentence for a person."""


class EndedError(ProgressError):
    """The stream has had its done, failed or cancelled: nothing may follow."""


class NotSentError(ProgressError):
    """Redis did not take a message.

    Args:
        reason: Why, as a sentence.
        fields: JSON of the message as it was to be sent.
    """

    def __init__(self, reason: str, fields: str) -> None:
        super().__init__(f"Not sent: {fields} {reason}")
        self.unsent: dict[str, Any] = json.loads(fields)


class CancelledError(ProgressError):
    """Somebody asked for the work to stop; leave the ``with`` block by it."""


class Position(NamedTuple):
    """How far a channel's count is: what a reader needs to begin after it."""

    epoch: str
    seq: int


_publishers: WeakSet[Progress] = WeakSet()


def _after_fork() -> None:
    # A child counts for itself, or its messages would pass for its parent's.
    for publisher in list(_publishers):
        publisher._become_writer()  # noqa: SLF001  # this module's own


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class Progress:
    """Publishes to one channel; threads may share it, and processes that fork.

    As a context manager it publishes ``started`` at once and ends the stream by
    itself: ``done``, or ``failed`` if the block raises (the exception goes on), or
    ``cancelled`` if it raises `CancelledError` (which ends there).

    Args:
        redis: A client whose user may use the channel's keys. One connection of its
            pool is kept from the first message to the end of the stream. Its own
            retries, if it has any, come on top of those made here.
        channel: For example ``progress:`` and 128 random bits.
        total: How many steps there are, if it is known.
        patience_seconds: How long to try again when Redis is away.

    Raises:
        TypeError: ``total`` is no integer.
        ValueError: ``total`` is negative, or 2^53 or more.
    """

    def __init__(
        self,
        redis: Redis,
        channel: str,
        total: int | None = None,
        *,
        patience_seconds: float = 30.0,
    ) -> None:
        self._redis = redis
        self.channel = _text("channel", channel)
        self.total = None if total is None else _integer("total", total)
        self.current: int | None = None  # steps done, as far as this writer knows
        self._patience_seconds = patience_seconds
        self._sha = redis.register_script(_PUBLISH).sha
        # As they are sent: they need not be encoded for each message.
        self._keys: tuple[Any, ...] = tuple(
            f"{self.channel}:{key}".encode() for key in ("state", "events")
        )
        self._renew_at = 0.0
        self._second, self._date = -1, ""  # the last message's moment
        self._ended = False
        self._cancel = False
        self._become_writer()
        _publishers.add(self)

    def _become_writer(self) -> None:
        self._lock = threading.Lock()
        self._own: Redis | None = None
        self._count = 0
        self._writer = secrets.token_hex(6)
        self._known = 0  # how many of the messages counted Redis is sure to have

    def started(self, text: str = "Started") -> int:
        """Publish that the work has begun; see `message` for what is raised."""
        return self._send("started", text)

    def update(self, current: int, text: str = "") -> int:
        """Publish how many steps are done.

        Args:
            current: Steps done, from 0.
            text: What is being done.

        Raises:
            TypeError, ValueError: ``current`` is not an integer from 0 to 2^53 - 1.
            EndedError, NotSentError: As with `message`.
        """
        self.current = _integer("current", current)
        return self._send("progress", text)

    def message(self, text: str) -> int:
        """Publish a text and return its sequence number.

        Args:
            text: Any text. NUL and lone surrogates are replaced, and what is too
                long is cut and ends in an ellipsis.

        Raises:
            TypeError: ``text`` is no string.
            EndedError: The stream has ended.
            NotSentError: Redis was away for ``patience_seconds``, or refused.
        """
        return self._send("message", text)

    def done(self, text: str = "Done") -> int:
        """Publish that the work is complete, and end the stream."""
        return self._send("done", text)

    def failed(self, error: str | BaseException) -> int:
        """Publish that the work has failed, and end the stream.

        Args:
            error: A text for people. Of an exception only the class is published:
                its text may hold what is none of the reader's business.
        """
        if isinstance(error, BaseException):
            error = f"Failed: {type(error).__name__}"
        return self._send("failed", error)

    def cancelled(self, text: str = "Cancelled") -> int:
        """Publish that the work was stopped on request, and end the stream."""
        return self._send("cancelled", text)

    def request_cancel(self) -> bool:
        """Ask whoever does the work to stop; false if the stream has ended already."""
        return bool(self._redis.eval(_REQUEST_CANCEL, 1, f"{self.channel}:state"))

    def cancel_requested(self) -> bool:
        """Ask Redis whether somebody wants the work to stop."""
        if not self._cancel:
            answer = cast("bytes | str | None", self._redis.hget(f"{self.channel}:state", "cancel"))
            self._cancel = answer is not None
        return self._cancel

    def raise_if_cancelled(self) -> None:
        """Raise `CancelledError` if somebody wants the work to stop."""
        if self.cancel_requested():
            raise CancelledError("Somebody asked for the work to stop.")

    def track(
        self, items: Iterable[Item], text: str = "", *, per_second: float = 5.0
    ) -> Iterator[Item]:
        """Yield ``items`` and publish how many are done.

        Args:
            items: Their number becomes ``total`` unless that is set or they have none.
            text: Goes with each message.
            per_second: Messages a second at most; the last is always sent.

        Raises:
            CancelledError: Somebody asked for the work to stop.
        """
        if self.total is None and isinstance(items, Sized):
            self.total = len(items)
        sent, sent_at = -1, 0.0
        count = 0
        for item in items:
            now = time.monotonic()
            if sent < 0 or now - sent_at >= 1 / per_second:
                self.update(count, text)
                sent, sent_at = count, now
                # The answer to the update has said so: this asks nobody.
                if self._cancel:
                    self.raise_if_cancelled()
            yield item
            count += 1
            self.current = count
        if sent != count:
            self.update(count, text)

    def __enter__(self) -> Self:
        """Publish that the work has begun."""
        self.started()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        """End the stream unless the block has done so."""
        cancelled = isinstance(error, CancelledError)
        if error is None and not self._ended:
            self.done()
        elif not self._ended:
            # Somebody else may have ended it; the block's own error matters more.
            with contextlib.suppress(EndedError):
                if cancelled:
                    self.cancelled()
                else:
                    self.failed(cast("BaseException", error))
        return cancelled

    def _send(self, kind: str, text: str) -> int:
        literal = _literal(text)
        with self._lock:
            # Put together by hand: it takes a quarter of the time of isoformat and json.dumps.
            now = time.time()
            second = int(now)
            if second != self._second:
                self._second = second
                self._date = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            fields = (
                f'"ts": "{self._date}.{int((now - second) * 1000):03}Z", "kind": "{kind}", '
                f'"text": {literal}, "current": {_number(self.current)}, '
                f'"total": {_number(self.total)}}}'
            )
            count = self._count = self._count + 1
            options: tuple[Any, ...] = ()
            uptime = time.monotonic()
            if uptime >= self._renew_at or kind in TERMINAL or self._known < count - 1:
                options = (1, kind if kind in TERMINAL else "", self._known)
                self._renew_at = uptime + RENEWAL_SECONDS
            answer = self._deliver(fields, f"{self._writer} {count} {fields}", *options)
            self._known = count
            if answer < 0:
                self._cancel = True
                answer = -answer
            self._ended = kind in TERMINAL
            if self._ended and self._own is not None:
                self._own.close()
                self._own = None
            return answer

    def _evaluate(self, *args: Any) -> int:  # noqa: ANN401  # as redis-py takes them
        if self._own is None:
            # To take one from the pool each time would cost as much as all else here.
            self._own = cast("Redis", self._redis.client())  # type: ignore[no-untyped-call]  # it is
        try:
            return cast("int", self._own.evalsha(self._sha, 2, *self._keys, *args))
        except NoScriptError:
            return cast("int", self._own.eval(_PUBLISH, 2, *self._keys, *args))

    def _deliver(self, fields: str, *args: object) -> int:
        deadline = None
        failures = 0
        while True:
            try:
                return self._evaluate(*args)
            except RedisError as error:
                if str(error).startswith("ENDED"):
                    ending = str(error).split()[1]
                    raise EndedError(
                        f"{self.channel} has ended ({ending}); nothing may follow: {{{fields}"
                    ) from None
                delay_seconds = _BACKOFF.compute(failures := failures + 1)
                now = time.monotonic()
                deadline = deadline or now + self._patience_seconds
                if not _passes(error) or now + delay_seconds > deadline:
                    raise NotSentError(f"Redis: {error}", "{" + fields) from error
                time.sleep(delay_seconds)


def _passes(error: RedisError) -> bool:
    """Tell whether the same message may be taken a little later."""
    if isinstance(error, AuthenticationError | AuthorizationError):
        return False
    # MISCONF: its disk is full. It takes messages again when there is room.
    return isinstance(error, ConnectionError | TimeoutError | ReadOnlyError) or str(
        error
    ).startswith("MISCONF")


def events_after(redis: Redis, channel: str, after: int) -> list[dict[str, Any]]:
    """Return a channel's next messages after a sequence number, in order.

    Args:
        redis: A connection whose user may read the channel's keys.
        channel: As given to `Progress`.
        after: The last sequence number that the reader has. If Redis knows fewer,
            it has lost the channel meanwhile: then its messages from the first on.

    Returns:
        At most `REPLAY_MESSAGES`; the reader asks again until there are none.
    """
    if after > position(redis, channel).seq:
        after = 0
    entries = redis.xrange(f"{channel}:events", min=f"({after}-1", count=REPLAY_MESSAGES)
    return _messages(entries)


def last_events(redis: Redis, channel: str, count: int) -> list[dict[str, Any]]:
    """Return a channel's last messages, at most ``count``, in order."""
    return _messages(redis.xrevrange(f"{channel}:events", count=count))[::-1]


def position(redis: Redis, channel: str) -> Position:
    """Return how far a channel is; an empty epoch and 0 before its first message."""
    answer = cast("list[bytes | str | None]", redis.hmget(f"{channel}:state", ["epoch", "seq"]))
    epoch, seq = answer
    return Position(epoch.decode() if isinstance(epoch, bytes) else epoch or "", int(seq or 0))


def _messages(entries: object) -> list[dict[str, Any]]:
    stream = cast("list[tuple[object, dict[object, bytes | str]]]", entries)
    return [json.loads(message) for _, fields in stream for message in fields.values()]


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name} is {value!r}; a string is needed")
    return value


def _integer(name: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} is {value!r}; an integer is needed")
    if not 0 <= value < INTEGER_LIMIT:
        raise ValueError(f"{name} is {value}; it must be from 0 to 2^53 - 1")
    return value


def _number(value: int | None) -> int | str:
    return "null" if value is None else value


def _literal(text: str) -> str:
    """Return ``text`` in JSON, with what cannot be carried replaced or cut, visibly."""
    literal = _json(_text("text", text)[:MAX_TEXT_BYTES])
    if "\\u" in literal:
        # Webdis cuts a message at NUL; lone surrogates are not text.
        text = text[:MAX_TEXT_BYTES].replace("\0", "\N{SYMBOL FOR NULL}")
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        literal = _json(text)
    if len(literal) <= MAX_TEXT_BYTES:
        return literal
    ellipsis = "\N{HORIZONTAL ELLIPSIS}"
    room = MAX_TEXT_BYTES - len(_json(ellipsis))
    lengths = range(len(text))
    fitting = bisect.bisect_right(lengths, room, key=lambda length: len(_json(text[:length])))
    return _json(text[: fitting - 1] + ellipsis)
