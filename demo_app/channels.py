"""Whose channel is whose: a channel's name is a capability, kept in the signed session."""

from __future__ import annotations

import secrets

from flask import session

TOKEN_BYTES = 16
# Lesson "shared": one identifier for everybody. Lesson "own" has one for each user.
SHARED_CHANNEL = "progress:666"
# What a session remembers; its cookie has to stay small.
RUNS_KEPT = 20


def channel_of(token: str) -> str:
    """Return the channel that belongs to a token."""
    return f"progress:{token}"


def own_channel() -> str:
    """Return the channel of this session, made on first use."""
    if "token" not in session:
        session["token"] = secrets.token_hex(TOKEN_BYTES)
    return channel_of(session["token"])


def new_run(endpoint: str) -> str:
    """Return the token of a new run, which this session owns.

    Args:
        endpoint: Of the page that shows it.
    """
    token = secrets.token_hex(TOKEN_BYTES)
    runs = [*session.get("runs", {}).items(), (token, endpoint)]
    session["runs"] = dict(runs[-RUNS_KEPT:])
    return token


def own_runs(endpoint: str) -> list[str]:
    """Return the tokens of this session's runs that a page shows, the newest first."""
    runs = session.get("runs", {})
    return [token for token in reversed(runs) if runs[token] == endpoint]


def page_of(token: str) -> str | None:
    """Return the endpoint that shows a run; nothing if this session does not own it."""
    endpoint: str | None = session.get("runs", {}).get(token)
    return endpoint


def may_replay(channel: str) -> bool:
    """Is ``channel`` this session's, or lesson "shared"'s, which is everybody's?"""
    tokens = [*session.get("runs", {}), *filter(None, [session.get("token")])]
    return channel == SHARED_CHANNEL or channel in map(channel_of, tokens)
