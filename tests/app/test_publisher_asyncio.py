"""The publisher of asyncio against the instance's Redis."""

from __future__ import annotations

import asyncio
import gc
import os
import secrets

import pytest
import redis.asyncio

from webdis_progress import AsyncProgress, events_after, replay


def awaited(connection):
    """Return a client of asyncio that is one of the same server."""
    options = dict(connection.connection_pool.connection_kwargs)
    kept = {"host", "port", "username", "password", "socket_timeout", "ssl_ca_certs"}
    chosen = {name: value for name, value in options.items() if name in kept}
    return redis.asyncio.Redis(**chosen, ssl="ssl_ca_certs" in chosen)


@pytest.fixture
def client(publisher_redis):
    return awaited(publisher_redis)


def test_tasks_of_asyncio_share_a_run(client, publisher_redis, channel):
    async def one(progress, name):
        async with progress.task(name, total=3) as task:
            for _ in range(3):
                await task.advance()

    async def work():
        async with AsyncProgress(client, channel, count_tasks=True) as progress:
            await asyncio.gather(*(one(progress, f"device-{n}") for n in range(20)))
            async with progress.batch():
                assert await progress.message("a") == 0
                await progress.message("b")

    asyncio.run(work())
    seen = events_after(publisher_redis, channel, 0)
    assert [event["seq"] for event in seen] == list(range(1, len(seen) + 1))
    state = replay(publisher_redis, channel)["state"]
    assert {(t["kind"], t["current"]) for t in state["tasks"]} == {("done", 3)}
    assert (state["run"]["kind"], state["run"]["current"]) == ("done", 20)
    assert [e["text"] for e in seen[-3:]] == ["a", "b", "Done"]


def test_track_goes_through_what_is_awaited_and_what_is_not(client, publisher_redis, channel):
    async def lines():
        for word in ("a", "b"):
            yield word

    async def work():
        async with AsyncProgress(client, channel) as progress:
            assert [item async for item in progress.track(range(3))] == [0, 1, 2]
            async for _ in progress.track(lines(), str, total=2):
                assert [n async for n in progress.track(range(5), "Inner")] == [*range(5)]

    asyncio.run(work())
    state = replay(publisher_redis, channel)["state"]
    (inner,) = state["tasks"]
    assert (inner["label"], inner["kind"], inner["current"]) == ("Inner", "done", 5)
    run = state["run"]
    assert (run["kind"], run["current"], run["total"]) == ("done", 2, 2)
    texts = [event["text"] for event in events_after(publisher_redis, channel, 0)]
    assert texts[-2:] == ["b", "Done"]


def test_a_track_that_is_left_early_leaves_its_bar(client, publisher_redis, channel):
    async def work():
        async with AsyncProgress(client, channel) as progress:
            async for item in progress.track(range(5)):
                if item == 2:
                    break
            async for _ in progress.track(range(3)):
                pass

    asyncio.run(work())
    state = replay(publisher_redis, channel)["state"]
    assert (state["run"]["current"], state["run"]["total"], state["tasks"]) == (3, 3, [])


def test_what_goes_on_after_a_batch_is_sent(client, publisher_redis, channel):
    async def work():
        async with AsyncProgress(client, channel) as progress:
            left = asyncio.Event()

            async def go_on():
                await progress.message("within")
                await left.wait()
                assert await progress.message("after") == 3

            async with progress.batch():
                going_on = asyncio.create_task(go_on())
                await asyncio.sleep(0)
            left.set()
            await going_on

    asyncio.run(work())
    texts = [event["text"] for event in events_after(publisher_redis, channel, 0)]
    assert texts == ["Started", "within", "after", "Done"]


def test_who_is_cancelled_before_its_turn_has_said_it(client, publisher_redis, channel):
    async def work():
        async with AsyncProgress(client, channel) as progress:
            task = progress.task("core-1")
            await task.started()
            calls = (progress.message("on its way"), task.done("read"), batch(progress))
            first, *others = [asyncio.create_task(call) for call in calls]
            await asyncio.sleep(0)  # the first waits for Redis, the others for their turn
            for one in others:
                one.cancel()
            await asyncio.wait([first, *others])

    async def batch(progress):
        async with progress.batch():
            await progress.message("a")

    asyncio.run(work())
    texts = [event["text"] for event in events_after(publisher_redis, channel, 0)]
    assert texts == ["Started", "Started", "on its way", "read", "a", "Done"]


def test_tasks_that_are_cancelled_at_any_moment_end(client, publisher_redis, channel):
    async def one(progress, name):
        async with progress.task(name) as task:
            for _ in range(20):
                await task.advance()

    async def work():
        async with AsyncProgress(client, channel, count_tasks=True) as progress:
            tasks = [asyncio.create_task(one(progress, f"device-{n}")) for n in range(40)]
            while not all(task.done() for task in tasks):
                await asyncio.sleep(0.001)
                secrets.choice(tasks).cancel()
            await asyncio.wait(tasks)

    asyncio.run(work())
    state = replay(publisher_redis, channel)["state"]
    assert {task["kind"] for task in state["tasks"]} <= {"done", "cancelled"}
    assert state["run"]["current"] == len(state["tasks"])


def test_a_generator_that_is_left_with_its_batch_keeps_nothing(client, publisher_redis, channel):
    async def numbers(progress):
        async with progress.batch():
            for number in range(5):
                await progress.message(str(number))
                yield number

    async def work():
        async with AsyncProgress(client, channel) as progress:
            async for number in numbers(progress):
                if number == 1:
                    break
            await progress.message("after")

    asyncio.run(work())
    texts = [event["text"] for event in events_after(publisher_redis, channel, 0)]
    assert texts == ["Started", "0", "1", "after", "Done"]


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # the first loop leaves its connection
def test_one_loop_after_another_goes_on(client, channel):
    progress = AsyncProgress(client, channel)

    async def together():
        return await asyncio.gather(*(progress.message(text) for text in "abc"))

    assert [asyncio.run(together()) for _ in range(2)] == [[1, 2, 3], [4, 5, 6]]
    assert asyncio.run(progress.done()) == 7
    gc.collect()


def test_a_forked_child_publishes_for_itself(client, publisher_redis, channel):
    progress = AsyncProgress(client, channel)

    with asyncio.Runner() as runner:
        runner.run(progress.message("before"))
        child = os.fork()
        if not child:
            status = 1
            try:
                status = asyncio.run(progress.message("child")) != 2
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
        runner.run(progress.done("parent"))
    texts = [event["text"] for event in events_after(publisher_redis, channel, 0)]
    assert texts == ["before", "child", "parent"]


def test_the_connection_is_closed_at_the_end(client, channel, recwarn):
    async def work():
        await AsyncProgress(client, channel).done()
        gc.collect()

    gc.collect()  # of other tests
    recwarn.clear()
    asyncio.run(work())
    assert not [str(one.message) for one in recwarn if one.category is ResourceWarning]


@pytest.mark.parametrize("required", [True, None])
def test_connections_that_are_lost_under_track_lose_and_double_nothing(
    lossy_redis, lossy_proxy, publisher_redis, channel, required
):
    async def work():
        client = awaited(lossy_redis)
        async with AsyncProgress(client, channel, required=required) as progress:
            async for number in progress.track(range(30)):
                if fate := {3: "cut", 13: "drop", 23: "leave"}.get(number):
                    lossy_proxy.plan.append(fate)
                await progress.message(str(number))

    asyncio.run(work())
    assert not lossy_proxy.plan
    seen = events_after(publisher_redis, channel, 0)
    assert [event["seq"] for event in seen] == list(range(1, len(seen) + 1))
    texts = [event["text"] for event in seen if event["kind"] == "message"]
    assert texts == [*map(str, range(30))]
    assert (seen[-1]["kind"], seen[-1]["current"], seen[-1]["total"]) == ("done", 30, 30)


def test_who_is_asked_to_stop_stops(client, publisher_redis, channel):
    async def work():
        async with client, AsyncProgress(client, channel) as progress:
            assert not await progress.cancel_requested()
            async for item in progress.track(range(1000), per_second=10_000):
                assert item < 3, "it goes on"
                if item == 1:
                    assert await progress.request_cancel()

    asyncio.run(work())
    assert events_after(publisher_redis, channel, 0)[-1]["kind"] == "cancelled"


@pytest.mark.parametrize("error", [ValueError, asyncio.CancelledError])
def test_the_blocks_own_exception_goes_on(client, publisher_redis, channel, error):
    async def work():
        async with AsyncProgress(client, channel):
            raise error

    with pytest.raises(error):
        asyncio.run(work())
    kind = "failed" if error is ValueError else "cancelled"
    assert events_after(publisher_redis, channel, 0)[-1]["kind"] == kind


def test_a_blocking_client_is_named(publisher_redis, channel):
    with pytest.raises(TypeError, match="asyncio"):
        AsyncProgress(publisher_redis, channel)
