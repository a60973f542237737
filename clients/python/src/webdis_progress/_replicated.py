"""What ``durability="replicated"`` adds: the last messages are kept, and sent again if need be.

A replica that confirms a message may not be the one that becomes the primary. So the writer keeps
what it has sent last, and Redis, asked in each call whether it has all that was confirmed, says
how many of them it knows.
"""

from __future__ import annotations

import contextlib
from collections import deque
from itertools import groupby
from typing import TYPE_CHECKING

from redis.exceptions import ResponseError

from webdis_progress._event import TERMINAL
from webdis_progress._outbox import MAX_CALL_BYTES, MAX_CALL_MESSAGES, Call, Outbox
from webdis_progress._wire import UnconfirmedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from webdis_progress._event import Message
    from webdis_progress._outbox import Answer, Sending

# More than is published while a primary that has lost its replicas still takes messages
# (min-replicas-max-lag, 2 s in webdis-kit).
MAX_KEPT_MESSAGES = 1000
MAX_KEPT_BYTES = 1024 * 1024


class ReplicatedOutbox(Outbox):
    """An `Outbox` that sends again what a new primary does not have."""

    replicated = True

    def become_writer(self) -> None:
        """Count from 1, as somebody else, who has sent nothing."""
        super().become_writer()
        self._kept: deque[tuple[int, Message]] = deque()
        self._kept_bytes = 0

    def _take(self) -> list[Message]:
        flight = super()._take()
        for number, message in enumerate(flight):
            # A page that has had it from the old primary knows it again by this.
            count = self._count - len(flight) + 1 + number
            identity = b'"id": "%b-%d", ' % (self.writer, count)
            flight[number] = message._replace(
                fields=identity + message.fields,
                brief=message.brief and identity + message.brief,
                size=message.size + len(identity),
            )
        return flight

    def _send_once(self, flight: list[Message], deadline: float) -> Sending:
        try:
            return (yield from self._call(flight, deadline))
        except ResponseError as error:
            if not str(error).startswith("BEHIND"):
                raise
            known = int(str(error).split()[1])
        for count, messages in self._kept_calls(known):
            with contextlib.suppress(UnconfirmedError):  # Redis has it, and it is kept here
                yield Call(self._arguments(messages, count, known), deadline)
            known = count
        return (yield from self._call(flight, deadline))

    def _call(self, flight: list[Message], deadline: float) -> Sending:
        try:
            return (yield Call(self._arguments(flight), deadline))
        except UnconfirmedError as error:
            # After an end nobody would send it again.
            if any(message.kind in TERMINAL for message in flight):
                raise
            return error.answer

    def _kept_calls(self, known: int) -> Iterator[tuple[int, list[Message]]]:
        """Yield what is kept after a count: the count of the last of some messages, and these."""
        missing = [entry for entry in self._kept if entry[0] > known]
        for _, group in groupby(enumerate(missing), lambda entry: entry[1][0] - entry[0]):
            messages: list[Message] = []
            last = size = 0
            for _, (count, message) in group:
                if messages and (
                    len(messages) == MAX_CALL_MESSAGES or size + message.size > MAX_CALL_BYTES
                ):
                    yield last, messages
                    messages, size = [], 0
                last = count
                messages.append(message)
                size += message.size
            yield last, messages

    def _landed(self, flight: list[Message], answer: Answer) -> int:
        seq = super()._landed(flight, answer)
        self._kept.extend(enumerate(flight, self._count - len(flight) + 1))
        self._kept_bytes += sum(message.size for message in flight)
        while len(self._kept) > 1 and (
            len(self._kept) > MAX_KEPT_MESSAGES or self._kept_bytes > MAX_KEPT_BYTES
        ):
            self._kept_bytes -= self._kept.popleft()[1].size
        return seq
