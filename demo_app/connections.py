"""The demo's two connections to Redis, each with a user that may do no more than it needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import redis
from flask import current_app
from redis.backoff import ExponentialWithJitterBackoff
from redis.retry import Retry

if TYPE_CHECKING:
    from flask import Flask

TIMEOUT_SECONDS = 5.0


def init_app(app: Flask) -> None:
    """Give ``app`` a pool of connections for each user; they connect on first use."""
    app.extensions["redis"] = {
        user: redis.Redis(
            **app.config[f"REDIS_{user.upper()}"],
            socket_timeout=TIMEOUT_SECONDS,
            socket_connect_timeout=TIMEOUT_SECONDS,
            retry=Retry(ExponentialWithJitterBackoff(base=0.05, cap=0.5), retries=3),
        )
        for user in ("publisher", "jobs")
    }


def publisher() -> redis.Redis:
    """Return the connection that publishes and replays progress."""
    return cast("redis.Redis", current_app.extensions["redis"]["publisher"])


def jobs() -> redis.Redis:
    """Return the connection that the job queue uses."""
    return cast("redis.Redis", current_app.extensions["redis"]["jobs"])
