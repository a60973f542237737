"""Three nodes, one of which fails while a page shows a numbered message every 20 ms."""

from __future__ import annotations

import contextlib
import os
import urllib.error

import pytest

from kit import verify
from tests.demo_server import eventually
from tests.nodes.faults import FAULTS, PREPARATIONS, all_restarted
from tests.nodes.scene import cut_off, on, passes

REPEATED = list(FAULTS)[:5]
REPEATS = int(os.environ.get("NODES_REPEATS", "1"))
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
    assert (row.lost, row.doubled, row.out_of_order) == (0, 0, 0), row
    # All at once take longer than the publisher's patience on a busy machine: it is told.
    assert row.refused == 0 or strike is all_restarted, row


def test_webdis_stops_where_redis_has_no_current_data(scene):
    replica = scene.others(scene.primary)[0]
    with cut_off(replica, *(node["address"] for node in scene.others(replica))):
        on(replica, UNTIL_WEBDIS_STOPS)
    mine = scene.instance | {"webdis": {"url": replica["webdis"]}}
    eventually(lambda: passes(verify.message_arrives, mine), "its Webdis does not come back")


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
    on(scene.primary, "systemctl kill --kill-whom=main --signal=KILL redis")
    for run in runs:
        assert eventually(lambda run=run: end_of(visitor, run), run, 90) == "done"
