"""What `Progress` and its asyncio twin have in common: the run, its tasks, its batches."""

from __future__ import annotations

import contextlib
import logging
import os
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Generic, Literal, Self, TypeAlias, TypeVar, get_args
from weakref import WeakSet

import redis

from webdis_progress import _event
from webdis_progress._bar import Bar, Content, Sent, TaskBar
from webdis_progress._errors import EndedError, ProgressError
from webdis_progress._event import RUN, Clock, Message
from webdis_progress._observer import observer
from webdis_progress._outbox import MAX_CALL_BYTES, MAX_CALL_MESSAGES, Outbox, ending, leaving
from webdis_progress._replicated import ReplicatedOutbox
from webdis_progress._wire import Commands

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import SupportsIndex

    from webdis_progress._outbox import Asking

_log = logging.getLogger("webdis_progress")

PATIENCE_SECONDS = 30.0
Durability: TypeAlias = Literal["primary", "replicated"]


class Batch:
    """What one thread, or one task of asyncio, collects for a run.

    Args:
        run: For which.
    """

    def __init__(self, run: object) -> None:
        self.run: object = run  # none: it is closed
        self._messages: list[Message] = []
        self._bytes = 0

    def add(self, messages: list[Message]) -> list[Message]:
        """Take messages; return what has to be sent: no more fit into a call, or none follow."""
        self._messages += messages
        self._bytes += sum(message.size for message in messages)
        is_full = len(self._messages) >= MAX_CALL_MESSAGES or self._bytes >= MAX_CALL_BYTES
        if not is_full and not ending(messages):
            return []
        return self.take()

    def take(self) -> list[Message]:
        """Return what was collected; it has gone from here."""
        messages, self._messages, self._bytes = self._messages, [], 0
        return messages


_batch: ContextVar[Batch | None] = ContextVar("batch", default=None)
_publishers: WeakSet[RunBar[Any, Any, Any]] = WeakSet()


def _after_fork() -> None:
    # A child counts for itself, or its messages would pass for its parent's.
    for publisher in list(_publishers):
        publisher._outbox.become_writer()  # noqa: SLF001  # this module's own
        publisher._begin_here()  # noqa: SLF001  # likewise
    if batch := _batch.get():  # the parent sends it
        batch.run = None
        batch.take()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)

Client = TypeVar("Client")
OneTask = TypeVar("OneTask", bound=TaskBar[Any])


def checked_client(client: Client, *, awaited: bool, other: str) -> Client:
    """Return a client of redis-py, of asyncio or not.

    Args:
        client: Of which kind it has to be says ``awaited``.
        awaited: Whether it has to be one of asyncio.
        other: What takes clients of the other kind.

    Raises:
        TypeError: It is no client, of a cluster, or of the other kind.
    """
    # Its text may hold a password.
    name = type(client).__name__
    if not hasattr(client, "connection_pool"):
        raise TypeError(f"redis is of the type {name}; a Redis of redis-py is needed")
    if hasattr(client, "__aenter__") != awaited:
        kind = "no client" if awaited else "a client"
        raise TypeError(f"redis is {kind} of asyncio; {other} takes those")
    return client


class RunBar(Bar[Sent], Generic[Sent, Client, OneTask]):
    """A run, but for the way to Redis; its arguments are those of `Progress`."""

    _is_awaited: bool
    _other: str  # what takes clients of the other kind
    _task_type: type[OneTask]
    _begins_again = False  # where it has ended, unless in `cancelled`: queues run jobs again

    def __init__(  # noqa: PLR0913  # all but three by name
        self,
        redis: Client,
        channel: str,
        total: SupportsIndex | None = None,
        *,
        required: bool | None = None,
        patience_seconds: float = PATIENCE_SECONDS,
        durability: Durability = "primary",
        count_tasks: bool = False,
        started_text: str = "Started",
        done_text: str = "Done",
    ) -> None:
        super().__init__(RUN, "", total, (started_text, done_text))
        self.channel = _event.key("channel", channel)
        if required is not None and not isinstance(required, bool):
            raise TypeError(f"required is {required!r}; True, False or None is needed")
        self._required = required
        self._patience_seconds = _event.number("patience_seconds", patience_seconds, least=0)
        self._count_tasks = count_tasks
        self._tasks_are_total = count_tasks and total is None
        self._tasks: set[str] = set()
        self._ended_tasks: set[str] = set()
        self._clock = Clock()
        if durability not in get_args(Durability):
            known = ", ".join(get_args(Durability))
            raise ValueError(f"durability is {durability!r}; it has to be one of {known}")
        replicated = durability == "replicated"
        kind = ReplicatedOutbox if replicated else Outbox
        self._outbox = kind(self.channel, patience_seconds, self._notice)
        self._outbox.required = required is not False
        self._commands = Commands(self.channel, replicated=replicated)
        self._outbox.forget = self._commands.forget if self._begins_again else b""
        self._redis = checked_client(redis, awaited=self._is_awaited, other=self._other)
        self._begin_here()
        _publishers.add(self)

    def _begin_here(self) -> None:
        """Have a lock and a connection of this process's own."""
        raise NotImplementedError

    def task(
        self,
        name: str,
        total: SupportsIndex | None = None,
        *,
        label: str | None = None,
        started_text: str = "Started",
        done_text: str = "Done",
    ) -> OneTask:
        """Return a bar of its own within this run.

        Args:
            name: Of 1 to 200 characters; two tasks of the same name are one.
            total: How many steps there are, if it is known.
            label: What it is called for people; without one, its name.
            started_text: What `started` says.
            done_text: What `done` says.

        Raises:
            TypeError, ValueError: A value is not allowed; the message names it.
        """
        task = self._task_type(
            self, name, total, label=label, started_text=started_text, done_text=done_text
        )
        self._add_task(task)
        return task

    def _add_task(self, task: OneTask) -> None:
        task._counted = self._count_tasks  # noqa: SLF001  # its own
        self._tasks.add(task.name)
        if self._tasks_are_total:
            self.total = len(self._tasks)

    @property
    def ended(self) -> str:
        """How the stream has ended, as far as is known here: a kind, empty while it has not."""
        return self._outbox.ended

    @property
    def unsent(self) -> int:
        """How many events wait for Redis to be back, or were dropped meanwhile."""
        return self._outbox.unsent

    @property
    def _whole(self) -> Self:
        return self

    def _publish(self, content: Content) -> Sent:
        return self._publish_of(self, content)

    def _publish_of(self, bar: Bar[Sent], content: Content) -> Sent:
        """Publish an event of the run, or of one of its tasks."""
        raise NotImplementedError

    def _notice(self, words: str) -> Message:
        content = Content("message", words, (_event.level_json("warning"), ""))
        return self._make(content, self._clock.now())

    @contextlib.contextmanager
    def _unless_it_replaces(self, error: BaseException | None) -> Iterator[None]:
        """Let errors of publishing pass only where the block had none of its own.

        Where that is Ctrl-C or the like, what is published within does not wait for Redis.
        """
        before = leaving.set(not (error is None or isinstance(error, Exception)))
        try:
            yield
        except EndedError:
            # Somebody else has ended it; the block's own error matters more.
            if error is None:
                raise
        except (ProgressError, redis.RedisError, OSError) as unsent:
            if error is None:
                raise
            _log.warning("%s: %s", self.channel, unsent)
        finally:
            leaving.reset(before)

    def _ask_for_cancel(self) -> Asking:
        outbox = self._outbox
        return outbox.ask(self._commands.ask_for_cancel, patiently=outbox.required)

    @contextlib.contextmanager
    def _unless_unknown(self) -> Iterator[None]:
        """Let errors of asking pass only where what is published is required."""
        try:
            yield
        except redis.RedisError as error:
            if self._outbox.required:
                raise
            _log.warning("%s: whether to stop is not known: %s", self.channel, error)

    def _leave_unsent(self) -> None:
        """Say how much nobody will send any more."""
        if self.unsent:
            _log.warning("%s: %d events were not sent", self.channel, self.unsent)
            observer().dropped(self._outbox.pending)

    def _enter(self) -> None:
        if self._required is None:
            self._outbox.required = False

    def _prepare(self, bar: Bar[Sent], content: Content) -> list[Message]:
        """Make an event, and the one of the run that counts its tasks."""
        ts = self._clock.now()
        messages = [bar._make(content, ts)]  # its own bar
        if isinstance(bar, TaskBar) and bar._counted:  # noqa: SLF001
            before = len(self._ended_tasks)
            change = self._ended_tasks.add if bar.ended else self._ended_tasks.discard
            change(bar.name)
            if step := len(self._ended_tasks) - before:  # -1: it has begun again
                ended = max(0, (self._current or 0) + step)
                messages.append(self._make(Content("progress", "", current=ended), ts))
        return messages

    def _to_send(self, messages: list[Message]) -> list[Message]:
        """Leave messages to the batch that is open here, if there is one of this run.

        Returns:
            What is to be sent now: nothing, or all that the batch has where it is full.
        """
        batch = _batch.get()
        return messages if batch is None or batch.run is not self else batch.add(messages)

    @contextlib.contextmanager
    def _collecting(self) -> Iterator[Batch]:
        batch = Batch(self)
        before = _batch.set(batch)
        try:
            yield batch
        finally:
            batch.run = None  # a task of asyncio that was begun within may go on
            with contextlib.suppress(ValueError):  # a generator that its loop closes, elsewhere
                _batch.reset(before)
