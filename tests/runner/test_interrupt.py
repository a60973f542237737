"""A run of the tests that is interrupted leaves nothing on this host: looked at, in a copy."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kit import container
from kit.checkout import ROOT
from tests.demo_server import eventually

# In place of the real layers: two instances, in each of which a test holds what tests make.
LANES = """

LANES = [
    Lane(
        name or "plain",
        instance=name,
        up=True,
        environment={{"PROVIDER": provider}},
        layers=[Layer(f"held {{name}}", pytest(f"tests/faults/test_held_{{provider}}.py"))],
    )
    for name, provider in (("", "container"), ("second", "{second}"))
]
"""
IN_A_CONTAINER = """
import threading

from kit.checkout import INSTANCE, ROOT
from tests.faults.disk import small_disk
from tests.security.test_firewall import Host


def test_held(scene, instance, start_demo):
    host = Host(instance["bridge"])
    try:
        with small_disk(instance["name"], scene.command, scene.folder):
            start_demo()
            (ROOT / f"held-{INSTANCE}").write_text(host.name)
            threading.Event().wait()
    finally:
        host.remove()
"""
ON_THIS_HOST = """
import threading

from kit.checkout import INSTANCE, ROOT


def test_held(start_demo):
    start_demo()
    (ROOT / f"held-{INSTANCE}").touch()
    threading.Event().wait()
"""
MAKE_SECONDS = 280
END_SECONDS = 120


def output(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def second():
    """Return the provider of the second instance."""
    return "local"


@pytest.fixture
def checkout(tmp_path, second):
    """Return a copy of this checkout that has those layers."""
    copy = tmp_path / "checkout"
    for name in output("git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard").split("\n"):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy / name)
    (copy / ".venv").symlink_to(ROOT / ".venv")
    with (copy / "tests/layers.py").open("a") as layers:
        layers.write(LANES.format(second=second))
    (copy / "tests/faults/test_held_container.py").write_text(IN_A_CONTAINER)
    (copy / "tests/faults/test_held_local.py").write_text(ON_THIS_HOST)
    return copy


@pytest.fixture
def run(checkout, tmp_path):
    """Return the running tests of that copy, with a mark on all that they start."""
    environment = {**os.environ, "HELD": secrets.token_hex(8), "KIT_INSTANCE": ""}
    environment.pop("DEMO_KIT_DIR")
    with (tmp_path / "output").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.run", "all"],
            cwd=checkout,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    process.mark = f"HELD={environment['HELD']}".encode()
    yield process
    if process.poll() is None:
        process.kill()
        process.wait()
    subprocess.run([sys.executable, "-m", "kit", "destroy"], cwd=checkout, check=True)


def instances(checkout):
    return {
        name for name, record in container.records().items() if record["checkout"] == str(checkout)
    }


def processes(mark):
    found = []
    for file in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark in file.read_bytes().split(b"\0"):
                found.append(file.with_name("cmdline").read_bytes())
        except OSError:
            continue  # it has ended
    return found


def bridges(names):
    links = json.loads(output("ip", "-j", "link"))
    return {link["ifname"] for link in links} & {name.replace("kit-", "wk-") for name in names}


def loop_devices():
    devices = json.loads(output("losetup", "--json", "--list") or '{"loopdevices": []}')
    # The images lie beside the copy, where this very test's files are.
    return [one for one in devices["loopdevices"] if "test_held" in one["back-file"]]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_while_tests_hold_what_they_have_made(checkout, run, tmp_path, number):
    names = eventually(
        lambda: (
            (run.poll() is not None or len(list(checkout.glob("held-*"))) == 2)
            and instances(checkout)
        ),
        "the tests do not come so far",
        MAKE_SECONDS,
    )
    assert run.poll() is None, (tmp_path / "output").read_text()
    namespaces = {text for file in checkout.glob("held-*") if (text := file.read_text())}
    assert namespaces <= set(output("ip", "netns").split())
    assert len(names) == len(bridges(names)) == len(loop_devices()) == len(namespaces) == 1
    # What runs on this host is apart from who has started it, without its environment.
    pid = (checkout / ".kit/instances/second/local/redis.pid").read_text()
    on_this_host = Path(f"/proc/{pid.strip()}")
    assert on_this_host.exists()
    assert len(processes(run.mark)) > 10
    run.send_signal(number)
    assert run.wait(END_SECONDS) == 128 + number
    assert "2 passed, 2 failed" in (tmp_path / "output").read_text()
    assert instances(checkout) == set()
    assert bridges(names) == set()
    assert not namespaces & set(output("ip", "netns").split())
    assert loop_devices() == processes(run.mark) == []
    assert not on_this_host.exists()
    assert not list((checkout / ".kit/instances").glob("*"))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("second", ["container"])
def test_while_instances_are_made(checkout, run, tmp_path):
    names = eventually(
        lambda: len(found := instances(checkout)) == 2 and found, "no instances", MAKE_SECONDS
    )
    eventually(lambda: len(bridges(names)) == 2, "no bridges", MAKE_SECONDS)
    run.send_signal(signal.SIGTERM)
    assert run.wait(END_SECONDS) == 128 + signal.SIGTERM, (tmp_path / "output").read_text()
    assert instances(checkout) == set()
    assert bridges(names) == set()
    assert processes(run.mark) == []
