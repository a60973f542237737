#!/usr/bin/python3
"""A lab of FRRouting routers on this server, each in a network namespace of its own.

router-lab configure ROUTERS FIRST_PORT   write what the routers are configured with
router-lab stop                           stop all routers, and return once they have
router-lab links-up | links-down          make or remove namespaces and links
router-lab wait SECONDS                   until all neighbours and routes are there
router-lab shell ROUTER                   vtysh of a router that truncates
router-lab fault ROUTER KIND              break one thing of a router; KIND none repairs it
router-lab faults                         print which router has which fault, as JSON
"""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

FOLDER = Path("/etc/router-lab")
TOPOLOGY = FOLDER / "topology.json"
FRR_FOLDER = Path("/etc/frr")
STATE = Path("/run/router-lab")
SSH_UNIT = "router-lab-ssh@{}"
FAULTS = ("none", "hang", "refuse", "truncate", "slow", "link-down")
# A modem of long ago: a login takes two seconds, a running configuration one more.
SLOW_BITS_PER_SECOND = 19_200
# Of what a command prints, as many lines get through a router that truncates.
LINES_LEFT = 12
FIRST_AS = 65000
HTB = "htb 77:"

DAEMONS = """\
bgpd=yes
ospfd=yes
vtysh_enable=yes
watchfrr_options="--netns"
zebra_options="-A 127.0.0.1 -s 90000000"
mgmtd_options="-A 127.0.0.1"
bgpd_options="-A 127.0.0.1"
ospfd_options="-A 127.0.0.1"
staticd_options="-A 127.0.0.1"
"""


class LabError(Exception):
    """What a person can mend, in one sentence."""


def topology(routers: int, first_port: int, version: str) -> dict[str, Any]:
    """Return routers in a ring with a chord across it, and how they are addressed.

    Args:
        routers: How many; at least 2.
        first_port: SSH port of the first one.
        version: Of FRRouting.

    Returns:
        ``version``; ``routers``: name, port, AS number, loopback, prefix that it announces by
        BGP, and its interfaces; ``links``: the pairs of names.
    """
    pairs = [(number, number % routers + 1) for number in range(1, routers + 1)]
    if routers == 2:  # noqa: PLR2004  # a ring of two is one link
        pairs = pairs[:1]
    if routers > 3:  # noqa: PLR2004  # a ring of three has every link already
        pairs.append((1, routers // 2 + 1))
    interfaces: dict[int, list[dict[str, Any]]] = {n: [] for n in range(1, routers + 1)}
    for index, pair in enumerate(pairs):
        addresses = [f"198.19.0.{4 * index + host}" for host in (1, 2)]
        for end, (own, other) in enumerate((pair, pair[::-1])):
            interfaces[own].append(
                {
                    "name": f"to-r{other}",
                    "neighbor": f"r{other}",
                    "address": f"{addresses[end]}/30",
                    "neighbor_address": addresses[1 - end],
                    "neighbor_as": FIRST_AS + other,
                }
            )
    return {
        "version": version,
        "routers": [
            {
                "name": f"r{number}",
                "port": first_port + number - 1,
                "as": FIRST_AS + number,
                "loopback": f"198.19.255.{number}",
                "prefix": f"198.19.{100 + number}.0/24",
                "interfaces": interfaces[number],
            }
            for number in range(1, routers + 1)
        ],
        "links": [[f"r{a}", f"r{b}"] for a, b in pairs],
    }


def frr_configuration(router: dict[str, Any]) -> str:
    """Return the content of a router's ``frr.conf``."""
    lines = [
        "frr defaults datacenter",  # BGP's timers in seconds, not minutes
        f"hostname {router['name']}",
        "log syslog warnings",
        "service integrated-vtysh-config",
        f"ip route {router['prefix']} Null0",
        "interface lo",
        f" ip address {router['loopback']}/32",
        " ip ospf area 0",
    ]
    for interface in router["interfaces"]:
        lines += [
            f"interface {interface['name']}",
            f" description Link to {interface['neighbor']}",
            f" ip address {interface['address']}",
            " ip ospf area 0",
            " ip ospf network point-to-point",
            " ip ospf hello-interval 1",
            " ip ospf dead-interval 4",
        ]
    lines += ["router ospf", f" ospf router-id {router['loopback']}"]
    lines += [
        f"router bgp {router['as']}",
        f" bgp router-id {router['loopback']}",
        " no bgp ebgp-requires-policy",
    ]
    for interface in router["interfaces"]:
        neighbor = f" neighbor {interface['neighbor_address']}"
        lines += [
            f"{neighbor} remote-as {interface['neighbor_as']}",
            f"{neighbor} description {interface['neighbor']}",
            f"{neighbor} timers connect 1",
        ]
    lines += [" address-family ipv4 unicast", f"  network {router['prefix']}"]
    return "\n".join([*lines, ""])


def run(*command: str) -> str:
    """Run a command; return what it printed."""
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode:
        raise LabError(f"`{' '.join(command)}` failed: {(answer.stderr or answer.stdout).strip()}")
    return answer.stdout


def read_topology() -> dict[str, Any]:
    """Return what `configure` has written."""
    try:
        found: dict[str, Any] = json.loads(TOPOLOGY.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise LabError("There is no lab on this server.") from None
    return found


def router_of(name: str) -> dict[str, Any]:
    """Return one router of the lab."""
    routers = {router["name"]: router for router in read_topology()["routers"]}
    if name not in routers:
        raise LabError(f"{name} is not a router of the lab; valid are: {', '.join(routers)}.")
    return routers[name]


def configure(routers: int, first_port: int) -> None:
    """Write the routers' configuration, and print ``changed``.

    Prints ``same`` where the lab has this shape already.
    """
    installed = run("dpkg-query", "--show", "--showformat=${Version}", "frr")
    wanted = json.dumps(topology(routers, first_port, installed.split("-")[0]), indent=1) + "\n"
    if TOPOLOGY.exists() and TOPOLOGY.read_text(encoding="utf-8") == wanted:
        print("same")
        return
    if TOPOLOGY.exists():
        stop()
    # Whoever logs in to a router reads its vtysh.conf, by the group of all that is FRR's.
    FRR_FOLDER.chmod(0o750)
    TOPOLOGY.unlink(missing_ok=True)  # written last: by it a lab is known to be complete
    for folder in FRR_FOLDER.glob("r[0-9]*"):
        shutil.rmtree(folder)
    for router in json.loads(wanted)["routers"]:
        folder = FRR_FOLDER / router["name"]
        folder.mkdir(mode=0o750)
        shutil.chown(folder, "frr", "frr")
        files = {
            "daemons": DAEMONS,
            "frr.conf": frr_configuration(router),
            "vtysh.conf": f"hostname {router['name']}\n",
        }
        for name, content in files.items():
            file = folder / name
            file.write_text(content, encoding="utf-8")
            file.chmod(0o640)
            shutil.chown(file, "frr", "frr")
        run("vtysh", "--dryrun", "--inputfile", str(folder / "frr.conf"))
        (folder / "port.env").write_text(f"PORT={router['port']}\n", encoding="utf-8")
    TOPOLOGY.write_text(wanted, encoding="utf-8")
    print("changed")


def stop() -> None:
    """Stop the lab, and return once all of it has stopped."""
    # The second are the slices of its templates' units; systemd itself never stops those.
    run("systemctl", "stop", "router-lab*", "system-router?x2dlab?x2d*.slice")


def links_up() -> None:
    """Make a namespace for each router, and a pair of interfaces for each link."""
    lab = read_topology()
    links_down()
    for router in lab["routers"]:
        run("ip", "netns", "add", router["name"])
        run("ip", "-n", router["name"], "link", "set", "lo", "up")
    for a, b in lab["links"]:
        run(
            *("ip", "link", "add", f"to-{b}", "netns", a),
            *("type", "veth", "peer", "name", f"to-{a}", "netns", b),
        )
        run("ip", "-n", a, "link", "set", f"to-{b}", "up")
        run("ip", "-n", b, "link", "set", f"to-{a}", "up")


def links_down() -> None:
    """Remove the namespaces, and the links with them."""
    for line in run("ip", "netns", "list").splitlines():
        name = line.split()[0]
        if re.fullmatch(r"r\d+", name):
            run("ip", "netns", "delete", name)


def vtysh(router: str, *commands: str) -> list[Any]:
    """Return what a router answers to commands that print JSON; nothing while it cannot."""
    asked = [word for command in commands for word in ("-c", command)]
    answer = subprocess.run(
        ["vtysh", "-N", router, *asked],
        capture_output=True,
        text=True,
        check=False,
    )
    found: list[Any] = []
    rest = answer.stdout.lstrip()
    while rest:
        try:
            value, end = json.JSONDecoder().raw_decode(rest)
        except ValueError:
            break
        found.append(value)
        rest = rest[end:].lstrip()
    return found


def missing(router: dict[str, Any], lab: dict[str, Any]) -> str:
    """Say what a router does not see yet of its neighbours and the lab's routes."""
    name, links = router["name"], len(router["interfaces"])
    answers = vtysh(name, "show ip ospf neighbor json", "show ip route json")
    if len(answers) < 2:  # noqa: PLR2004  # as was asked
        return f"{name} does not answer"
    seen, routes = answers
    states = [
        entry.get("nbrState", entry.get("state", ""))
        for found in seen.get("neighbors", {}).values()
        for entry in found
    ]
    full = sum(state.startswith("Full") for state in states)
    if full < links:
        return f"{name} has {full} of {links} OSPF neighbours"
    for other in lab["routers"]:
        for network in (f"{other['loopback']}/32", other["prefix"]):
            if network not in routes:
                return f"{name} has no route to {network}"
    return ""


def wait(seconds: float) -> None:
    """Wait until each router has its neighbours and a route to everything."""
    lab = read_topology()
    deadline = time.monotonic() + seconds
    for router in lab["routers"]:
        while said := missing(router, lab):
            if time.monotonic() > deadline:
                raise LabError(
                    f"{said} after {seconds:.0f} s; `journalctl -t zebra -t ospfd` says more."
                )
            time.sleep(0.1)


class Truncation:
    """Drops the end of what a command prints, and lets the prompt through.

    Args:
        router: Its name, which its prompt begins with.
    """

    def __init__(self, router: str) -> None:
        self._prompt = re.compile(
            rb"(?:\r|\x1b\[[?0-9]*[a-z])*%b(?:\([^)]*\))?[#>] " % router.encode()
        )
        self._lines = 0
        self._line = b""  # that has begun

    def read(self, descriptor: int, size: int = 1024) -> bytes:
        """Return what is shown of the next bytes that vtysh prints; nothing at their end."""
        while data := os.read(descriptor, size):
            if shown := self._shown(data):
                return shown
            # Nothing would be taken for the end, and so would an error: the descriptor may
            # not block.
            select.select([descriptor], [], [])
        return b""

    def _shown(self, data: bytes) -> bytes:
        shown = b""
        for part in re.findall(rb"[^\n]*\n|[^\n]+", data):
            self._line += part
            dropped = self._lines >= LINES_LEFT
            if self._prompt.match(self._line):
                shown += self._line if dropped else part
                self._lines = 0
            elif not dropped:
                shown += part
            if part.endswith(b"\n"):
                self._lines += 1
                self._line = b""
        return shown


def shell(name: str) -> None:
    """Be vtysh of a router that truncates; all others' logins end in vtysh itself."""
    asked = os.environ.get("SSH_ORIGINAL_COMMAND")
    command = ["vtysh", "-N", name, *(["-c", asked] if asked else [])]
    sys.exit(os.waitstatus_to_exitcode(pty.spawn(command, Truncation(name).read)))


def fault_of(name: str) -> str:
    """Return the kind of fault that a router has."""
    try:
        return (STATE / name / "fault").read_text(encoding="utf-8")
    except FileNotFoundError:
        return "none"


def fault(name: str, kind: str) -> None:
    """Break one thing of a router, after mending what was broken before.

    Args:
        name: The router.
        kind: ``hang``: whatever serves its SSH port stops, and takes connections all the same.
            ``refuse``: the key that one logs in with is not known any more. ``truncate``: the
            end of what a command prints is missing. ``slow``: its SSH port has a slow line.
            ``link-down``: its first link is down. ``none``: all is well.
    """
    router = router_of(name)
    if kind not in FAULTS:
        raise LabError(f"{kind} is not a kind of fault; valid are: {', '.join(FAULTS)}.")
    unit, links = SSH_UNIT.format(name), [entry["name"] for entry in router["interfaces"]]
    for device in lan_devices():
        _make_fast(router, device)
    for link in links:
        run("ip", "-n", name, "link", "set", link, "up")
    if kind == "none" or fault_of(name) != "none":
        # Brings key and processes back, and forgets whom sshd has turned away.
        run("systemctl", "restart", unit)
    if kind == "hang":
        run("systemctl", "kill", "--signal=STOP", unit)
    elif kind == "refuse":
        (STATE / name / "authorized_keys").write_text("", encoding="utf-8")
    elif kind == "slow":
        for device in lan_devices():
            _make_slow(router, device)
    elif kind == "link-down":
        run("ip", "-n", name, "link", "set", links[0], "down")
    (STATE / name / "fault").write_text(kind, encoding="utf-8")


def _make_slow(router: dict[str, Any], device: str) -> None:
    """Give what a router's SSH port sends a slow line.

    By HTB, which each kernel has; netem is not in all of them.
    """
    class_id, port = _class_of(router), str(router["port"])
    if HTB not in run("tc", "qdisc", "show", "dev", device):
        run("tc", "qdisc", "add", "dev", device, "root", "handle", "77:", "htb")
    rate = ("rate", f"{SLOW_BITS_PER_SECOND}bit", "burst", "1600")
    run("tc", "class", "add", "dev", device, "parent", "77:", "classid", class_id, "htb", *rate)
    match = ("u32", "match", "ip", "sport", port, "0xffff", "flowid", class_id)
    run(
        "tc",
        "filter",
        "add",
        "dev",
        device,
        "protocol",
        "ip",
        "parent",
        "77:",
        "prio",
        port,
        *match,
    )


def _make_fast(router: dict[str, Any], device: str) -> None:
    """Take the slow line away, and with the last one what they are made of."""
    if f"{_class_of(router)} " not in run("tc", "class", "show", "dev", device):
        return
    where = ("dev", device, "protocol", "ip", "parent", "77:", "prio", str(router["port"]))
    run("tc", "filter", "delete", *where)
    run("tc", "class", "delete", "dev", device, "classid", _class_of(router))
    if "class htb" not in run("tc", "class", "show", "dev", device):
        run("tc", "qdisc", "delete", "dev", device, "root")


def _class_of(router: dict[str, Any]) -> str:
    return f"77:{router['port']:x}"


def lan_devices() -> list[str]:
    """Return the interfaces that clients come in by."""
    links = json.loads(run("ip", "-json", "-4", "address", "show", "scope", "global", "up"))
    return [link["ifname"] for link in links if link.get("addr_info")]


def faults() -> None:
    """Print the routers that have a fault."""
    names = [router["name"] for router in read_topology()["routers"]]
    print(json.dumps({name: fault_of(name) for name in names if fault_of(name) != "none"}))


def main(arguments: list[str]) -> int:
    """Run one command; return the exit code."""
    commands = {
        ("configure", 2): lambda routers, port: configure(int(routers), int(port)),
        ("stop", 0): stop,
        ("links-up", 0): links_up,
        ("links-down", 0): links_down,
        ("wait", 1): lambda seconds: wait(float(seconds)),
        ("shell", 1): shell,
        ("fault", 2): fault,
        ("faults", 0): faults,
    }
    command = commands.get((arguments[0], len(arguments) - 1)) if arguments else None
    if command is None:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        command(*arguments[1:])
    except LabError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
