"""The collection's callback plugin: a real ansible-playbook, whose events are in a real Redis."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from bench.processes import free_port
from kit.checkout import ROOT
from kit.tls import CA_FILE
from tests.demo_server import eventually
from webdis_progress import Progress, events_after, replay

PLUGIN = "webdis_kit.server.progress"
SECRET = "qx7-zzk9"
HOSTS = ("fails", "gone", "ignores", "rescued", "skips", "well")
PLAYBOOK = f"""
- name: First
  hosts: all
  gather_facts: false
  vars: {{password: {SECRET}}}
  tasks:
    - name: Talk
      ansible.builtin.debug:
        msg: "{{{{ password }}}}"
      changed_when: inventory_hostname == "well"
    - name: Reach it
      ansible.builtin.command: echo "{{{{ password }}}}"
      when: inventory_hostname == "gone"
    - name: Try
      when: inventory_hostname == "rescued"
      block:
        - name: Break
          ansible.builtin.fail:
            msg: "{{{{ password }}}}"
      rescue:
        - name: Mend
          ansible.builtin.debug:
    - name: Ignore
      ansible.builtin.fail:
        msg: "{{{{ password }}}}"
      when: inventory_hostname == "ignores"
      ignore_errors: true
    - name: Fail
      ansible.builtin.fail:
        msg: "{{{{ password }}}}"
      when: inventory_hostname == "fails"

- name: Second
  hosts: well, skips
  gather_facts: false
  tasks:
    - name: Go on
      ansible.builtin.debug:
"""
GOOD = """
- name: Good
  hosts: all
  gather_facts: false
  tasks:
    - name: Talk
      ansible.builtin.debug:
"""
SLOW = """
- name: Slow
  hosts: all
  gather_facts: false
  tasks:
    - name: Wait
      ansible.builtin.shell: touch "$ANSIBLE_HOME/begun" && exec sleep 60
"""
FATAL = """
- name: Fatal
  hosts: all
  gather_facts: false
  any_errors_fatal: true
  tasks:
    - name: Fail
      ansible.builtin.fail:
      when: inventory_hostname == "fails"
    - name: Never begun
      ansible.builtin.debug:
"""


class Playbooks:
    """Runs playbooks with the plugin, on hosts that are this host, but for one that is gone.

    Args:
        folder: For files.
        channel: That they publish to.
        url: Of Redis.
    """

    def __init__(self, folder, channel, url):
        self.channel = channel
        local = f"ansible_connection=local ansible_python_interpreter={sys.executable}"
        lines = [f"{name} {local}" for name in HOSTS if name != "gone"]
        lines.append("gone ansible_host=127.0.0.1 ansible_port=1")
        self._folder = folder
        (folder / "hosts.ini").write_text("\n".join(lines) + "\n")
        self._environment = {
            **os.environ,
            "ANSIBLE_HOME": str(folder),
            "ANSIBLE_CALLBACKS_ENABLED": PLUGIN,
            "WEBDIS_PROGRESS_CHANNEL": channel,
            "WEBDIS_PROGRESS_REDIS_URL": url,
        }

    def start(self, *playbooks, limit="all", **environment):
        files = [self._folder / f"{number}.yml" for number in range(len(playbooks))]
        for file, playbook in zip(files, playbooks, strict=True):
            file.write_text(playbook)
        command = [ROOT / ".venv/bin/ansible-playbook", "-i", "hosts.ini", "--limit", limit]
        return subprocess.Popen(
            [*command, *files],
            cwd=self._folder,
            env={**self._environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *playbooks, **options):
        with self.start(*playbooks, **options) as process:
            try:
                shown, _ = process.communicate(timeout=90)
            finally:
                process.kill()
        return process.returncode, shown


@pytest.fixture
def playbooks(instance, tmp_path, channel, secrets_dir):
    entry = instance["redis"]
    password = (secrets_dir / "redis_publisher").read_text().strip()
    login = f"{entry['username']}:{password}@{entry['host']}:{entry['port']}"
    tls = f"rediss://{login}?ssl_ca_certs={CA_FILE}"
    return Playbooks(tmp_path, channel, tls if entry["tls"] else f"redis://{login}")


def bars(connection, channel):
    """Return the last event of the run, and of each host."""
    state = replay(connection, channel)["state"]
    return state["run"], {event["task"]: event for event in state["tasks"]}


def texts(connection, channel, host):
    return [e["text"] for e in events_after(connection, channel, 0) if e.get("task") == host]


def test_each_host_has_a_bar_and_each_task_a_line(playbooks, publisher_redis):
    code, shown = playbooks.run(PLAYBOOK)
    assert code == 4, shown  # unreachable
    assert "[WARNING]" not in shown
    assert "callback" not in shown.lower()
    client, channel = publisher_redis, playbooks.channel
    run, tasks = bars(client, channel)
    ends = {name: (task["kind"], task["text"]) for name, task in tasks.items()}
    assert ends == {
        "fails": ("failed", "Fail: failed"),
        "gone": ("failed", "Reach it: unreachable"),
        "ignores": ("done", "2 ok, 3 skipped, 1 ignored"),
        "rescued": ("done", "2 ok, 3 skipped, 1 rescued"),
        "skips": ("done", "2 ok, 4 skipped"),
        "well": ("done", "2 ok, 1 changed, 4 skipped"),
    }
    assert run["kind"] == "failed"
    assert run["text"] == "4 of 6 hosts are done; not fails; not gone"
    assert (run["current"], run["total"]) == (6, 6)
    for name in ("well", "skips"):
        assert tasks[name]["current"] == tasks[name]["total"]
    assert texts(client, channel, "rescued")[:5] == [
        "First: waits",
        "Talk",
        "",
        "Reach it",
        "Reach it: skipped",
    ]
    assert "Break: failed" in texts(client, channel, "rescued")
    assert "Second: waits" not in texts(client, channel, "rescued")
    assert SECRET in shown
    assert SECRET not in str(events_after(client, channel, 0))


def test_hosts_that_others_have_stopped_are_not_shown_as_done(playbooks, publisher_redis):
    code, shown = playbooks.run(FATAL, limit="fails,well")
    assert code == 2, shown
    run, hosts = bars(publisher_redis, playbooks.channel)
    ends = {name: host["kind"] for name, host in hosts.items()}
    assert ends == {"fails": "failed", "well": "cancelled"}
    assert run["kind"] == "failed"


def test_several_playbooks_are_one_run(playbooks, publisher_redis):
    code, shown = playbooks.run(GOOD, FATAL, limit="fails,well")
    assert code == 2, shown
    run, hosts = bars(publisher_redis, playbooks.channel)
    assert (run["kind"], run["total"]) == ("failed", 2)
    assert hosts["fails"]["kind"] == "failed"
    kinds = [event["kind"] for event in events_after(publisher_redis, playbooks.channel, 0)]
    assert kinds.count("started") == 1


def test_a_playbook_that_is_interrupted_ends_its_run(playbooks, publisher_redis, tmp_path):
    with playbooks.start(SLOW, limit="well") as process:
        # Not earlier: Python loses an interruption while it forks.
        eventually((tmp_path / "begun").exists, "it does not begin")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert bars(publisher_redis, playbooks.channel)[0]["kind"] == "cancelled"


def test_part_of_a_run_neither_begins_nor_ends_it(playbooks, publisher_redis):
    with Progress(publisher_redis, playbooks.channel, 7) as progress:
        progress.update(1)
        code, shown = playbooks.run(PLAYBOOK, limit="well", WEBDIS_PROGRESS_WHOLE_RUN="false")
        assert code == 0, shown
        run, hosts = bars(publisher_redis, playbooks.channel)
        assert (run["kind"], run["current"]) == ("progress", 1)
        assert hosts["well"]["kind"] == "done"


def test_a_run_that_has_ended_is_no_error_of_the_playbook(playbooks, publisher_redis):
    Progress(publisher_redis, playbooks.channel).cancelled()
    code, shown = playbooks.run(PLAYBOOK, limit="well")
    assert code == 0
    assert "[WARNING]" not in shown
    assert len(events_after(publisher_redis, playbooks.channel, 0)) == 1


def test_a_playbook_goes_on_without_redis_and_says_so(playbooks):
    closed = f"redis://127.0.0.1:{free_port()}"
    code, shown = playbooks.run(PLAYBOOK, limit="well", WEBDIS_PROGRESS_REDIS_URL=closed)
    assert code == 0, shown
    assert "messages of progress were not sent" in shown


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"WEBDIS_PROGRESS_CHANNEL": ""}, "channel is empty"),
        (
            {"WEBDIS_PROGRESS_REDIS_URL": f"redis://user:{SECRET}:x@here:port"},
            "redis_url has to be",
        ),
    ],
)
def test_what_it_is_told_is_checked(playbooks, given, said):
    code, shown = playbooks.run(PLAYBOOK, limit="well", **given)
    assert code == 0
    assert "Failed to load callback plugin" in shown
    assert said in shown
    assert "Traceback" not in shown
    warning = shown.partition("PLAY [")[0]
    assert SECRET not in warning
