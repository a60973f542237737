"""The guest could reach nothing while it was provisioned, and nothing has opened the way."""

from __future__ import annotations


def test_guest_has_no_way_out(server, instance):
    assert server.run("ip route show default").stdout == ""
    assert "policy drop" in server.run("nft list table inet airgap").stdout
    gateway = instance["address"].rsplit(".", 1)[0] + ".1"
    assert server.run(f"timeout 3 bash -c '</dev/tcp/{gateway}/22'").rc != 0


def test_both_services_run(server):
    for service in ("redis", "webdis"):
        assert server.service(service).is_running
