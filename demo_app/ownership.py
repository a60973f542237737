"""Whose channel is whose.

A channel's name is a capability: who knows it can listen. The signed session holds one
random token and never changes, so that requests at the same time cannot undo each other.
What the session has started is on record in Redis, and expires as the runs do.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple, cast

from flask import session

from demo_app import connections
from webdis_progress import EXPIRY_SECONDS

if TYPE_CHECKING:
    from redis.client import Pipeline

TOKEN_BYTES = 16
# Lesson "shared": one identifier for everybody. Lesson "own" has one for each user.
SHARED_CHANNEL = "progress:666"
# Of a session. The queue holds fewer, so all that are forgotten have ended.
MOST_RUNS = 100


class OwnRun(NamedTuple):
    """A run that this session has started.

    Args:
        token: Its token.
        endpoint: Of the page that shows it.
        name: What it is, for people.
        started_at: When it was put into the queue.
    """

    token: str
    endpoint: str
    name: str
    started_at: datetime


def channel_of(token: str) -> str:
    """Return the channel that belongs to a token."""
    return f"progress:{token}"


def digest(token: str) -> str:
    """Return what stands for a token where the token itself would tell who may listen."""
    return hashlib.sha256(token.encode()).hexdigest()[:32]


def own_channel() -> str:
    """Return the channel of this session, made on first use."""
    return channel_of(_session_token())


def record_run(pipeline: Pipeline, endpoint: str, name: str) -> str:
    """Return the token of a new run, which this session owns once ``pipeline`` is executed.

    Args:
        pipeline: Of the connection for jobs.
        endpoint: Of the page that shows the run.
        name: What the run is, for people.
    """
    token = secrets.token_hex(TOKEN_BYTES)
    key = _runs_key()
    if old := cast("list[bytes]", connections.jobs().zrange(key, 0, -MOST_RUNS)):
        pipeline.zrem(key, *old)
    now = time.time()
    pipeline.zremrangebyscore(key, 0, now - EXPIRY_SECONDS)
    pipeline.zadd(key, {f"{endpoint} {token} {name}": now})
    pipeline.expire(key, EXPIRY_SECONDS)
    return token


def own_runs() -> list[OwnRun]:
    """Return what this session has started, the newest first.

    The page with the form asks for it, so the session has its token before the first start.
    """
    members = connections.jobs().zrange(_runs_key(), 0, -1, withscores=True)
    runs = []
    for member, started_at in reversed(cast("list[tuple[bytes, float]]", members)):
        endpoint, token, *name = member.decode().split(" ", 2)
        runs.append(OwnRun(token, endpoint, "".join(name), datetime.fromtimestamp(started_at, UTC)))
    return runs


def own_run(token: str) -> OwnRun | None:
    """Return a run; nothing if this session does not own it."""
    return next((run for run in own_runs() if run.token == token), None)


def page_of(token: str) -> str | None:
    """Return the endpoint that shows a run; nothing if this session does not own it."""
    run = own_run(token)
    return run.endpoint if run else None


def may_replay(channel: str) -> bool:
    """Is ``channel`` this session's, or lesson "shared"'s, which is everybody's?"""
    if channel in (SHARED_CHANNEL, own_channel()):
        return True
    return any(channel == channel_of(run.token) for run in own_runs())


def _session_token() -> str:
    if "token" not in session:
        session["token"] = secrets.token_hex(TOKEN_BYTES)
    token: str = session["token"]
    return token


def _runs_key() -> str:
    # The user for jobs has access to keys of this prefix only.
    return f"rq:session:{digest(_session_token())}"
