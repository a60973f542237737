"""Faults behind the edge, on an instance that `make up TLS=1` made, as `make test-tls` does."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from functools import partial

import pytest

from kit.verify import publisher
from tests.faults.test_faults import (
    BACK_SECONDS,
    edited,
    end,
    link_down,
    nothing,
    redis_restarted,
    webdis_killed,
)
from webdis_progress import events_after

CUT_SECONDS = 3
STUCK_BYTES = 50_000
LARGE_TEXT = "x" * 30_000
LARGE_TEXTS_PER_SECOND = 100
MOST_LARGE_TEXTS = 2000
# Sockets of the edge whose client does not take what was sent.
STUCK = f"ss -Htn state established sport = :443 | awk '$2 > {STUCK_BYTES}' | wc -l"


@contextmanager
def edge_reloaded(scene):
    yield partial(scene.command, "systemctl reload nginx")


@contextmanager
def edge_killed(scene):
    yield partial(end, scene, "nginx", "systemctl kill --signal=KILL nginx")


@contextmanager
def page_that_does_not_read(scene):
    """The page is held in the debugger while it is sent megabytes, until the edge cuts it off."""
    debugger = scene.page.context.new_cdp_session(scene.page)

    def strike():
        debugger.send("Debugger.enable")
        debugger.send("Debugger.pause")
        send_until_cut_off(scene)
        memory = f"Webdis then had {scene.memory_mib('webdis')} MiB"
        scene.held_until = time.time()
        debugger.send("Debugger.disable")
        return f"the edge cut the page off; {memory}"

    limit = rf"s/(send_timeout|proxy_send_timeout) .*;/\1 {CUT_SECONDS}s;/"
    with edited(scene, "/etc/edge/nginx.conf", limit, "nginx"):
        yield strike


def send_until_cut_off(scene):
    """Publish large messages until a socket was stuck and is gone."""
    stuck = False
    with publisher(scene.instance) as redis:
        # One that the page has had, made long: so the channel, which is bounded by bytes, keeps
        # all that is counted.
        event = events_after(redis, scene.channel, 0)[0] | {"text": LARGE_TEXT}
        frame = json.dumps(event)
        start = time.monotonic()
        for number in range(1, MOST_LARGE_TEXTS + 1):
            redis.publish(scene.channel, frame)
            time.sleep(max(0.0, start + number / LARGE_TEXTS_PER_SECOND - time.monotonic()))
            if number % (LARGE_TEXTS_PER_SECOND // 2):
                continue
            before, stuck = stuck, int(scene.command(STUCK)) > 0
            if before and not stuck:
                return
    pytest.fail("the edge did not cut off a page that does not read")


FAULTS = {
    nothing: "none, for comparison",
    edge_reloaded: "edge reloaded",
    edge_killed: "edge killed (-9)",
    redis_restarted: "Redis restarted",
    webdis_killed: "Webdis killed (-9)",
    link_down: "link down for 10 s",
    page_that_does_not_read: f"the page stops reading; `webdis_edge_send_seconds` {CUT_SECONDS}",
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_no_message_is_lost_doubled_or_out_of_order_behind_the_edge(fault, scene, record):
    assert scene.instance["tls"], "this instance has no TLS: `make test-tls` makes one that has"
    with fault(scene) as strike:
        row = scene.play(FAULTS[fault], strike)
    record(row)
    assert (row.refused, row.lost, row.doubled, row.out_of_order) == (0, 0, 0, 0)
    assert row.live_seconds <= BACK_SECONDS
