"""Jobs as `make demo` runs them, and how each way to die ends on the page."""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import time

import pytest

from demo_app.jobs import tasks
from demo_app.jobs.worker import HEARTBEAT_SECONDS
from tests.demo_server import eventually
from webdis_progress import events_after

PATIENCE_SECONDS = 30  # of Progress


def start(visitor, ending="done"):
    return visitor.post("/job/", ending=ending)


def running(visitor, ending="done"):
    path = start(visitor, ending)
    visitor.wait_for(path, "running")
    return path


def cancel(visitor, path):
    assert visitor.post(path, action=f"{path}/cancel") == path


def events(visitor, path):
    replay = re.search(r'\breplay="([^"]+)"', visitor.get(path))[1]
    return json.loads(visitor.get(f"{replay}?after=0"))


def test_a_job_goes_from_started_to_done(visitor):
    path = start(visitor)
    assert visitor.wait_for(path, "done", "failed", "cancelled") == ("done", "Done")
    kinds = [event["kind"] for event in events(visitor, path)]
    assert kinds[0] == "started"
    assert kinds[-1] == "done"
    last_update = [event for event in events(visitor, path) if event["kind"] == "progress"][-1]
    assert (last_update["current"], last_update["total"]) == (40, 40)
    page = visitor.get(path)
    assert 'id="percent">100 %<' in page
    assert 'http-equiv="refresh"' not in page


def test_without_javascript_the_page_loads_itself_again(visitor):
    path = running(visitor)
    page = visitor.get(path)
    assert re.search(r'<noscript><meta http-equiv="refresh" content="\d+"></noscript>', page)
    eventually(lambda: re.search(r'id="percent">\d+ %<', visitor.get(path)), "no percent")
    cancel(visitor, path)
    visitor.wait_for(path, "cancelled")


def test_an_exception_is_a_text_for_people_and_details_in_the_log(visitor, demo):
    path = start(visitor, "failed")
    assert visitor.wait_for(path, "done", "failed") == ("failed", tasks.BROKEN)
    demo.wait_for_log("RuntimeError: This job was started in order to fail.")
    page = re.sub(
        r"<pre .*?</pre>", "", visitor.get(path), flags=re.DOTALL
    )  # but the lesson's code
    assert "RuntimeError" not in page


def test_a_time_out_is_a_text_for_people_and_details_in_the_log(visitor, demo):
    path = start(visitor, "timeout")
    state, text = visitor.wait_for(path, "done", "failed")
    assert (state, text) == ("failed", "It failed because it took longer than it may.")
    demo.wait_for_log("JobTimeoutException")


def test_cancel_stops_a_running_job_and_frees_its_worker(visitor):
    path = running(visitor)
    cancel(visitor, path)
    assert visitor.wait_for(path, "done", "cancelled")[0] == "cancelled"
    last = events(visitor, path)[-2]
    assert last["current"] < last["total"]
    assert visitor.wait_for(start(visitor, "failed"), "failed")


def test_cancel_takes_a_waiting_job_out_of_the_queue(visitor):
    first = running(visitor)
    second = start(visitor)
    cancel(visitor, second)
    assert visitor.state(second) == ("cancelled", "Cancelled before it began")
    cancel(visitor, first)
    visitor.wait_for(first, "cancelled")
    # Nobody has worked on it since.
    assert visitor.wait_for(start(visitor, "failed"), "failed")
    assert [event["kind"] for event in events(visitor, second)] == ["cancelled"]


def test_a_cancel_that_comes_twice_or_too_late_does_nothing(visitor):
    path = start(visitor, "failed")
    visitor.wait_for(path, "failed")
    last = events(visitor, path)[-1]
    visitor.post("/job/", action=f"{path}/cancel")
    visitor.post("/job/", action=f"{path}/cancel")
    assert events(visitor, path)[-1] == last


def kill_horse(demo):
    os.kill(demo.horse(), signal.SIGKILL)


def kill_worker(demo):
    os.kill(demo.process_of("worker"), signal.SIGKILL)


def kill_both(demo):
    horse, worker = demo.horse(), demo.process_of("worker")
    os.kill(worker, signal.SIGKILL)
    os.kill(horse, signal.SIGKILL)


@pytest.mark.parametrize("kill", [kill_horse, kill_worker, kill_both])
def test_a_killed_worker_ends_in_failed_and_the_next_job_is_done(visitor, demo, kill):
    path = running(visitor)
    waiting = start(visitor, "failed")
    kill(demo)
    assert visitor.wait_for(path, "done", "failed") == ("failed", tasks.LOST)
    assert visitor.wait_for(waiting, "failed") == ("failed", tasks.BROKEN)


def test_a_killed_web_server_changes_nothing_for_a_job_or_its_page(visitor, demo):
    path = running(visitor)
    os.kill(demo.process_of("web"), signal.SIGKILL)
    # The session is still known: the key is kept. And no request is refused meanwhile.
    assert visitor.state(path)[0] in {"running", "done"}  # on a slow machine it is done by then
    assert visitor.wait_for(path, "done", "failed") == ("done", "Done")
    seqs = [event["seq"] for event in events(visitor, path)]
    assert seqs == list(range(1, len(seqs) + 1))


def test_redis_is_away_for_longer_than_a_heartbeat_and_the_job_goes_on(visitor, redis_service):
    path = running(visitor)
    redis_service.stop()
    time.sleep(HEARTBEAT_SECONDS + 2)  # the fault lasts that long
    redis_service.start()
    assert visitor.wait_for(path, "done", "failed") == ("done", "Done")
    seqs = [event["seq"] for event in events(visitor, path)]
    assert seqs == list(range(1, len(seqs) + 1))


def test_redis_is_away_beyond_patience_and_the_job_says_so_and_the_next_is_done(
    visitor, redis_service
):
    path = running(visitor)
    waiting = start(visitor)
    redis_service.stop()
    time.sleep(PATIENCE_SECONDS + 5)  # the fault lasts that long
    redis_service.start()
    state, text = visitor.wait_for(path, "done", "failed")
    assert (state, text) == ("failed", tasks.UNREPORTED)
    assert visitor.wait_for(waiting, "done", "failed") == ("done", "Done")


def test_a_job_does_not_outlive_its_worker(start_demo):
    demo = start_demo(DEMO_JOB_STEP_SECONDS=60)
    visitor = demo.visitor()
    path = running(visitor)
    horse = demo.horse()
    kill_worker(demo)
    visitor.wait_for(path, "failed")
    # After its step it would find its run at an end, and stop by itself.
    demo.eventually(lambda: demo.has_ended(horse), "the job goes on", seconds=30)
    demo.stop()


@pytest.mark.machine
def test_an_audit_finds_the_rules_kept(visitor, instance):
    path = visitor.post("/audit/")
    state, text = visitor.wait_for(path, "done", "failed")
    assert state == "done"
    assert re.fullmatch(r"All \d+ ports are as the firewall&#39;s rules say\.", text)
    page = visitor.get(path)
    assert "<table" in visitor.get(f"{path}/result")
    rows = re.findall(r'<th scope="row">([^<]+)</th>', page)
    steps = [event for event in events(visitor, path) if event["kind"] == "progress"]
    assert len(steps) == len(rows) == steps[-1]["total"]
    assert instance["addresses6"]
    for rule in instance["firewall"]["ports"]:
        assert str(rule["port"]) in rows
        assert f"{rule['port']} over IPv6" in rows


@pytest.fixture
def open_over_ipv6(server):
    """Let a program listen on the instance to IPv6 only; return its port."""
    program = (
        "import socket, signal; s = socket.create_server(('::', 8080), family=socket.AF_INET6);"
        " signal.pause()"
    )
    unit = "webdis-kit-test-ipv6"
    command = f'systemd-run --unit {unit} --collect python3 -c "{program}"'
    assert server.run(command).rc == 0
    listening = "ss -Hltn 'sport = :8080' | grep -q ."
    eventually(lambda: server.run(listening).rc == 0, "nothing listens")
    yield 8080
    assert server.run(f"systemctl stop {unit}").rc == 0


@pytest.mark.machine
def test_an_audit_finds_what_is_open_over_ipv6_only(visitor, open_over_ipv6):
    path = visitor.post("/audit/")
    state, text = visitor.wait_for(path, "done", "failed")
    assert state == "failed"
    assert re.fullmatch(
        rf"1 of \d+ ports are not as the firewall&#39;s rules say: {open_over_ipv6} over IPv6\.",
        text,
    )
    rows = re.findall(r'<th scope="row">([^<]+)</th>', visitor.get(path))
    assert rows[0] == f"{open_over_ipv6} over IPv6"  # what is wrong comes first
    assert str(open_over_ipv6) in rows


def test_when_all_are_killed_the_next_demo_ends_the_job(start_demo, publisher_redis):
    queue = f"test-{secrets.token_hex(4)}"
    demo = start_demo(DEMO_JOB_STEPS=1000, DEMO_QUEUE=queue)
    visitor = demo.visitor()
    path = running(visitor)
    channel = re.search(r' channel="([^"]+)"', visitor.get(path))[1]
    for pid in (demo.process.pid, demo.process_of("worker"), demo.horse()):
        os.kill(pid, signal.SIGSTOP)
    for pid in (demo.horse(), demo.process_of("worker"), demo.process.pid):
        os.kill(pid, signal.SIGKILL)
    demo.process.wait(timeout=30)
    start_demo(DEMO_QUEUE=queue)
    (last,) = demo.eventually(
        lambda: [e for e in events_after(publisher_redis, channel, 0) if e["kind"] == "failed"],
        "the job has no end",
    )
    assert last["text"] == tasks.LOST


def test_a_stopped_demo_fails_the_job_and_leaves_no_process(start_demo, publisher_redis):
    demo = start_demo(DEMO_JOB_STEPS=1000)
    visitor = demo.visitor()
    path = running(visitor)
    channel = re.search(r' channel="([^"]+)"', visitor.get(path))[1]
    processes = [demo.process_of("web"), demo.process_of("worker"), demo.horse()]
    log = demo.stop()
    assert "Traceback" not in log
    last = events_after(publisher_redis, channel, 0)[-1]
    assert (last["kind"], last["text"]) == ("failed", tasks.LOST)
    for pid in processes:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
