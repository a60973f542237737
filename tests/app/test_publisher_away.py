"""The publisher when Redis is away or full: work goes on, and nobody pays for others."""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import socket
import threading
import time
from fractions import Fraction

import pytest
import redis
import redis.asyncio

from tests.app.own_redis import OwnRedis
from tests.app.test_publisher_asyncio import awaited as awaited_client
from webdis_progress import (
    AsyncProgress,
    NotSentError,
    Observer,
    Progress,
    events_after,
    last_events,
    position,
    replay,
    set_observer,
)

ALWAYS = ["drop"] * 100_000


def texts(connection, channel):
    events = []
    while answer := events_after(connection, channel, events[-1]["seq"] if events else 0):
        events += answer
    return [event["text"] for event in events]


def test_the_block_runs_and_its_messages_are_sent_when_redis_is_back(
    publisher_redis, lossy_redis, lossy_proxy, channel, caplog
):
    with Progress(lossy_redis, channel) as progress:
        progress.message("before")
        lossy_proxy.plan = list(ALWAYS)
        for number in range(200):
            progress.message(str(number))
        assert progress.unsent == 200
        lossy_proxy.plan = []
    expected = ["Started", "before", *map(str, range(200)), "Done"]
    assert texts(publisher_redis, channel) == expected
    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == 1, "an outage is logged once"


def test_what_was_dropped_is_said_in_one_message(
    publisher_redis, lossy_redis, lossy_proxy, channel
):
    with Progress(lossy_redis, channel) as progress:
        lossy_proxy.plan = list(ALWAYS)
        task = progress.task("t")
        task.done("early end")
        for number in range(3000):
            progress.message(str(number))
        lossy_proxy.plan = []
    seen = texts(publisher_redis, channel)
    said = [text for text in seen if "dropped" in text]
    assert len(said) == 1
    assert "early end" in seen, "an end is kept longest"
    kept = [int(text) for text in seen if text.isdecimal()]
    assert kept == sorted(set(kept))
    assert kept[-1] == 2999
    assert int(re.search(r"\d+", said[0])[0]) + len(kept) == 3000
    assert seen[-1] == "Done"


@pytest.mark.parametrize("required", [True, None])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_the_blocks_own_exception_is_never_replaced(
    lossy_redis, lossy_proxy, channel, error, required
):
    def work():
        with Progress(lossy_redis, channel, required=required, patience_seconds=0.5):
            lossy_proxy.plan = list(ALWAYS)
            raise error("its own")

    with pytest.raises(error, match="its own"):
        work()


@pytest.mark.parametrize("block", ["task", "batch"])
@pytest.mark.parametrize("awaited", [False, True])
def test_ctrl_c_waits_for_redis_nowhere(lossy_redis, lossy_proxy, channel, block, awaited):
    arguments = ("t",) if block == "task" else ()
    options = {"required": True, "patience_seconds": 3}

    def work():
        with (
            Progress(lossy_redis, channel, **options) as progress,
            getattr(progress, block)(*arguments),
        ):
            progress.message("x")
            lossy_proxy.plan = list(ALWAYS)
            raise KeyboardInterrupt

    async def work_of_asyncio():
        async with (
            AsyncProgress(awaited_client(lossy_redis), channel, **options) as progress,
            getattr(progress, block)(*arguments),
        ):
            await progress.message("x")
            lossy_proxy.plan = list(ALWAYS)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(work_of_asyncio()) if awaited else work()
    assert len(ALWAYS) - len(lossy_proxy.plan) <= 2, "it was tried again"


def test_what_is_required_raises_in_a_block_too(lossy_redis, lossy_proxy, channel):
    def work():
        with Progress(lossy_redis, channel, required=True, patience_seconds=0.2) as progress:
            lossy_proxy.plan = list(ALWAYS)
            progress.message("x")

    with pytest.raises(NotSentError, match="'x'"):
        work()


@pytest.fixture
def swallower():
    """Return the port of a host that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.mark.parametrize("awaited", [False, True])
@pytest.mark.parametrize(
    ("method", "values"), [("message", ("x",)), ("request_cancel", ()), ("cancel_requested", ())]
)
def test_patience_is_kept_by_a_client_without_time_outs(
    swallower, channel, awaited, method, values
):
    async def ask():
        client = redis.asyncio.Redis(port=swallower)
        await getattr(AsyncProgress(client, channel, patience_seconds=0.5), method)(*values)

    client = redis.Redis(port=swallower)
    progress = Progress(client, channel, patience_seconds=0.5)
    start = time.monotonic()
    with pytest.raises((NotSentError, redis.TimeoutError)):
        asyncio.run(asyncio.wait_for(ask(), 30)) if awaited else getattr(progress, method)(*values)
    assert time.monotonic() - start < 8
    client.close()


class Five:
    def __index__(self):
        return 5


def test_any_integer_type_is_taken(publisher_redis, channel):
    progress = Progress(publisher_redis, channel, Five())
    progress.update(Five())
    progress.current = Five()
    (event,) = events_after(publisher_redis, channel, 0)
    assert (event["current"], event["total"]) == (5, 5)


def test_any_type_of_number_is_taken_for_seconds(publisher_redis, channel):
    progress = Progress(publisher_redis, channel, patience_seconds=Fraction(9, 2))
    assert list(progress.track([1], per_second=Fraction(1, 2))) == [1]


@pytest.mark.parametrize("name", ["total", "current"])
@pytest.mark.parametrize(
    "value", [True, float("inf"), float("nan"), "unknown", [1], 2**60, -1, 1.0]
)
def test_what_is_no_number_is_refused_when_it_is_set(publisher_redis, channel, name, value):
    progress = Progress(publisher_redis, channel)
    with pytest.raises((TypeError, ValueError), match=f"{name} is "):
        setattr(progress, name, value)
    progress.message("x")
    assert replay(publisher_redis, channel)["unreadable"] == 0


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"level": "loud"}, "level is 'loud'"),
        ({"level": ""}, "level is ''"),
        ({"data": [1]}, "data is"),
        ({"data": []}, "data is"),
        ({"data": {"x": float("nan")}}, "data has"),
        ({"data": {"x": object()}}, "data has"),
        ({"data": {"x": "y" * 9000}}, "data has 9"),
    ],
)
def test_a_level_or_data_that_cannot_be_carried_is_named(
    publisher_redis, channel, arguments, named
):
    with pytest.raises((TypeError, ValueError), match=re.escape(named)):
        Progress(publisher_redis, channel).message("x", **arguments)
    assert texts(publisher_redis, channel) == []


@pytest.mark.parametrize(
    ("ask", "other"),
    [
        (Progress, "AsyncProgress"),
        (replay, "replay_async"),
        (position, "replay_async"),
        (lambda client, channel: events_after(client, channel, 0), "replay_async"),
        (lambda client, channel: last_events(client, channel, 1), "replay_async"),
    ],
)
def test_a_client_of_asyncio_is_named(channel, ask, other):
    with pytest.raises(TypeError, match=f"redis is a client of asyncio; {other} takes those"):
        ask(redis.asyncio.Redis(), channel)


def test_sixty_greedy_runs_take_nothing_from_twenty_quiet_ones(instance):
    assert instance["address"]
    with OwnRedis("--maxmemory 48mb --maxmemory-policy noeviction") as own:
        own.client.set("rq:job:1", "kept", ex=3600)
        greedy = [Progress(own.client, f"progress:greedy{n}") for n in range(60)]
        quiet = [Progress(own.client, f"progress:quiet{n}") for n in range(20)]
        words = secrets.token_hex(16_000)
        for turn in range(9):
            for progress in greedy:
                with progress.batch():
                    for _ in range(10):
                        progress.message(words)
            for progress in quiet:
                progress.message(str(turn))
        for progress in quiet:
            assert texts(own.client, progress.channel) == [str(turn) for turn in range(9)]
        for progress in greedy:
            assert last_events(own.client, progress.channel, 1)[0]["seq"] == 90
            assert replay(own.client, progress.channel)["state"]["run"]["seq"] == 90
        assert own.client.get("rq:job:1") == b"kept"
        information = own.client.info("memory")
        assert information["used_memory"] < information["maxmemory"]
        for progress in (*greedy, *quiet):
            progress.done()


def test_a_full_redis_is_said_to_be_full(instance, channel):
    assert instance["address"]
    with OwnRedis("--maxmemory 10mb --maxmemory-policy noeviction") as own:
        own.client.config_set("maxmemory", 1)
        with pytest.raises(NotSentError, match="memory is full"):
            Progress(own.client, channel).message("x")


class Counts(Observer):
    def __init__(self):
        self.seen = {"published": 0, "retried": 0, "dropped": 0}
        self.seconds = []

    def published(self, messages, seconds):
        self.seen["published"] += messages
        self.seconds.append(seconds)

    def retried(self, messages):
        self.seen["retried"] += messages

    def dropped(self, messages):
        self.seen["dropped"] += messages


@pytest.fixture
def counts():
    set_observer(counts := Counts())
    yield counts
    set_observer(Observer())


def test_an_observer_is_told_what_becomes_of_each_message(
    publisher_redis, lossy_redis, lossy_proxy, channel, counts
):
    with Progress(lossy_redis, channel) as progress:
        lossy_proxy.plan = ["drop"]
        assert progress.message("waits") == 0
        progress.flush()
        assert counts.seen == {"published": 2, "retried": 1, "dropped": 0}
        lossy_proxy.plan = list(ALWAYS)
        for number in range(3000):
            progress.message(str(number))
        assert counts.seen["dropped"] == 1999, "1,000 wait, and one is on its way"
        lossy_proxy.plan = []
    # The two, the 3000, how many were dropped, and the end.
    assert counts.seen["published"] + counts.seen["dropped"] == 2 + 3000 + 2
    assert len(texts(publisher_redis, channel)) == counts.seen["published"]
    assert all(0 < seconds < 60 for seconds in counts.seconds)


def test_an_observer_is_told_what_a_run_leaves_unsent(lossy_redis, lossy_proxy, channel, counts):
    with Progress(lossy_redis, channel, patience_seconds=0.2) as progress:
        lossy_proxy.plan = list(ALWAYS)
        progress.message("never sent")
    assert counts.seen["published"] == 1
    assert counts.seen["dropped"] == 2, "the message, and the end"


def test_what_is_logged_waits_for_no_other_writer(lossy_redis, lossy_proxy, channel):
    heard = []

    class Publishes(logging.Handler):
        """Waits for another thread's message, as a handler that publishes does for its lock."""

        def emit(self, record):
            if record.levelno == logging.WARNING:
                other = threading.Thread(target=progress.message, args=["from another"])
                other.start()
                other.join(30)
                heard.append(other.is_alive())

    handler = Publishes()
    with Progress(lossy_redis, channel) as progress:
        lossy_proxy.plan = list(ALWAYS)
        logging.getLogger("webdis_progress").addHandler(handler)
        try:
            progress.message("x")
            assert progress.cancel_requested() is False
        finally:
            logging.getLogger("webdis_progress").removeHandler(handler)
            lossy_proxy.plan = []
    assert heard
    assert not any(heard), "what is published waits for what is logged"
