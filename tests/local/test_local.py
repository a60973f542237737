"""PROVIDER=local as a stranger meets it: a fresh checkout, no rights on this host, `make demo`."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from pathlib import Path

import pytest
from playwright.sync_api import expect, sync_playwright

from demo_app.lessons.function import STEPS
from tests.demo_server import Visitor, eventually

pytestmark = pytest.mark.timeout(900)


def pid_of(checkout, program):
    file = checkout / f".kit/local/{program}.pid"
    # It is empty for a moment while its program starts.
    return int(eventually(file.read_text, f"{file} stays empty"))


def runs(pid):
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())  # empty once it has ended
    except FileNotFoundError:
        return False


@pytest.fixture(scope="module")
def page(demo):
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_context(base_url=demo.url).new_page()
        page.set_default_timeout(30_000)
        yield page
        browser.close()


def test_the_first_command_shows_messages(page):
    page.goto("/shared/")
    expect(page.locator("#state")).to_have_text("connected", timeout=30_000)
    other = page.context.new_page()
    other.goto("/shared/")
    other.get_by_role("button", name="Run").click(no_wait_after=True)
    expect(page.locator("#messages .text")).to_have_text(list(STEPS), timeout=60_000)
    other.close()


@pytest.mark.parametrize("program", ["redis", "webdis"])
def test_a_job_is_shown_to_its_end_whichever_dies(page, checkout, program):
    page.goto("/job/")
    page.get_by_role("button", name="Start").click()
    expect(page.locator("#state")).to_have_text("connected", timeout=30_000)
    supervisord, killed, webdis = (
        pid_of(checkout, name) for name in ("supervisord", program, "webdis")
    )
    os.kill(killed, signal.SIGKILL)
    # A subscription does not survive its Redis, so Webdis goes with it.
    eventually(lambda: pid_of(checkout, "webdis") != webdis, "Webdis is not started again")
    expect(page.locator("#status")).to_have_text("done", timeout=90_000)
    assert pid_of(checkout, "supervisord") == supervisord
    page.reload()
    expect(page.locator("#status")).to_have_text("done")


def test_a_job_is_cancelled(demo):
    visitor = Visitor(demo.url)
    path = visitor.post("/job/")
    visitor.wait_for(path, "running")
    visitor.post(path, f"{path}/cancel")
    assert visitor.wait_for(path, "cancelled", "done", "failed")[0] == "cancelled"


def test_an_audit_says_that_there_is_no_firewall(demo):
    visitor = Visitor(demo.url)
    assert "has no firewall" in visitor.get("/audit/")
    assert "<form" not in re.sub(
        r"<header.*?</header>", "", visitor.get("/audit/"), flags=re.DOTALL
    )


def test_it_says_where_it_is_and_what_it_lacks(guest, checkout, demo):
    assert demo
    instance = json.loads((checkout / ".kit/instance.json").read_text())
    assert instance["provider"] == "local"
    assert guest.make(checkout, "ip") == "127.0.0.1\n"
    said = guest.make(checkout, "status")
    assert len(said.splitlines()) == 10
    assert re.search(r"^Subscribers:   \d+ of \d+", said, re.MULTILINE)
    assert said.endswith("State:         running\n")
    assert guest.make(checkout, "verify").count("ok  ") == 3
    for arguments, sentence in (
        (["ssh"], "nothing to log in to"),
        (["up", "TLS=1"], "TLS=1 is not for PROVIDER=local"),
        (["up", "METRICS=1"], "METRICS=1 is not for PROVIDER=local"),
        (["up", "PROVIDER=container"], "`make destroy` it before"),
    ):
        answer = guest.run(checkout, "make", "--no-print-directory", *arguments)
        assert answer.returncode
        assert sentence in " ".join(answer.stderr.split())
    assert guest.make(checkout, "verify").count("ok  ") == 3


def listening(pid):
    """Return the addresses that a process listens on."""
    inodes = {
        match[1]
        for link in Path(f"/proc/{pid}/fd").iterdir()
        if (match := re.match(r"socket:\[(\d+)\]", str(link.readlink())))
    }
    rows = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    return {row[1].split(":")[0] for row in rows if row[3] == "0A" and row[9] in inodes}


def test_only_redis_and_webdis_listen_and_only_on_loopback(checkout, demo):
    assert demo
    for program, addresses in (
        ("redis", {"0100007F"}),
        ("webdis", {"0100007F"}),
        ("supervisord", set()),
    ):
        assert listening(pid_of(checkout, program)) == addresses, program
    # A home on NFS has no Unix sockets.
    assert str(checkout) not in Path("/proc/net/unix").read_text()


def test_up_again_does_nothing(guest, checkout, demo):
    assert demo
    before = pid_of(checkout, "redis"), (checkout / ".kit/local/redis.conf").stat().st_mtime_ns
    assert guest.make(checkout, "up").endswith("Nothing had to be changed.\n")
    after = pid_of(checkout, "redis"), (checkout / ".kit/local/redis.conf").stat().st_mtime_ns
    assert after == before


def test_what_a_killed_supervisor_leaves_is_not_met_by_another(guest, checkout, demo):
    path = Visitor(demo.url).post("/job/")
    assert path
    old = [pid_of(checkout, name) for name in ("supervisord", "redis", "webdis")]
    os.kill(old[0], signal.SIGKILL)
    guest.make(checkout, "up")
    assert not any(map(runs, old))
    assert sum("redis-server" in line for line in guest.processes()) == 1
    # What was published before is still there: the append-only file outlives all of them.
    assert guest.make(checkout, "verify").count("ok  ") == 3


def test_two_checkouts_do_not_meet_and_a_deleted_one_ends(guest, checkout, demo):
    assert demo
    other = guest.checkout("checkout 2")
    (other / ".venv").symlink_to(checkout / ".venv")
    answer = guest.run(other, ".venv/bin/python", "-m", "kit", "up")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "Building" not in answer.stdout, "both have one cache"
    assert guest.make(checkout, "verify").count("ok  ") == 3
    pids = [pid_of(other, name) for name in ("supervisord", "redis", "webdis")]
    guest.run(guest.folder, "rm", "-rf", str(other))
    eventually(
        lambda: not any(map(runs, pids)),
        f"the programs of a deleted checkout go on: {guest.processes()}",
        60,
    )


def test_down_ends_all_and_destroy_leaves_nothing(guest, checkout, demo):
    demo.stop()
    secret = (checkout / ".kit/secrets/redis_publisher").read_text()
    assert "is stopped" in guest.make(checkout, "down")
    assert guest.processes() == []
    guest.make(checkout, "up")
    assert (checkout / ".kit/secrets/redis_publisher").read_text() == secret
    guest.make(checkout, "destroy")
    assert guest.processes() == []
    assert {entry.name for entry in (checkout / ".kit").iterdir()} <= {"logs", "lock"}
    assert guest.files_elsewhere() == []
