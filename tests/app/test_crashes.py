"""Whoever dies, and wherever: a run always comes to its end, and no run that is well is ended."""

from __future__ import annotations

import os
import re
import secrets
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from rq.serializers import JSONSerializer

from demo_app import connections
from demo_app.jobs import queue, tasks, worker
from kit.checkout import ROOT
from kit.system import as_root
from tests.app.conftest import form
from webdis_progress import events_after, last_events

CRASHED = 9
# Dies instead of its request number N to Redis.
CANCEL_UNTIL = """
import os, sys
from demo_app import connections, create_app
from demo_app.jobs import queue
from redis.connection import AbstractConnection

name, token, left = sys.argv[1], sys.argv[2], int(sys.argv[3])
with create_app({"QUEUE": name}).app_context():
    connections.publisher().ping()
    connections.jobs().ping()
    send = AbstractConnection.send_packed_command
    connect = AbstractConnection.connect

    def send_or_crash(*args, **options):
        global left
        if not left:
            os._exit(9)
        left -= 1
        return send(*args, **options)

    def log_in(connection):  # which is no request
        AbstractConnection.send_packed_command = send
        connect(connection)
        AbstractConnection.send_packed_command = send_or_crash

    AbstractConnection.connect = log_in
    AbstractConnection.send_packed_command = send_or_crash
    queue.cancel(token)
"""
# Dies when it is about to say that the job of a dead worker has failed.
END_LOST_JOBS_AND_CRASH = """
import os, sys
from demo_app import create_app
from demo_app.jobs import worker
from webdis_progress import Progress

Progress.failed = lambda *_: os._exit(9)
with create_app({"QUEUE": sys.argv[1]}).app_context():
    for name in worker.dead_workers():
        worker.fail_jobs_of(name)
"""


def run(code, *arguments):
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, check=False, timeout=60).returncode


@pytest.fixture
def kinds_of(publisher_redis):
    """Return the kinds of a run's messages, given its channel."""
    return lambda channel: [event["kind"] for event in events_after(publisher_redis, channel, 0)]


def channel_of(visitor, path):
    return re.search(r'\bchannel="([^"]+)"', visitor.get(path))[1]


def test_a_cancel_that_is_cut_short_leaves_no_run_without_an_end(app, client, kinds_of, start_demo):
    fields = form(client)
    app.config["JOB_STEPS"] = 1
    channels, code = [], CRASHED
    while code == CRASHED:
        path = client.post("/job/", data=fields).location
        run_token = path.rpartition("/")[2]
        code = run(CANCEL_UNTIL, app.config["QUEUE"], run_token, len(channels))
        channels.append(f"progress:{run_token}")
    assert code == 0
    assert len(channels) > 3
    demo = start_demo(DEMO_QUEUE=app.config["QUEUE"])
    ends = {"done", "cancelled", "failed"}
    demo.eventually(
        lambda: all(ends.intersection(kinds_of(channel)) for channel in channels),
        "a run has no end",
    )
    log = demo.stop()
    assert "Traceback" not in log
    assert kinds_of(channels[0])[-1] == "done"  # nothing was asked for
    for number, channel in enumerate(channels[1:], 1):
        kinds = kinds_of(channel)
        assert kinds[-1:] == ["cancelled"], f"died instead of request {number}: {kinds}"
        assert "failed" not in kinds


def test_who_ends_the_jobs_of_a_dead_worker_may_die_of_it_too(start_demo, publisher_redis):
    queue = f"test-{secrets.token_hex(4)}"
    demo = start_demo(DEMO_JOB_STEPS=1000, DEMO_QUEUE=queue)
    visitor = demo.visitor()
    path = visitor.post("/job/")
    visitor.wait_for(path, "running")
    channel = channel_of(visitor, path)
    for pid in (demo.process.pid, demo.process_of("worker"), demo.horse()):
        os.kill(pid, signal.SIGSTOP)
    for pid in (demo.horse(), demo.process_of("worker"), demo.process.pid):
        os.kill(pid, signal.SIGKILL)
    demo.process.wait(timeout=30)
    assert run(END_LOST_JOBS_AND_CRASH, queue) == CRASHED
    after = start_demo(DEMO_QUEUE=queue)
    (last,) = after.eventually(
        lambda: [
            event
            for event in last_events(publisher_redis, channel, 1)
            if event["kind"] in {"failed", "done"}
        ],
        "the job has no end",
    )
    assert last["text"] == tasks.LOST
    after.stop()


def test_a_worker_of_another_host_with_this_ones_name_is_not_taken_for_dead(start_demo):
    """Two hosts, or containers, may have one name, and a process number means nothing elsewhere."""
    free = next(pid for pid in range(20_000, 32_000) if not Path(f"/proc/{pid}").exists())
    elsewhere = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c"]
    numbered = f'echo {free} >/proc/sys/kernel/ns_last_pid && exec "$@"'
    queue = f"test-{secrets.token_hex(4)}"
    other = start_demo(
        command=as_root([*elsewhere, numbered, "sh"]), DEMO_JOB_STEPS=1000, DEMO_QUEUE=queue
    )
    visitor = other.visitor()
    path = visitor.post("/job/")
    visitor.wait_for(path, "running")
    here = start_demo(DEMO_QUEUE=queue)
    assert visitor.state(path)[0] == "running"
    visitor.post(path, action=f"{path}/cancel")
    assert visitor.wait_for(path, "cancelled", "failed") == ("cancelled", "Cancelled")
    here.stop()
    other.process.kill()
    other.process.wait(timeout=30)


def test_a_process_number_that_is_used_again_is_no_sign_of_life(app):
    with app.app_context():
        dead = worker.make(worker.new_name())
        dead.pid = os.getpid()  # runs, and is no worker of that name
        dead.register_birth()
        assert worker.dead_workers() == [dead.name]
        dead.register_death()


def test_a_worker_that_redis_has_forgotten_is_known_again(app, start_demo):
    """As after a long time away, or when Redis's clock was set: its key has expired meanwhile."""
    demo = start_demo(DEMO_QUEUE=app.config["QUEUE"])
    with app.app_context():
        demo.eventually(worker.alive, "no worker has begun")
        (known,) = worker.DemoWorker.all(queue=queue.current(), serializer=JSONSerializer)
        os.kill(known.pid, signal.SIGSTOP)  # it would make itself known before that is looked at
        demo.eventually(lambda: demo.state_of(known.pid) == "T", "the worker does not stop")
        connections.jobs().delete(known.key)
        assert worker.alive() == 0
        os.kill(known.pid, signal.SIGCONT)
        demo.eventually(worker.alive, "the worker is not known again")
        (again,) = worker.DemoWorker.all(queue=queue.current(), serializer=JSONSerializer)
    assert (again.pid, again.hostname) == (known.pid, known.hostname)
    demo.stop()
