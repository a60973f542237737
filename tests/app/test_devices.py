"""What the lesson "devices" does without a router: keeps backups, limits logins, redacts."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import threading
import time

import pytest

from demo_app.devices import jobs
from demo_app.devices.backups import Backups
from demo_app.devices.inventory import Device
from demo_app.devices.playbook import Playbook
from demo_app.devices.redact import redact
from demo_app.devices.runner import ATTEMPTS, Run, Settings
from kit.checkout import ROOT
from webdis_progress import REPLAY_MESSAGES, Progress


def test_the_log_of_a_device_over_ansible_has_more_than_one_answer_s_messages(
    app, channel, publisher_redis
):
    said = [f"Task {number}" for number in range(REPLAY_MESSAGES + 100)]
    rows = []
    with app.app_context(), Progress(publisher_redis, channel, total=1) as progress:
        bar = progress.task("r1")
        bar.message("waits")
        with progress.batch():
            for text in said:
                bar.message(text)
            bar.done("all ok")
        device = Device("r1", "127.0.0.1", 2201, {}, {})
        playbook = Playbook([device], app.config, progress, rows.append)
        playbook.tell()
        playbook.tell()
    assert len(rows) == 1
    assert rows[0].state == "ok"
    assert rows[0].log == [*said, "all ok"]


def test_a_backup_that_was_written_and_not_committed_is_kept_another_time(tmp_path):
    store = Backups(tmp_path / "backups")
    assert store.last("r1") is None
    store.keep("r1", "first\nend\n")
    (tmp_path / "backups/r1.conf").write_text("second\nend\n")  # its process was killed then
    assert store.last("r1") == "first\nend\n"
    store.keep("r1", "second\nend\n")
    assert store.last("r1") == "second\nend\n"
    assert store.last("r2") is None


# A backup that is killed in the place of its n-th rename, and another after it, for each n.
KILLED = """
import itertools, json, os, pathlib, signal, sys
from demo_app.devices import backups

def kill_at(number, replace=os.replace, turns=itertools.count(1)):
    def replace_or_die(*names):
        if next(turns) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        replace(*names)
    os.replace = replace_or_die

backups.LOCK_SECONDS = 0.1
folder = pathlib.Path(sys.argv[1])
for number in itertools.count(1):
    text = f"{number}\\nend\\n"
    if not (child := os.fork()):
        kill_at(number)
        backups.Backups(folder).keep("r1", text)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    left = [file.name for file in folder.rglob("*.lock")]
    backups.Backups(folder).keep("r1", text)
    kept = backups.Backups(folder).last("r1") == text
    print(json.dumps({"status": status, "left": left, "kept": kept}))
    if status != signal.SIGKILL:
        break
"""


def test_a_backup_that_was_killed_anywhere_is_in_the_way_of_no_other(tmp_path):
    command = [sys.executable, "-c", KILLED, str(tmp_path / "backups")]
    lines = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
    rounds = [json.loads(line) for line in lines.splitlines()]
    assert rounds[-1]["status"] == 0, "with as many renames it ends"
    assert all(one["kept"] for one in rounds)
    locks = {name for one in rounds for name in one["left"]}
    assert {"index.lock", "master.lock"} < locks, "an object's, too, which has its digest as name"
    assert not list(tmp_path.rglob("*.lock"))


def test_backups_at_the_same_time_are_all_kept(tmp_path):
    names = [f"r{number}" for number in range(1, 9)]

    def keep(name):
        Backups(tmp_path / "backups").keep(name, f"{name}\nend\n")  # as if by a process each

    keepers = [threading.Thread(target=keep, args=[name]) for name in names]
    for keeper in keepers:
        keeper.start()
    for keeper in keepers:
        keeper.join()
    store = Backups(tmp_path / "backups")
    assert [store.last(name) for name in names] == [f"{name}\nend\n" for name in names]


def test_no_more_logins_begin_in_a_second_than_are_allowed():
    per_second, times = 20.0, []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def turn_away():
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    times.append(time.monotonic())
                    connection.close()

        door = threading.Thread(target=turn_away)
        door.start()
        port = server.getsockname()[1]
        devices = [Device(f"r{number}", "127.0.0.1", port, {}, {}) for number in range(8)]
        began = time.monotonic()
        run = Run(devices, jobs.back_up, Settings({"username": "a"}, 8, per_second))
        rows = run.start()
        server.shutdown(socket.SHUT_RDWR)
        door.join()
    assert {(row.state, row.attempts) for row in rows} == {("failed", ATTEMPTS)}
    assert len(times) == len(devices) * ATTEMPTS
    # The n-th begins no sooner than n intervals after the first: a busy machine only delays.
    for number, moment in enumerate(times):
        assert moment - began >= number / per_second


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        (" neighbor 192.0.2.1 password Xy7", " neighbor 192.0.2.1 password <removed>"),
        (" ip ospf authentication-key Xy7", " ip ospf authentication-key <removed>"),
        (" ip ospf message-digest-key 1 md5 Xy7", " ip ospf message-digest-key 1 md5 <removed>"),
        ("enable secret 9 $9$Xy7", "enable secret <removed>"),
        ("username a privilege 15 secret 5 Xy7", "username a privilege 15 secret <removed>"),
        ("username a secret sha512 $6$Xy7", "username a secret <removed>"),
        ("snmp-server community Xy7 ro", "snmp-server community <removed>"),
        ("snmp-server user a b v3 auth sha Xy7", "snmp-server user a b v3 auth sha <removed>"),
        ("tacacs-server key 7 Xy7", "tacacs-server key <removed>"),
        ("radius-server host 192.0.2.1 key 7 Xy7", "radius-server host 192.0.2.1 key <removed>"),
        ("crypto isakmp key Xy7 address 192.0.2.1", "crypto isakmp key <removed>"),
        ("  key-string 7 Xy7", "  key-string <removed>"),
        ('  encrypted-password "$6$Xy7"; ## SECRET-DATA', "  encrypted-password <removed>"),
        ('  name "$9$Xy7"; ## SECRET-DATA', '  name "<removed>"; ## SECRET-DATA'),
        ("    community Xy7 {", "    community <removed>"),
        # These are none.
        ("key chain a", None),
        (" key 1", None),
        (" set community 65000:1", None),
        (" neighbor 192.0.2.1 send-community both", None),
        ("hostname r1", None),
    ],
)
def test_secrets_are_taken_out_of_each_kind_of_line(line, kept):
    before = f"hostname r1\n{line}\nend\n"
    assert redact(before) == before.replace(line, kept or line)
