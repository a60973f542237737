"""What the publisher promises, in short, for versions of Python, redis-py and Redis.

Takes the address of a Redis of its own and the rights of a publisher's user. Needs nothing but the
publisher and redis-py, so that any Python can run it.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
import threading
import time
from typing import NamedTuple

import redis
import redis.asyncio

from webdis_progress import (
    AsyncProgress,
    CancelledError,
    EndedError,
    NotSentError,
    Progress,
    events_after,
    replay,
    replay_async,
)

PASSWORD = secrets.token_hex(16)


def channel():
    return f"progress:{secrets.token_hex(16)}"


def texts(client, name):
    return [event["text"] for event in events_after(client, name, 0)]


class Clients(NamedTuple):
    """Of one Redis: the publisher's, that of asyncio, and one that may do everything."""

    blocking: redis.Redis
    awaited: redis.asyncio.Redis
    admin: redis.Redis


def check_run(clients):
    """A run, its tasks, a batch; nothing follows the end."""
    with Progress(clients.blocking, name := channel(), count_tasks=True) as progress:
        with progress.task("a", total=3) as task:
            assert list(task.track(iter("xyz"), "{}".format)) == ["x", "y", "z"]
        with progress.batch():
            progress.message("one", level="warning", data={"n": [1, None]})
            progress.task("b").failed(ValueError("a secret"))
    answer = replay(clients.blocking, name)
    assert [event["seq"] for event in answer["events"]] == list(range(1, answer["seq"] + 1))
    assert answer["state"]["run"]["kind"] == "done"
    bars = {task["task"]: (task["kind"], task["current"]) for task in answer["state"]["tasks"]}
    assert bars == {"a": ("done", 3), "b": ("failed", None)}
    try:
        progress.message("too late")
    except EndedError:
        return
    raise AssertionError


def check_cancel(clients):
    """Who is asked to stop stops."""
    with Progress(clients.blocking, name := channel()) as progress:
        assert progress.request_cancel()
        progress.raise_if_cancelled()
    assert texts(clients.blocking, name) == ["Started", "Cancelled"]
    with Progress(clients.blocking, channel()) as progress:
        progress.request_cancel()
        try:
            list(progress.track([1, 2]))
        except CancelledError:
            return
    raise AssertionError


def check_lost(clients):
    """A connection or a script that is gone costs nothing."""
    progress = Progress(clients.blocking, name := channel())
    progress.message("a")
    clients.admin.client_kill_filter(_type="normal", skipme=True)
    progress.message("b")
    clients.admin.script_flush()
    progress.message("c")
    assert texts(clients.blocking, name) == ["a", "b", "c"]
    progress.done()


def check_refusals(clients):
    """What passes is waited for, what does not is said."""
    progress = Progress(clients.blocking, name := channel(), patience_seconds=20)
    clients.admin.config_set("min-replicas-to-write", 1)
    timer = threading.Timer(0.3, clients.admin.config_set, ("min-replicas-to-write", 0))
    timer.start()
    progress.message("later")
    timer.join()
    assert texts(clients.blocking, name) == ["later"]
    clients.admin.config_set("maxmemory", 1)
    assert "memory is full" in refusal(progress)
    clients.admin.config_set("maxmemory", 0)
    progress.message("again")
    progress.done()
    with redis.Redis.from_url(sys.argv[1], username="publisher", password="x") as stranger:
        assert "password" in refusal(Progress(stranger, name, patience_seconds=20))


def refusal(progress):
    """Return why a message is not sent, which is known at once."""
    start = time.monotonic()
    try:
        progress.message("x")
    except NotSentError as error:
        why = str(error)
    assert time.monotonic() - start < 10
    return why


def check_bytes(clients):
    """A channel keeps 8 MiB, and its state."""
    progress = Progress(clients.blocking, name := channel())
    with progress.batch():
        progress.task("quiet").done()
        for _ in range(300):
            progress.message("x" * 32_000)
    assert 200 < clients.admin.xlen(f"{name}:events") < 300
    answer = replay(clients.blocking, name, after=1)
    assert [task["kind"] for task in answer["state"]["tasks"]] == ["done"]
    progress.done()


def check_asyncio(clients):
    """The same, awaited."""

    async def work():
        async with clients.awaited as own:
            async with AsyncProgress(own, name) as progress, progress.task("a") as task:
                assert [item async for item in task.track([1, 2])] == [1, 2]
            return await replay_async(own, name)

    name = channel()
    assert asyncio.run(work())["events"] == replay(clients.blocking, name)["events"] != []


def main():
    """Check everything, through clients of both protocols and with decoded answers."""
    url, rights = sys.argv[1:]
    with redis.Redis.from_url(url) as admin:
        admin.execute_command("ACL", "SETUSER", "publisher", "on", f">{PASSWORD}", *rights.split())
        for options in ({}, {"protocol": 3}, {"decode_responses": True}):
            both = {"username": "publisher", "password": PASSWORD, "socket_timeout": 5, **options}
            with redis.Redis.from_url(url, **both) as blocking:
                clients = Clients(blocking, redis.asyncio.Redis.from_url(url, **both), admin)
                for name, check in globals().items():
                    if name.startswith("check_"):
                        check(clients)
        server = admin.info("server")["redis_version"]
    print(f"Python {sys.version.split()[0]}, redis-py {redis.__version__}, Redis {server}")


main()
