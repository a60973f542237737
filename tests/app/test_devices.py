"""What the lesson "devices" does apart from its routers: messages read, logins limited."""

from __future__ import annotations

import threading
import time

from demo_app.devices.inventory import Device
from demo_app.devices.playbook import Playbook
from demo_app.devices.runner import Limiter
from demo_app.devices.store import Store
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
    store = Store(tmp_path / "backups")
    assert store.last("r1") is None
    store.keep("r1", "first\nend\n")
    (tmp_path / "backups/r1.conf").write_text("second\nend\n")  # its process was killed then
    assert store.last("r1") == "first\nend\n"
    store.keep("r1", "second\nend\n")
    assert store.last("r1") == "second\nend\n"
    assert store.last("r2") is None


def test_no_more_logins_begin_in_a_second_than_are_allowed():
    per_second, logins, threads = 50.0, 25, 8
    limiter = Limiter(per_second)
    times, lock = [], threading.Lock()
    turns = iter(range(logins))

    def log_in():
        while True:
            with lock:
                if next(turns, None) is None:
                    return
            limiter.wait()
            with lock:
                times.append(time.monotonic())

    workers = [threading.Thread(target=log_in) for _ in range(threads)]
    began = time.monotonic()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    times.sort()
    assert len(times) == logins
    # The n-th begins no sooner than n intervals after the first: a busy machine only delays.
    for number, moment in enumerate(times):
        assert moment - began >= number / per_second
