"""Which ports of the instance answer, and which ones should."""

from __future__ import annotations

import concurrent.futures
import contextlib
import errno
import ipaddress
import socket
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

# Looked at besides those of the firewall's rules: the kit's own, which another
# configuration may hide, and what a server often has open by mistake.
OTHER_PORTS = {
    21: "FTP",
    22: "SSH",
    23: "Telnet",
    25: "SMTP",
    53: "DNS",
    80: "HTTP",
    111: "RPC portmapper",
    139: "NetBIOS",
    443: "edge (HTTPS)",
    445: "SMB",
    2049: "NFS",
    2375: "Docker",
    3306: "MySQL",
    5355: "LLMNR",
    5432: "PostgreSQL",
    6379: "Redis",
    6380: "Redis (TLS)",
    7379: "Webdis",
    8080: "HTTP",
    9090: "Cockpit",
    11211: "memcached",
    16379: "Redis cluster bus",
    26379: "Redis Sentinel",
    27017: "MongoDB",
}
CONCURRENT = 8


class Target(NamedTuple):
    """A port to look at.

    Args:
        address: Of the instance, IPv4 or IPv6.
        port: Its number.
        service: What it is for.
        allowed: May this host reach it, as the firewall's rules say?
    """

    address: str
    port: int
    service: str
    allowed: bool

    @property
    def over_ipv6(self) -> bool:
        """Is it reached over IPv6?"""
        return ":" in self.address


def targets(instance: dict[str, Any]) -> list[Target]:
    """Return the ports to look at, on each address of the instance.

    Args:
        instance: The content of instance.json, the one place that targets come from.
    """
    firewall = instance["firewall"]
    subnets = [ipaddress.ip_network(subnet) for subnet in firewall["subnets"]]
    ruled = {rule["port"]: rule["service"] for rule in firewall["ports"]}
    services = {**OTHER_PORTS, **ruled}
    found = []
    addresses = [instance["address"]]
    for address6 in instance.get("addresses6", []):
        # A link's own address means something on that link only.
        link_local = ipaddress.ip_address(address6).is_link_local
        addresses.append(f"{address6}%{instance['bridge']}" if link_local else address6)
    for address in addresses:
        try:
            here = ipaddress.ip_address(_own_address(address))
        except OSError:
            if address == instance["address"]:
                raise
            continue  # this host has no way there: it is on another link, or has no IPv6
        inside = any(here in subnet for subnet in subnets)
        found += [
            Target(address, port, services[port], inside and port in ruled)
            for port in sorted(services)
        ]
    return found


def _own_address(address: str) -> str:
    """Return the address of this host that packets to ``address`` come from."""
    with _socket_to(address, socket.SOCK_DGRAM) as (probe, where):
        probe.connect(where)  # sends nothing
        own: str = probe.getsockname()[0]
        return own


@contextlib.contextmanager
def _socket_to(
    address: str, kind: socket.SocketKind, port: int = 9
) -> Iterator[tuple[socket.socket, Any]]:
    """Yield a socket of the address's family, and where to connect it to."""
    family, _, _, _, where = socket.getaddrinfo(
        address, port, type=kind, flags=socket.AI_NUMERICHOST
    )[0]
    with socket.socket(family, kind) as client:
        yield client, where


def check(targets: list[Target], timeout_seconds: float) -> Iterator[dict[str, Any]]:
    """Try to connect to each port, several at a time; yield a row as each is known.

    Args:
        targets: As `targets` returns them.
        timeout_seconds: How long a port may take to answer.
    """
    with concurrent.futures.ThreadPoolExecutor(CONCURRENT) as pool:
        tries = {pool.submit(_answers, target, timeout_seconds): target for target in targets}
        try:
            for finished in concurrent.futures.as_completed(tries):
                yield _row(tries[finished], finished.result())
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _answers(target: Target, timeout_seconds: float) -> str:
    with _socket_to(target.address, socket.SOCK_STREAM, target.port) as (client, where):
        client.settimeout(timeout_seconds)
        error = client.connect_ex(where)
    if error == 0:
        return "open"
    return "closed" if error == errno.ECONNREFUSED else "filtered"


def _row(target: Target, answer: str) -> dict[str, Any]:
    answers, allowed = answer == "open", target.allowed
    # What is served is promised over IPv4; Webdis knows nothing else.
    agrees = answers == allowed or (allowed and target.over_ipv6)
    if answers:
        finding = "answers, as the rules say" if allowed else "ANSWERS, though the rules forbid it"
    elif agrees:
        finding = "does not answer, as the rules say"
        if allowed:
            finding = "does not answer, though the rules would allow it"
    else:
        finding = "does NOT answer, though the rules allow it"
    return {
        "address": target.address,
        "name": _name(target),
        "port": target.port,
        "service": target.service,
        "allowed": allowed,
        "answer": answer,
        "agrees": agrees,
        "finding": finding,
    }


def _name(target: Target) -> str:
    return f"{target.port} over IPv6" if target.over_ipv6 else str(target.port)


def order(row: dict[str, Any]) -> tuple[bool, bool, int]:
    """Return what rows are sorted by: what is wrong first, then IPv4, then the port."""
    return row["agrees"], ":" in row["address"], row["port"]


def verdict(rows: list[dict[str, Any]]) -> str:
    """Return the audit's result in one sentence."""
    wrong = [row["name"] for row in sorted(rows, key=order) if not row["agrees"]]
    if not wrong:
        return f"All {len(rows)} ports are as the firewall's rules say."
    which = ", ".join(wrong)
    return f"{len(wrong)} of {len(rows)} ports are not as the firewall's rules say: {which}."
