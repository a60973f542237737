"""One server becomes three while messages are published, and none is lost."""

from __future__ import annotations

import json
import re
import secrets
from itertools import pairwise

import pytest
import redis

from kit.checkout import INSTANCES_DIR
from tests.demo_server import eventually
from tests.faults.scene import MESSAGES_AFTER, Publisher
from tests.surroundings.instances import kit
from webdis_progress import events_after

INSTANCE = "growing"
FOLDER = INSTANCES_DIR / INSTANCE


def up(nodes):
    kit(INSTANCE, "up", seconds=900, NODES=str(nodes))
    return json.loads((FOLDER / "instance.json").read_text())


@pytest.fixture
def one_node():
    try:
        yield up(1)
    finally:
        kit(INSTANCE, "destroy")


@pytest.mark.timeout(2400)
def test_no_message_is_lost_when_nodes_are_added(one_node, tmp_path):
    channel = f"progress:{secrets.token_hex(16)}"
    sender = Publisher(channel, tmp_path / "publisher.log", {"DEMO_KIT_DIR": str(FOLDER)})
    try:
        eventually(sender.taken, "nothing is taken")
        grown = up(3)
        reached = max(sender.taken()) + MESSAGES_AFTER
        eventually(lambda: max(sender.taken()) > reached, "nothing more is taken", 60)
    finally:
        sender.stop()
    url = re.search(r"REDIS_URL='([^']+)'", (FOLDER / "env").read_text())[1]
    kept = []
    with redis.Redis.from_url(url) as client:
        while events := events_after(client, channel, kept[-1]["seq"] if kept else 0):
            kept += events
    outcomes = sender.outcomes()
    gap = max(after - before for (_, before, _), (_, after, _) in pairwise(outcomes))
    print(f"{len(outcomes)} messages, the longest time without one {gap:.1f} s")
    assert len(sender.taken()) == len(outcomes), "none is refused"
    # A stream keeps its last 10,000.
    numbers = [event["text"] for event in kept if event["text"].isdecimal()]
    assert numbers == [str(number) for number, *_ in outcomes][-len(numbers) :]
    assert len(numbers) > MESSAGES_AFTER
    assert grown["redis"]["host"] == one_node["redis"]["host"]
    assert len(grown["nodes"]) == len(grown["sentinels"]) == 3
