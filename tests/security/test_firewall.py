"""The firewall from a neighbour on the LAN and from a stranger, in network namespaces."""

from __future__ import annotations

import secrets
import subprocess

import pytest

from kit.system import as_root
from kit.verify import publisher

NEIGHBOUR4, STRANGER4 = "50", "198.18.1.50"  # the first within the instance's /24
STRANGER6, SERVER6 = "fd66:1::50", "fd66:1::2"
CONNECT = """
import socket, sys
open_ones = []
for _ in range(int(sys.argv[4])):
    try:
        open_ones.append(
            socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=float(sys.argv[3]))
        )
    except OSError as error:
        print(type(error).__name__)
    else:
        print("open")
"""


def run(*command):
    return subprocess.run(as_root([*command]), capture_output=True, text=True, check=True).stdout


class Host:
    """A host of its own on the instance's bridge, with the addresses that it is given."""

    def __init__(self, bridge):
        self.name = f"wk-{secrets.token_hex(3)}"
        run("ip", "netns", "add", self.name)
        run("ip", "link", "add", self.name, "type", "veth", "peer", "eth0", "netns", self.name)
        run("ip", "link", "set", self.name, "master", bridge, "up")
        # Else its own address may not be used for the first seconds.
        no_wait = "echo 0 >/proc/sys/net/ipv6/conf/eth0/accept_dad"
        run("ip", "netns", "exec", self.name, "sh", "-c", no_wait)
        self.ip("link", "set", "lo", "up")
        self.ip("link", "set", "eth0", "up")

    def ip(self, *arguments):
        return run("ip", "-n", self.name, *arguments)

    def connect(self, address, port, seconds=5):
        """Return `open`, or the name of the error."""
        (answer,) = self.connections(1, address, port, seconds)
        return answer

    def connections(self, count, address, port, seconds=5):
        """Hold so many at once; return `open`, or the name of the error, for each."""
        python = ["python3", "-c", CONNECT, address, str(port), str(seconds), str(count)]
        return run("ip", "netns", "exec", self.name, *python).split()

    def remove(self):
        run("ip", "netns", "delete", self.name)


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
    for port in ports(instance):
        assert host.connect(instance["address"], port) == "open", port
    link_local = server.run("ip -6 -o address show dev host0 scope link").stdout.split()[3]
    for port in (22, 6379):
        assert host.connect(f"{link_local.split('/')[0]}%eth0", port, 10) == "open", port


def test_a_stranger_does_not(instance, host, server, ways_back):  # noqa: ARG001  # is set up
    host.ip("address", "add", f"{STRANGER4}/32", "dev", "eth0")
    host.ip("route", "add", f"{instance['address']}/32", "dev", "eth0")
    host.ip("-6", "address", "add", f"{STRANGER6}/64", "dev", "eth0", "nodad")
    for port in ports(instance):
        assert host.connect(instance["address"], port, 2) == "TimeoutError", port
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
