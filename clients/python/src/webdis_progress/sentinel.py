"""Sentinel's clients as redis-py has them, with what they lack while servers fail.

```python
sentinel = Sentinel(addresses, sentinel_kwargs={"username": ..., "password": ...})
redis = sentinel.master_for("demo", username=..., password=...)
```

- redis-py believes the first Sentinel that answers. One that is cut off goes on naming the old
  primary; these ask more than half of them, and believe the one whose configuration is the newest.
- redis-py connects again to the address that it had (its issue 3874); these ask each time.
- A primary that is cut off goes on answering; these ask again once a second, while they are used.
- A primary without replicas, or a replica without a primary, refuses and stays connected; so does
  a primary that becomes a replica to who waits for an answer. These raise a ``ConnectionError``
  then, and connect again: another one is the primary, or soon will be.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

import redis.asyncio
import redis.asyncio.retry
import redis.asyncio.sentinel
import redis.sentinel
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
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
# How long a connection is used before it asks again who is the primary.
BELIEF_SECONDS = 1.0
MOVED = "Another server is the primary"

Address = tuple[str, int]
State = dict[str, Any]


def _newest(states: Iterable[State]) -> Address | None:
    """Return the primary's address; nothing while it is gone, or no Sentinel has answered."""
    newest = max(states, key=_age, default=None)
    if not newest or newest["is_sdown"] or newest["is_odown"] or not newest["is_master"]:
        return None
    return newest["ip"], newest["port"]


def _age(state: State) -> tuple[int, bool]:
    # The one that replaces the primary has the new epoch and names the old primary to its end.
    return int(state["config-epoch"]), "failover_in_progress" not in state["flags"]


def _is_old(asked_at: float) -> bool:
    return time.monotonic() - asked_at > BELIEF_SECONDS


def _without(name: str) -> str:
    return f"Sentinel knows no primary of {name!r} that answers"


def _ask_last(sentinels: list[Any], silent: object) -> None:
    # With threads it may be there twice for a moment, and never is missing.
    sentinels.append(silent)
    sentinels.remove(silent)


def _has_moved(error: ResponseError) -> bool:
    # UNBLOCKED: it became a replica while somebody waited for its answer.
    codes = ("NOREPLICAS", "UNBLOCKED")
    return isinstance(error, MasterDownError) or any(code in str(error) for code in codes)


def _kwargs(given: dict[str, Any] | None, retry: object) -> dict[str, Any]:
    timeouts = dict.fromkeys(("socket_timeout", "socket_connect_timeout"), TIMEOUT_SECONDS)
    return {**timeouts, "retry": retry, **(given or {})}


class _Connection(redis.sentinel.SentinelManagedConnection):
    _asked_at = 0.0

    def _connect_retry(self) -> None:
        if not self.connection_pool.is_master:
            super()._connect_retry()  # type: ignore[no-untyped-call]
        elif not self._sock:
            check = self.connection_pool.check_connection
            self.connect_check_health(check_health=check, retry_socket_connect=False)

    def _connect(self) -> Any:  # noqa: ANN401  # a socket
        if self.connection_pool.is_master:
            self.host, self.port = self.connection_pool.get_master_address()
            self._asked_at = time.monotonic()
        return super()._connect()  # type: ignore[no-untyped-call]

    def send_packed_command(self, command: Any, check_health: bool = True) -> None:  # noqa: ANN401, FBT001, FBT002  # as redis-py's
        if self._sock and self.connection_pool.is_master and _is_old(self._asked_at):
            self._asked_at = time.monotonic()
            # While Sentinel does not know, nobody knows better than this connection.
            found = self.host, self.port
            with contextlib.suppress(ConnectionError, TimeoutError):
                found = self.connection_pool.get_master_address()
            if found != (self.host, self.port):
                self.disconnect()
                raise ConnectionError(MOVED)  # not silently: what is watched would be forgotten
        super().send_packed_command(command, check_health)  # type: ignore[no-untyped-call]

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
            redis.AuthenticationError: A Sentinel refuses the password.
        """
        states: list[State] = []
        for sentinel in list(self.sentinels):
            try:
                answer = sentinel.sentinel_masters()  # type: ignore[no-untyped-call]
            except AuthenticationError:
                raise
            except (ConnectionError, TimeoutError):
                _ask_last(self.sentinels, sentinel)
                continue
            states.append(answer.get(service_name))
            if 2 * len(states) > len(self.sentinels):
                break
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
    _asked_at = 0.0

    async def _connect_retry(self) -> None:
        if not self.connection_pool.is_master:
            await super()._connect_retry()  # type: ignore[no-untyped-call]
        elif not self._reader:
            check = self.connection_pool.check_connection
            await self.connect_check_health(check_health=check, retry_socket_connect=False)

    async def _connect(self) -> None:
        if self.connection_pool.is_master:
            self.host, self.port = await self.connection_pool.get_master_address()
            self._asked_at = time.monotonic()
        await super()._connect()  # type: ignore[no-untyped-call]

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:  # noqa: ANN401, FBT001, FBT002  # as redis-py's
        if self._reader and self.connection_pool.is_master and _is_old(self._asked_at):
            self._asked_at = time.monotonic()
            found = self.host, self.port
            with contextlib.suppress(ConnectionError, TimeoutError):
                found = await self.connection_pool.get_master_address()
            if found != (self.host, self.port):
                await self.disconnect()
                raise ConnectionError(MOVED)
        await super().send_packed_command(command, check_health)

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
            redis.AuthenticationError: A Sentinel refuses the password.
        """
        states: list[State] = []
        for sentinel in list(self.sentinels):
            try:
                answer = await sentinel.sentinel_masters()  # type: ignore[no-untyped-call]
            except AuthenticationError:
                raise
            except (ConnectionError, TimeoutError):
                _ask_last(self.sentinels, sentinel)
                continue
            states.append(answer.get(service_name))
            if 2 * len(states) > len(self.sentinels):
                break
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
