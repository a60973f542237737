"""Three nodes, one of which fails while a page shows a numbered message every 20 ms."""

from __future__ import annotations

import asyncio
import contextlib
import html
import json
import os
import re
import secrets
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from itertools import takewhile

import pytest

from kit import verify
from kit.errors import KitError
from tests.demo_server import eventually
from tests.nodes.faults import FAULTS, KILL, NOT_PROMISED, PREPARATIONS, all_restarted
from tests.nodes.scene import cut_off, on, passes
from tests.provisioning import provision
from webdis_progress import AsyncProgress, events_after
from webdis_progress.sentinel import AsyncSentinel

REPEATED = list(FAULTS)[:5]
REPEATS = int(os.environ.get("NODES_REPEATS", "1"))
MESSAGES = 100
UNTIL_WEBDIS_STOPS = (
    "for i in $(seq 300); do systemctl is-active -q webdis || exit 0; sleep 0.05; done; exit 1"
)


@pytest.mark.timeout(1800)  # one of them runs the playbook three times
@pytest.mark.parametrize(
    "fault", [fault for fault in FAULTS for _ in range(REPEATS if fault in REPEATED else 1)]
)
def test_one_failure_loses_doubles_and_reorders_nothing(scene, record, fault):
    strike = FAULTS[fault]
    with contextlib.ExitStack() as stack:
        if prepare := PREPARATIONS.get(strike):
            stack.enter_context(prepare(scene))
        row = scene.play(fault, lambda: strike(scene, stack))
    record(row)
    if strike in NOT_PROMISED:
        return
    assert (row.lost, row.doubled, row.out_of_order) == (0, 0, 0), row
    # All at once take longer than the publisher's patience on a busy machine: it is told.
    assert row.refused == 0 or strike is all_restarted, row


def test_webdis_stops_where_redis_has_no_current_data(scene):
    replica = scene.others(scene.primary)[0]
    with cut_off(replica, *(node["address"] for node in scene.others(replica))):
        on(replica, UNTIL_WEBDIS_STOPS)
    mine = scene.instance | {"webdis": {"url": replica["webdis"]}}
    eventually(lambda: passes(verify.message_arrives, mine), "its Webdis does not come back")


@pytest.mark.parametrize(
    ("watched", "said"),
    [("other", "knows other, not demo"), ("demo", "names 127.0.0.1, the address of no node")],
)
def test_a_sentinel_with_another_name_or_address_is_told(scene, watched, said):
    node, state = scene.nodes[0], "/var/lib/sentinel/state.conf"
    on(node, f"cp -a {state} {state}.kept")
    with contextlib.ExitStack() as mended:
        for other in scene.others(node):  # they would tell it what they know
            mended.callback(on, other, "systemctl start sentinel")
            on(other, "systemctl stop sentinel")
        mended.callback(
            on, node, f"systemctl stop sentinel; mv {state}.kept {state}; systemctl start sentinel"
        )
        monitor = f"SENTINEL MONITOR {watched} 127.0.0.1 6379 2"
        on(node, f"sentinel-admin SENTINEL REMOVE demo; sentinel-admin {monitor}")
        with pytest.raises(KitError, match=f"the Sentinel of {node['address']} {said}"):
            verify.sentinels_agree(scene.instance)


@pytest.mark.timeout(600)
def test_another_tls_is_refused_before_anything_is_changed(scene):
    """One replica after the other would hear nothing of its primary."""
    tls = not scene.instance["tls"]
    files = {f"redis_tls_{what}": "/nowhere" for what in ("ca", "certificate", "private_key")}
    answer = provision("--tags=redis_configure", redis_tls=tls, **files)
    assert answer.returncode != 0
    said = " ".join(answer.stdout.split())
    assert "servers that replicate cannot change that one after the other" in said
    assert re.findall(r"changed=(\d+)", answer.stdout) == ["0", "0", "0"]


def test_asyncio_publishes_on_over_a_failover(scene):
    master, channel = scene.instance["master_name"], f"progress:{secrets.token_hex(16)}"
    login = verify.publisher(scene.instance).get_connection_kwargs()
    found = AsyncSentinel(
        scene.instance["sentinels"],
        sentinel_kwargs={
            name: value
            for name, value in verify.sentinel(scene.instance).sentinel_kwargs.items()
            if name != "retry"  # which is not that of asyncio
        },
    )

    async def publish():
        client = found.master_for(
            master, username=login["username"], password=login["password"], socket_timeout=1
        )
        async with client, AsyncProgress(client, channel, durability="replicated") as progress:
            await progress.message("0")
            moving = asyncio.create_task(asyncio.to_thread(on, scene.primary, "redis-failover"))
            sent = 1
            while not moving.done() or sent < MESSAGES:
                await progress.message(str(sent))
                sent += 1
                await asyncio.sleep(0.02)
            await moving
        for one in found.sentinels:
            await one.aclose()
        return sent

    with ThreadPoolExecutor() as other_thread:  # Playwright has a loop in this one
        sent = other_thread.submit(asyncio.run, publish()).result()
    with verify.primary(scene.instance) as client:
        kept = events_after(client, channel, 0)
    assert [event["text"] for event in kept] == ["Started", *map(str, range(sent)), "Done"]


def ask(url):
    with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310  # loopback
        return answer.read().decode()


def is_ready(url):
    try:
        ask(url)
    except OSError as error:
        print(error.read().decode() if isinstance(error, urllib.error.HTTPError) else error)
        return False
    return True


def test_the_demo_says_how_the_nodes_are(scene, nodes_demo):
    def seen():
        page = ask(f"{nodes_demo.health_url}/status/")
        return json.loads(html.unescape(re.search(r'data-seen="([^"]*)"', page)[1]))

    known = eventually(seen, "nothing is seen")["news"][:1]

    def news():
        return [*takewhile(lambda entry: entry not in known, seen()["news"])]

    replica = scene.others(scene.primary)[0]
    on(replica, "systemctl stop redis")
    try:
        ready = f"{nodes_demo.health_url}/readyz"  # whose checks a busy machine may miss once
        eventually(lambda: is_ready(ready), "the demo is not ready without a replica", 30)
        assert f"{replica['name']}: away" in seen()["nodes"]
    finally:
        on(replica, "systemctl start redis")
    scene.wait_until_well()
    on(scene.primary, "redis-failover")
    told = f"{scene.primary['name']}: primary"
    eventually(lambda: any(told in entry["what"] for entry in news()[:1]), told, 30)
    others = [entry for entry in news() if not entry["what"].startswith("roles: ")]
    assert others == [], "no Redis was restarted"


def end_of(visitor, run):
    """Return how a run has ended; nothing while it has not, or Redis is away."""
    with contextlib.suppress(urllib.error.HTTPError):
        state, _ = visitor.state(run)
        return state in ("done", "failed") and state
    return None


def test_a_job_and_the_queue_outlive_a_failover(scene, nodes_demo):
    visitor = nodes_demo.visitor()
    runs = [visitor.post("/job/", ending="done") for _ in range(3)]
    visitor.wait_for(runs[0], "running")
    on(scene.primary, KILL)
    for run in runs:
        assert eventually(lambda run=run: end_of(visitor, run), run, 90) == "done"
