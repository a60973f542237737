"""Alerts: `promtool` on all of them, and real faults that set theirs off in a real Prometheus."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path

import pytest
import yaml

from kit.checkout import ROOT
from kit.websocket import Page
from tests.demo_server import eventually
from tests.faults.disk import DATA, small_disk
from tests.services import restart

HERE = Path(__file__).parent
ROLE = ROOT / "ansible/roles/metrics"
PLAY = [
    {
        "hosts": "localhost",
        "gather_facts": False,
        "connection": "local",
        "tasks": [
            {"ansible.builtin.include_vars": str(ROLE / "defaults/main.yml")},
            {"ansible.builtin.include_vars": str(ROLE / "vars/main.yml")},
            {
                "ansible.builtin.template": {
                    "src": str(ROLE / "templates/alerts.yml.j2"),
                    "dest": "{{ dest }}",
                }
            },
        ],
    }
]


@pytest.fixture(scope="module")
def rules(tmp_path_factory):
    """Return the alerts of three servers, with the times that they have in use."""
    folder = tmp_path_factory.mktemp("rules")
    (folder / "play.yml").write_text(yaml.safe_dump(PLAY))
    variables = {
        "dest": str(folder / "alerts.yml"),
        "metrics_prometheus_servers": ["a", "b", "c"],
        "metrics_runbooks_url": "docs/troubleshooting.md",
        "metrics_sentinel_address": "unix:///run/sentinel/sentinel.sock",
        "ansible_python_interpreter": str(ROOT / ".venv/bin/python"),
    }
    (folder / "vars.yml").write_text(yaml.safe_dump(variables))
    command = [
        ROOT / ".venv/bin/ansible-playbook",
        "-i",
        "localhost,",
        "-e",
        f"@{folder / 'vars.yml'}",
        folder / "play.yml",
    ]
    subprocess.run(command, check=True, capture_output=True)
    return (folder / "alerts.yml").read_text()


def test_each_alert_is_set_off_by_its_numbers_and_by_no_others(server, rules):
    folder = server.check_output("mktemp -d")
    for name, content in (
        ("alerts.yml", rules),
        ("alerts_test.yml", (HERE / "alerts_test.yml").read_text()),
    ):
        assert server.run(f"cat >{folder}/{name} <<'END'\n{content}\nEND").rc == 0
    answer = server.run(
        f"cd {folder} && promtool check rules alerts.yml && promtool test rules alerts_test.yml"
    )
    server.run(f"rm -r {folder}")
    assert answer.rc == 0, answer.stdout + answer.stderr


def test_each_alert_is_tested_and_links_to_what_to_do(rules):
    alerts = [rule for group in yaml.safe_load(rules)["groups"] for rule in group["rules"]]
    tested = (HERE / "alerts_test.yml").read_text()
    page = (ROOT / "docs/troubleshooting.md").read_text()
    for alert in alerts:
        assert f'alertname="{alert["alert"]}"' in tested
        assert alert["annotations"]["runbook_url"].endswith(f"#alert-{alert['alert'].lower()}")
        assert f"### Alert {alert['alert']}\n" in page


@pytest.fixture(autouse=True)
def quiet(request):
    """Have nothing wrong before a fault; it ends its alert itself."""
    if "prometheus" in request.fixturenames:
        request.getfixturevalue("prometheus").wait_for_none()


def test_redis_is_down(server, prometheus):
    server.check_output("systemctl stop redis")
    try:
        prometheus.wait_for("RedisDown")
    finally:
        server.check_output("systemctl start redis")
    prometheus.wait_for_none()


def test_webdis_is_killed(server, prometheus):
    server.check_output("systemctl kill --signal=KILL --kill-who=main webdis")
    prometheus.wait_for("WebdisRestarting")
    prometheus.wait_for_none()


def test_descriptors_are_used_up(server, instance, prometheus):
    pid = server.check_output("systemctl show -P MainPID webdis")
    server.check_output(f"prlimit --nofile=64:64 --pid {pid}")
    try:
        with contextlib.ExitStack() as pages:
            # Near the limit and not at it, where Webdis would spin.
            while int(server.check_output(f"ls /proc/{pid}/fd | wc -l")) < 60:
                pages.enter_context(Page(instance)).subscribe("progress:descriptors")
            prometheus.wait_for("WebdisDescriptorsNearLimit")
    finally:
        restart(server, "webdis")
    prometheus.wait_for_none()


@pytest.mark.machine
def test_the_disk_is_full(server, instance, prometheus, tmp_path):
    with small_disk(instance["name"], server.check_output, tmp_path):
        server.run(f"head -c 60M /dev/zero >{DATA}/filler")
        prometheus.wait_for("DiskNearlyFull")
        server.check_output(f"rm {DATA}/filler")
        eventually(lambda: "DiskNearlyFull" not in prometheus.firing(), "it does not end", 60)
    prometheus.wait_for_none()
