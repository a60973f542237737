"""`make status`: what it says of a server that is well, and of one that is not."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from kit.checkout import ROOT
from kit.websocket import Page
from tests.demo_server import eventually


def kit_status(**environment):
    return subprocess.run(
        [sys.executable, "-m", "kit", "status"],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


pytestmark = pytest.mark.usefixtures("well")


@pytest.fixture
def well():
    """Have a server that is well again, before and after."""
    yield
    eventually(lambda: kit_status().returncode == 0, kit_status().stderr)


def test_a_server_that_is_well_in_ten_lines(instance):
    answer = kit_status()
    assert answer.returncode == 0, answer.stderr
    titles = [line.partition(":")[0] for line in answer.stdout.splitlines()]
    assert titles == [
        "Instance",
        "Redis",
        "Webdis",
        "Running since",
        "Restarts",
        "Subscribers",
        "Memory",
        "Last fault",
        "Backups",
        "State",
    ]
    assert instance["name"] in answer.stdout
    assert " of 256 MiB" in answer.stdout
    assert f" of {instance['webdis']['max_subscribers']}\n" in answer.stdout


def test_a_restart_by_itself_is_counted_and_the_fault_is_named(server):
    before = json.loads(kit_status(JSON="1").stdout)["nodes"][0]
    server.check_output("systemctl kill --signal=KILL --kill-who=main webdis")

    def after():
        return json.loads(kit_status(JSON="1").stdout)["nodes"][0]

    def restarts(node):
        return node["services"]["webdis"]["restarts"]

    eventually(lambda: restarts(after()) == restarts(before) + 1, "not counted")
    assert after()["last_fault"]["what"] == "webdis: signal"
    assert after()["last_fault"]["at"] >= before["services"]["webdis"]["since"]


def test_a_subscriber_is_counted(instance):
    def subscribers():
        return json.loads(kit_status(JSON="1").stdout)["nodes"][0]["subscribers"]

    before = subscribers()
    with Page(instance) as page:
        page.subscribe("progress:status")
        assert subscribers() == before + 1


def test_a_service_that_is_stopped_is_wrong(server):
    server.check_output("systemctl stop redis")
    try:
        answer = kit_status()
        as_json = kit_status(JSON="1")
    finally:
        server.check_output("systemctl start redis")
    assert answer.returncode == as_json.returncode == 1
    said = " ".join(answer.stderr.split())
    assert "Redis does not run on server" in said
    assert "Webdis does not run on server" in said
    assert "Traceback" not in answer.stderr
    assert "something is wrong" in answer.stdout
    assert json.loads(as_json.stdout)["wrong"]
