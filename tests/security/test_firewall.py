"""The firewall from a neighbour on the LAN and from a stranger, in network namespaces."""

from __future__ import annotations

import pytest

from kit.verify import publisher
from tests.lan_host import NEIGHBOUR4, STRANGER4, Host

STRANGER6, SERVER6 = "fd66:1::50", "fd66:1::2"


@pytest.fixture
def host(instance):
    assert instance["provider"] == "container", "make test runs against a container"
    made = Host(instance["bridge"])
    yield made
    made.remove()


@pytest.fixture
def ways_back(server):
    """Give the server a way back to strangers: silence is then the firewall's doing."""
    assert server.run(f"ip route replace {STRANGER4}/32 dev host0").rc == 0
    assert server.run(f"ip -6 address replace {SERVER6}/64 dev host0 nodad").rc == 0
    yield
    server.run(f"ip route delete {STRANGER4}/32 dev host0")
    server.run(f"ip -6 address delete {SERVER6}/64 dev host0")


def ports(instance):
    found = [entry["port"] for entry in instance["firewall"]["ports"]]
    assert {22, 6379} <= set(found)
    return found


def test_a_neighbour_gets_through(instance, host, server):
    prefix = instance["address"].rpartition(".")[0]
    host.ip("address", "add", f"{prefix}.{NEIGHBOUR4}/24", "dev", "eth0")
    answers = host.answers(instance["address"], ports(instance))
    assert set(answers.values()) == {"open"}, answers
    link_local = server.run("ip -6 -o address show dev host0 scope link").stdout.split()[3]
    for port in (22, 6379):
        assert host.connect(f"{link_local.split('/')[0]}%eth0", port, 10) == "open", port


def test_a_stranger_does_not(instance, host, server, ways_back):  # noqa: ARG001  # is set up
    host.ip("address", "add", f"{STRANGER4}/32", "dev", "eth0")
    host.ip("route", "add", f"{instance['address']}/32", "dev", "eth0")
    host.ip("-6", "address", "add", f"{STRANGER6}/64", "dev", "eth0", "nodad")
    answers = host.answers(instance["address"], ports(instance), 2)
    assert set(answers.values()) == {"TimeoutError"}, answers
    for port in (22, 6379):
        assert host.connect(SERVER6, port, 2) == "TimeoutError", port
    # The same stranger with the wall open to them: it was the wall.
    opened = ((4, STRANGER4), (6, STRANGER6))
    for family, address in opened:
        added = f"nft 'add element inet webdis_kit subnets{family} {{ {address} }}'"
        assert server.run(added).rc == 0
    try:
        assert host.connect(instance["address"], 6379, 20) == "open"
        assert host.connect(SERVER6, 6379, 20) == "open"
    finally:
        for family, address in opened:
            server.run(f"nft 'delete element inet webdis_kit subnets{family} {{ {address} }}'")


def test_each_address_has_so_many_connections(instance, host, server):
    prefix = instance["address"].rpartition(".")[0]
    host.ip("address", "add", f"{prefix}.{NEIGHBOUR4}/24", "dev", "eth0")
    fewer = "sed -E 's/(ct count over) [0-9]+/\\1 5/' /etc/webdis-kit-firewall.nft | nft -f -"
    assert server.run(fewer).rc == 0
    try:
        answers = host.connections(7, instance["address"], 6379)
        assert answers == ["open"] * 5 + ["ConnectionRefusedError"] * 2
        with publisher(instance) as somebody_else:
            assert somebody_else.ping()
    finally:
        assert server.run("systemctl reload webdis-kit-firewall").rc == 0


def test_each_address_connects_at_so_high_a_rate(instance, host, server):
    prefix = instance["address"].rpartition(".")[0]
    host.ip("address", "add", f"{prefix}.{NEIGHBOUR4}/24", "dev", "eth0")
    slower = "sed -E 's#[0-9]+/second burst [0-9]+#5/second burst 10#' /etc/webdis-kit-firewall.nft"
    assert server.run(f"{slower} | nft -f -").rc == 0
    try:
        answers = host.connections(20, instance["address"], 6379, 0.3)
        assert set(answers[:10]) == {"open"}
        assert set(answers[10:]) == {"open", "TimeoutError"}
        with publisher(instance) as somebody_else:
            assert somebody_else.ping()
    finally:
        assert server.run("systemctl reload webdis-kit-firewall").rc == 0
