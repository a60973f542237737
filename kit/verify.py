"""``make verify``: is the running instance what it should be? A line for each check."""

from __future__ import annotations

import contextlib
import secrets
from typing import TYPE_CHECKING, Any, cast

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel
from websockets.exceptions import WebSocketException

from kit import providers
from kit.checkout import read_instance, secret
from kit.errors import KitError
from kit.tls import CA_FILE
from kit.websocket import TIMEOUT_SECONDS, Page

if TYPE_CHECKING:
    from collections.abc import Callable


def publisher(instance: dict[str, Any], **options: Any) -> redis.Redis:  # noqa: ANN401  # as redis-py takes them
    """Return a connection as the ``publisher`` user."""
    password = secret("redis_publisher")
    return redis_as(instance, username=instance["redis"]["username"], password=password, **options)


def redis_as(instance: dict[str, Any], **options: Any) -> redis.Redis:  # noqa: ANN401  # as redis-py takes them
    """Return a connection to the instance's Redis, by TLS where it has it.

    Args:
        instance: The content of ``.kit/instance.json``.
        options: More keyword arguments of ``redis.Redis``, or others: ``username``, ``password``.
    """
    entry = instance["redis"]
    if entry["tls"]:
        options |= {"ssl": True, "ssl_ca_certs": str(CA_FILE)}
    return redis.Redis(
        host=entry["host"],
        port=entry["port"],
        **{
            "socket_timeout": TIMEOUT_SECONDS,
            "socket_connect_timeout": TIMEOUT_SECONDS,
            **options,
        },
    )


def role(instance: dict[str, Any], node: dict[str, Any]) -> str:
    """Return what a node's Redis is now, for people."""
    entry = instance["redis"] | {"host": node["address"]}
    try:
        with publisher(instance | {"redis": entry}) as connection:
            state = cast("dict[str, Any]", connection.info("replication"))
    except redis.RedisError as error:
        return f"runs, and its Redis does not answer: {error}"
    if state["role"] == "master":
        return f"runs, primary of {state['connected_slaves']}"
    return f"runs, replica, link to its primary {state['master_link_status']}"


def primary(instance: dict[str, Any]) -> redis.Redis:
    """Return a connection as the ``publisher`` user, to the primary that Sentinel names."""
    if not instance["sentinels"]:
        return publisher(instance)
    entry = instance["redis"] | {"host": primary_address(instance)}
    return publisher(instance | {"redis": entry})


def primary_address(instance: dict[str, Any]) -> str:
    """Return the address of the primary, as the Sentinel with the newest configuration has it.

    One that is cut off names the old primary, and so does for a second the one that replaces it.

    Raises:
        KitError: No Sentinel answers, one knows another name or address, or there is no primary
            for a moment.
    """
    states = []
    for client in sentinel(instance).sentinels:
        with contextlib.suppress(redis.ConnectionError, redis.TimeoutError):
            states.append(_primary_of(client, instance))
    if not states:
        raise KitError("no Sentinel answers")
    newest = max(states, key=lambda state: (state["config-epoch"], not _replaces(state)))
    if _replaces(newest):
        raise KitError("the primary is being replaced")
    return str(newest["ip"])


def _replaces(state: dict[str, Any]) -> bool:
    return "failover_in_progress" in state["flags"]


def _primary_of(client: redis.Redis, instance: dict[str, Any]) -> dict[str, Any]:
    """Return what a Sentinel says of the primary, which is one of the nodes."""
    host, name = client.connection_pool.connection_kwargs["host"], instance["master_name"]
    masters: dict[str, dict[str, Any]] = client.sentinel_masters()  # type: ignore[no-untyped-call]
    if name not in masters:
        raise KitError(f"the Sentinel of {host} knows {', '.join(masters) or 'nobody'}, not {name}")
    state = masters[name]
    if state["ip"] not in [node["address"] for node in instance["nodes"]]:
        raise KitError(f"the Sentinel of {host} names {state['ip']}, the address of no node")
    return state


def sentinel(instance: dict[str, Any]) -> Sentinel:
    """Return a client of the instance's Sentinels.

    Args:
        instance: The content of ``.kit/instance.json``.
    """
    tls = {"ssl": True, "ssl_ca_certs": str(CA_FILE)} if instance["redis"]["tls"] else {}
    password = secret("sentinel_client")
    return Sentinel(  # type: ignore[no-untyped-call]
        [tuple(address) for address in instance["sentinels"]],
        sentinel_kwargs={
            "username": "client",
            "password": password,
            "socket_timeout": 1.0,
            "retry": Retry(NoBackoff(), 0),
            **tls,
        },
    )


def sentinels_agree(instance: dict[str, Any]) -> str:
    """All nodes run, and the Sentinels agree on who is the primary."""
    nodes = len(instance["nodes"])
    named = set()
    for client in sentinel(instance).sentinels:
        state = _primary_of(client, instance)
        named.add((state["ip"], state["port"]))
        if (replicas := state["num-slaves"]) != nodes - 1:
            raise KitError(f"a Sentinel knows {replicas} replicas of {nodes - 1}")
        if (others := state["num-other-sentinels"]) != nodes - 1:
            raise KitError(f"a Sentinel knows {others} others of {nodes - 1}")
    if len(named) > 1:
        raise KitError(f"they name {sorted(named)}")
    return f"{nodes} Sentinels agree on the primary"


def all_webdis_deliver(instance: dict[str, Any]) -> str:
    """A message published on the primary comes out of each node's WebSocket."""
    for node in instance["nodes"]:
        message_arrives(instance | {"webdis": {"url": node["webdis"]}})
    return "each node's WebSocket has what is published on the primary"


def redis_answers(instance: dict[str, Any]) -> str:
    """The publisher may log in."""
    with primary(instance) as connection:
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
    with Page(instance) as page:
        page.subscribe(channel)
        with primary(instance) as connection:
            connection.publish(channel, "verify")
        if (text := page.message(channel)) != "verify":
            raise KitError(f"Webdis delivered {text!r}")
    return "a message published to Redis came out of the WebSocket"


CHECKS: tuple[tuple[str, Callable[[dict[str, Any]], str]], ...] = (
    ("Redis ", redis_answers),
    ("Redis ", redis_refuses_strangers),
    ("Webdis", message_arrives),
)

CHECKS_OF_SEVERAL: tuple[tuple[str, Callable[[dict[str, Any]], str]], ...] = (
    ("Sentinel", sentinels_agree),
    ("Webdis", all_webdis_deliver),
)

# What a check may end with.
FAILURES = (KitError, redis.RedisError, WebSocketException, OSError, ValueError)


def verify() -> None:
    """Run every check and print a line for each.

    Raises:
        KitError: At least one failed.
    """
    instance = read_instance()
    if not providers.running():
        raise KitError("The instance is stopped; `make up` brings it back.")
    failed = 0
    checks = CHECKS + (CHECKS_OF_SEVERAL if instance["sentinels"] else ())
    for subject, check in checks:
        try:
            print(f"ok    {subject}  {check(instance)}")
        except FAILURES as error:
            failed += 1
            print(f"FAIL  {subject}  {check.__doc__} But: {error}")
    if failed:
        raise KitError(
            f"{failed} of {len(checks)} checks failed; `make status` says what runs. "
            f"See docs/troubleshooting.md#failed-checks."
        )
