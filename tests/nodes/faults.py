"""What is done to three nodes: each takes the scene, and a stack for what mends it afterwards."""

from __future__ import annotations

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING

from kit.container import Container
from tests.nodes.scene import cut_off, on

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.nodes.scene import Node, Scene

ABSENT_SECONDS = 6  # longer than min-replicas-max-lag and down-after-milliseconds
FROZEN_SECONDS = 8
TWO_PRIMARIES_SECONDS = 6
REDIS_AND_SENTINEL = "tcp dport { 6379, 26379 }"


def _number(scene: Scene, node: Node) -> int:
    return scene.nodes.index(node) + 1


def redis_killed(scene: Scene, stack: ExitStack) -> None:
    """Kill the primary's Redis, and keep it down."""
    node = scene.primary
    stack.callback(on, node, "systemctl start redis")
    on(node, "systemctl kill --kill-whom=main --signal=KILL redis; systemctl stop redis")
    scene.wait_for_primary(node)


def redis_killed_once(scene: Scene, _stack: ExitStack) -> None:
    """Kill the primary's Redis; systemd starts it again."""
    on(scene.primary, "systemctl kill --kill-whom=main --signal=KILL redis")


def node_stopped(scene: Scene, stack: ExitStack) -> None:
    """Stop the primary's node."""
    node = scene.primary
    stack.callback(Container().start, _number(scene, node))
    Container().stop(_number(scene, node))
    scene.wait_for_primary(node)


def primary_cut_off(scene: Scene, _stack: ExitStack) -> None:
    """Cut the primary off from the others, not from the publisher, and heal that."""
    node = scene.primary
    with cut_off(node, *(other["address"] for other in scene.others(node))):
        scene.wait_for_primary(node)
        time.sleep(TWO_PRIMARIES_SECONDS)


def publisher_cut_off(scene: Scene, _stack: ExitStack) -> None:
    """Cut the primary, the publisher and the demo off from the others, and heal that."""
    node = scene.primary
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((node["address"], 1))
        own_address = probe.getsockname()[0]
    with ExitStack() as cuts:
        for other in scene.others(node):
            cuts.enter_context(cut_off(other, own_address, ports=REDIS_AND_SENTINEL))
        cuts.enter_context(cut_off(node, *(other["address"] for other in scene.others(node))))
        time.sleep(2 * TWO_PRIMARIES_SECONDS)
    scene.wait_for_primary(node)


def primary_frozen(scene: Scene, _stack: ExitStack) -> None:
    """Freeze the primary's Redis for longer than Sentinel waits, and thaw it."""
    node = scene.primary
    on(
        node,
        "systemd-run --quiet sh -c "
        f"'systemctl kill -s STOP redis; sleep {FROZEN_SECONDS}; systemctl kill -s CONT redis'",
    )
    scene.wait_for_primary(node)
    time.sleep(FROZEN_SECONDS / 2)


def planned_failover(scene: Scene, _stack: ExitStack) -> None:
    """Make a replica the primary."""
    on(scene.primary, "redis-failover")


def replica_lost(scene: Scene, stack: ExitStack) -> None:
    """Stop a replica's Redis."""
    node = scene.others(scene.primary)[0]
    stack.callback(on, node, "systemctl start redis")
    on(node, "systemctl stop redis")


def replicas_lost(scene: Scene, _stack: ExitStack) -> None:
    """Stop both replicas' Redis; the primary refuses until they are back."""
    replicas = scene.others(scene.primary)
    for node in replicas:
        on(node, "systemctl stop redis")
    time.sleep(ABSENT_SECONDS)
    for node in replicas:
        on(node, "systemctl start redis")


def node_of_page_stopped(scene: Scene, stack: ExitStack) -> None:
    """Stop the node whose Webdis the page listens to."""
    node = scene.node_of_page()
    stack.callback(Container().start, _number(scene, node))
    Container().stop(_number(scene, node))


def quorum_lost(scene: Scene, stack: ExitStack) -> None:
    """Stop two of three Sentinels."""
    for node in scene.others(scene.primary):
        stack.callback(on, node, "systemctl start sentinel")
        on(node, "systemctl stop sentinel")
    time.sleep(ABSENT_SECONDS)


def all_restarted(scene: Scene, _stack: ExitStack) -> None:
    """Stop all nodes at once, and start them again."""
    numbers = [_number(scene, node) for node in scene.nodes]
    with ThreadPoolExecutor() as pool:
        list(pool.map(Container().stop, numbers))
        list(pool.map(Container().start, numbers))


def rolling_restart(scene: Scene, _stack: ExitStack) -> None:
    """Restart each Redis as an upgrade does: replicas first, the primary after a failover."""
    for node in scene.nodes:
        on(node, "redis-node restart-replica")
    on(scene.primary, "redis-node restart-primary")


# By what the table calls them, the first five as often as NODES_REPEATS says.
FAULTS: dict[str, Callable[[Scene, ExitStack], None]] = {
    "primary's Redis killed (-9), and kept down": redis_killed,
    "primary's node stopped": node_stopped,
    "primary cut off from the others, then healed": primary_cut_off,
    f"primary frozen for {FROZEN_SECONDS} s": primary_frozen,
    "planned failover": planned_failover,
    "primary's Redis killed (-9), back at once": redis_killed_once,
    "primary, publisher and web application cut off for 12 s": publisher_cut_off,
    "a replica lost": replica_lost,
    f"both replicas lost for {ABSENT_SECONDS} s": replicas_lost,
    "the page's node stopped": node_of_page_stopped,
    "two of three Sentinels stopped": quorum_lost,
    "all nodes stopped and started": all_restarted,
    "rolling restart, as an upgrade does it": rolling_restart,
}
