"""Several nodes in one instance: ``make up NODES=3``, ``make node-stop NODE=1``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from kit import providers
from kit.checkout import host_name, node_name, read_instance
from kit.errors import KitError, choice
from kit.local.provider import Local
from kit.machine import NUMBERS_OF_NODES
from kit.ssh import ssh
from kit.system import wait_while

if TYPE_CHECKING:
    from kit.machine import MachineProvider

SSH_SECONDS = 60.0


def there_are() -> int:
    """Return how many nodes this instance has; 1 where there is none yet."""
    provider = providers.current()
    return provider.number_of_nodes() if provider else 1


def wanted() -> int:
    """Return how many nodes there are to be: as ``NODES`` says, else as many as there are.

    Raises:
        KitError: ``NODES`` is not a number that is allowed, or fewer than there are; exit
            code 2.
    """
    given = os.environ.get("NODES") or ""
    existing = there_are()
    if not given:
        return existing
    valid = [str(number) for number in NUMBERS_OF_NODES]
    if given not in valid:
        raise KitError(
            f"NODES={given} is not allowed; {', '.join(valid)} are: a primary is chosen by more "
            f"than half of the nodes, so an even number survives no more than one fewer.",
            2,
        )
    if int(given) < existing:
        raise KitError(
            f"NODES={given} is fewer than the {existing} that there are, and their Sentinels go on "
            f"counting the ones that left: `make destroy`, then `make up NODES={given}`.",
            2,
        )
    return int(given)


def chosen() -> int:
    """Return the node that ``NODE`` names, the first by default.

    Raises:
        KitError: There is none of that number; exit code 2.
    """
    return int(choice("NODE", [str(node) for node in range(1, there_are() + 1)], "1"))


def _one_of_several() -> tuple[int, MachineProvider]:
    if not os.environ.get("NODE"):
        raise KitError("Which node? NODE=1 is the first; `make status` lists them.", 2)
    node = chosen()
    provider = providers.current()
    if not read_instance()["sentinels"] or provider is None or isinstance(provider, Local):
        raise KitError(
            "This instance has one node: `make down` stops it, `make up NODES=3` adds two.", 2
        )
    return node, provider


def stop() -> None:
    """Stop the node that ``NODE`` names."""
    node, provider = _one_of_several()
    stopped = provider.stop(node)
    state = "is stopped" if stopped else "was not running"
    print(f"{node_name(node)} {state}; `make node-start NODE={node}` brings it back.")


def start_node(provider: MachineProvider, node: int) -> None:
    """Start one node that was stopped; return when it lets one log in."""
    provider.start(node)
    wait_for_ssh(provider, node)


def wait_for_ssh(provider: MachineProvider, node: int) -> None:
    """Return when a node that runs lets us log in.

    Raises:
        KitError: It did not within ``SSH_SECONDS``.
    """

    def problem() -> str:
        answer = ssh(host_name(node), "true")
        code = answer.returncode
        return "" if code == 0 else answer.stderr.strip() or f"exit code {code}"

    wait_while(
        problem,
        SSH_SECONDS,
        lambda found: (
            f"{node_name(node)} did not let us in by SSH within {SSH_SECONDS:.0f} s ({found}). "
            f"{provider.where_to_look()}"
        ),
    )


def start() -> None:
    """Start the node that ``NODE`` names."""
    node, provider = _one_of_several()
    start_node(provider, node)
    print(f"{node_name(node)} runs.")
