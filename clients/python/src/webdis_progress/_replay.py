"""What a page has missed, and where everything stands."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict, cast

from webdis_progress import _event
from webdis_progress._limits import JOIN_MESSAGES, REPLAY_MESSAGES
from webdis_progress._run import checked_client
from webdis_progress._scripts import REPLAY

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from redis import Redis
    from redis.asyncio import Redis as AsyncRedis

_log = logging.getLogger("webdis_progress")

Event = dict[str, Any]


class Position(NamedTuple):
    """How far a channel's count is: what a reader needs to begin after it."""

    epoch: str
    seq: int


class State(TypedDict):
    """The last event of the run, and of each task, in order of their numbers."""

    run: Event | None
    tasks: list[Event]


class _Answer(TypedDict):
    epoch: str
    seq: int
    cancel: bool
    events: list[Event]
    unreadable: int


class Replay(_Answer, total=False):
    """What `replay` answers with; as JSON it is what a page expects.

    Keys: ``epoch``, ``seq``, ``cancel``, ``events``, ``unreadable``, and ``state`` where a
    page needs it. They are described in PROTOCOL.md, "Replay".
    """

    state: State


def replay(redis: Redis, channel: str, after: int | None = None, epoch: str = "") -> Replay:
    """Return what a page needs to go on, read in one step.

    Args:
        redis: A client whose user may read the channel's keys.
        channel: As given to `Progress`.
        after: The last number that the page has; none if it joins.
        epoch: That number's; empty where the page has none.

    Returns:
        To join: the last 100 events and the state of all bars. Else the next events, at
        most `REPLAY_MESSAGES`, and the state only if some of them are gone.

    Raises:
        TypeError, ValueError: A value is not allowed; the message names it.
        redis.RedisError: Redis is away, or refuses.
    """
    client = checked_client(redis, awaited=False, other="replay_async")
    return _answer(client.eval(REPLAY, 2, *_arguments(channel, after, epoch)))


async def replay_async(
    redis: AsyncRedis, channel: str, after: int | None = None, epoch: str = ""
) -> Replay:
    """Return the same as `replay`, by a client of ``redis.asyncio``."""
    client = checked_client(redis, awaited=True, other="replay")
    reply = client.eval(REPLAY, 2, *_arguments(channel, after, epoch))
    return _answer(await cast("Awaitable[Any]", reply))


def events_after(redis: Redis, channel: str, after: int) -> list[Event]:
    """Return a channel's next events after a sequence number, in order.

    Args:
        redis: A client whose user may read the channel's keys.
        channel: As given to `Progress`.
        after: The last sequence number that the reader has. If Redis knows fewer,
            it has lost the channel meanwhile: then its events from the first on.

    Returns:
        At most `REPLAY_MESSAGES`; the reader asks again until there are none.

    Raises:
        TypeError, ValueError, redis.RedisError: As `replay` does.
    """
    return replay(redis, channel, after)["events"]


def last_events(redis: Redis, channel: str, count: int) -> list[Event]:
    """Return a channel's last events, at most ``count``, in order; raises as `replay` does."""
    client = checked_client(redis, awaited=False, other="replay_async")
    keys = _arguments(channel, None, "")
    count = _event.integer("count", count)
    return _answer(client.eval(REPLAY, 2, *keys[:-1], str(count)))["events"] if count else []


def position(redis: Redis, channel: str) -> Position:
    """Return how far a channel is; an empty epoch and 0 before its first event.

    Raises:
        TypeError, ValueError, redis.RedisError: As `replay` does.
    """
    client = checked_client(redis, awaited=False, other="replay_async")
    key = _event.key("channel", channel) + ":state"
    state = cast("bytes | str | None", client.hget(key, "state"))
    if not state:
        return Position("", 0)
    entry, epoch = _decoded(state).split(" ")[:2]
    return Position(epoch, int(entry.split("-")[0]))


def _arguments(channel: str, after: int | None, epoch: str) -> tuple[Any, ...]:
    channel = _event.key("channel", channel)
    last = "" if after is None else _event.integer("after", after)
    words = (f"{channel}:state", f"{channel}:events", last, _event.encodable("epoch", epoch))
    return (*words, REPLAY_MESSAGES, JOIN_MESSAGES)


def _answer(reply: Any) -> Replay:  # noqa: ANN401  # as redis-py gives it
    epoch, seq, cancel, entries, state = reply
    events = [_parsed(fields[1]) for _, fields in entries]
    readable = [event for event in events if event is not None]
    answer: Replay = {
        "epoch": _decoded(epoch),
        "seq": seq,
        "cancel": bool(cancel),
        "events": readable,
        "unreadable": len(events) - len(readable),
    }
    if answer["unreadable"]:
        _log.warning("%d entries of a stream are no events; left out", answer["unreadable"])
    # The whole hash is never empty: it has at least the state.
    if state or not seq:
        answer["state"] = _state(state)
    return answer


def _state(fields: list[bytes | str]) -> State:
    run: Event | None = None
    tasks = []
    for name, value in zip(map(_decoded, fields[::2]), fields[1::2], strict=True):
        if name != "run" and not name.startswith("task:"):
            continue
        event = _parsed(value)
        if event is None:
            _log.warning("The last state of a bar is no event; left out")
        elif name == "run":
            run = event
        else:
            tasks.append(event)
    tasks.sort(key=lambda event: int(event["seq"]))
    return {"run": run, "tasks": tasks}


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")  # Python would read it, and a browser not


def _parsed(text: bytes | str) -> Event | None:
    try:
        event = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    return event if _event.is_event(event) else None


def _decoded(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
