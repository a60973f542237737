"""Where devices and their links stand in a picture."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from demo_app.devices.inventory import Device

WIDTH, HEIGHT, MARGIN = 640, 320, 32


@dataclass(frozen=True)
class Picture:
    """Devices in an ellipse, and lines between those that are linked.

    Args:
        width: Of the whole, in units of the picture, as all of these are.
        height: Of the whole.
        nodes: Where each device is, by name.
        lines: From where to where, for each link.
    """

    width: int
    height: int
    nodes: dict[str, tuple[float, float]]
    lines: list[tuple[float, float, float, float]]


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
        tuple(sorted((name, other)))
        for name, device in devices.items()
        for other in device.links.values()
        if other in nodes
    }
    return Picture(WIDTH, HEIGHT, nodes, [(*nodes[a], *nodes[b]) for a, b in sorted(links)])
