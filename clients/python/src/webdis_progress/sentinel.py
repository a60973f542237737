"""Sentinel's clients as redis-py has them, with what they lack while servers fail.

```python
sentinel = Sentinel(addresses, sentinel_kwargs={"username": ..., "password": ...})
redis = sentinel.master_for("demo", username=..., password=...)
```

- redis-py believes the first Sentinel that answers. One that is cut off goes on naming the old
  primary; these ask all of them, and believe the one whose configuration is the newest.
- redis-py connects again to the address that it had (its issue 3874); these ask each time.
- A primary without replicas, or a replica without a primary, refuses and stays connected; these
  raise a ``ConnectionError`` then, and connect anew: another one is the primary, or soon will be.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import redis.asyncio
import redis.asyncio.retry
import redis.asyncio.sentinel
import redis.sentinel
from redis.backoff import NoBackoff
from redis.exceptions import (
    ConnectionError,  # noqa: A004  # the name that redis-py gives it
    MasterDownError,
    ResponseError,
    TimeoutError,  # noqa: A004  # likewise
)
from redis.retry import Retry

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["AsyncSentinel", "Sentinel"]

# Of a Sentinel that does not answer; the others do.
TIMEOUT_SECONDS = 0.5

Address = tuple[str, int]
State = dict[str, Any]


def _newest(states: Iterable[State]) -> Address | None:
    """Return the primary's address; nothing while it is gone, or no Sentinel has answered."""
    newest = max(states, key=lambda state: int(state["config-epoch"]), default=None)
    if not newest or newest["is_sdown"] or newest["is_odown"] or not newest["is_master"]:
        return None
    return newest["ip"], newest["port"]


def _without(name: str) -> str:
    return f"Sentinel knows no primary of {name!r} that answers"


def _has_moved(error: ResponseError) -> bool:
    return isinstance(error, MasterDownError) or "NOREPLICAS" in str(error)


def _kwargs(given: dict[str, Any] | None, retry: object) -> dict[str, Any]:
    timeouts = dict.fromkeys(("socket_timeout", "socket_connect_timeout"), TIMEOUT_SECONDS)
    return {**timeouts, "retry": retry, **(given or {})}


class _Connection(redis.sentinel.SentinelManagedConnection):
    def _connect_retry(self) -> None:
        if not self.connection_pool.is_master:
            super()._connect_retry()  # type: ignore[no-untyped-call]
        elif not self._sock:
            check = self.connection_pool.check_connection
            self.connect_check_health(check_health=check, retry_socket_connect=False)

    def _connect(self) -> Any:  # noqa: ANN401  # a socket
        if self.connection_pool.is_master:
            self.host, self.port = self.connection_pool.get_master_address()
        return super()._connect()  # type: ignore[no-untyped-call]

    def read_response(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401  # as redis-py's
        try:
            return super().read_response(*args, **options)
        except ResponseError as error:
            if not _has_moved(error):
                raise
            self.disconnect()  # type: ignore[no-untyped-call]
            raise ConnectionError(str(error)) from None


class _TLSConnection(_Connection, redis.sentinel.SentinelManagedSSLConnection):
    pass


class Sentinel(redis.sentinel.Sentinel):
    """`redis.sentinel.Sentinel` that finds the primary also while servers fail.

    Args:
        sentinels: Addresses and ports.
        sentinel_kwargs: How to connect to a Sentinel; without time-outs, one that is silent
            for 0.5 s is left out.
        options: As redis-py takes them.
    """

    def __init__(
        self,
        sentinels: Sequence[Address],
        *,
        sentinel_kwargs: dict[str, Any] | None = None,
        **options: Any,  # noqa: ANN401  # as redis-py takes them
    ) -> None:
        how = _kwargs(sentinel_kwargs, Retry(NoBackoff(), 0))
        super().__init__(sentinels, sentinel_kwargs=how, **options)  # type: ignore[no-untyped-call]

    def discover_master(self, service_name: str) -> Address:
        """Return the primary's address.

        Raises:
            redis.sentinel.MasterNotFoundError: It is gone, and no other is chosen yet; or no
                Sentinel answers.
        """
        states = []
        for sentinel in self.sentinels:
            try:
                answer = sentinel.sentinel_masters()  # type: ignore[no-untyped-call]
                states.append(answer.get(service_name))
            except (ConnectionError, TimeoutError):
                continue
        found = _newest(filter(None, states))
        if not found:
            raise redis.sentinel.MasterNotFoundError(_without(service_name))
        return found

    def master_for(
        self,
        service_name: str,
        *args: Any,  # noqa: ANN401  # as redis-py takes them
        **options: Any,  # noqa: ANN401  # likewise
    ) -> redis.Redis:
        """Return a client of the primary, whichever server that is."""
        tls = {**self.connection_kwargs, **options}.get("ssl", False)
        options.setdefault("connection_class", _TLSConnection if tls else _Connection)
        client: redis.Redis = super().master_for(service_name, *args, **options)  # type: ignore[no-untyped-call]
        return client


class _AsyncConnection(redis.asyncio.sentinel.SentinelManagedConnection):
    async def _connect_retry(self) -> None:
        if not self.connection_pool.is_master:
            await super()._connect_retry()  # type: ignore[no-untyped-call]
        elif not self._reader:
            check = self.connection_pool.check_connection
            await self.connect_check_health(check_health=check, retry_socket_connect=False)

    async def _connect(self) -> None:
        if self.connection_pool.is_master:
            self.host, self.port = await self.connection_pool.get_master_address()
        await super()._connect()  # type: ignore[no-untyped-call]

    async def read_response(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401  # as redis-py's
        try:
            return await super().read_response(*args, **options)
        except ResponseError as error:
            if not _has_moved(error):
                raise
            await self.disconnect()
            raise ConnectionError(str(error)) from None


class _AsyncTLSConnection(_AsyncConnection, redis.asyncio.sentinel.SentinelManagedSSLConnection):
    pass


class AsyncSentinel(redis.asyncio.sentinel.Sentinel):
    """`Sentinel` for asyncio.

    Args:
        sentinels: Addresses and ports.
        sentinel_kwargs: How to connect to a Sentinel, as for `Sentinel`.
        options: As redis-py takes them.
    """

    def __init__(
        self,
        sentinels: Sequence[Address],
        *,
        sentinel_kwargs: dict[str, Any] | None = None,
        **options: Any,  # noqa: ANN401  # as redis-py takes them
    ) -> None:
        how = _kwargs(sentinel_kwargs, redis.asyncio.retry.Retry(NoBackoff(), 0))
        super().__init__(sentinels, sentinel_kwargs=how, **options)  # type: ignore[no-untyped-call]

    async def discover_master(self, service_name: str) -> Address:
        """Return the primary's address.

        Raises:
            redis.asyncio.sentinel.MasterNotFoundError: It is gone, and no other is chosen yet; or
                no Sentinel answers.
        """
        asked = [sentinel.sentinel_masters() for sentinel in self.sentinels]  # type: ignore[no-untyped-call]
        states = []
        for answer in await asyncio.gather(*asked, return_exceptions=True):
            if isinstance(answer, ConnectionError | TimeoutError):
                continue
            if isinstance(answer, BaseException):
                raise answer
            states.append(answer.get(service_name))
        found = _newest(filter(None, states))
        if not found:
            raise redis.asyncio.sentinel.MasterNotFoundError(_without(service_name))
        return found

    def master_for(
        self,
        service_name: str,
        *args: Any,  # noqa: ANN401  # as redis-py takes them
        **options: Any,  # noqa: ANN401  # likewise
    ) -> redis.asyncio.Redis:
        """Return a client of the primary, whichever server that is."""
        tls = {**self.connection_kwargs, **options}.get("ssl", False)
        options.setdefault("connection_class", _AsyncTLSConnection if tls else _AsyncConnection)
        client: redis.asyncio.Redis = super().master_for(service_name, *args, **options)
        return client
