"""The providers that make a virtual machine: VirtualBox and libvirt, both through Vagrant."""

from __future__ import annotations

import json
from pathlib import Path

from kit.checkout import KIT_DIR, NAME, ROOT, host_name, node_name, write_private
from kit.errors import KitError
from kit.machine import NUMBERS_OF_NODES, Machine
from kit.run_logged import run_logged
from kit.system import ask

LAN_FILE = "/etc/webdis-kit/lan.json"  # written by vagrant/guest/join_lan.py
DATA_DIR = ".vagrant/machines/default"  # what Vagrant keeps in a checkout, by provider


def machine_name(node: int) -> str:
    """Return what the Vagrantfile calls a node's machine."""
    return "default" if node == 1 else host_name(node)


class Vagrant:
    """This checkout's virtual machines, as its Vagrantfile describes them.

    Args:
        name: ``virtualbox`` or ``libvirt``, as Vagrant calls its providers.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def exists(self) -> bool:
        """Tell whether Vagrant has made a machine with this provider."""
        return self._made() > 0

    def _made(self) -> int:
        """Return the number of the last node of which there is a machine; 0 where none is."""
        folders = (ROOT / DATA_DIR).parent
        nodes = range(1, max(NUMBERS_OF_NODES) + 1)
        made = (
            node for node in nodes if (folders / machine_name(node) / self.name / "id").exists()
        )
        return max(made, default=0)

    def number_of_nodes(self) -> int:
        """Return how many nodes there are, or were to be when `vagrant up` was cut off."""
        return next(number for number in NUMBERS_OF_NODES if number >= self._made())

    def running(self) -> bool:
        """Tell whether any of the machines runs."""
        return self.exists() and _runs()

    def node_runs(self, node: int) -> bool:
        """Tell whether one node's machine runs."""
        return _runs(machine_name(node))

    def up(self, nodes: int) -> list[Machine]:
        """Create the machines that are missing, and start them.

        Args:
            nodes: How many.

        Returns:
            A machine for each node.

        Raises:
            KitError: Vagrant failed; the end of its output has been shown.
        """
        several = f", {nodes} of them" if nodes > 1 else ""
        self._up(f"Virtual machine {NAME}{several}", NODES=str(nodes))
        return self.machines()

    def _up(self, label: str, *names: str, **environment: str) -> None:
        run_logged(
            f"{label} ({self.name}; the first time downloads its box)",
            ["vagrant", "up", *names, "--provider", self.name, "--no-color"],
            log="vagrant-up",
            environment={"KIT_ANSIBLE": "later", **environment},
            hint="`make doctor` says what this host lacks; "
            "docs/troubleshooting.md has the usual causes.",
        )

    def machines(self) -> list[Machine]:
        """Return the running machines, with what each wrote down when it joined the LAN.

        Raises:
            KitError: One cannot be asked, or has not joined the LAN.
        """
        ssh_config = _vagrant("ssh-config")
        # Over Vagrant's own network, where nobody else answers: the host keys that come
        # this way are those to expect on the LAN.
        config = KIT_DIR / "ssh" / "vagrant_config"
        write_private(config, ssh_config)
        return [
            self._machine(node, config, identity_file(ssh_config, machine_name(node)))
            for node in range(1, self.number_of_nodes() + 1)
        ]

    def _machine(self, node: int, config: Path, private_key: Path) -> Machine:
        ssh = ["ssh", "-F", str(config), "-o", "BatchMode=yes", machine_name(node)]
        answer = ask([*ssh, f"cat {LAN_FILE}"])
        if answer.returncode:
            raise KitError(
                f"The virtual machine {machine_name(node)} has no {LAN_FILE}: it did not join the "
                f"LAN ({answer.stderr.strip()}). `make up` tries again."
            )
        return machine_on_the_lan(self.name, answer.stdout, private_key, node)

    def start(self, node: int) -> None:
        """Start one node's machine that was stopped."""
        self._up(f"Starting {node_name(node)}", machine_name(node))

    def stop(self, node: int) -> bool:
        """Switch one node's machine off and keep it; tell whether it was running."""
        if not self.node_runs(node):
            return False
        command = ["vagrant", "halt", "--force", machine_name(node)]
        run_logged(f"Stopping {node_name(node)}", command, log="vagrant-halt")
        return True

    def down(self) -> bool:
        """Stop the machines and keep them; tell whether any was running."""
        if not self.running():
            return False
        run_logged("Stopping the virtual machine", ["vagrant", "halt"], log="vagrant-halt")
        return True

    def destroy(self) -> bool:
        """Remove the machines and their disks; tell whether there was one."""
        if not self.exists():
            return False
        run_logged(f"Removing {NAME}", ["vagrant", "destroy", "--force"], log="vagrant-destroy")
        return True

    def where_to_look(self) -> str:
        """Return where to look at a machine that lets nobody in."""
        return "`vagrant ssh` reaches it past the LAN."


def machine_on_the_lan(provider: str, lan_json: str, private_key: Path, node: int = 1) -> Machine:
    """Return the machine that a file such as ``LAN_FILE`` describes."""
    lan = json.loads(lan_json)
    return Machine(
        provider=provider,
        name=node_name(node),
        address=lan["address"],
        bridge=lan["bridge"],
        subnet=lan["subnet"],
        private_key=private_key,
        host_keys=lan["host_keys"],
        ssh_subnets=lan["other_subnets"],
    )


def identity_file(ssh_config: str, name: str) -> Path:
    """Return the private key's path out of the output of ``vagrant ssh-config``.

    Args:
        ssh_config: That output.
        name: What Vagrant calls the machine.
    """
    host = ""
    for line in ssh_config.splitlines():
        option, _, value = line.strip().partition(" ")
        if option == "Host":
            host = value
        if option == "IdentityFile" and host == name:
            return Path(value.strip('"'))
    raise KitError(f"`vagrant ssh-config` names no IdentityFile of {name}.")


def _runs(*names: str) -> bool:
    return ",state,running\n" in _vagrant("status", *names, "--machine-readable")


def _vagrant(*arguments: str) -> str:
    answer = ask(["vagrant", *arguments], cwd=ROOT)
    if answer.returncode:
        raise KitError(f"`vagrant {arguments[0]}` failed: {answer.stderr.strip()}")
    return answer.stdout
