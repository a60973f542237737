"""Which devices there are: the routers of the instance's lab, and nothing from a request."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

# What the lesson offers to change. The last does harm on purpose.
CHANGES = {
    "route": "Add a route to 203.0.113.0/24, a network for examples, that leads nowhere",
    "no-route": "Remove that route",
    "harm": "Add a route that loses another router: the check after it fails, so it is rolled back",
}


@dataclass(frozen=True)
class Device:
    """A device, how it is reached, and what it should see.

    Args:
        name: Its host name.
        address: Where its SSH port is.
        port: That port.
        links: Names of its neighbours by the name of its interface.
        routes: Networks that it should have a route to, and the protocol it should be from.
    """

    name: str
    address: str
    port: int
    links: dict[str, str]
    routes: dict[str, str]


def devices(config: Mapping[str, Any]) -> dict[str, Device]:
    """Return the devices by name; none where the instance has no lab.

    Args:
        config: Of the application: ``INSTANCE`` has the content of instance.json.
    """
    lab = config["INSTANCE"].get("lab") or {"routers": []}
    return {
        router["name"]: Device(
            router["name"],
            config["INSTANCE"]["address"],
            router["port"],
            {entry["name"]: entry["neighbor"] for entry in router["interfaces"]},
            _routes(router["name"], lab["routers"]),
        )
        for router in lab["routers"]
    }


def _routes(own: str, routers: list[dict[str, Any]]) -> dict[str, str]:
    """Return what a router learns of the others: loopbacks by OSPF, prefixes by BGP."""
    wanted = {}
    for router in routers:
        if router["name"] != own:
            wanted[f"{router['loopback']}/32"] = "ospf"
            wanted[router["prefix"]] = "bgp"
    return wanted


def login(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what Netmiko logs in with, besides address and port.

    The host keys to expect came with the instance: another server is not talked to.
    """
    folder = Path(str(config["KIT_DIR"])) / "lab"
    return {
        "username": config["INSTANCE"]["lab"]["user"],
        "use_keys": True,
        "key_file": str(folder / "id_ed25519"),
        "allow_agent": False,
        "ssh_strict": True,
        "system_host_keys": False,
        "alt_host_keys": True,
        "alt_key_file": str(folder / "known_hosts"),
    }
