"""What is done to one device: check it, back it up, change it."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from demo_app.devices.inventory import CHANGES
from demo_app.devices.ssh_session import DeviceError

if TYPE_CHECKING:
    from demo_app.devices.backups import Backups
    from demo_app.devices.inventory import Device
    from demo_app.devices.ssh_session import Session


@dataclass(frozen=True)
class Outcome:
    """What a job came to on a device that answered.

    Args:
        state: ``ok``, or ``drift`` where the device is not as it should be.
        text: In a few words.
        diff: Of its configuration, unified; empty where nothing differs.
        missing: Neighbours that it does not see; None where nobody has looked.
    """

    state: str
    text: str
    diff: str = ""
    missing: list[str] | None = None


@dataclass(frozen=True)
class Change:
    """Lines of configuration that come or go, and that can be taken back.

    Args:
        title: For people.
        add: Lines that the running configuration has afterwards.
        remove: Lines that it has not any more.
    """

    title: str
    add: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()

    def commands(self, configuration: str) -> list[str]:
        """Return what is entered to make it; empty where a configuration has it already."""
        lines = configuration.splitlines()
        return [
            *(f"no {line}" for line in self.remove if line in lines),
            *(line for line in self.add if line not in lines),
        ]

    def undo(self, configuration: str) -> list[str]:
        """Return what is entered to come back to a configuration."""
        lines = configuration.splitlines()
        return [
            *(f"no {line}" for line in self.add if line not in lines),
            *(line for line in self.remove if line in lines),
        ]

    def made(self, configuration: str) -> str:
        """Return a configuration with this change, where FRRouting would put its lines."""
        lines = [line for line in configuration.splitlines() if line not in self.remove]
        for line in self.add:
            if line not in lines:
                routes = [n for n, other in enumerate(lines) if other.startswith("ip route ")]
                lines.insert(routes[-1] + 1 if routes else len(lines) - 1, line)
        return "\n".join(lines) + "\n"


_ROUTE = "ip route 203.0.113.0/24 Null0"


def change_for(device: Device, name: str) -> Change:
    """Return a change by its name, as it is for one device."""
    if name == "route":
        return Change(CHANGES[name], add=(_ROUTE,))
    if name == "no-route":
        return Change(CHANGES[name], remove=(_ROUTE,))
    lost = next(network for network, protocol in device.routes.items() if protocol == "ospf")
    return Change(CHANGES[name], add=(f"ip route {lost} Null0",))


def check(session: Session, device: Device, version: str) -> Outcome:
    """Compare a device's neighbours, routes and version with what is wanted.

    Args:
        session: With the device, logged in.
        device: What it should see.
        version: Of FRRouting.
    """
    missing = _missing_neighbors(session, device)
    found = [
        *(f"neighbour {neighbor} is missing on {link}" for link, neighbor in missing.items()),
        *_routes(session, device),
        *_version(session, version),
    ]
    if found:
        return Outcome("drift", "; ".join(found), missing=list(missing.values()))
    text = f"{len(device.links)} neighbours, {len(device.routes)} routes, {version}"
    return Outcome("ok", text, missing=[])


def _missing_neighbors(session: Session, device: Device) -> dict[str, str]:
    """Return the neighbours that a device does not see, by the interface."""
    answer = session.read_json("show ip ospf neighbor json", "checking neighbours")
    full = {
        entry["ifaceName"].split(":")[0]
        for entries in answer["neighbors"].values()
        for entry in entries
        # FRRouting 8 calls it `state`.
        if str(entry.get("nbrState", entry.get("state"))).startswith("Full")
    }
    return {link: device.links[link] for link in sorted(device.links.keys() - full)}


def _routes(session: Session, device: Device) -> list[str]:
    answer = session.read_json("show ip route json", "checking routes")
    found = []
    for network, protocol in device.routes.items():
        selected = [entry for entry in answer.get(network, []) if entry.get("selected")]
        if not selected:
            found.append(f"no route to {network}")
        elif selected[0]["protocol"] != protocol:
            found.append(f"{network} is {selected[0]['protocol']}, not {protocol}")
    most = 3
    if len(found) > most:
        return [*found[:most], f"and {len(found) - most} routes more"]
    return found


def _version(session: Session, wanted: str) -> list[str]:
    answer = session.read("show version", "checking the version")
    version = re.search(r"^FRRouting (\S+)", answer, re.MULTILINE)
    if version is None:
        raise DeviceError('its answer to "show version" was cut off')
    return [] if version[1] == wanted else [f"version {version[1]}, not {wanted}"]


def back_up(session: Session, device: Device, store: Backups) -> Outcome:
    """Keep a device's configuration, if it is another one than the last that was kept."""
    after = session.configuration()
    before = store.keep(device.name, after)
    if before == after:
        return Outcome("ok", "unchanged")
    if before is None:
        return Outcome("ok", f"first backup, {len(after.splitlines())} lines")
    diff = _diff(before, after)
    return Outcome("ok", f"changed, {_count(diff)}", diff)


def preview(session: Session, device: Device, change: str) -> Outcome:
    """Say what a change would do, and change nothing.

    Args:
        session: With the device, logged in.
        device: The device.
        change: Name of the change.
    """
    before = session.configuration()
    diff = _diff(before, change_for(device, change).made(before))
    return Outcome("ok", f"would change, {_count(diff)}" if diff else "has it already", diff)


def apply(session: Session, device: Device, change: str, version: str) -> Outcome:
    """Make a change, read it back, check the device, and take it back where that fails.

    Args:
        session: With the device, logged in.
        device: What it should see afterwards.
        change: Name of the change.
        version: Of FRRouting.

    Raises:
        DeviceError: The check failed; what it was before is there again. Or it is not, and
            the text says so.
    """
    wanted = change_for(device, change)
    before = after = session.configuration()
    if not (commands := wanted.commands(before)):
        return Outcome("ok", "has it already")
    problem = ""
    try:
        session.configure(commands, "changing")
        after = session.configuration()
        if after != wanted.made(before):
            problem = "what is read back is not what was entered"
        else:
            checked = check(session, device, version)
            problem = checked.text if checked.state != "ok" else ""
    except DeviceError as error:
        problem = str(error)
    if not problem:
        diff = _diff(before, after)
        return Outcome("ok", f"changed, {_count(diff)}", diff)
    try:
        session.configure(wanted.undo(before), "rolling back")
        restored = session.configuration() == before
    except DeviceError:
        restored = False
    if not restored:
        raise DeviceError(f"NOT rolled back, look at it by hand; the check had failed: {problem}")
    raise DeviceError(f"rolled back, since the check failed: {problem}")


def _diff(before: str, after: str) -> str:
    lines = difflib.unified_diff(
        before.splitlines(), after.splitlines(), "before", "after", n=2, lineterm=""
    )
    return "\n".join(lines)


def _count(diff: str) -> str:
    lines = diff.splitlines()[2:]
    added = sum(line.startswith("+") for line in lines)
    removed = sum(line.startswith("-") for line in lines)
    return f"{added} added, {removed} removed"
