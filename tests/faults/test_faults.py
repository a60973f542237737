"""Each fault strikes while a message is published every 20 ms and a page shows them."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from functools import partial

import pytest
from websockets.exceptions import WebSocketException

from kit.checkout import ROOT
from kit.websocket import Page
from tests.demo_server import eventually
from tests.faults import clock, crowd
from tests.faults.disk import fill, small_disk

FULL_SECONDS = 5
LINK_SECONDS = 10
BACK_SECONDS = 5
MOST_CLIENTS = 40


@contextmanager
def edited(scene, path, script, unit):
    """Run a unit with its file changed by a sed script for the time of the block."""
    scene.command(f"cp -p {path} {path}.saved && sed -i -E {shlex.quote(script)} {path}")
    try:
        scene.command(f"! cmp -s {path} {path}.saved && systemctl restart {unit}")
        scene.wait_until_well()
        yield
    finally:
        scene.command(f"mv {path}.saved {path} && systemctl restart {unit}")


def crash_webdis(scene, *commands):
    """Send commands over one WebSocket after another until Webdis has died of them."""
    before = scene.main_pid("webdis")
    for _ in range(40):
        try:
            with Page(scene.instance) as client:
                for command in commands:
                    client.send(*command)
                while True:
                    client.receive(1)
        except (TimeoutError, WebSocketException, OSError):
            if scene.main_pid("webdis") != before:
                return
    pytest.fail(f"Webdis survived {commands}")


def end(scene, unit, command):
    """Run what ends the process of a unit, and see that it has."""
    before = scene.main_pid(unit)
    scene.command(command)
    eventually(lambda: scene.main_pid(unit) != before, f"{unit} has survived {command}")


@contextmanager
def nothing(_scene):
    yield lambda: None


@contextmanager
def redis_restarted(scene):
    yield partial(end, scene, "redis", "systemctl restart redis")


@contextmanager
def redis_killed(scene):
    kill = "systemctl kill --kill-whom=main --signal=KILL redis"
    yield partial(end, scene, "redis", kill)


@contextmanager
def webdis_killed(scene):
    kill = "systemctl kill --kill-whom=main --signal=KILL webdis"
    yield partial(end, scene, "webdis", kill)


@contextmanager
def webdis_crashed_by_unsubscribe(scene):
    allowed = 's/"SUBSCRIBE"/&, "UNSUBSCRIBE"/'
    with edited(scene, "/etc/webdis/webdis.json", allowed, "webdis"):
        yield partial(crash_webdis, scene, ["SUBSCRIBE", "a"], ["UNSUBSCRIBE", "a", "b"])


@contextmanager
def webdis_crashed_by_refusal(scene):
    limited = r"/^user webdis/s/allchannels/resetchannels \&progress:*/"
    with edited(scene, "/etc/redis/users.acl", limited, "redis"):
        yield partial(crash_webdis, scene, *[["SUBSCRIBE", "other"]] * 20)


@contextmanager
def clients_of_redis_used_up(scene):
    def strike():
        before = scene.main_pid("webdis")
        try:
            with ExitStack() as clients:
                for _ in range(MOST_CLIENTS + 20):
                    client = clients.enter_context(Page(scene.instance))
                    client.send("SUBSCRIBE", "progress:crowd")
                time.sleep(FULL_SECONDS)
        except (WebSocketException, OSError):
            pass  # Webdis has died, and all of them with it
        return "Webdis died of it" if scene.main_pid("webdis") != before else "Webdis survived"

    with edited(scene, "/etc/redis/redis.conf", f"/^maxclients/s/ .*/ {MOST_CLIENTS}/", "redis"):
        yield strike


@contextmanager
def link_down(scene):
    listed = ["ip", "-o", "link", "show", "master", scene.instance["bridge"]]
    ports = subprocess.run(listed, capture_output=True, text=True, check=True).stdout
    port = ports.split()[1].split("@")[0]

    def strike():
        subprocess.run(["ip", "link", "set", port, "down"], check=True)
        time.sleep(LINK_SECONDS)
        subprocess.run(["ip", "link", "set", port, "up"], check=True)

    yield strike


@contextmanager
def page_reloaded(scene):
    scene.job = True
    yield scene.reload


@contextmanager
def web_server_killed(scene):
    yield lambda: os.kill(scene.demo.process_of("web"), signal.SIGKILL)


@contextmanager
def disk_full(scene):
    with power_cut(scene):
        yield partial(fill, scene.command, FULL_SECONDS)


@contextmanager
def power_cut(scene):
    with small_disk(scene.instance["name"], scene.command, scene.folder) as cut_power:
        scene.wait_until_well()
        yield cut_power


@contextmanager
def power_cut_always_synced(scene):
    always = "s/^appendfsync .*/appendfsync always/"
    with edited(scene, "/etc/redis/redis.conf", always, "redis"), power_cut(scene) as cut_power:
        yield cut_power


@contextmanager
def clients_that_never_read(scene):
    yield partial(crowd.flood_until_cut, scene)


@contextmanager
def descriptors_used_up(scene):
    def strike():
        since = scene.command("date +@%s").strip()
        scene.command(f"prlimit --nofile=64:64 --pid {scene.main_pid('webdis')}")
        idle = [scene.connection() for _ in range(80)]
        time.sleep(FULL_SECONDS)
        used = scene.used("webdis", since)
        for connection in idle:
            connection.close()
        return f"Webdis: {used}"

    yield strike


@contextmanager
def clock_set_back(scene):
    with clock.adjustable(scene) as set_back:
        yield set_back


@contextmanager
def instance_rebooted(_scene):
    def strike():
        for command in ("down", "up"):
            subprocess.run([sys.executable, "-m", "kit", command], cwd=ROOT, check=True)

    yield strike


@contextmanager
def clients_that_reset(scene):
    yield partial(crowd.reset_after_subscribing, scene)


FAULTS = {
    nothing: "none, for comparison",
    redis_restarted: "Redis restarted",
    redis_killed: "Redis killed (-9)",
    webdis_killed: "Webdis killed (-9)",
    webdis_crashed_by_unsubscribe: "Webdis crashed by UNSUBSCRIBE, its list of commands off",
    webdis_crashed_by_refusal: "Webdis crashed by NOPERM, its Redis user limited to channels",
    clients_of_redis_used_up: f"more subscribers than Redis takes (maxclients {MOST_CLIENTS})",
    link_down: f"link down for {LINK_SECONDS} s",
    page_reloaded: "page of a job reloaded",
    web_server_killed: "web server killed (-9)",
    disk_full: f"disk of Redis full for {FULL_SECONDS} s",
    power_cut: "power cut, `appendfsync everysec`",
    power_cut_always_synced: "power cut, `appendfsync always`",
    clients_that_never_read: f"{crowd.CLIENTS} clients that never read",
    clients_that_reset: f"{crowd.RESETS} clients that reset their connection after SUBSCRIBE",
    descriptors_used_up: f"descriptors of Webdis used up for {FULL_SECONDS} s",
    clock_set_back: "clocks set back an hour",
    instance_rebooted: "instance stopped and started (make down, make up)",
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_no_message_is_lost_doubled_or_out_of_order(fault, scene, record):
    with fault(scene) as strike:
        row = scene.play(FAULTS[fault], strike)
    record(row)
    assert (row.refused, row.lost, row.doubled, row.out_of_order) == (0, 0, 0, 0)
    assert row.live_seconds <= BACK_SECONDS


def test_a_killed_worker_is_a_failure_shown_after_all_that_came_before(scene, record):
    scene.job = True
    row = scene.play_to_the_end(
        "worker killed (-9)", lambda: os.kill(scene.demo.process_of("worker"), signal.SIGKILL)
    )
    record(row)
    assert (row.refused, row.lost, row.doubled, row.out_of_order) == (0, 0, 0, 0)
    assert row.live_seconds <= BACK_SECONDS
