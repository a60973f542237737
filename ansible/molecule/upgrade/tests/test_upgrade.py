"""Redis to a newer release and back: what runs, what is built, and that no message is lost.

The scenario has converged to the older release.
"""

from __future__ import annotations

import itertools
import json
import os
import secrets
import threading
import time

import pytest
import redis
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from kit.verify import publisher
from tests.provisioning import changed, provision
from webdis_progress import Progress, events_after

TOO_OLD, OLDER, NEWER = "7.0.15", "8.0.2", "8.0.6"
# The scenario's inventory has the archives of both, and asks for the older one.
INVENTORY = f"--inventory={os.environ['MOLECULE_EPHEMERAL_DIRECTORY']}/inventory"
SECONDS = 60


class Subscriber(threading.Thread):
    """A page: subscribes, asks for what it missed, and does both again when the socket goes."""

    def __init__(self, instance, channel):
        super().__init__(daemon=True)
        self.instance, self.channel = instance, channel
        self.received, self.connections = [], 0
        self.subscribed, self.stopped = threading.Event(), threading.Event()

    def run(self):
        while not self.stopped.is_set():
            try:
                self._follow()
            except (WebSocketException, OSError, ValueError, KeyError, redis.RedisError):
                self.stopped.wait(0.2)

    def _follow(self):
        url = self.instance["webdis"]["url"]
        with connect(url, origin="http://test.invalid", close_timeout=1) as socket:
            socket.send(json.dumps(["SUBSCRIBE", self.channel]))
            answer = json.loads(socket.recv(SECONDS))
            assert answer["SUBSCRIBE"][:2] == ["subscribe", self.channel]
            self.connections += 1
            with publisher(self.instance) as connection:
                while missed := events_after(connection, self.channel, self._last()):
                    self._take(missed)
            self.subscribed.set()
            while not self.stopped.is_set():
                try:
                    frame = socket.recv(1)
                except TimeoutError:
                    continue
                kind, _, payload = json.loads(frame)["SUBSCRIBE"]
                assert kind == "message"
                self._take([json.loads(payload)])

    def _last(self):
        return self.received[-1]["seq"] if self.received else 0

    def _take(self, events):
        self.received += [event for event in events if event["seq"] > self._last()]


class Publisher(threading.Thread):
    """Counts up in the channel; the demo's module sees to it that Redis takes each number."""

    def __init__(self, instance, channel):
        super().__init__(daemon=True)
        self.instance, self.channel = instance, channel
        self.stopped, self.published = threading.Event(), 0

    def run(self):
        with publisher(self.instance) as connection:
            progress = Progress(connection, self.channel, patience_seconds=SECONDS)
            for number in itertools.count(1):
                if self.stopped.wait(0.05):
                    return
                progress.message(str(number))
                self.published = number


@pytest.fixture
def traffic(instance):
    channel = f"progress:{secrets.token_hex(16)}"
    subscriber, sender = Subscriber(instance, channel), Publisher(instance, channel)
    subscriber.start()
    assert subscriber.subscribed.wait(SECONDS)
    sender.start()
    yield sender, subscriber
    for thread in (sender, subscriber):
        thread.stopped.set()
        thread.join(SECONDS)


def running_version(server):
    """Ask the running server, not the link or the program behind it."""
    info = server.run_test(
        "REDISCLI_AUTH=$(cat /etc/redis/admin_password) /opt/redis/current/bin/redis-cli "
        "-s /run/redis/redis.sock --user admin INFO server"
    ).stdout
    return info.split("redis_version:")[1].split()[0]


def starts(server):
    return server.run("journalctl -o cat -u redis").stdout.count("Started redis.service")


def built_at(server, version):
    return server.run(f"stat -c %y /opt/redis/{version}/bin/redis-server").stdout


@pytest.mark.timeout(1800)  # a build, and others may be building too
def test_newer_and_back_loses_no_message(server, traffic):
    sender, subscriber = traffic
    assert running_version(server) == OLDER
    older_built, started = built_at(server, OLDER), starts(server)

    # Compiled here, while the older one serves, and not taken from the control node.
    assert changed(provision(INVENTORY, redis_version=NEWER, source_build_binary_cache_dir=""))
    assert running_version(server) == NEWER
    assert starts(server) == started + 1

    assert changed(provision(INVENTORY))
    assert running_version(server) == OLDER
    assert starts(server) == started + 2
    assert built_at(server, OLDER) == older_built, "a rollback must not build again"
    assert built_at(server, NEWER), "the newer release stays for the next time"

    refused = provision(INVENTORY, redis_version=TOO_OLD)
    assert refused.returncode
    assert f"redis {TOO_OLD} is not made current ({OLDER} stays)" in " ".join(
        refused.stdout.split()
    )
    assert server.run("readlink /opt/redis/current").stdout.strip() == OLDER
    assert running_version(server) == OLDER
    assert starts(server) == started + 2
    # Whatever the users' file has: neither can it read the data.
    aside = "mv /etc/redis/redis.conf /etc/redis/aside.conf"
    back = "mv /etc/redis/aside.conf /etc/redis/redis.conf"
    answer = server.run(
        f"{aside}; redis-check build /opt/redis/{TOO_OLD}; status=$?; {back}; exit $status"
    )
    assert answer.rc == 1
    assert "cannot read data of the format REDIS0012" in answer.stderr

    sender.stopped.set()
    sender.join(SECONDS)
    deadline = time.monotonic() + SECONDS
    while not (subscriber.received and subscriber.received[-1]["text"] == str(sender.published)):
        assert time.monotonic() < deadline, subscriber.received[-3:]
        time.sleep(0.1)
    texts = [int(event["text"]) for event in subscriber.received]
    assert texts == list(range(1, sender.published + 1)), "lost, doubled or out of order"
    assert subscriber.connections >= 3, "each restart of Redis must be seen as a lost connection"
    print(f"{len(texts)} messages over {subscriber.connections} connections")
