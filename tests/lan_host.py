"""A host on the instance's bridge, in a network namespace: a neighbour, or a stranger."""

from __future__ import annotations

import secrets
import subprocess

from kit.system import as_root

NEIGHBOUR4, STRANGER4 = "50", "198.18.1.50"  # the first within the instance's /24
CONNECT = """
import socket, sys
from concurrent.futures import ThreadPoolExecutor
address, seconds, at_once, *ports = sys.argv[1:]
open_ones = []
def answer(port):
    try:
        open_ones.append(socket.create_connection((address, int(port)), timeout=float(seconds)))
    except OSError as error:
        return type(error).__name__
    return "open"
with ThreadPoolExecutor(int(at_once)) as pool:
    print(*pool.map(answer, ports))
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
        return self.answers(address, [port], seconds)[port]

    def answers(self, address, ports, seconds=5):
        """Connect to all at the same time; return `open`, or the name of the error, for each."""
        return dict(zip(ports, self._connect(address, ports, seconds, len(ports)), strict=True))

    def connections(self, count, address, port, seconds=5):
        """Hold so many at once, made in turn; return `open`, or the name of the error, for each."""
        return self._connect(address, [port] * count, seconds, 1)

    def _connect(self, address, ports, seconds, at_once):
        words = map(str, (address, seconds, at_once, *ports))
        return run("ip", "netns", "exec", self.name, "python3", "-c", CONNECT, *words).split()

    def remove(self):
        run("ip", "netns", "delete", self.name)


def assert_only_neighbours_reach(instance, server, ports):
    """Have a neighbour get through to each port, and a stranger to none.

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
        answers = host.answers(address, ports)
        assert set(answers.values()) == {"open"}, answers
        host.ip("address", "flush", "dev", "eth0")
        host.ip("address", "add", f"{STRANGER4}/32", "dev", "eth0")
        host.ip("route", "add", f"{address}/32", "dev", "eth0")
        # With a way back to them: silence is then the firewall's doing.
        assert server.run(f"ip route replace {STRANGER4}/32 dev host0").rc == 0
        try:
            answers = host.answers(address, ports, 2)
            assert set(answers.values()) == {"TimeoutError"}, answers
        finally:
            server.run(f"ip route delete {STRANGER4}/32 dev host0")
    finally:
        host.remove()
