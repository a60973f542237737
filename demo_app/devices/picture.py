"""Where devices and their links stand in a picture."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from demo_app.devices.inventory import Device

WIDTH, HEIGHT, RADIUS = 640, 360, 26
MARGIN = 34  # devices.css draws them larger on a phone
STEPS = 2000  # that the way around is measured in


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


def draw(devices: dict[str, Device]) -> Picture:
    """Return the picture of some devices.

    Args:
        devices: By name, in their order around the ellipse.
    """
    nodes = dict(zip(devices, _around(len(devices)), strict=True))
    links = {
        (min(name, other), max(name, other))
        for name, device in devices.items()
        for other in device.links.values()
        if other in nodes
    }
    ends = {(a, b): (*nodes[a], *nodes[b]) for a, b in sorted(links)}
    return Picture(WIDTH, HEIGHT, RADIUS, nodes, ends)


def _around(count: int) -> list[tuple[float, float]]:
    """Return points of the ellipse, from its top on, each as far along it from the last."""
    angles = [2 * math.pi * step / STEPS - math.pi / 2 for step in range(STEPS + 1)]
    across, high = WIDTH / 2 - MARGIN, HEIGHT / 2 - MARGIN
    points = [(across * math.cos(angle), high * math.sin(angle)) for angle in angles]
    ways = list(accumulate((math.dist(*pair) for pair in pairwise(points)), initial=0.0))
    step = ways[-1] / STEPS
    at = [points[bisect_left(ways, ways[-1] * n / count - step / 2)] for n in range(count)]
    return [(round(WIDTH / 2 + x, 1), round(HEIGHT / 2 + y, 1)) for x, y in at]


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
