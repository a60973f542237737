"""What is to be sent, how often it is tried, and what becomes of it: without any input or output.

`Outbox.deliver` and `Outbox.ask` are generators, so that blocking and asyncio clients share them.
They yield a `Call`, and are sent Redis's answer or thrown its error; or seconds to sleep.
"""

from __future__ import annotations

import logging
import random
import secrets
import time
from collections import deque
from contextvars import ContextVar
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    ConnectionError,  # noqa: A004  # the name that redis-py gives it
    MasterDownError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TimeoutError,  # noqa: A004  # likewise
)

from webdis_progress._errors import EndedError, NotSentError
from webdis_progress._event import RUN, TERMINAL
from webdis_progress._limits import TRIM_BYTES
from webdis_progress._observer import observer

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from webdis_progress._event import Message

    # 1: all was as the writer expected; else the state after its last message, whether to cancel
    Answer: TypeAlias = int | tuple[bytes | str, int]
    Sending: TypeAlias = Generator["Call | float", Answer, Answer]
    Steps: TypeAlias = Generator["Call | float", Answer, int]
    Asking: TypeAlias = Generator["Call | float", object, object]

RENEWAL_SECONDS = 60  # how often a writer renews the expiry
# What waits while Redis is away.
MAX_WAITING_MESSAGES = 1000
MAX_WAITING_BYTES = 1024 * 1024
# What goes in one call.
MAX_CALL_MESSAGES = 250
MAX_CALL_BYTES = 128 * 1024
FIRST_DELAY_SECONDS = 0.05
LONGEST_DELAY_SECONDS = 1.0
# How long a lost Redis is left in peace where nobody waits for it.
LONGEST_ABSENCE_SECONDS = 5.0

_log = logging.getLogger("webdis_progress")

# Whether a block is left here by Ctrl-C and the like: who wants to leave does not wait for Redis.
leaving: ContextVar[bool] = ContextVar("leaving", default=False)


class Call(NamedTuple):
    """One run of the script, or another command.

    Attributes:
        arguments: Of the script, after the keys and the channel.
        deadline: On the monotonic clock; after it nobody waits for the answer.
        command: In place of the script, packed.
    """

    arguments: list[bytes]
    deadline: float
    command: bytes = b""


class Outbox:
    """The writer of one channel: its count, what waits, and what is on its way.

    Args:
        channel: For messages to people.
        patience_seconds: How long to try again.
        notice: Makes an event of a text: what was dropped is said in one.
    """

    replicated = False  # Redis answers BEHIND where it has fewer than were confirmed

    def __init__(
        self, channel: str, patience_seconds: float, notice: Callable[[str], Message]
    ) -> None:
        self._channel = channel
        self._patience_seconds = patience_seconds
        self._notice = notice
        self.log: Callable[..., None] = _log.log
        self.required = True
        self.cancel = False  # somebody has asked for one
        self.forget = b""  # a command for what has ended, where it is to begin again
        self.ended = ""
        self.become_writer()

    def become_writer(self) -> None:
        """Count from 1, as somebody else: after a fork the messages are the parent's."""
        self.writer = secrets.token_hex(6).encode()
        self._count = 0
        self._confirmed = 0  # how many of them Redis is sure to have
        self._renew_at = 0.0
        self._waiting: deque[Message] = deque()
        self._flight: list[Message] = []  # has had its numbers: Redis may have it
        self._know(b"")
        self._dropped = 0
        self._failures = 0
        self._retry_at = 0.0

    def put(self, messages: Sequence[Message]) -> None:
        """Leave messages to the next that are delivered."""
        self._waiting.extend(messages)

    def deliver(self, messages: Sequence[Message], *, wait: bool = False) -> Steps:
        """Send messages after those that wait.

        Args:
            messages: In order. One that ends the stream is the last.
            wait: Try again for as long as patience lasts, also where nothing is required.

        Returns:
            The number of the last one; 0 if it waits for Redis to be back.

        Raises:
            EndedError: The stream has ended.
            NotSentError: They are required, and Redis was away or refused.
        """
        patient = not leaving.get()
        required = self.required and patient
        wait = patient and (wait or required)
        now = time.monotonic()
        self.put(messages)
        if not wait and now < self._retry_at:
            self._drop_what_is_too_much()
            return 0
        deadline = now + self._patience_seconds
        seq = attempt = 0
        while self._waiting or self._flight:
            flight = self._flight or self._take()
            called_at = time.monotonic()
            try:
                answer = yield from self._send(flight, deadline)
            except RedisError as error:
                self._check_ended(error, flight)
                delay_seconds = _delay(attempt := attempt + 1)
                if wait and _passes(error) and time.monotonic() + delay_seconds < deadline:
                    observer().retried(len(flight))
                    yield delay_seconds
                    continue
                self._give_up(error, flight, required=required)
                return 0
            observer().published(len(flight), time.monotonic() - called_at)
            seq = self._landed(flight, answer)
        return seq

    def ask(self, command: bytes, *, patiently: bool) -> Asking:
        """Send a command that does no harm when Redis gets it twice; return its answer.

        Args:
            command: Packed.
            patiently: Try again for as long as patience lasts.

        Raises:
            RedisError: Redis is away, or refuses.
        """
        deadline = time.monotonic() + self._patience_seconds
        attempt = 0
        while True:
            try:
                return (yield Call([], deadline, command))
            except RedisError as error:
                delay_seconds = _delay(attempt := attempt + 1)
                late = time.monotonic() + delay_seconds >= deadline
                if late or not patiently or not _passes(error):
                    raise
            yield delay_seconds

    def _drop_what_is_too_much(self) -> None:
        size = sum(message.size for message in self._waiting)
        while len(self._waiting) > 1 and (
            len(self._waiting) > MAX_WAITING_MESSAGES or size > MAX_WAITING_BYTES
        ):
            # An end is what the page needs most.
            oldest = next((m for m in self._waiting if m.kind not in TERMINAL), self._waiting[0])
            self._waiting.remove(oldest)
            size -= oldest.size
            self._dropped += 1
            observer().dropped(1)

    def _take(self) -> list[Message]:
        if self._dropped:
            words = f"{self._dropped} messages were dropped while Redis was away."
            self._waiting.appendleft(self._notice(words))
            self._dropped = 0
        size, flight, waiting = 0, self._flight, self._waiting
        while waiting and len(flight) < MAX_CALL_MESSAGES:
            size += waiting[0].size
            if flight and size > MAX_CALL_BYTES:
                break
            flight.append(waiting.popleft())
        self._count += len(flight)
        return flight

    def _send(self, flight: list[Message], deadline: float) -> Sending:
        try:
            return (yield from self._send_once(flight, deadline))
        except ResponseError as error:
            begins = any(message.kind == "started" and message.bar == RUN for message in flight)
            if not (self.forget and begins and _ending_of(error) not in {"", "cancelled"}):
                raise
        yield Call([], deadline, self.forget)
        return (yield from self._send_once(flight, deadline))

    def _send_once(self, flight: list[Message], deadline: float) -> Sending:
        return (yield Call(self._arguments(flight), deadline))

    def _know(self, state: bytes) -> None:
        """Take over the state as it stands in Redis; it is expected there the next time."""
        words = state.split(b" ")
        own = words[2:] == [self.writer, b"%d" % self._count, b""]
        if own and not self.replicated:
            entry, epoch = words[:2]
            seq, size = entry.split(b"-")
            self._seq, self._bytes, self._state = int(seq), int(size), state
        else:
            self._seq, self._bytes, epoch = 0, 0, b"-"
            self._state = self._unlike_any(self._confirmed)
        self._epoch_json = b', "epoch": "%b", ' % epoch
        self._writer_words = b" %b %b " % (epoch, self.writer)

    def _unlike_any(self, confirmed: int) -> bytes:
        """Return a state that no channel has: there the numbers are given."""
        return b"0-0 - %b %d " % (self.writer, confirmed)

    def _arguments(
        self, flight: list[Message], count: int | None = None, confirmed: int | None = None
    ) -> list[bytes]:
        """Return what the script is told of messages: numbered as if nobody else had written.

        Args:
            flight: The messages.
            count: Of the last of them; without it they are the newest.
            confirmed: How many before them Redis is sure to have.
        """
        count = self._count if count is None else count
        expected = self._state if confirmed is None else self._unlike_any(confirmed)
        seq, size = self._seq, self._bytes
        last = {message.bar: index for index, message in enumerate(flight)}
        arguments = [expected, b"", b""]
        for index, message in enumerate(flight):
            seq += 1
            text = b'{"seq": %d%b%b' % (seq, self._epoch_json, message.fields)
            size += len(text)
            entry = b"%d-%d" % (seq, size)
            if last[message.bar] != index:
                arguments += (b"", entry, text)
            elif message.brief:
                brief = b'{"seq": %d%b%b' % (seq, self._epoch_json, message.brief)
                arguments += (b"", entry, text, message.bar, b"", brief)
            else:
                arguments += (message.bar, entry, text)
        state = b"%b%b%d %b" % (entry, self._writer_words, count, ending(flight).encode())
        self._next = (state, seq, size)
        now = time.monotonic()
        due = now >= self._renew_at
        if due:
            self._renew_at = now + RENEWAL_SECONDS
        due = due or size // TRIM_BYTES > self._bytes // TRIM_BYTES
        arguments[1:3] = state, b"%d%d" % (due, self.replicated)
        return arguments

    def _landed(self, flight: list[Message], answer: Answer) -> int:
        """Take note that messages were taken; return the number of the last one."""
        if self._failures:
            self.log(logging.INFO, "%s: Redis is back", self._channel)
        self._failures = 0
        self._retry_at = 0.0
        self._confirmed = self._count
        self.ended = ending(flight)
        self._flight = []
        if isinstance(answer, int):
            self._state, self._seq, self._bytes = self._next
            seq = self._seq
            if self.ended:
                self._know(b"")  # nothing may follow: the script has to say so
            return seq
        line, cancel = answer
        self.cancel = self.cancel or bool(cancel)
        state = line.encode() if isinstance(line, str) else line
        self._know(state)
        return int(state.partition(b"-")[0])

    def _check_ended(self, error: RedisError, flight: list[Message]) -> None:
        if not (ended := _ending_of(error)):
            return
        self.ended = ended
        self._drop_all()
        raise EndedError(
            f"{self._channel} has ended ({self.ended}); nothing may follow: "
            f"{flight[-1].content()['text']!r}"
        ) from None

    def _give_up(self, error: RedisError, flight: list[Message], *, required: bool) -> None:
        reason = f"Redis: {error}"
        if isinstance(error, OutOfMemoryError) or "OOM" in str(error):
            reason = (
                "Redis's memory is full, and it deletes nobody else's data to make room; "
                f"publish less, or raise its maxmemory. Redis: {error}"
            )
        if required:
            unsent = flight[-1].content()
            self._drop_all()
            raise NotSentError(reason, unsent) from error
        if not self._failures:
            words = "%s: the work goes on without being reported. %s"
            self.log(logging.WARNING, words, self._channel, reason)
        self._failures += 1
        observer().retried(len(flight))
        self._drop_what_is_too_much()
        absence_seconds = min(LONGEST_ABSENCE_SECONDS, 0.1 * 2.0**self._failures)
        self._retry_at = time.monotonic() + absence_seconds

    def _drop_all(self) -> None:
        observer().dropped(self.pending)
        # Their numbers are not used again: whether Redis has had them cannot be known.
        self._flight = []
        self._waiting.clear()

    @property
    def unsent(self) -> int:
        """How many messages Redis has not confirmed, those that were dropped included."""
        return self.pending + self._dropped

    @property
    def pending(self) -> int:
        """How many of them may still be sent."""
        return len(self._flight) + len(self._waiting)


def ending(messages: Sequence[Message]) -> str:
    """Return how messages end the stream: a kind, or nothing."""
    last = messages[-1]
    return last.kind if last.kind in TERMINAL and last.bar == RUN else ""


def _ending_of(error: RedisError) -> str:
    """Return how the stream has ended, if that is what the script has answered."""
    words = str(error).split()
    return words[1] if words[:1] == ["ENDED"] else ""


def _delay(attempt: int) -> float:
    """Return how long to wait: all of it is chance, and the bound doubles."""
    bound = min(LONGEST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2.0**attempt)
    return random.uniform(0, bound)  # noqa: S311  # no secret


def _passes(error: RedisError) -> bool:
    """Tell whether the same message may be taken a little later."""
    if isinstance(error, AuthenticationError | AuthorizationError):
        return False
    # MISCONF: its disk is full. UNBLOCKED: it is no primary any more. NOREPLICAS, MASTERDOWN:
    # another one will be it soon. BEHIND: another one became it once more.
    # Redis 6 has the code of a script's error within its text.
    codes = ("MISCONF", "UNBLOCKED", "NOREPLICAS", "MASTERDOWN", "READONLY", "BEHIND")
    return isinstance(
        error, ConnectionError | TimeoutError | ReadOnlyError | MasterDownError
    ) or any(code in str(error) for code in codes)
