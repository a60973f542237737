"""The provider for hosts without a hypervisor: a systemd-nspawn container."""

from __future__ import annotations

import fcntl
import ipaddress
import json
import os
import re
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit.checkout import BRIDGE, CACHE_DIR, CHECKOUT_ID, NAME, ROOT, SSH_KEY
from kit.errors import KitError
from kit.machine import Machine
from kit.progress import run_logged
from kit.system import as_root, ensure_packages

if TYPE_CHECKING:
    from collections.abc import Iterator

SUITES = {"trixie": "Debian 13", "bookworm": "Debian 12"}
PACKAGES = [
    "debian-archive-keyring",
    "iproute2",
    "mmdebstrap",
    "nftables",
    "openssh-client",
    "systemd-container",
]
STATE_DIR = Path("/var/lib/webdis-kit")
LOCK_FILE = STATE_DIR / "lock"
# 198.18.0.0/15 is for benchmarks between networks (RFC 2544): no home or office uses it.
FIRST_SUBNET = 66
SUBNETS = 190
INTERRUPTED_HINT = "Run the same command again: it goes on from where this one stopped."


def subnet_number(checkout_id: str) -> int:
    """Return the third octet that a checkout starts looking at: 66 to 255."""
    return FIRST_SUBNET + int(checkout_id, 16) % SUBNETS


@contextmanager
def _registry_lock() -> Iterator[None]:
    """Keep two checkouts from taking the same subnet at the same moment."""
    if not LOCK_FILE.exists():
        # Made by root for all users; `touch` never replaces a file that is locked.
        script = 'mkdir -p "${1%/*}" && touch "$1" && chmod 0666 "$1"'
        subprocess.run(as_root(["sh", "-c", script, "sh", str(LOCK_FILE)]), check=True)
    with LOCK_FILE.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def records() -> dict[str, dict[str, Any]]:
    """Return what every container instance of this host left on record, by name."""
    found = {}
    for file in sorted(STATE_DIR.glob("*/record.json")):
        try:
            found[file.parent.name] = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise KitError(f"{file} cannot be read ({error}); remove that folder.") from None
    return found


def _networks_in_use() -> list[ipaddress.IPv4Network]:
    """Return the networks that this host has an address in."""
    output = subprocess.run(
        ["ip", "-4", "-j", "address"], capture_output=True, text=True, check=True
    ).stdout
    return [
        ipaddress.IPv4Network((address["local"], address["prefixlen"]), strict=False)
        for link in json.loads(output)
        if link.get("ifname") != BRIDGE
        for address in link.get("addr_info", [])
        if "local" in address
    ]


def claim_record(suite: str) -> dict[str, Any]:
    """Return this checkout's record; on the first call, choose a subnet and write it.

    Raises:
        KitError: Every subnet of the range is taken, or the suite differs from the
            one that the instance was made with.
    """
    with _registry_lock():
        known = records()
        if NAME in known:
            if known[NAME]["suite"] != suite:
                raise KitError(
                    f"The instance of this checkout runs {known[NAME]['suite']}, not {suite}; "
                    f"`make destroy` first.",
                    exit_code=2,
                )
            return known[NAME]
        taken = [ipaddress.IPv4Network(record["subnet"]) for record in known.values()]
        taken += _networks_in_use()
        start = subnet_number(CHECKOUT_ID) - FIRST_SUBNET
        for offset in range(SUBNETS):
            subnet = ipaddress.IPv4Network(
                f"198.18.{FIRST_SUBNET + (start + offset) % SUBNETS}.0/24"
            )
            if not any(subnet.overlaps(other) for other in taken):
                break
        else:
            raise KitError(
                "Every subnet from 198.18.66.0/24 to 198.18.255.0/24 is taken; "
                "`make destroy ORPHANS=1` removes instances of deleted checkouts."
            )
        record = {
            "checkout": str(ROOT),
            "bridge": BRIDGE,
            "subnet": str(subnet),
            "suite": suite,
        }
        folder = STATE_DIR / NAME
        subprocess.run(as_root(["mkdir", "-p", str(folder)]), check=True)
        subprocess.run(
            as_root(["tee", str(folder / "record.json")]),
            input=json.dumps(record),
            text=True,
            stdout=subprocess.DEVNULL,
            check=True,
        )
        return record


def _playbook(label: str, state: str, name: str, record: dict[str, Any], key: str = "") -> None:
    """Run ``ansible/container.yml`` for one container."""
    variables = {
        "container_state": state,
        "container_name": name,
        "container_bridge": record["bridge"],
        "container_subnet": record["subnet"],
        "container_suite": record["suite"],
        "container_cache_dir": str(CACHE_DIR),
        "container_public_key": key,
    }
    run_logged(
        label,
        [
            str(ROOT / ".venv/bin/ansible-playbook"),
            "ansible/container.yml",
            "--extra-vars",
            json.dumps(variables),
        ],
        log=f"container-{state}",
        environment={"ANSIBLE_CONFIG": str(ROOT / "ansible/ansible.cfg")},
        hint=INTERRUPTED_HINT,
    )


def pid(name: str = NAME) -> int | None:
    """Return the process id of a container's systemd-nspawn, where it runs."""
    try:
        number = int((STATE_DIR / name / "pid").read_text())
        command = Path(f"/proc/{number}/cmdline").read_bytes()
    except (OSError, ValueError):
        return None
    return number if f"--machine={name}\0".encode() in command else None


def ssh_host_keys() -> list[str]:
    """Return the public host keys of this checkout's container."""
    keys = (STATE_DIR / NAME / "ssh_host_keys").read_text(encoding="utf-8")
    return [" ".join(line.split()[:2]) for line in keys.splitlines()]


def chosen_suite() -> str:
    """Return the suite that ``SUITE`` names, Debian 13 by default.

    Raises:
        KitError: It is none that the kit knows; exit code 2.
    """
    suite = os.environ.get("SUITE") or "trixie"
    if suite not in SUITES:
        valid = ", ".join(f"{name} ({system})" for name, system in SUITES.items())
        raise KitError(f"SUITE={suite} is not known; valid are: {valid}.", exit_code=2)
    return suite


class Container:
    """This checkout's container, as a provider."""

    name = "container"

    def exists(self) -> bool:
        """Tell whether this checkout has a container on record."""
        return NAME in records()

    def running(self) -> bool:
        """Tell whether it runs."""
        return pid() is not None

    def up(self) -> Machine:
        """Create and start this checkout's container, of the suite that ``SUITE`` names.

        Returns:
            The machine.

        Raises:
            KitError: The host lacks something that the kit cannot install, or a step failed.
        """
        suite = chosen_suite()
        ensure_packages(PACKAGES)
        record = claim_record(suite)
        if not SSH_KEY.exists():
            SSH_KEY.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", NAME, "-f", str(SSH_KEY)],
                check=True,
            )
        if pid() is None:
            key = SSH_KEY.with_suffix(".pub").read_text().strip()
            _playbook(f"Container {NAME} ({SUITES[suite]})", "started", NAME, record, key)
        return Machine(
            provider=self.name,
            name=NAME,
            address=re.sub(r"0/24$", "2", record["subnet"]),
            bridge=record["bridge"],
            subnet=record["subnet"],
            private_key=SSH_KEY,
            host_keys=ssh_host_keys(),
        )

    def down(self) -> bool:
        """Stop this checkout's container and keep it; tell whether it was running."""
        if pid() is None:
            return False
        _playbook("Stopping the container", "stopped", NAME, records()[NAME])
        return True

    def destroy(self) -> bool:
        """Remove this checkout's container and its files; tell whether there was one."""
        return destroy(NAME)

    def where_to_look(self) -> str:
        """Return where the console of a container that lets nobody in is kept."""
        return f"Its console is in {STATE_DIR / NAME / 'console.log'}."


def destroy(name: str) -> bool:
    """Remove a container and its files; tell whether there was one."""
    record = records().get(name)
    if record is None:
        return False
    _playbook(f"Removing {name}", "absent", name, record)
    return True


def of_this_checkout() -> list[str]:
    """Return the names of this checkout's containers, those of scenarios included."""
    return [name for name, record in records().items() if record["checkout"] == str(ROOT)]


def orphans() -> list[str]:
    """Return the names of the containers whose checkout is gone."""
    return [
        name for name, record in records().items() if not Path(record["checkout"], "kit").is_dir()
    ]
