"""Where devices and their links stand in a picture."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from demo_app.devices.inventory import Device

WIDTH, HEIGHT, RADIUS = 640, 320, 26
MARGIN = RADIUS + 4


@dataclass(frozen=True)
class Picture:
    """Devices in an ellipse, and lines between those that are linked.

    Args:
        width: Of the whole, in units of the picture, as all of these are.
        height: Of the whole.
        radius: Of a device.
        nodes: Where each device is, by name.
        links: From where to where each link goes, by the names of its ends.
    """

    width: int
    height: int
    radius: int
    nodes: dict[str, tuple[float, float]]
    links: dict[tuple[str, str], tuple[float, float, float, float]]


def picture(devices: dict[str, Device]) -> Picture:
    """Return the picture of some devices.

    Args:
        devices: By name, in their order around the ellipse.
    """
    nodes = {}
    for index, name in enumerate(devices):
        angle = 2 * math.pi * index / len(devices) - math.pi / 2
        nodes[name] = (
            round(WIDTH / 2 + (WIDTH / 2 - MARGIN) * math.cos(angle), 1),
            round(HEIGHT / 2 + (HEIGHT / 2 - MARGIN) * math.sin(angle), 1),
        )
    links = {
        (min(name, other), max(name, other))
        for name, device in devices.items()
        for other in device.links.values()
        if other in nodes
    }
    ends = {(a, b): (*nodes[a], *nodes[b]) for a, b in sorted(links)}
    return Picture(WIDTH, HEIGHT, RADIUS, nodes, ends)


def link_states(
    links: Iterable[tuple[str, str]], rows: list[dict[str, Any]]
) -> dict[tuple[str, str], str]:
    """Return ``failed`` or ``ok`` for each link that is known of; devices.js does the same.

    Args:
        links: By the names of their ends.
        rows: Of a run; a device that has looked for its neighbours has ``missing``.
    """
    missing = {row["device"]: row["missing"] for row in rows if row.get("missing") is not None}
    states = {}
    for one, other in links:
        if other in missing.get(one, ()) or one in missing.get(other, ()):
            states[one, other] = "failed"
        elif one in missing and other in missing:
            states[one, other] = "ok"
    return states
