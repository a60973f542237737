"""`Progress` and `Task`: publish through a blocking client."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from typing import TYPE_CHECKING, Any, Self, TypeVar

import redis

from webdis_progress._bar import Bar, Content, TaskBar
from webdis_progress._errors import CancelledError
from webdis_progress._outbox import Call
from webdis_progress._run import RunBar
from webdis_progress._track import Tracking
from webdis_progress._wire import Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
    from types import TracebackType
    from typing import SupportsIndex

    from webdis_progress._event import Message
    from webdis_progress._run import Batch

    Item = TypeVar("Item")
    Answered = TypeVar("Answered")
    Text = str | Callable[[Item], str]

_log = logging.getLogger("webdis_progress")


class _Lock:
    """A re-entrant lock; what is to be logged under it is logged when it is free again.

    Handlers have locks, too: a thread that publishes what another one logs holds that lock.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._depth = 0
        self._notes: list[tuple[Any, ...]] = []

    def log(self, *note: Any) -> None:  # noqa: ANN401  # as `logging.Logger.log` takes them
        """Log it when the lock is free."""
        self._notes.append(note)

    def __enter__(self) -> None:
        self._lock.acquire()
        self._depth += 1

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        notes: list[tuple[Any, ...]] = []
        if self._notes and not self._depth:
            notes, self._notes = self._notes, notes
        self._lock.release()
        for note in notes:
            _log.log(*note)


class _Blocking(Bar[int]):
    """What `Progress` and `Task` do besides publishing."""

    def track(
        self,
        items: Iterable[Item],
        text: Text[Item] = "",
        *,
        total: SupportsIndex | None = None,
        per_second: float = 5.0,
    ) -> Iterator[Item]:
        """Yield ``items`` and publish how many are done.

        One ``track`` after another begins its bar again. One while another is at work, within
        it or in another thread, has a task of its own: ``track 2`` and so on.

        Args:
            items: Anything that can be iterated over.
            text: Goes with each message; a function is given the item.
            total: How many there are; without it, the length of ``items``. What has no
                length keeps the ``total`` that the bar was given.
            per_second: Messages a second at most; the last is always sent.

        Raises:
            CancelledError: Somebody asked for the work to stop.
        """
        run: Progress = self._whole
        with Tracking(run, self, items, text, total=total, per_second=per_second) as tracked:
            for item in items:
                if tracked.is_due(item):
                    tracked.report()
                    # The answer has said so: this asks nobody.
                    if run._outbox.cancel:  # noqa: SLF001  # this module's own
                        run.raise_if_cancelled()
                yield item
                tracked.count()
            for publish in tracked.rest():
                publish()

    def __enter__(self) -> Self:
        """Publish that it has begun."""
        try:
            self.started()
        except Exception:
            raise
        except BaseException as error:  # Ctrl-C: Redis may have it, and no block will end it
            self.__exit__(type(error), error, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        """End it unless the block has done so."""
        raise NotImplementedError


class Task(_Blocking, TaskBar[int]):
    """A task of a run, made by `Progress.task`; threads may share it.

    As a context manager it publishes ``started`` at once and ends by itself: ``done``, or
    ``failed`` if the block raises, or ``cancelled`` if it raises `CancelledError`; either goes
    on. A task that has failed does not end its run.
    """

    _run: Progress

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the task unless the block has done so."""
        with self._run._unless_it_replaces(error):  # noqa: SLF001  # this module's own
            if not self.ended:
                self._end(error)


class Progress(_Blocking, RunBar[int, redis.Redis, Task]):
    """Publishes to one channel; threads may share it, and processes that fork.

    As a context manager it publishes ``started`` at once and ends the stream by itself with
    ``done``. If the block raises, that is ``failed``, and the exception goes on. If it raises
    `CancelledError`, that is ``cancelled``, and the exception ends there. The block's own
    exception is never replaced by one of publishing.

    Args:
        redis: A client whose user may use the channel's keys. A connection of its kind
            is kept from the first event to the end of the stream.
        channel: For example ``"progress:"`` and 128 random bits.
        total: How many steps there are, if it is known.
        required: Whether work stops with `NotSentError` when Redis is away. If not, that is
            logged, and the last 1,000 events (1 MiB) wait for it to be back. An event says
            how many were dropped. The default: not in a ``with`` block, else yes.
        patience_seconds: How long to try again when Redis is away: each event that is
            required, and the end of a ``with`` block.
        durability: ``"primary"``: what Redis has taken counts as taken. ``"replicated"`` is for a
            client of Sentinel's. Each call waits up to 200 ms for a replica to have it, too; an
            end waits for as long as patience lasts. The last 1,000 events (1 MiB) are kept. Where
            another server has become the primary without them, they are sent again in order.
        count_tasks: The run's bar counts its tasks: ``current`` those that have ended, and
            ``total``, unless it is given, those that there are.
        started_text: What `started` says.
        done_text: What `done` says.

    Raises:
        TypeError: ``channel`` is no string, ``total`` no integer, ``redis`` of asyncio.
        ValueError: ``total`` is negative, or 2^53 or more; ``durability`` is another one.
    """

    _is_awaited, _other = False, "AsyncProgress"
    _task_type = Task

    def _begin_here(self) -> None:
        self._is_delivering = False
        self._lock = _Lock()
        self._outbox.log = self._lock.log
        self._wire = Wire(self._redis, self._commands, self._patience_seconds)

    def _add_task(self, task: Task) -> None:
        with self._lock:
            super()._add_task(task)

    @contextlib.contextmanager
    def batch(self) -> Iterator[None]:
        """Send in one call what this thread publishes within the block, at its end.

        Until then nobody sees it, and the number of an event is answered as 0. Of 250
        events, or 128 KiB, a call is full: it is sent, and the block goes on with the next.

        Raises:
            EndedError, NotSentError: As for a single event, for all of them.
        """
        with self._collecting() as batch:
            try:
                yield
            except BaseException as error:
                with self._unless_it_replaces(error):
                    self._send(batch)
                raise
        self._send(batch)

    def flush(self) -> None:
        """Send what waits for Redis to be back, for as long as patience lasts."""
        with self._lock:
            self._deliver([], wait=True)

    def request_cancel(self) -> bool:
        """Ask whoever does the work to stop; false if the stream has ended already.

        Raises:
            redis.RedisError: Redis was away for ``patience_seconds``, or refuses.
        """
        with self._lock:
            steps = self._outbox.ask(self._commands.request_cancel, patiently=True)
            return bool(self._drive(steps))

    def cancel_requested(self) -> bool:
        """Ask Redis whether somebody wants the work to stop.

        Where nothing is required and Redis is away: whether that was known before.
        """
        with self._unless_unknown(), self._lock:
            if not self._outbox.cancel:
                self._outbox.cancel = self._drive(self._ask_for_cancel()) is not None
        return self._outbox.cancel

    def raise_if_cancelled(self) -> None:
        """Raise `CancelledError` if somebody wants the work to stop."""
        if self.cancel_requested():
            raise CancelledError("Somebody asked for the work to stop.")

    def __enter__(self) -> Self:
        """Publish that the work has begun."""
        self._enter()
        return super().__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        """End the stream unless the block has done so."""
        with self._unless_it_replaces(error), self._lock:
            if not self.ended:
                self._end(error)
            if self.unsent:
                self.flush()
        self._leave_unsent()
        with self._lock:
            self._wire.drop()
        return isinstance(error, CancelledError)

    def _publish_of(self, bar: Bar[int], content: Content) -> int:
        with self._lock:
            messages = self._to_send(self._prepare(bar, content))
            return self._deliver(messages) if messages else 0

    def _send(self, batch: Batch) -> None:
        with self._lock:
            if messages := batch.take():
                self._deliver(messages)

    def _deliver(self, messages: Sequence[Message], *, wait: bool = False) -> int:
        if self._is_delivering:  # a signal's handler, or __del__, has interrupted it: it goes on
            self._outbox.put(messages)
            return 0
        self._is_delivering = True
        try:
            return self._drive(self._outbox.deliver(messages, wait=wait))
        finally:
            self._is_delivering = False

    def _drive(self, steps: Generator[Call | float, Any, Answered]) -> Answered:
        """Do what the outbox wants done."""
        try:
            step = next(steps)
            while True:
                if isinstance(step, Call):
                    try:
                        answer: object
                        if step.command:
                            answer = self._wire.ask(step.command, step.deadline)
                        else:
                            answer = self._wire.publish(step.arguments, step.deadline)
                    except redis.RedisError as error:
                        step = steps.throw(error)
                    else:
                        step = steps.send(answer)
                else:
                    time.sleep(step)
                    step = next(steps)
        except StopIteration as stop:
            if self._outbox.ended:
                self._wire.drop()
            value: Answered = stop.value
            return value
