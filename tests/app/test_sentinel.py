"""Clients of Sentinel, blocking and awaited, with a real one: they follow the primary."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from bench.processes import free_port
from kit.local.configuration import LOCAL_DIR
from tests.app.own_redis import OwnRedis
from tests.demo_server import eventually
from webdis_progress.sentinel import AsyncSentinel, Sentinel

NAME = "demo"


def port_of(server):
    return server.client.get_connection_kwargs()["port"]


@contextlib.contextmanager
def watching(primary, folder):
    """Run a Sentinel that watches a Redis, and give a client of it."""
    (program,) = LOCAL_DIR.glob("opt/redis-*/bin/redis-server")
    port = free_port()
    file = folder / "sentinel.conf"
    file.write_text(
        f"port {port}\ndir {folder}\nsentinel monitor {NAME} 127.0.0.1 {port_of(primary)} 1\n"
        f"sentinel down-after-milliseconds {NAME} 60000\n"  # what is slow is not away
    )
    with (
        subprocess.Popen([program, file, "--sentinel"], stdout=subprocess.DEVNULL) as process,
        redis.Redis(port=port) as client,
    ):
        try:
            yield client
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def servers(instance, tmp_path_factory):
    """Return a primary, its replica, and their Sentinel, which knows both."""
    assert instance["address"]
    with contextlib.ExitStack() as stack:
        primary = stack.enter_context(OwnRedis("--repl-diskless-sync-delay 0"))
        replica = stack.enter_context(OwnRedis(f"--replicaof 127.0.0.1 {port_of(primary)}"))

        def is_up():
            return replica.client.info("replication")["master_link_status"] == "up"

        eventually(is_up, "no replica")
        sentinel = stack.enter_context(watching(primary, tmp_path_factory.mktemp("sentinel")))

        def knows_both():
            with contextlib.suppress(redis.ConnectionError):
                return sentinel.info("sentinel")["master0"]["slaves"] == 1

        eventually(knows_both, "Sentinel does not see the replica")
        yield primary, replica, sentinel


class Awaited:
    """The client of `AsyncSentinel`, as the tests speak to that of `Sentinel`."""

    def __init__(self, addresses):
        self._loop = asyncio.new_event_loop()
        # Of its own: that of the tests may be Playwright's.
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._sentinel = AsyncSentinel(addresses)
        self._client = self._sentinel.master_for(NAME)

    def _wait(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(60)

    def execute_command(self, *words):
        return self._wait(self._client.execute_command(*words))

    def close(self):
        for client in (self._client, *self._sentinel.sentinels):
            self._wait(client.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@contextlib.contextmanager
def clients(*ports):
    addresses = [("127.0.0.1", port) for port in ports]
    with (
        contextlib.closing(Sentinel(addresses).master_for(NAME)) as blocking,
        contextlib.closing(Awaited(addresses)) as awaited,
    ):
        yield blocking, awaited


def test_a_primary_without_replicas_is_a_lost_connection(servers):
    primary, _, sentinel = servers
    with clients(sentinel.get_connection_kwargs()["port"]) as both:
        for client in both:
            client.execute_command("SET", "key", "before")
            primary.client.config_set("min-replicas-to-write", 5)
            with pytest.raises(redis.ConnectionError, match="NOREPLICAS"):
                client.execute_command("SET", "key", "not taken")
            primary.client.config_set("min-replicas-to-write", 0)
            client.execute_command("SET", "key", "after")
            assert primary.client.get("key") == b"after"


def test_who_waits_while_the_primary_moves_has_lost_the_connection(servers):
    primary, _, sentinel = servers

    def unblock():  # as a primary does that becomes a replica
        for found in primary.client.client_list():
            if found["cmd"] == "blpop":
                primary.client.client_unblock(int(found["id"]), error=True)

    with clients(sentinel.get_connection_kwargs()["port"]) as both, ThreadPoolExecutor() as pool:
        for client in both:
            waiting = pool.submit(client.execute_command, "BLPOP", "nothing", 0)
            eventually(lambda waiting=waiting: waiting.done() or unblock(), "it waits on")
            with pytest.raises(redis.ConnectionError, match="UNBLOCKED"):
                waiting.result()


def test_of_an_unknown_primary_it_is_said(servers):
    assert servers
    with clients(free_port()) as both:
        for client in both:
            with pytest.raises(redis.ConnectionError, match="no primary of 'demo' that answers"):
                client.execute_command("PING")


def test_a_connection_does_not_stay_with_the_old_primary(servers):
    primary, replica, sentinel = servers

    def written(client):
        with contextlib.suppress(redis.ConnectionError):  # that is how it is told
            client.execute_command("SET", "key", "after")
        return replica.client.get("key") == b"after"

    def failover():
        with contextlib.suppress(redis.ResponseError):  # NOGOODSLAVE: it has just seen it
            return sentinel.execute_command("SENTINEL", "FAILOVER", NAME)

    with clients(sentinel.get_connection_kwargs()["port"]) as both:
        for client in both:
            client.execute_command("SET", "key", "before")
        # It is as if cut off: nobody tells it, and it goes on taking what is written.
        primary.client.execute_command("ACL", "SETUSER", "default", "-slaveof")
        eventually(failover, "Sentinel knows too little of the replica")
        eventually(lambda: replica.client.role()[0] == b"master", "no failover", 60)
        for client in both:
            eventually(lambda client=client: written(client), f"{client} does not follow", 60)
            replica.client.delete("key")
    assert primary.client.role()[0] == b"master"
