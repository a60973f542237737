"""The demo's two connections to Redis, each with a user that may do no more than it needs.

Of several nodes they are to the primary, whichever that is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, cast

import redis
from flask import current_app
from redis.backoff import ExponentialWithJitterBackoff
from redis.retry import Retry

from webdis_progress.sentinel import Sentinel

if TYPE_CHECKING:
    from flask import Flask

TIMEOUT_SECONDS = 5.0
# Where another server takes over from one that does not answer.
TIMEOUT_SECONDS_OF_SEVERAL = 2.0


def init_app(app: Flask) -> None:
    """Give ``app`` a pool of connections for each user; they connect on first use."""
    app.extensions["redis"] = {
        user: _client(app.config["SENTINEL"], app.config[f"REDIS_{user.upper()}"])
        for user in ("publisher", "jobs")
    }


def _client(sentinel: dict[str, Any], arguments: dict[str, Any]) -> redis.Redis:
    timeout_seconds = TIMEOUT_SECONDS_OF_SEVERAL if sentinel else TIMEOUT_SECONDS
    options = {
        **arguments,
        "socket_timeout": timeout_seconds,
        "socket_connect_timeout": timeout_seconds,
        "retry": Retry(ExponentialWithJitterBackoff(base=0.05, cap=0.5), retries=3),
    }
    if not sentinel:
        return redis.Redis(**options)
    del options["host"], options["port"]
    found = Sentinel(sentinel["addresses"], sentinel_kwargs=sentinel["arguments"])
    return found.master_for(sentinel["master_name"], **options)


def durability() -> Literal["primary", "replicated"]:
    """Return what counts as taken when progress is published."""
    return "replicated" if current_app.config["SENTINEL"] else "primary"


def publisher() -> redis.Redis:
    """Return the connection that publishes and replays progress."""
    return cast("redis.Redis", current_app.extensions["redis"]["publisher"])


def jobs() -> redis.Redis:
    """Return the connection that the job queue uses."""
    return cast("redis.Redis", current_app.extensions["redis"]["jobs"])
