"""What every provider of machines offers, whatever it makes them with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pathlib import Path


NUMBERS_OF_NODES = (1, 3, 5)  # an even number survives no more than one fewer


@dataclass(frozen=True)
class Machine:
    """A running machine with SSH at an address on a bridge.

    Args:
        provider: Name of what made it.
        name: What it is called on this host.
        address: Its IPv4 address, as this host and browsers on the LAN reach it.
        bridge: The host's interface that its network card is on.
        subnet: The network of that address, with prefix length.
        private_key: File of the key that lets root in.
        host_keys: Its public SSH host keys, read past the network that they protect.
        ssh_subnets: Networks besides the bridge's from which it is administered.
    """

    provider: str
    name: str
    address: str
    bridge: str
    subnet: str
    private_key: Path
    host_keys: list[str]
    ssh_subnets: list[str] = field(default_factory=list)


class Provider(Protocol):
    """A way to get this checkout's instance."""

    name: str

    def exists(self) -> bool:
        """Tell whether this checkout has an instance of this provider, running or not."""

    def running(self) -> bool:
        """Tell whether that instance runs."""

    def number_of_nodes(self) -> int:
        """Return how many nodes this instance has; 1 where there is none yet."""

    def down(self) -> bool:
        """Stop the instance and keep it; tell whether it was running."""

    def destroy(self) -> bool:
        """Remove the instance; tell whether there was one."""


class MachineProvider(Provider, Protocol):
    """A way to get machines of their own for this checkout's instance."""

    def up(self, nodes: int) -> list[Machine]:
        """Create the machines that are missing, and start them, one for each node."""

    def node_runs(self, node: int) -> bool:
        """Tell whether one node's machine runs."""

    def start(self, node: int) -> None:
        """Start one node's machine that was stopped."""

    def stop(self, node: int) -> bool:
        """Stop one node's machine and keep it; tell whether it was running."""

    def where_to_look(self) -> str:
        """Return a sentence that says where a machine that lets nobody in can be seen."""
