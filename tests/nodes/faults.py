"""What is done to three nodes: each takes the scene, and a stack for what mends it afterwards.

Some need another instance than `make up` makes: `PREPARATIONS` has who makes it so beforehand.
"""

from __future__ import annotations

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING

import yaml

from kit.checkout import ROOT, node_name
from kit.container import Container
from kit.nodes import start_node
from tests.demo_server import eventually
from tests.faults.clock import HOUR_SECONDS, server_clock, set_clock
from tests.faults.disk import fill, small_disk
from tests.nodes.scene import cut_off, on
from tests.provisioning import changed, provision

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.nodes.scene import Node, Scene

ABSENT_SECONDS = 6  # longer than min-replicas-max-lag and down-after-milliseconds
FROZEN_SECONDS = 8
TWO_PRIMARIES_SECONDS = 6
FULL_SECONDS = 10
WRONG_SECONDS = 6
OLDER, NEWER = "8.0.2", "8.0.6"
STALE_SECONDS = 30  # longer than the publisher's last thousand messages take
REDIS_AND_SENTINEL = "tcp dport { 6379, 26379 }"
UNTIL_REPLICAS_ARE_KNOWN = (
    "for i in $(seq 300); do sentinel-admin SENTINEL REPLICAS %s | "
    "grep -A 1 -x role-reported | grep -q -x master || exit 0; sleep 0.1; done; exit 1"
)
KILL = "systemctl kill --kill-whom=main --signal=KILL redis"
KILL_FOR_GOOD = f"{KILL}; systemctl stop redis"


def _number(scene: Scene, node: Node) -> int:
    return scene.nodes.index(node) + 1


def _container(scene: Scene, node: Node) -> str:
    return node_name(_number(scene, node))


def redis_killed(scene: Scene, stack: ExitStack) -> None:
    """Kill the primary's Redis, and keep it down."""
    node = scene.primary
    stack.callback(scene.bring_back, node)
    on(node, KILL_FOR_GOOD)
    scene.wait_for_primary(node)


def redis_killed_once(scene: Scene, _stack: ExitStack) -> None:
    """Kill the primary's Redis; systemd starts it again."""
    on(scene.primary, KILL)


def node_stopped(scene: Scene, stack: ExitStack) -> None:
    """Stop the primary's node."""
    node = scene.primary
    stack.callback(scene.bring_back, node)
    stack.callback(start_node, Container(), _number(scene, node))
    Container().stop(_number(scene, node))
    scene.wait_for_primary(node)


@contextmanager
def replicas_known(scene: Scene) -> Iterator[None]:
    """Let each Sentinel have seen that what was a primary in an earlier fault is a replica.

    One that has not takes the next primary for a mistake; `redis-failover` waits by itself.
    """
    for node in scene.nodes:
        on(node, UNTIL_REPLICAS_ARE_KNOWN % scene.instance["master_name"])
    yield


def primary_cut_off(scene: Scene, _stack: ExitStack) -> None:
    """Cut the primary off from the others, not from the publisher, and heal that."""
    node = scene.primary
    with cut_off(node, *(other["address"] for other in scene.others(node))):
        scene.wait_for_primary(node)
        time.sleep(TWO_PRIMARIES_SECONDS)
    scene.wait_until_healed(node)


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
    scene.wait_until_healed(node)


def primary_frozen(scene: Scene, _stack: ExitStack) -> None:
    """Freeze the primary's Redis for longer than Sentinel waits, and thaw it."""
    node = scene.primary
    on(
        node,
        "systemd-run --quiet sh -c "
        f"'systemctl kill -s STOP redis; sleep {FROZEN_SECONDS}; systemctl kill -s CONT redis'",
    )
    scene.wait_for_primary(node)
    scene.wait_until_healed(node)


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
    stack.callback(start_node, Container(), _number(scene, node))
    Container().stop(_number(scene, node))


@contextmanager
def page_on_replica(scene: Scene) -> Iterator[None]:
    """Let the page listen to another node than the primary."""
    eventually(
        lambda: scene.node_of_page() != scene.primary or scene.reload(),
        "the page always begins with the primary",
    )
    yield


def node_of_page_cut_off(scene: Scene, _stack: ExitStack) -> None:
    """Cut the node that the page listens to off from the others, until the page has left."""
    node = scene.node_of_page()
    with cut_off(node, *(other["address"] for other in scene.others(node))):
        eventually(lambda: scene.node_of_page() != node, "the page stays")


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
        list(pool.map(partial(start_node, Container()), numbers))


def rolling_restart(scene: Scene, _stack: ExitStack) -> None:
    """Restart each Redis as an upgrade does: replicas first, the primary after a failover."""
    for node in scene.nodes:
        on(node, "redis-node restart-replica")
    on(scene.primary, "redis-node restart-primary")


@contextmanager
def primary_on_small_disk(scene: Scene) -> Iterator[None]:
    """Let the primary's data be on a disk that can be filled."""
    node = scene.primary
    with small_disk(_container(scene, node), partial(on, node), scene.folder):
        scene.wait_until_well()
        yield


def disk_full(scene: Scene, _stack: ExitStack) -> None:
    """Fill the disk of the primary's Redis for longer than Sentinel waits, and make room again."""
    node = scene.primary
    fill(partial(on, node), FULL_SECONDS)
    scene.wait_for_primary(node)


@contextmanager
def primary_with_clock(scene: Scene) -> Iterator[None]:
    """Let the clock of the primary, and of the Sentinel beside it, be set."""
    node = scene.primary
    with server_clock(_container(scene, node), partial(on, node), "redis", "sentinel"):
        scene.wait_until_well()
        yield


def clock_wrong(scene: Scene, _stack: ExitStack) -> None:
    """Set the clock of the primary's node back an hour, and right again."""
    node = scene.primary
    for seconds in (-HOUR_SECONDS, 0):
        set_clock(_container(scene, node), seconds)
        theirs = int(on(node, "redis-admin TIME").split()[0])
        assert abs(theirs - time.time() - seconds) < HOUR_SECONDS / 2, "Redis has not seen it"
        time.sleep(WRONG_SECONDS)


def writer_killed(scene: Scene, stack: ExitStack) -> None:
    """Kill the primary's Redis and keep it down, and with it who has the last messages."""
    node = scene.primary
    stack.callback(scene.bring_back, node)
    on(node, KILL_FOR_GOOD)
    scene.sender.kill()
    scene.wait_for_primary(node)


def stale_replica_first(scene: Scene, _stack: ExitStack) -> None:
    """Stop a replica's Redis, later kill the two others, and start the one with old data first."""
    primary = scene.primary
    stale, other = scene.others(primary)
    on(stale, "systemctl stop redis")
    time.sleep(STALE_SECONDS)
    for node in (primary, other):
        on(node, KILL_FOR_GOOD)
    on(stale, "systemctl start redis")
    scene.wait_for_primary(primary)
    for node in (primary, other):
        scene.bring_back(node)


def _releases() -> list[dict[str, str]]:
    """Return the archives of both releases, as the scenario `upgrade` has them."""
    scenario = yaml.safe_load((ROOT / "ansible/molecule/upgrade/molecule.yml").read_text())
    return scenario["provisioner"]["inventory"]["group_vars"]["all"]["redis_candidates"]


@contextmanager
def older_release(scene: Scene) -> Iterator[None]:
    """Let an older release of Redis be on all nodes, and afterwards what was there before."""
    # It may be unable to read what a newer one has written, and is refused then.
    for node in scene.nodes:
        on(node, "systemctl stop sentinel redis")
        on(node, "find /var/lib/redis -mindepth 1 ! -name role.conf -delete")
    assert changed(provision(redis_version=OLDER, redis_candidates=_releases()))
    scene.wait_until_well()
    try:
        yield
    finally:
        changed(provision())


def upgraded(_scene: Scene, _stack: ExitStack) -> None:
    """Run the playbook, which restarts one node after the other with the newer release."""
    assert changed(provision(redis_version=NEWER, redis_candidates=_releases()))


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
    "the page's node, a replica, cut off from the others": node_of_page_cut_off,
    "two of three Sentinels stopped": quorum_lost,
    "all nodes stopped and started": all_restarted,
    "rolling restart, as an upgrade does it": rolling_restart,
    f"rolling upgrade from Redis {OLDER} to {NEWER}": upgraded,
    f"disk of the primary full for {FULL_SECONDS} s": disk_full,
    "clock of the primary's node back an hour, and right again": clock_wrong,
    "not promised: primary's Redis and publisher killed (-9)": writer_killed,
    f"not promised: a replica away for {STALE_SECONDS} s, both others killed, it back first": (
        stale_replica_first
    ),
}
NOT_PROMISED = [writer_killed, stale_replica_first]

PREPARATIONS: dict[Callable[..., None], Callable[[Scene], AbstractContextManager[None]]] = {
    upgraded: older_release,
    **dict.fromkeys(
        (redis_killed, node_stopped, primary_cut_off, primary_frozen, publisher_cut_off),
        replicas_known,
    ),
    node_of_page_cut_off: page_on_replica,
    disk_full: primary_on_small_disk,
    clock_wrong: primary_with_clock,
}
