"""`AsyncProgress` and `AsyncTask`: the same through a client of ``redis.asyncio``."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import TYPE_CHECKING, Any, Self, cast

import redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError

from webdis_progress._bar import Bar, Content, Sent, TaskBar
from webdis_progress._errors import CancelledError
from webdis_progress._outbox import Call
from webdis_progress._run import PATIENCE_SECONDS, RunBar
from webdis_progress._scripts import REQUEST_CANCEL
from webdis_progress._wire import own_connection

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Coroutine, Sequence
    from types import TracebackType
    from typing import SupportsIndex

    from redis.asyncio import Redis

    from webdis_progress._event import Message

_log = logging.getLogger("webdis_progress")


def _end(bar: Bar[Sent], error: BaseException | None) -> Sent:
    if error is None:
        return bar.done()
    if isinstance(error, CancelledError | asyncio.CancelledError):
        return bar.cancelled()
    return bar.failed(error)


class AsyncProgress(RunBar["Coroutine[Any, Any, int]"]):
    """`Progress` for asyncio: what publishes is awaited, and ``async with`` ends it.

    A task of asyncio that is cancelled ends the stream in ``cancelled``, and goes on.

    Args:
        redis: A client of ``redis.asyncio`` whose user may use the channel's keys.
        channel: As for `Progress`, and so are the others.
        total: How many steps there are, if it is known.
        required: Whether work stops with `NotSentError` when Redis is away.
        patience_seconds: How long to try again when Redis is away.
        count_tasks: The run's bar counts its tasks.
        started_text: What `started` says.
        done_text: What `done` says.

    Raises:
        TypeError, ValueError: A value is not allowed; the message names it.
    """

    def __init__(  # noqa: PLR0913  # all but three by name
        self,
        redis: Redis,
        channel: str,
        total: SupportsIndex | None = None,
        *,
        required: bool | None = None,
        patience_seconds: float = PATIENCE_SECONDS,
        count_tasks: bool = False,
        started_text: str = "Started",
        done_text: str = "Done",
    ) -> None:
        super().__init__(
            channel,
            total,
            required=required,
            patience_seconds=patience_seconds,
            count_tasks=count_tasks,
            texts=(started_text, done_text),
        )
        if not hasattr(redis, "__aenter__"):
            raise TypeError("redis is no client of asyncio; Progress takes those that block")
        self._redis = redis
        self._lock = asyncio.Lock()
        self._connection: Any = None

    def task(
        self, name: str, total: SupportsIndex | None = None, *, label: str | None = None
    ) -> AsyncTask:
        """Return a bar of its own within this run; see `Progress.task`."""
        task = AsyncTask(self, name, total, label=label, started_text="Started", done_text="Done")
        self._add_task(task)
        return task

    @contextlib.asynccontextmanager
    async def batch(self) -> AsyncIterator[None]:
        """Send in one call what this task of asyncio publishes within the block, at its end."""
        with self._collecting() as messages:
            try:
                yield
            except BaseException as error:
                with self._unless_it_replaces(error):
                    await self._drive(messages)
                raise
        await self._drive(messages)

    async def flush(self) -> None:
        """Send what waits for Redis to be back, for as long as patience lasts."""
        await self._drive([], wait=True)

    async def request_cancel(self) -> bool:
        """Ask whoever does the work to stop; false if the stream has ended already."""
        answer = self._redis.eval(REQUEST_CANCEL, 1, f"{self.channel}:state")
        return bool(await cast("Awaitable[Any]", answer))

    async def __aenter__(self) -> Self:
        """Publish that the work has begun."""
        self._enter()
        await self.started()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        """End the stream unless the block has done so."""
        patient = error is None or isinstance(error, Exception)
        if not patient:
            self._outbox.required = False
        with self._unless_it_replaces(error):
            if not self.ended:
                await _end(self, error)
            if self.unsent and patient:
                await self.flush()
            if self.unsent:
                _log.warning("%s: %d events were not sent", self.channel, self.unsent)
        await self._drop()
        return isinstance(error, CancelledError)

    def _publish(self, content: Content) -> Coroutine[Any, Any, int]:
        return self._publish_of(self, content)

    def _publish_of(
        self, bar: Bar[Coroutine[Any, Any, int]], content: Content
    ) -> Coroutine[Any, Any, int]:
        # Now, not when it is awaited: events are in the order of their calls.
        messages = self._prepare(bar, content)
        return self._drive([] if self._collected(messages) else messages)

    async def _drive(self, messages: Sequence[Message], *, wait: bool = False) -> int:
        async with self._lock:
            steps = self._outbox.deliver(messages, wait=wait)
            try:
                step = next(steps)
                while True:
                    if isinstance(step, Call):
                        try:
                            answer = await self._call(step)
                        except redis.RedisError as error:
                            step = steps.throw(error)
                        else:
                            step = steps.send(answer)
                    else:
                        await asyncio.sleep(step)
                        step = next(steps)
            except StopIteration as stop:
                return cast("int", stop.value)

    async def _call(self, step: Call) -> tuple[int, int]:
        try:
            if self._connection is None:
                seconds = step.deadline - time.monotonic()
                retry = Retry(NoBackoff(), 0)
                connection = own_connection(self._redis.connection_pool, retry, seconds)
                await connection.connect()
                self._connection = connection
            connection = self._connection
            try:
                await connection.send_packed_command([self._commands.publish(step.arguments)])
                answer = await connection.read_response()
            except NoScriptError:
                command = self._commands.publish(step.arguments, whole=True)
                await connection.send_packed_command([command])
                answer = await connection.read_response()
        except BaseException:
            await self._drop()
            raise
        return cast("tuple[int, int]", answer)

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)


class AsyncTask(TaskBar["Coroutine[Any, Any, int]"]):
    """`Task` for asyncio, made by `AsyncProgress.task`."""

    _run: AsyncProgress

    async def __aenter__(self) -> Self:
        """Publish that it has begun."""
        await self.started()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the task unless the block has done so."""
        with self._run._unless_it_replaces(error):  # noqa: SLF001  # this module's own
            if not self.ended:
                await _end(self, error)

    def _publish(self, content: Content) -> Coroutine[Any, Any, int]:
        return self._run._publish_of(self, content)  # noqa: SLF001  # this module's own
