"""The providers that make a virtual machine: VirtualBox and libvirt, both through Vagrant."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from kit.checkout import KIT_DIR, NAME, ROOT, write_private
from kit.errors import KitError
from kit.machine import Machine
from kit.steps import run_logged

LAN_FILE = "/etc/webdis-kit/lan.json"  # written by vagrant/guest/join_lan.py
DATA_DIR = ".vagrant/machines/default"  # what Vagrant keeps in a checkout, by provider


class Vagrant:
    """This checkout's virtual machine, as its Vagrantfile describes it.

    Args:
        name: ``virtualbox`` or ``libvirt``, as Vagrant calls its providers.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def exists(self) -> bool:
        """Tell whether Vagrant has made a machine with this provider."""
        return (ROOT / DATA_DIR / self.name / "id").exists()

    def running(self) -> bool:
        """Tell whether the machine runs."""
        return self.exists() and ",state,running\n" in _vagrant("status", "--machine-readable")

    def up(self, nodes: int) -> list[Machine]:
        """Create the machine where it is missing, and start it.

        Args:
            nodes: One.

        Returns:
            The machine.

        Raises:
            KitError: Vagrant failed; the end of its output has been shown.
        """
        if nodes > 1:
            raise KitError(
                f"NODES={nodes} is for the provider container; {self.name} has one node. "
                f"`make destroy`, then `make up PROVIDER=container NODES={nodes}`.",
                2,
            )
        run_logged(
            f"Virtual machine {NAME} ({self.name}; the first time downloads its box)",
            ["vagrant", "up", "--provider", self.name, "--no-color"],
            log="vagrant-up",
            environment={"KIT_ANSIBLE": "later"},
            hint="`make doctor` says what this host lacks; "
            "docs/troubleshooting.md has the usual causes.",
        )
        return [self.machine()]

    def machine(self) -> Machine:
        """Return the running machine, with what it wrote down when it joined the LAN.

        Raises:
            KitError: It cannot be asked, or has not joined the LAN.
        """
        ssh_config = _vagrant("ssh-config")
        # Over Vagrant's own network, where nobody else answers: the host keys that come
        # this way are those to expect on the LAN.
        config = KIT_DIR / "ssh" / "vagrant_config"
        write_private(config, ssh_config)
        answer = subprocess.run(
            ["ssh", "-F", str(config), "-o", "BatchMode=yes", "default", f"cat {LAN_FILE}"],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        if answer.returncode:
            raise KitError(
                f"The virtual machine has no {LAN_FILE}: it did not join the LAN "
                f"({answer.stderr.strip()}). `make up` tries again."
            )
        return machine_on_the_lan(self.name, answer.stdout, identity_file(ssh_config))

    def down(self) -> bool:
        """Stop the machine and keep it; tell whether it was running."""
        if not self.running():
            return False
        run_logged("Stopping the virtual machine", ["vagrant", "halt"], log="vagrant-halt")
        return True

    def destroy(self) -> bool:
        """Remove the machine and its disk; tell whether there was one."""
        if not self.exists():
            return False
        run_logged(f"Removing {NAME}", ["vagrant", "destroy", "--force"], log="vagrant-destroy")
        return True

    def where_to_look(self) -> str:
        """Return where to look at a machine that lets nobody in."""
        return "`vagrant ssh` reaches it past the LAN."


def machine_on_the_lan(provider: str, lan_json: str, private_key: Path) -> Machine:
    """Return the machine that a file such as ``LAN_FILE`` describes."""
    lan = json.loads(lan_json)
    return Machine(
        provider=provider,
        name=NAME,
        address=lan["address"],
        bridge=lan["bridge"],
        subnet=lan["subnet"],
        private_key=private_key,
        host_keys=lan["host_keys"],
        ssh_subnets=lan["other_subnets"],
    )


def identity_file(ssh_config: str) -> Path:
    """Return the private key's path out of the output of ``vagrant ssh-config``."""
    for line in ssh_config.splitlines():
        option, _, value = line.strip().partition(" ")
        if option == "IdentityFile":
            return Path(value.strip('"'))
    raise KitError("`vagrant ssh-config` names no IdentityFile.")


def _vagrant(*arguments: str) -> str:
    answer = subprocess.run(
        ["vagrant", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    if answer.returncode:
        raise KitError(f"`vagrant {arguments[0]}` failed: {answer.stderr.strip()}")
    return answer.stdout
