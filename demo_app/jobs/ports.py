"""Which ports of the instance answer, and which ones should."""

from __future__ import annotations

import concurrent.futures
import errno
import ipaddress
import socket
from typing import TYPE_CHECKING, Any

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


def expected(instance: dict[str, Any]) -> dict[int, tuple[str, bool]]:
    """Return the ports to look at: for each its service, and whether this host may reach it.

    Args:
        instance: The content of instance.json, the one place that targets come from.
    """
    firewall = instance["firewall"]
    here = ipaddress.ip_address(_own_address(instance["address"]))
    inside = any(here in ipaddress.ip_network(subnet) for subnet in firewall["subnets"])
    allowed = {rule["port"]: rule["service"] for rule in firewall["ports"]}
    services = {**OTHER_PORTS, **allowed}
    return {port: (services[port], inside and port in allowed) for port in sorted(services)}


def _own_address(address: str) -> str:
    """Return the address of this host that packets to ``address`` come from."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((address, 9))  # sends nothing
        own: str = probe.getsockname()[0]
        return own


def check(
    address: str, ports: dict[int, tuple[str, bool]], timeout_seconds: float
) -> Iterator[dict[str, Any]]:
    """Try to connect to each port, several at a time; yield a row as each is known.

    Args:
        address: Of the instance.
        ports: As `expected` returns them.
        timeout_seconds: How long a port may take to answer.
    """
    with concurrent.futures.ThreadPoolExecutor(CONCURRENT) as pool:
        tries = {pool.submit(_answers, address, port, timeout_seconds): port for port in ports}
        try:
            for finished in concurrent.futures.as_completed(tries):
                port = tries[finished]
                service, allowed = ports[port]
                yield _row(port, service, allowed=allowed, answer=finished.result())
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _answers(address: str, port: int, timeout_seconds: float) -> str:
    with socket.socket() as client:
        client.settimeout(timeout_seconds)
        error = client.connect_ex((address, port))
    if error == 0:
        return "open"
    return "closed" if error == errno.ECONNREFUSED else "filtered"


def _row(port: int, service: str, *, allowed: bool, answer: str) -> dict[str, Any]:
    agrees = (answer == "open") == allowed
    if agrees:
        finding = "answers, as the rules say" if allowed else "does not answer, as the rules say"
    elif allowed:
        finding = "does not answer, though the rules allow it"
    else:
        finding = "ANSWERS, though the rules do not allow it"
    return {
        "port": port,
        "service": service,
        "allowed": allowed,
        "answer": answer,
        "agrees": agrees,
        "finding": finding,
    }


def verdict(rows: list[dict[str, Any]]) -> str:
    """Return the audit's result in one sentence."""
    wrong = sorted(row["port"] for row in rows if not row["agrees"])
    if not wrong:
        return f"All {len(rows)} ports are as the firewall's rules say."
    which = ", ".join(map(str, wrong))
    return f"{len(wrong)} of {len(rows)} ports are not as the firewall's rules say: {which}."
