"""`AsyncProgress` and `AsyncTask`: the same through a client of ``redis.asyncio``."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import time
from collections.abc import AsyncIterable, AsyncIterator
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, cast

import redis
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError

from webdis_progress._bar import Bar, Content, TaskBar
from webdis_progress._errors import CancelledError
from webdis_progress._outbox import Call
from webdis_progress._run import RunBar
from webdis_progress._track import Tracking
from webdis_progress._wire import UnconfirmedError, ample_seconds, own_connection

if TYPE_CHECKING:
    from collections.abc import (
        AsyncGenerator,
        Awaitable,
        Callable,
        Coroutine,
        Generator,
        Iterable,
    )
    from types import TracebackType
    from typing import SupportsIndex

    from webdis_progress._event import Message
    from webdis_progress._outbox import Answer

    Answered = TypeVar("Answered")

Item = TypeVar("Item")


# What a forked child must not close: it shares with its parent what the parent's loop waits for.
_of_parents: list[Any] = []


async def _each(items: Iterable[Item] | AsyncIterable[Item]) -> AsyncIterator[Item]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item


class _Tracked(AsyncIterator[Item], Generic[Item]):
    """What `track` yields. Who leaves it early leaves the bar at once.

    A generator of asyncio is closed by its loop, some time later.

    Args:
        tracking: Of it.
        items: Yields them.
    """

    def __init__(self, tracking: Tracking[Any], items: AsyncGenerator[Item, None]) -> None:
        self._tracking, self._items = tracking, items

    def __anext__(self) -> Awaitable[Item]:
        return self._items.__anext__()

    async def aclose(self) -> None:
        """Leave it, as `contextlib.aclosing` does."""
        await self._items.aclose()

    def __del__(self) -> None:
        self._tracking.__exit__()


class _Awaited(Bar["Coroutine[Any, Any, int]"]):
    """What `AsyncProgress` and `AsyncTask` do besides publishing."""

    _stops = (*Bar._stops, asyncio.CancelledError)  # noqa: SLF001  # its own

    def track(
        self,
        items: Iterable[Item] | AsyncIterable[Item],
        text: str | Callable[[Item], str] = "",
        *,
        total: SupportsIndex | None = None,
        per_second: float = 5.0,
    ) -> AsyncIterator[Item]:
        """Yield ``items`` and publish how many are done, as `Progress.track` does.

        Args:
            items: Anything that ``for`` or ``async for`` goes through.
            text: Goes with each message; a function is given the item.
            total: How many there are; without it, the length of ``items``. What has no
                length keeps the ``total`` that the bar was given.
            per_second: Messages a second at most; the last is always sent.

        Raises:
            CancelledError: Somebody asked for the work to stop.
        """
        run: AsyncProgress = self._whole
        tracking = Tracking(run, self, items, text, total=total, per_second=per_second)
        return _Tracked(tracking, self._track(tracking, items))

    async def _track(
        self,
        tracking: Tracking[Coroutine[Any, Any, int]],
        items: Iterable[Item] | AsyncIterable[Item],
    ) -> AsyncGenerator[Item, None]:
        run: AsyncProgress = self._whole
        with tracking:
            async for item in _each(items):
                if tracking.is_due(item):
                    await tracking.report()
                    # The answer has said so: this asks nobody.
                    if run._outbox.cancel:  # noqa: SLF001  # this module's own
                        await run.raise_if_cancelled()
                yield item
                tracking.count()
            for publish in tracking.rest():
                await publish()

    async def __aenter__(self) -> Self:
        """Publish that it has begun."""
        try:
            await self.started()
        except Exception:
            raise
        except BaseException as error:  # cancelled: Redis may have it, and no block will end it
            await self.__aexit__(type(error), error, None)
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        """End it unless the block has done so."""
        raise NotImplementedError


class AsyncTask(_Awaited, TaskBar["Coroutine[Any, Any, int]"]):
    """`Task` for asyncio, made by `AsyncProgress.task`."""

    _run: AsyncProgress

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the task unless the block has done so."""
        with self._run._unless_it_replaces(error):  # noqa: SLF001  # this module's own
            if not self.ended:
                await self._end(error)


class AsyncProgress(_Awaited, RunBar["Coroutine[Any, Any, int]", Redis, AsyncTask]):
    """`Progress` for asyncio: what publishes is awaited, and ``async with`` ends it.

    A task of asyncio that is cancelled ends the stream in ``cancelled``, and goes on.

    Args:
        redis: A client of ``redis.asyncio`` whose user may use the channel's keys.
        channel: As for `Progress`, and so are the others.
        total: How many steps there are, if it is known.
        required: Whether work stops with `NotSentError` when Redis is away.
        patience_seconds: How long to try again when Redis is away.
        durability: What counts as taken.
        count_tasks: The run's bar counts its tasks.
        started_text: What `started` says.
        done_text: What `done` says.

    Raises:
        TypeError, ValueError: A value is not allowed; the message names it.
    """

    _is_awaited, _other = True, "Progress"
    _task_type = AsyncTask
    _connection: Any = None

    def _begin_here(self) -> None:
        if self._connection:
            _of_parents.append(self._connection)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._connection = None

    @contextlib.asynccontextmanager
    async def batch(self) -> AsyncIterator[None]:
        """Send in one call what this task of asyncio publishes within the block, at its end.

        Until then nobody sees it; a call that is full is sent earlier, as by `Progress.batch`.
        """
        with self._collecting() as batch:
            try:
                yield
            except BaseException as error:
                with self._unless_it_replaces(error):
                    await self._send(batch.take())
                raise
        await self._send(batch.take())

    async def flush(self) -> None:
        """Send what waits for Redis to be back, for as long as patience lasts."""
        await self._drive(self._outbox.deliver([], wait=True))

    async def request_cancel(self) -> bool:
        """Ask whoever does the work to stop; see `Progress.request_cancel`."""
        steps = self._outbox.ask(self._commands.request_cancel, patiently=True)
        return bool(await self._drive(steps))

    async def cancel_requested(self) -> bool:
        """Ask Redis whether somebody wants the work to stop.

        Where nothing is required and Redis is away: whether that was known before.
        """
        if not self._outbox.cancel:
            with self._unless_unknown():
                self._outbox.cancel = await self._drive(self._ask_for_cancel()) is not None
        return self._outbox.cancel

    async def raise_if_cancelled(self) -> None:
        """Raise `CancelledError` if somebody wants the work to stop."""
        if await self.cancel_requested():
            raise CancelledError("Somebody asked for the work to stop.")

    async def __aenter__(self) -> Self:
        """Publish that the work has begun."""
        self._enter()
        return await super().__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        """End the stream unless the block has done so."""
        with self._unless_it_replaces(error):
            if not self.ended:
                await self._end(error)
            if self.unsent:
                await self.flush()
            self._leave_unsent()
        await self._drop()
        return isinstance(error, CancelledError)

    def _publish_of(
        self, bar: Bar[Coroutine[Any, Any, int]], content: Content
    ) -> Coroutine[Any, Any, int]:
        # Now, not when it is awaited: events are in the order of their calls.
        return self._send(self._to_send(self._prepare(bar, content)))

    async def _send(self, messages: list[Message]) -> int:
        steps = self._outbox.deliver(messages)
        try:
            return await self._drive(steps)
        finally:
            if inspect.getgeneratorstate(steps) == inspect.GEN_CREATED:
                # Cancelled before its turn: whoever has the next one sends them.
                self._outbox.put(messages)

    async def _drive(self, steps: Generator[Call | float, Any, Answered]) -> Answered:
        loop = asyncio.get_running_loop()
        if loop is not self._loop:  # a connection and a lock are of one loop
            self._loop, self._lock, self._connection = loop, asyncio.Lock(), None
        async with self._lock:
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
                if self._outbox.ended:
                    await self._drop()
                value: Answered = stop.value
                return value

    async def _call(self, step: Call) -> object:
        hurried = False  # its time-outs are for one call only
        try:
            if self._connection is None:
                seconds = step.deadline - time.monotonic()
                # Who only asks may never come to an end, which would close it.
                hurried = bool(step.command) or seconds < ample_seconds(self._patience_seconds)
                retry = Retry(NoBackoff(), 0)
                self._connection = own_connection(self._redis.connection_pool, retry, seconds)
                await self._connection.connect()
            answer = await self._exchange(self._connection, step)
        except BaseException:
            await self._drop()
            raise
        if hurried:
            await self._drop()
        return answer

    async def _exchange(self, connection: Any, step: Call) -> object:  # noqa: ANN401  # as `own_connection`'s
        if step.command:
            await connection.send_packed_command([step.command])
            return await connection.read_response()
        try:
            await connection.send_packed_command([self._commands.publish(step.arguments)])
            return await self._read(connection)
        except NoScriptError:
            command = self._commands.publish(step.arguments, whole=True)
            await connection.send_packed_command([command])
            return await self._read(connection)

    async def _read(self, connection: Any) -> Answer:  # noqa: ANN401  # as `own_connection`'s
        """Return the script's answer; with replicas, once one of them has what it wrote."""
        replicated = self._commands.replicated
        try:
            answer = cast("Answer", await connection.read_response())
        except NoScriptError:
            if replicated:
                await connection.read_response()  # of WAIT: it would pass for the next one's
            raise
        if replicated and await connection.read_response() < 1:
            raise UnconfirmedError(answer)
        return answer

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)
