"""After a failover and two runs of the playbook."""

from __future__ import annotations

from kit import verify


def test_the_playbook_has_not_moved_the_primary(instance):
    assert instance["redis"]["host"] != instance["nodes"][0]["address"]
    with verify.primary(instance) as client:
        assert client.connection_pool.connection_kwargs["host"] == instance["redis"]["host"]


def test_all_nodes_work(instance):
    verify.sentinels_agree(instance)
    verify.all_webdis_deliver(instance)
