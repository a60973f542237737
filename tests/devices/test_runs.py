"""The lesson "devices" as the demo runs it, on the lab's routers, with and without faults."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import random
import re
import signal
import tempfile
import time
import urllib.error
from pathlib import Path

import pytest
from dulwich.repo import Repo

from demo_app import connections, create_app, ownership
from kit.checkout import KIT_DIR
from tests.demo_server import eventually
from webdis_progress import TERMINAL, events_after, last_events

SECRET = "qx7-zzk9"  # FRRouting takes eight characters


class Visits:
    """Runs of the lesson, by its pages; their ends are waited for in Redis, which costs less."""

    def __init__(self, visitor, names, redis):
        self.visitor = visitor
        self.names = names
        self._redis = redis

    def start(self, job, names=None, change="route"):
        return self.visitor.post("/devices/", job=job, change=change, device=names or self.names)

    def wait(self, path, seconds=60):
        def last():
            found = last_events(self._redis, channel_of(path), 1)
            return found and "task" not in found[0] and found[0]["kind"] in TERMINAL

        eventually(last, f"{path} does not end", seconds)
        return self.visitor.state(path)[0]

    def hear(self, path, **wanted):
        """Wait until an event of a run has these values."""
        eventually(
            lambda: any(wanted.items() <= event.items() for event in events(self._redis, path)),
            f"{path} has no {wanted}",
        )

    def cancel(self, path):
        self.visitor.post("/devices/", f"/job/{path.rpartition('/')[2]}/cancel")

    def rows(self, path):
        found = json.loads(self.visitor.get(f"{path}/result.json"))["devices"]
        rows = {row["device"]: row for row in found}
        assert len(rows) == len(found), "a device is there twice"
        return rows

    def run(self, job, **options):
        path = self.start(job, **options)
        return self.wait(path), self.rows(path)


@pytest.fixture
def visits(demo, lab, publisher_redis):
    return Visits(demo.visitor(), list(lab.routers), publisher_redis)


def channel_of(path):
    return f"progress:{path.rpartition('/')[2]}"


def events(publisher_redis, path):
    """Return all events of a run; each number is there once."""
    found = events_after(publisher_redis, channel_of(path), 0)
    assert [event["seq"] for event in found] == list(range(1, len(found) + 1))
    return found


def assert_each_device_ends_once(found, names):
    for name in names:
        mine = [event["kind"] for event in found if event.get("task") == name]
        assert mine.count("started") == 1, name
        assert [kind in TERMINAL for kind in mine].count(True) == 1, name
        assert mine[-1] in TERMINAL, name


def assert_all_are_well(rows, names):
    assert {row["state"] for row in rows.values()} == {"ok"}
    # What was slow comes first, and on a busy machine any may be.
    assert list(rows) == sorted(names, key=lambda name: not rows[name]["slow"])


def test_a_check_finds_every_device_well(visits, publisher_redis):
    path = visits.start("check")
    assert visits.wait(path) == "done"
    rows = visits.rows(path)
    assert_all_are_well(rows, visits.names)
    found = events(publisher_redis, path)
    assert_each_device_ends_once(found, visits.names)
    said = {event["text"] for event in found if event.get("task") == "r1"}
    assert {"check: waits", "connecting", "checking neighbours", "checking routes"} <= said
    table = list(csv.DictReader(io.StringIO(visits.visitor.get(f"{path}/result.csv"))))
    assert [row["device"] for row in table] == list(rows)
    # All of it stays for a day, and so do the links.
    assert f'href="{path}"' in visits.visitor.get("/devices/")
    for key in ("state", "events"):
        assert stays_for_a_day(publisher_redis, f"{channel_of(path)}:{key}")
    with create_app().app_context():
        jobs, job = connections.jobs(), f"rq:job:{ownership.digest(path.rpartition('/')[2])}"
        eventually(lambda: jobs.hget(job, "status") == b"finished", "the job does not end")
        assert stays_for_a_day(jobs, job)


def stays_for_a_day(connection, key):
    """Does a key expire in about a day? It is asked without TTL, which these users may not say."""
    day = 24 * 3600
    conditions = ((day, "nx"), (day - 600, "gt"), (day, "lt"))
    return not any(connection.expire(key, seconds, **{how: True}) for seconds, how in conditions)


def test_four_faults_at_once_are_named_and_the_others_are_well(visits, lab):
    faults = {"r2": "hang", "r3": "refuse", "r4": "truncate", "r5": "slow"}
    for router, kind in faults.items():
        lab.fault(router, kind)
    path = visits.start("check")
    assert visits.wait(path, 90) == "failed"
    rows = visits.rows(path)
    assert set(rows) == set(visits.names)
    assert rows["r2"]["text"] == "it does not answer"
    assert rows["r2"]["attempts"] == 2
    assert rows["r3"]["text"] == "it refuses the key"
    assert re.match(r'its answer to "show .*" was cut off', rows["r4"]["text"])
    assert rows["r5"]["state"] == "ok"
    assert rows["r5"]["slow"]
    others = [row for name, row in rows.items() if name not in faults]
    assert {row["state"] for row in others} == {"ok"}
    assert not all(row["slow"] for row in others), "of a busy machine some may be, too"
    assert list(rows)[:3] == ["r2", "r3", "r4"], "failures come first"

    for router in ("r2", "r3", "r4"):
        lab.fault(router, "none")
    again = visits.visitor.post(path, f"{path}/retry")
    assert visits.wait(again) == "done"
    after = visits.rows(again)
    assert {row["state"] for row in after.values()} == {"ok"}
    assert after["r1"] == rows["r1"], "good results stay"
    assert after["r2"] != rows["r2"]


def test_a_check_by_ansible_finds_the_same(visits, lab, publisher_redis):
    lab.fault("r2", "truncate")
    lab.fault("r3", "refuse")
    lab.fault("r4", "link-down")
    names = visits.names[:6]
    path = visits.start("playbook", names)
    assert visits.wait(path, 90) == "failed"
    rows = visits.rows(path)
    assert set(rows) == set(names)
    assert rows["r2"]["text"] == "Compare the neighbours: failed"
    assert rows["r3"]["text"] == "Read the neighbours: unreachable"
    assert rows["r4"]["text"] == "Compare the neighbours: failed"
    found = events(publisher_redis, path)
    said = [event["text"] for event in found if event.get("task") == "r1" and event["text"]]
    assert said == [
        "Check: waits",
        "Read the neighbours",
        "Compare the neighbours",
        "Read the routes",
        "Compare the routes",
        "Read the version",
        "Compare the version",
        "6 ok",
    ]
    assert rows["r1"]["log"] == said[1:]


@pytest.mark.parametrize("stopped", ["cancelled", "killed"])
def test_a_playbook_that_is_stopped_ends_its_sessions(visits, lab, demo, secrets_dir, stopped):
    lab.fault("r2", "hang")
    path = visits.start("playbook", ["r1", "r2"])
    visits.hear(path, text="Read the neighbours")
    # Whoever is killed leaves files: none may have the password.
    password = (secrets_dir / "redis_publisher").read_text().strip()
    files = [*Path(tempfile.gettempdir()).glob("webdis-kit-demo-*/playbook-*/*")]
    assert "ansible.cfg" in {file.name for file in files}
    assert not [file for file in files if file.is_file() and password in file.read_text()]
    if stopped == "cancelled":
        visits.cancel(path)
        assert visits.wait(path, 20) == "cancelled"
        assert {row["state"] for row in visits.rows(path).values()} == {"cancelled"}
    else:
        os.kill(demo.horse(), signal.SIGKILL)
        assert visits.wait(path) == "failed"
        assert visits.rows(path)["r2"]["state"] == "unfinished"
    lab.eventually(lambda: not ours(str(lab.config)), "its sessions go on")


def ours(word):
    """Return the command lines of this host's processes that have a word."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if word in (line := file.read_text().replace("\0", " ")):
                found.append(line)
    return found


def test_a_backup_that_was_cut_off_is_not_kept(visits, lab):
    names = ["r1", "r4"]
    assert visits.run("backup", names=names)[0] == "done"
    file = KIT_DIR / "backups" / "r4.conf"
    kept = file.read_text()
    assert kept.endswith("end\n")
    lab.fault("r4", "truncate")
    state, rows = visits.run("backup", names=names)
    assert state == "failed"
    assert "cut off" in rows["r4"]["text"]
    assert file.read_text() == kept


def test_a_backup_is_a_commit_only_where_something_has_changed(visits):
    def commits():
        with Repo(str(KIT_DIR / "backups")) as repo:
            return [entry.commit.message.decode().strip() for entry in repo.get_walker()]

    visits.run("backup", names=["r1", "r2"])
    before = commits()
    _, rows = visits.run("backup", names=["r1", "r2"])
    assert {row["text"] for row in rows.values()} == {"unchanged"}
    assert commits() == before
    changed(visits, "route", ["r1"])
    try:
        _, rows = visits.run("backup", names=["r1", "r2"])
        assert "+ip route 203.0.113.0/24 Null0" in rows["r1"]["diff"]
        assert commits() == ["r1 has changed", *before]
    finally:
        changed(visits, "no-route", ["r1"])


def changed(visits, change, names):
    """Make a change as the page does: look at what it would do, then confirm."""
    path = visits.start("preview", names, change)
    assert visits.wait(path) == "done"
    confirmed = visits.visitor.post(path, f"{path}/confirm")
    state = visits.wait(confirmed)
    return state, visits.rows(confirmed)


def test_a_preview_shows_the_difference_and_changes_nothing(visits, lab):
    before = lab.show("r1", "show running-config")
    state, rows = visits.run("preview", names=["r1"])
    assert state == "done"
    assert "+ip route 203.0.113.0/24 Null0" in rows["r1"]["diff"]
    assert lab.show("r1", "show running-config") == before


def test_a_change_is_made_where_it_was_confirmed_and_taken_back(visits, lab):
    line = "ip route 203.0.113.0/24 Null0"
    state, rows = changed(visits, "route", ["r1", "r2"])
    try:
        assert state == "done"
        assert set(rows) == {"r1", "r2"}
        assert line in lab.show("r1", "show running-config")
        assert line not in lab.show("r3", "show running-config")
    finally:
        state, _ = changed(visits, "no-route", ["r1", "r2"])
    assert state == "done"
    assert line not in lab.show("r1", "show running-config")


def test_a_change_that_fails_its_check_is_rolled_back_wherever_it_was_made(visits, lab):
    names = visits.names[:10]  # more than are visited at a time
    before = lab.answers("show running-config")
    state, rows = changed(visits, "harm", names)
    assert state == "failed"
    assert set(rows) == set(names)
    assert lab.answers("show running-config") == before
    for name, row in rows.items():
        assert row["state"] == "failed", name
        assert row["text"].startswith("rolled back, since the check failed: 198.19.255."), name


def test_nothing_is_applied_that_was_not_shown_before(visits):
    for field in (
        {"job": "apply"},
        {"change": "reload"},
        {"device": ["r1", "r99"]},
        {"device": []},
    ):
        fields = {"job": "check", "change": "route", "device": ["r1"], **field}
        with pytest.raises(urllib.error.HTTPError) as refused:
            visits.visitor.post("/devices/", **fields)
        with refused.value:
            assert refused.value.code == 400
    path = visits.start("check", ["r1"])
    visits.wait(path)
    with pytest.raises(urllib.error.HTTPError) as refused:
        visits.visitor.post("/devices/", f"{path}/confirm")
    with refused.value:
        assert refused.value.code == 409


def test_a_link_that_is_down_is_a_neighbour_that_is_missing(visits, lab):
    other = lab.routers["r1"]["interfaces"][0]["neighbor"]
    lab.fault("r1", "link-down")
    deadline = time.monotonic() + 15
    while True:
        _, rows = visits.run("check", names=["r1", other])
        if rows[other]["state"] == "drift" or time.monotonic() > deadline:
            break
    assert "neighbour r1 is missing on to-r1" in rows[other]["text"]
    assert f"neighbour {other} is missing" in rows["r1"]["text"]


def test_secrets_of_a_configuration_are_nowhere(visits, lab, demo, publisher_redis):
    router = lab.routers["r1"]
    interface = router["interfaces"][0]["name"]
    plant = ("configure terminal", f"interface {interface}", "ip ospf authentication-key " + SECRET)
    take = ("configure terminal", f"interface {interface}", "no ip ospf authentication-key")
    vtysh = "vtysh -N r1 " + " ".join(f"-c '{line}'" for line in plant)
    assert lab.server.run(vtysh).rc == 0
    try:
        assert SECRET in lab.show("r1", "show running-config")
        paths = [visits.start(job, ["r1"]) for job in ("check", "backup", "preview")]
        for path in paths:
            assert visits.wait(path) == "done"
            pages = (path, f"{path}/result", f"{path}/result.json", f"{path}/result.csv")
            for text in [
                *map(visits.visitor.get, pages),
                json.dumps(events(publisher_redis, path)),
            ]:
                assert SECRET not in text
        assert "<removed>" in (KIT_DIR / "backups" / "r1.conf").read_text()
        assert SECRET not in (KIT_DIR / "backups" / "r1.conf").read_text()
        assert SECRET not in demo.log()
    finally:
        lab.server.run("vtysh -N r1 " + " ".join(f"-c '{line}'" for line in take))


def test_a_cancel_ends_sessions_and_begins_no_others(visits, lab):
    lab.fault("r2", "hang")
    path = visits.start("check", ["r2", "r1"])
    visits.hear(path, task="r2", text="connecting")
    visits.cancel(path)
    assert visits.wait(path) == "cancelled"
    assert visits.rows(path)["r2"]["text"] == "cancelled while it was visited"


@pytest.mark.parametrize("number", range(10))
def test_a_cancel_at_any_moment_leaves_a_row_for_each_device(visits, number, publisher_redis):
    path = visits.start("check")
    time.sleep(random.Random(number).uniform(0, 2.5))  # noqa: S311  # the moment is what varies
    visits.cancel(path)
    visits.wait(path, 8)  # Netmiko would notice after 10 to 20 seconds that a session is closed
    rows = visits.rows(path)
    assert set(rows) == set(visits.names)
    assert {row["state"] for row in rows.values()} <= {"ok", "cancelled", "unfinished"}
    events(publisher_redis, path)


def test_a_worker_that_is_killed_leaves_devices_that_say_so(visits, lab, demo):
    lab.fault("r2", "hang")
    path = visits.start("check", ["r1", "r2"])
    visits.hear(path, task="r1", kind="done")
    os.kill(demo.horse(), signal.SIGKILL)
    assert visits.wait(path) == "failed"
    rows = visits.rows(path)
    assert rows["r1"]["state"] == "ok"
    assert rows["r2"]["state"] == "unfinished"


@pytest.mark.parametrize("service", ["redis", "webdis"])
def test_a_service_that_is_killed_in_the_middle_loses_and_doubles_nothing(
    visits, lab, publisher_redis, service
):
    path = visits.start("check")
    lab.eventually(lambda: events(publisher_redis, path), "it does not begin")
    assert lab.server.run(f"systemctl kill --signal=KILL {service}").rc == 0
    lab.eventually(lambda: answers(visits, path), "the demo does not come back")
    assert visits.wait(path) == "done"
    assert_all_are_well(visits.rows(path), visits.names)
    assert_each_device_ends_once(events_of_all_epochs(publisher_redis, path), visits.names)


def answers(visits, path):
    return visits.visitor.status_of(path) == 200


def events_of_all_epochs(publisher_redis, path):
    """Return the events; where Redis has come back their numbers may jump, and never repeat."""
    found = events_after(publisher_redis, channel_of(path), 0)
    numbers = [event["seq"] for event in found]
    assert numbers == sorted(set(numbers))
    return found
