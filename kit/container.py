"""The provider for hosts without a hypervisor: a systemd-nspawn container."""

from __future__ import annotations

import contextlib
import fcntl
import ipaddress
import json
import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit.checkout import BRIDGE, CACHE_DIR, CHECKOUT_ID, NAME, ROOT, SSH_KEY, node_name
from kit.errors import KitError, choice
from kit.machine import Machine
from kit.run_logged import run_logged
from kit.ssh import make_key
from kit.system import as_root, ensure_packages

if TYPE_CHECKING:
    from collections.abc import Iterator

SUITES = {"trixie": "Debian 13", "bookworm": "Debian 12", "forky": "Debian testing, for tests"}
PACKAGES = [
    "debian-archive-keyring",
    "iproute2",
    "mmdebstrap",
    "nftables",
    "openssh-client",
    "systemd-container",
]
# What every build needs is in the image, so that an instance without any route to the
# outside can still be provisioned.
IMAGE_PACKAGES = [
    *("systemd-sysv", "dbus", "udev", "openssh-server", "sudo", "acl", "python3", "python3-apt"),
    *("ca-certificates", "iproute2", "procps", "nftables"),
    *("gcc", "g++", "libc6-dev", "make", "pkg-config"),
    *("libevent-dev", "libssl-dev", "libsystemd-dev", "xz-utils"),
]
STATE_DIR = Path("/var/lib/webdis-kit")
LOCK_FILE = STATE_DIR / "lock"
SCRIPT = ROOT / "kit/nspawn.sh"
# 198.18.0.0/15 is for benchmarks between networks (RFC 2544): no home or office uses it. The
# proxies sing-box and Clash do, for addresses of their own, and mostly 198.18 of it.
BLOCKS = ("198.18", "198.19")
FIRST_SUBNET = 66
SUBNETS = 190
SUBNET_PREFIX = 24
INTERRUPTED_HINT = "Run the same command again: it goes on from where this one stopped."


def subnet_number(checkout_id: str) -> int:
    """Return the third octet that a checkout starts looking at: 66 to 255."""
    return FIRST_SUBNET + int(checkout_id, 16) % SUBNETS


@contextlib.contextmanager
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
            problem = f"{file} cannot be read ({error})"
            if file.parent.name == NAME:
                raise KitError(f"{problem}: remove it, then run the same command again.") from None
            print(f"Warning: {problem}; that instance of another folder is ignored.")
    return found


def networks_in_use(addresses: str, routes: str) -> list[ipaddress.IPv4Network]:
    """Return the networks that this host has an address in or a route to, but for its own bridge.

    Args:
        addresses: Output of ``ip -4 -j address``.
        routes: Output of ``ip -4 -j route show table all``; the default route counts not.
    """
    found = [
        ipaddress.IPv4Network((address["local"], address["prefixlen"]), strict=False)
        for link in json.loads(addresses)
        if link.get("ifname") != BRIDGE
        for address in link.get("addr_info", [])
        if "local" in address
    ]
    found += [
        ipaddress.IPv4Network(route["dst"], strict=False)
        for route in json.loads(routes)
        if route.get("dev") != BRIDGE and route["dst"] != "default"
    ]
    return [network for network in found if network.prefixlen]


def free_subnet(
    start: int, taken: list[ipaddress.IPv4Network]
) -> tuple[ipaddress.IPv4Network, str]:
    """Return a subnet for an instance, and what has to be said about it.

    Where wide networks of others leave no subnet free, it lies in one of these: to its own
    addresses the route that is more exact leads.

    Args:
        start: The third octet to start looking at.
        taken: Networks of this host and of other instances.

    Raises:
        KitError: There is an instance for each subnet.
    """
    subnets = [
        ipaddress.IPv4Network(
            f"{block}.{FIRST_SUBNET + (start - FIRST_SUBNET + offset) % SUBNETS}.0/24"
        )
        for block in BLOCKS
        for offset in range(SUBNETS)
    ]
    narrow = [network for network in taken if network.prefixlen >= SUBNET_PREFIX]
    for avoided in (taken, narrow):
        for subnet in subnets:
            if not any(subnet.overlaps(network) for network in avoided):
                in_the_way = [network for network in taken if network.overlaps(subnets[0])]
                common = subnet in subnets[:SUBNETS] and avoided is taken
                named = ", ".join(sorted({str(network) for network in in_the_way}))
                return subnet, "" if common else f"{named} is in use here; the subnet is {subnet}."
    raise KitError(
        "There is an instance in each subnet of 198.18.0.0/15; "
        "`make destroy ORPHANS=1` removes those of deleted checkouts."
    )


def _ip(*arguments: str) -> str:
    return subprocess.run(
        ["ip", "-4", "-j", *arguments], capture_output=True, text=True, check=True
    ).stdout


def claim_record(suite: str, nodes: int = 1) -> dict[str, Any]:
    """Return this checkout's record; on the first call, choose a subnet and write it.

    Args:
        suite: Of Debian.
        nodes: How many there are to be; never fewer than there were.

    Raises:
        KitError: There is an instance in every subnet, or the suite differs from the one
            that the instance was made with.
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
            record = known[NAME]
            if nodes > number_of_nodes(record):
                _write_record(record | {"nodes": nodes})
            return record
        taken = [ipaddress.IPv4Network(record["subnet"]) for record in known.values()]
        taken += networks_in_use(_ip("address"), _ip("route", "show", "table", "all"))
        subnet, remark = free_subnet(subnet_number(CHECKOUT_ID), taken)
        if remark:
            print(remark)
        record = {
            "checkout": str(ROOT),
            "bridge": BRIDGE,
            "subnet": str(subnet),
            "suite": suite,
            "nodes": nodes,
        }
        _write_record(record)
        return record


def _write_record(record: dict[str, Any]) -> None:
    # In one step: half a record would be nobody's.
    script = 'mkdir -p "${1%/*}" && cat >"$1.partial" && mv "$1.partial" "$1"'
    file = str(STATE_DIR / NAME / "record.json")
    command = as_root(["sh", "-c", script, "sh", file])
    subprocess.run(command, input=json.dumps(record), text=True, check=True)


def number_of_nodes(record: dict[str, Any]) -> int:
    """Return how many nodes an instance has, by its record."""
    return int(record.get("nodes", 1))


def node_names(name: str) -> list[str]:
    """Return the names of an instance's nodes; none where there is no instance of that name."""
    record = records().get(name)
    if record is None:
        return []
    return [name, *(f"{name}-{node}" for node in range(2, number_of_nodes(record) + 1))]


def root_file_system(suite: str, packages: list[str]) -> str:
    """Return the path of an archive of Debian with packages; make it where it is missing.

    Args:
        suite: Of Debian.
        packages: What is in it besides the minimum.

    Raises:
        KitError: It could not be made.
    """
    command = [str(ROOT / "kit/rootfs.sh"), suite, str(CACHE_DIR / "rootfs"), *packages]
    lines = run_logged(
        f"Root file system ({SUITES[suite]})",
        as_root(command),
        log="rootfs",
        hint="Check the network and this host's apt configuration, then run the same command "
        "again. See docs/troubleshooting.md#packages-cannot-be-installed.",
    )
    return lines[-1]


def _nspawn(label: str, action: str, *arguments: str) -> None:
    lines = run_logged(
        label,
        as_root([str(SCRIPT), action, *arguments]),
        log=f"container-{action}",
        hint=INTERRUPTED_HINT,
    )
    for warning in (line for line in lines if line.startswith("Warning: ")):
        print(warning)


def _table(name: str) -> str:
    """Return the name of the nftables table for a container's NAT."""
    return f"webdis_kit_{name.replace('-', '_')}"


def running(name: str) -> bool:
    """Tell whether a container's system runs, whatever has become of its systemd-nspawn.

    Its network card on the bridge exists for as long as any process of it does.
    """
    return Path(f"/sys/class/net/vb-{name}").exists()


def pid(name: str = NAME) -> int | None:
    """Return the process id of a container's systemd-nspawn, where it runs."""
    try:
        number = int((STATE_DIR / name / "pid").read_text())
        command = Path(f"/proc/{number}/cmdline").read_bytes()
    except (OSError, ValueError):
        return None
    return number if f"--machine={name}\0".encode() in command else None


def ssh_host_keys(name: str = NAME) -> list[str]:
    """Return the public host keys of a container."""
    keys = (STATE_DIR / name / "ssh_host_keys").read_text(encoding="utf-8")
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


def boot_wanted() -> str:
    """Return whether the container is to start with this host, as ``BOOT`` says: 1, 0 or nothing.

    Raises:
        KitError: It says something else, or no systemd runs here to start it; exit code 2.
    """
    asked = choice("BOOT", ("0", "1"))
    if asked == "1" and not Path("/run/systemd/system").is_dir():
        raise KitError("BOOT=1 needs systemd as this host's first process.", exit_code=2)
    return asked


class Container:
    """This checkout's container, as a provider."""

    name = "container"

    def exists(self) -> bool:
        """Tell whether this checkout has a container on record."""
        return NAME in records()

    def running(self) -> bool:
        """Tell whether any of its nodes runs."""
        return any(map(running, node_names(NAME)))

    def number_of_nodes(self) -> int:
        """Return how many nodes this instance has; 1 where there is none yet."""
        return len(node_names(NAME)) or 1

    def node_runs(self, node: int) -> bool:
        """Tell whether one node runs."""
        return running(node_name(node))

    def up(self, nodes: int) -> list[Machine]:
        """Create and start this checkout's containers, of the suite that ``SUITE`` names.

        Args:
            nodes: How many.

        Returns:
            A machine for each node.

        Raises:
            KitError: The host lacks something that the kit cannot install, or a step failed.
        """
        suite = chosen_suite()
        boot_wanted()
        ensure_packages(PACKAGES)
        record = claim_record(suite, nodes)
        names = node_names(NAME)
        made = all((STATE_DIR / name / "ssh_host_keys").exists() for name in names)
        archive = "" if made else root_file_system(suite, IMAGE_PACKAGES)
        for node in range(1, len(names) + 1):
            self._start(node, record, archive)
        return self.machines()

    def machines(self) -> list[Machine]:
        """Return this checkout's containers, one for each node."""
        record = records()[NAME]
        return [self._machine(node, record) for node in range(1, number_of_nodes(record) + 1)]

    def start(self, node: int) -> None:
        """Start one node that was stopped."""
        self._start(node, records()[NAME], "")

    def stop(self, node: int) -> bool:
        """Stop one node and keep it; tell whether it was running."""
        return _stop(node_name(node))

    def _start(self, node: int, record: dict[str, Any], archive: str) -> None:
        name = node_name(node)
        gateway = re.sub(r"0/24$", "1", record["subnet"])
        network = (record["bridge"], gateway, _address(node, record), record["subnet"])
        # Where it runs, too: the checkout may have lost its key, the host its bridge.
        _nspawn(
            f"Container {name} ({SUITES[record['suite']]})",
            "up",
            *(name, str(STATE_DIR / name), *network, _table(NAME), archive),
            *(make_key(SSH_KEY, NAME), boot_wanted()),
        )

    def _machine(self, node: int, record: dict[str, Any]) -> Machine:
        name = node_name(node)
        return Machine(
            provider=self.name,
            name=name,
            address=_address(node, record),
            bridge=record["bridge"],
            subnet=record["subnet"],
            private_key=SSH_KEY,
            host_keys=ssh_host_keys(name),
        )

    def down(self) -> bool:
        """Stop this checkout's containers and keep them; tell whether any was running."""
        return sum(map(_stop, node_names(NAME))) > 0

    def destroy(self) -> bool:
        """Remove this checkout's containers and their files; tell whether there was one."""
        return destroy(NAME)

    def where_to_look(self) -> str:
        """Return where the console of a container that lets nobody in is kept."""
        consoles = " and ".join(f"{STATE_DIR / name / 'console.log'}" for name in node_names(NAME))
        return f"Its console is in {consoles}."


def destroy(name: str) -> bool:
    """Remove a container and its files; tell whether there was one."""
    record = records().get(name)
    if record is None:
        return False
    # The first of them has the record, and goes last.
    for node in reversed(node_names(name)[1:]):
        _nspawn(f"Removing {node}", "remove_node", node, str(STATE_DIR / node))
    folder = str(STATE_DIR / name)
    _nspawn(f"Removing {name}", "remove", name, folder, record["bridge"], _table(name))
    return True


def _stop(name: str) -> bool:
    if not running(name) and pid(name) is None:
        return False
    _nspawn(f"Stopping {name}", "down", name, str(STATE_DIR / name))
    return True


def _address(node: int, record: dict[str, Any]) -> str:
    """Return a node's address; the bridge itself has the one before the first node's."""
    return re.sub(r"0/24$", str(node + 1), record["subnet"])


def of_this_checkout() -> list[str]:
    """Return the names of this checkout's containers, those of scenarios included."""
    return [name for name, record in records().items() if record["checkout"] == str(ROOT)]


def orphans() -> list[str]:
    """Return the names of the containers whose checkout is gone."""
    return [
        name for name, record in records().items() if not Path(record["checkout"], "kit").is_dir()
    ]
