"""A WebSocket to the instance, as a page that may connect has it."""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
from typing import TYPE_CHECKING, Any, Self, TypeVar

from websockets.asyncio.client import connect

from kit.tls import CA_FILE

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from websockets.asyncio.client import ClientConnection

Result = TypeVar("Result")
TIMEOUT_SECONDS = 10.0


def trust(instance: dict[str, Any]) -> ssl.SSLContext:
    """Return what this host trusts, and the instance's own CA where it has one."""
    context = ssl.create_default_context()
    if instance["tls"]:
        context.load_verify_locations(CA_FILE)
    return context


def as_page(instance: dict[str, Any]) -> dict[str, Any]:
    """Return how a page that may connect does so, as arguments of ``websockets``' ``connect``."""
    options: dict[str, Any] = {
        # The package of Webdis hangs without an Origin.
        "origin": f"http://{instance['address']}",
        "open_timeout": TIMEOUT_SECONDS,
        # Webdis leaves a close without an answer.
        "close_timeout": 0.2,
        # The instance is near; a proxy of the host's is for what is far away, and Python does
        # not know networks in no_proxy.
        "proxy": None,
        "ping_interval": None,  # browsers send none either
    }
    if instance["tls"]:
        options |= {"origin": instance["origins"][0].removesuffix(":*"), "ssl": trust(instance)}
    return options


class Page:
    """An open WebSocket with blocking methods; a context manager that closes it.

    All of its traffic is on one thread. The synchronous client of ``websockets`` reads
    and writes on two, which Python's TLS does not always survive: see
    https://github.com/python/cpython/issues/137583.

    Args:
        instance: The content of ``.kit/instance.json``.
        options: Override keyword arguments of ``websockets.asyncio.client.connect``.

    Raises:
        OSError: Nobody answers, or not in time, or is not who it should be.
        websockets.exceptions.InvalidStatus: The upgrade was refused.
    """

    def __init__(self, instance: dict[str, Any], **options: Any) -> None:  # noqa: ANN401
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        try:
            self._connection = self._run(
                _connect(instance["webdis"]["url"], {**as_page(instance), **options})
            )
        except BaseException:
            self._stop()
            raise

    def _run(self, work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> Self:
        """Return the page itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the socket."""
        self._run(self._connection.close())
        self._stop()

    def send(self, *command: str) -> None:
        """Send a command, as Webdis takes it."""
        self._run(self._connection.send(json.dumps(command)))

    def receive(self, timeout_seconds: float = TIMEOUT_SECONDS) -> str:
        """Return the next frame.

        Raises:
            TimeoutError: There was none in time.
            websockets.exceptions.ConnectionClosed: Nor will there be one.
        """

        async def within() -> str | bytes:
            async with asyncio.timeout(timeout_seconds):
                return await self._connection.recv()

        return str(self._run(within()))

    def subscribe(self, channel: str) -> None:
        """Subscribe and wait until it is so.

        Raises:
            ValueError: The answer is another one.
        """
        self.send("SUBSCRIBE", channel)
        if json.loads(frame := self.receive()) != {"SUBSCRIBE": ["subscribe", channel, 1]}:
            raise ValueError(f"Webdis answered {frame} to SUBSCRIBE")

    def message(self, channel: str) -> str:
        """Return the next message of ``channel``.

        Raises:
            ValueError: The next frame is something else.
        """
        frame = self.receive()
        (kind, name, payload), *_ = json.loads(frame).values()
        if (kind, name) != ("message", channel):
            raise ValueError(f"Webdis delivered {frame}")
        return str(payload)


async def _connect(url: str, options: dict[str, Any]) -> ClientConnection:
    return await connect(url, **options)
