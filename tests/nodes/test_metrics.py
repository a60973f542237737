"""What Prometheus sees of three nodes and of their Sentinels; `make test-nodes` adds it."""

from __future__ import annotations

import pytest

from tests.demo_server import eventually
from tests.metrics.prometheus import Prometheus
from tests.nodes.scene import on


@pytest.fixture
def prometheus(scene):
    """Return it once it has asked everybody and nothing is wrong."""
    found = Prometheus(scene.instance["nodes"][0]["address"])
    all_seen = "redis_sentinel_master_ok_sentinels == 3 and redis_sentinel_master_ok_slaves == 2"
    eventually(lambda: len(found.query(all_seen)) == 3, "a Sentinel does not see all", 60)
    found.wait_for_none()
    return found


def test_who_is_lost_sets_off_its_alert(scene, prometheus):
    lost = scene.others(scene.primary)[0]
    for service, alert in (("redis", "ReplicaMissing"), ("sentinel", "SentinelMissing")):
        on(lost, f"systemctl stop {service}")
        try:
            prometheus.wait_for(alert)
        finally:
            on(lost, f"systemctl start {service}")
        scene.wait_until_well()
        prometheus.wait_for_none()


def test_another_primary_is_seen_by_prometheus_and_by_each_sentinel(scene, prometheus):
    on(scene.primary, "redis-failover")
    prometheus.wait_for("FailoverHappened")

    def named_by():  # the alert may still be that of an earlier failover
        address = f"{scene.primary['address']}:6379"
        return prometheus.query(f'redis_sentinel_master_status{{master_address="{address}"}} == 1')

    eventually(lambda: len(named_by()) == 3, "a Sentinel names another one", 60)
    prometheus.wait_for_none()


def test_who_asks_sentinel_may_do_nothing_else(scene):
    node = scene.primary
    password = "$(cut -s -d'\"' -f4 /etc/webdis-metrics/redis_passwords.json | grep -m1 .)"
    said = on(
        node,
        f"REDISCLI_AUTH={password} /opt/redis/current/bin/redis-cli -s /run/sentinel/sentinel.sock"
        f" --user metrics SENTINEL FAILOVER {scene.instance['master_name']} 2>&1",
    )
    assert "no permissions" in said
