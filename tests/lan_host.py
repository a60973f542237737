"""A host on the instance's bridge, in a network namespace: a neighbour, or a stranger."""

from __future__ import annotations

import secrets
import subprocess

from kit.system import as_root

NEIGHBOUR4, STRANGER4 = "50", "198.18.1.50"  # the first within the instance's /24
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


def assert_only_neighbours_reach(instance, server, ports):
    """Have a neighbour get through to each port, and a stranger to neither the first nor the last.

    All of them are among those that instance.json says are open.

    Args:
        instance: The content of instance.json.
        server: The instance as a testinfra host.
        ports: TCP ports that something listens on.
    """
    assert set(ports) <= {entry["port"] for entry in instance["firewall"]["ports"]}
    address = instance["address"]
    host = Host(instance["bridge"])
    try:
        host.ip("address", "add", f"{address.rpartition('.')[0]}.{NEIGHBOUR4}/24", "dev", "eth0")
        for port in ports:
            assert host.connect(address, port) == "open", port
        host.ip("address", "flush", "dev", "eth0")
        host.ip("address", "add", f"{STRANGER4}/32", "dev", "eth0")
        host.ip("route", "add", f"{address}/32", "dev", "eth0")
        # With a way back to them: silence is then the firewall's doing.
        assert server.run(f"ip route replace {STRANGER4}/32 dev host0").rc == 0
        try:
            for port in (ports[0], ports[-1]):
                assert host.connect(address, port, 2) == "TimeoutError", port
        finally:
            server.run(f"ip route delete {STRANGER4}/32 dev host0")
    finally:
        host.remove()
