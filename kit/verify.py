"""``make verify``: is the running instance what it should be? A line for each check."""

from __future__ import annotations

import json
import secrets
import ssl
from typing import TYPE_CHECKING, Any

import redis
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from kit import providers
from kit import tls as certificates
from kit.checkout import KIT_DIR, read_instance
from kit.errors import KitError

if TYPE_CHECKING:
    from collections.abc import Callable

    from websockets.sync.client import ClientConnection

TIMEOUT_SECONDS = 10.0


def publisher(instance: dict[str, Any]) -> redis.Redis:
    """Return a connection as the ``publisher`` user."""
    password = (KIT_DIR / "secrets" / "redis_publisher").read_text(encoding="utf-8").strip()
    return redis_as(instance, username=instance["redis"]["username"], password=password)


def redis_as(instance: dict[str, Any], **credentials: Any) -> redis.Redis:  # noqa: ANN401  # as redis-py takes them
    """Return a connection to the instance's Redis, by TLS where it has it.

    Args:
        instance: The content of ``.kit/instance.json``.
        credentials: More keyword arguments of ``redis.Redis``: ``username``, ``password``.
    """
    entry = instance["redis"]
    if entry["tls"]:
        credentials |= {"ssl": True, "ssl_ca_certs": str(certificates.CA_FILE)}
    return redis.Redis(
        host=entry["host"],
        port=entry["port"],
        socket_timeout=TIMEOUT_SECONDS,
        socket_connect_timeout=TIMEOUT_SECONDS,
        **credentials,
    )


def trust(instance: dict[str, Any]) -> ssl.SSLContext:
    """Return what this host trusts, and the instance's own CA where it has one."""
    context = ssl.create_default_context()
    if instance["tls"]:
        context.load_verify_locations(certificates.CA_FILE)
    return context


def websocket(instance: dict[str, Any], **options: Any) -> ClientConnection:  # noqa: ANN401  # as websockets takes them
    """Return an open WebSocket, as a page that may connect would have.

    Args:
        instance: The content of ``.kit/instance.json``.
        options: Override keyword arguments of ``websockets.sync.client.connect``.
    """
    # The package of Webdis hangs without an Origin.
    origin = f"http://{instance['address']}"
    if instance["tls"]:
        origin = instance["origins"][0].removesuffix(":*")
        options.setdefault("ssl", trust(instance))
    return connect(
        instance["webdis"]["url"],
        **{
            "origin": origin,
            "open_timeout": TIMEOUT_SECONDS,
            "close_timeout": 1,
            **options,
        },
    )


def redis_answers(instance: dict[str, Any]) -> str:
    """The publisher may log in."""
    with publisher(instance) as connection:
        connection.ping()
    return "the publisher may log in"


def redis_refuses_strangers(instance: dict[str, Any]) -> str:
    """Nobody gets in without a password."""
    with redis_as(instance) as stranger:
        try:
            stranger.ping()
        except redis.AuthenticationError:
            return "without a password it refuses"
    raise KitError("Redis answers without a password")


def message_arrives(instance: dict[str, Any]) -> str:
    """A message published to Redis comes out of the WebSocket."""
    channel = f"progress:{secrets.token_hex(16)}"
    with websocket(instance) as socket:
        socket.send(json.dumps(["SUBSCRIBE", channel]))
        expected: list[object] = ["subscribe", channel, 1]
        if (frame := json.loads(socket.recv(TIMEOUT_SECONDS))) != {"SUBSCRIBE": expected}:
            raise KitError(f"Webdis answered {frame} to SUBSCRIBE")
        with publisher(instance) as connection:
            connection.publish(channel, "verify")
        frame = json.loads(socket.recv(TIMEOUT_SECONDS))
        if frame != {"SUBSCRIBE": ["message", channel, "verify"]}:
            raise KitError(f"Webdis delivered {frame}")
    return "a message published to Redis came out of the WebSocket"


CHECKS: tuple[tuple[str, Callable[[dict[str, Any]], str]], ...] = (
    ("Redis ", redis_answers),
    ("Redis ", redis_refuses_strangers),
    ("Webdis", message_arrives),
)


def verify() -> None:
    """Run every check and print a line for each.

    Raises:
        KitError: At least one failed.
    """
    instance = read_instance()
    if not providers.running():
        raise KitError("The instance is stopped; `make up` brings it back.")
    failed = 0
    for subject, check in CHECKS:
        try:
            print(f"ok    {subject}  {check(instance)}")
        except (KitError, redis.RedisError, WebSocketException, OSError, ValueError) as error:
            failed += 1
            print(f"FAIL  {subject}  {check.__doc__} But: {error}")
    if failed:
        raise KitError(f"{failed} of {len(CHECKS)} checks failed; `make status` says what runs.")
