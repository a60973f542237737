"""Three nodes: what is published through Sentinel's client while the primary is moved or lost."""

from __future__ import annotations

import json
import secrets
import subprocess
import threading
import time

import pytest

from kit import verify
from kit.checkout import KIT_DIR, SSH_CONFIG, read_instance
from webdis_progress import Progress, events_after

PERIOD_SECONDS = 0.02
DEADLINE_SECONDS = 60
CUT = (
    "nft add table inet cut; "
    "nft add chain inet cut input '{ type filter hook input priority -10; }'; "
    "nft add rule inet cut input ip saddr '{ %s }' drop"
)
UNTIL_REPLICA = (
    "for i in $(seq 300); do redis-admin INFO replication | grep -q ^role:slave && exit 0; "
    "sleep 0.1; done; exit 1"
)
UNTIL_WEBDIS_STOPS = (
    "for i in $(seq 300); do systemctl is-active -q webdis || exit 0; sleep 0.05; done; exit 1"
)


def on(node, command):
    """Run a shell command on a node; return what it printed."""
    answer = subprocess.run(
        ["ssh", "-F", SSH_CONFIG, "-o", "BatchMode=yes", node["name"], command],
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_SECONDS,
    )
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def primary_of(instance):
    host = verify.sentinel(instance).discover_master(instance["master_name"])[0]
    return next(node for node in instance["nodes"] if node["address"] == host)


def eventually(condition):
    """Wait until every check of `make verify` for several nodes passes."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        try:
            return condition()
        except verify.FAILURES:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.05)


@pytest.fixture
def instance():
    described = read_instance()
    assert len(described["nodes"]) == 3, "make up NODES=3"
    eventually(lambda: verify.sentinels_agree(described))
    yield described
    for node in described["nodes"]:
        on(node, "systemctl start redis sentinel")
    eventually(lambda: verify.sentinels_agree(described))
    eventually(lambda: verify.all_webdis_deliver(described))


class Writer:
    """Publishes numbered messages from a thread of its own until it is told to stop."""

    def __init__(self, instance):
        password = (KIT_DIR / "secrets" / "redis_publisher").read_text().strip()
        self.client = verify.sentinel(
            instance, username="publisher", password=password, socket_timeout=2
        ).master_for(instance["master_name"])
        self.channel = f"progress:{secrets.token_hex(16)}"
        self.taken = 0
        self.slowest_seconds = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        progress = Progress(self.client, self.channel)
        while not self._stop.wait(PERIOD_SECONDS):
            start = time.monotonic()
            progress.message(f"{self.taken + 1}")
            self.slowest_seconds = max(self.slowest_seconds, time.monotonic() - start)
            self.taken += 1

    def wait_for_more(self, count):
        goal = self.taken + count
        deadline = time.monotonic() + DEADLINE_SECONDS
        while self.taken < goal:
            assert self._thread.is_alive()
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def finish(self):
        self._stop.set()
        self._thread.join()

    def stored(self):
        found, after = [], 0
        while events := events_after(self.client, self.channel, after):
            found += [int(event["text"]) for event in events]
            after = events[-1]["seq"]
        return found


@pytest.fixture
def writer(instance):
    made = Writer(instance)
    made.wait_for_more(50)
    yield made
    made.finish()


def test_a_planned_failover_loses_doubles_and_reorders_nothing(instance, writer):
    before = primary_of(instance)
    on(before, "redis-failover")
    writer.wait_for_more(50)
    writer.finish()
    assert primary_of(instance) != before
    assert writer.stored() == list(range(1, writer.taken + 1))


def test_a_primary_that_is_killed_is_replaced(instance, writer):
    before = primary_of(instance)
    on(before, "systemctl kill --kill-whom=main --signal=KILL redis; systemctl stop redis")
    writer.wait_for_more(50)
    writer.finish()
    after = primary_of(instance)
    assert after != before
    stored = writer.stored()
    assert stored == sorted(set(stored))
    assert stored[-1] == writer.taken
    # What a replica had not got yet may be missing: the publisher does not ask for it.
    print(json.dumps({"lost": writer.taken - len(stored), "seconds": writer.slowest_seconds}))
    on(before, "systemctl start redis")
    eventually(lambda: verify.sentinels_agree(instance))
    assert primary_of(instance) == after
    on(before, UNTIL_REPLICA)


def test_webdis_stops_where_redis_has_no_current_data(instance):
    replica = next(node for node in instance["nodes"] if node != primary_of(instance))
    others = ", ".join(node["address"] for node in instance["nodes"] if node != replica)
    on(replica, CUT % others)
    try:
        on(replica, UNTIL_WEBDIS_STOPS)
    finally:
        on(replica, "nft delete table inet cut")
    eventually(lambda: verify.message_arrives(instance | {"webdis": {"url": replica["webdis"]}}))
