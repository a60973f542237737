"""``durability="replicated"``: what the writer does when another server is the primary.

Failovers of three servers: tests/nodes. Here one server without replicas forgets, as a replica
that was behind does not know.
"""

from __future__ import annotations

import asyncio
import contextlib

import pytest
import redis.asyncio

from tests.app.own_redis import OwnRedis
from tests.app.test_progress import all_events, texts
from webdis_progress import AsyncProgress, NotSentError, Progress


@pytest.fixture
def own_redis():
    with OwnRedis("--enable-debug-command yes") as own:
        yield own


@contextlib.contextmanager
def lost(own, channel):
    """Let the server forget what is published within the block, and be another primary after it."""
    keys = [f"{channel}:state", f"{channel}:events"]
    kept = [(key, own.client.dump(key)) for key in keys]
    yield
    own.client.delete(*keys)
    for key, dump in kept:
        if dump:
            own.client.restore(key, 0, dump)
    own.client.execute_command("DEBUG", "CHANGE-REPL-ID")


def replicated(own, channel, **options):
    return Progress(own.client, channel, durability="replicated", **options)


def identities(own, channel):
    return [event["id"].split("-") for event in all_events(own.client, channel)]


@pytest.mark.parametrize("taken_before", [0, 3])
def test_what_the_new_primary_lacks_is_sent_again_in_order(own_redis, channel, taken_before):
    progress = replicated(own_redis, channel)
    with progress.batch():
        for number in range(taken_before):
            progress.message(str(number))
    with lost(own_redis, channel):
        with progress.batch():
            # In several calls.
            for number in range(taken_before, 600):
                progress.message(str(number))
        seen = all_events(own_redis.client, channel)
    progress.message("600")
    after = all_events(own_redis.client, channel)
    assert [event["text"] for event in after] == [str(number) for number in range(601)]
    # A page knows again what it has had, and nothing new has an old number.
    assert {event["id"]: event["text"] for event in seen}.items() <= {
        event["id"]: event["text"] for event in after
    }.items()
    position_before = (seen[-1]["epoch"], seen[-1]["seq"])
    new = [event for event in after if event["epoch"] == position_before[0]]
    assert not new or new[taken_before]["seq"] > position_before[1]


def test_no_number_is_used_twice_whoever_writes_first(own_redis, channel):
    first, second = (replicated(own_redis, channel) for _ in range(2))
    first.message("first")
    second.message("second")
    with lost(own_redis, channel):
        highest = first.message("lost")
    assert second.message("new") > highest
    first.message("last")
    assert texts(own_redis.client, channel) == ["first", "second", "new", "lost", "last"]


def test_more_than_is_kept_is_gone_and_the_rest_is_in_order(own_redis, channel):
    progress = replicated(own_redis, channel)
    with lost(own_redis, channel), progress.batch():
        for number in range(1500):
            progress.message(str(number))
    progress.message("1500")
    assert texts(own_redis.client, channel) == [str(number) for number in range(500, 1501)]


def test_an_end_counts_only_with_a_replica(own_redis, channel):
    progress = replicated(own_redis, channel, patience_seconds=1)
    progress.message("this does not wait for one")
    with pytest.raises(NotSentError, match="done"):
        progress.done()
    # It was tried again, and published once.
    assert [event["kind"] for event in all_events(own_redis.client, channel)] == ["message", "done"]


def test_asyncio_sends_again(own_redis, channel):
    async def work():
        async with redis.asyncio.Redis.from_url(own_redis.url) as client:
            progress = AsyncProgress(client, channel, durability="replicated")
            await progress.message("a")
            with lost(own_redis, channel):
                await progress.message("b")
            await progress.message("c")

    asyncio.run(work())
    assert texts(own_redis.client, channel) == ["a", "b", "c"]
    assert [count for _, count in identities(own_redis, channel)] == ["1", "2", "3"]


def test_another_durability_is_refused_by_name(own_redis, channel):
    with pytest.raises(ValueError, match="durability is 'all'; it has to be one of primary, rep"):
        Progress(own_redis.client, channel, durability="all")
