"""Bridges from other libraries, each with the real one, to the instance's Redis."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis.asyncio

from kit.checkout import ROOT
from tests.app.own_redis import OwnRedis
from tests.demo_server import eventually
from webdis_progress import AsyncProgress, EndedError, Progress, events_after, last_events, replay

DEADLINE_SECONDS = 60


def events(connection, channel):
    return events_after(connection, channel, 0)


def ending(connection, channel):
    """Wait for the channel's last event, and return it."""

    def ended():
        run = replay(connection, channel)["state"]["run"]
        return run and run["kind"] in {"done", "failed", "cancelled"}

    eventually(ended, f"{channel} has no end", DEADLINE_SECONDS)
    return last_events(connection, channel, 1)[0]


@pytest.fixture
def logger():
    logger = logging.getLogger("bridge")
    logger.setLevel(logging.DEBUG)
    yield logger
    logger.handlers.clear()


def test_logging_has_levels_and_neither_colours_nor_secrets(publisher_redis, channel, logger):
    from webdis_progress.bridges.logging import ProgressHandler  # noqa: PLC0415

    with Progress(publisher_redis, channel) as progress:
        logger.addHandler(ProgressHandler(progress, logging.DEBUG))
        logger.debug("\x1b[31mred\x1b[0m %s \x1b]8;;http://x\x07link", 1)
        logger.info("plain")
        logger.warning("hm")
        try:
            int("password is 1234")
        except ValueError:
            logger.exception("It broke")
        logger.critical("worst")
    seen = [(e["text"], e["level"]) for e in events(publisher_redis, channel)[1:-1]]
    assert seen == [
        ("red 1 link", "debug"),
        ("plain", "info"),
        ("hm", "warning"),
        ("It broke (ValueError)", "error"),
        ("worst", "error"),
    ]


def test_logging_after_the_end_is_no_error_of_the_work(publisher_redis, channel, logger):
    from webdis_progress.bridges.logging import ProgressHandler  # noqa: PLC0415

    progress = Progress(publisher_redis, channel)
    logger.addHandler(ProgressHandler(progress))
    progress.done()
    shown = io.StringIO()
    with contextlib.redirect_stderr(shown):
        logger.info("late")
    assert "EndedError" in shown.getvalue()


def test_tqdm_shows_both(publisher_redis, channel):
    from webdis_progress.bridges.tqdm import tqdm  # noqa: PLC0415

    terminal = io.StringIO()
    with Progress(publisher_redis, channel) as progress:
        for _ in tqdm(range(10), desc="Importing", file=terminal, mininterval=0, progress=progress):
            pass
        with tqdm(total=5, desc="Cut off", file=terminal, progress=progress) as bar:
            bar.update(-1)  # a terminal shows that
            bar.update(3)
        for _ in tqdm(range(3), file=terminal):
            pass
    assert "Importing" in terminal.getvalue()
    tasks = replay(publisher_redis, channel)["state"]["tasks"]
    assert [(t["label"], t["kind"], t["current"], t["total"]) for t in tasks] == [
        ("Importing", "done", 10, 10),
        ("Cut off", "cancelled", 2, 5),
    ]


@pytest.mark.parametrize("total", [float("inf"), 2**60, -1])
def test_tqdm_may_count_to_whatever_it_likes(publisher_redis, channel, total):
    from webdis_progress.bridges.tqdm import tqdm  # noqa: PLC0415

    with Progress(publisher_redis, channel) as progress:
        for _ in tqdm(range(3), "x" * 300, total, file=io.StringIO(), progress=progress):
            pass
    (task,) = replay(publisher_redis, channel)["state"]["tasks"]
    assert (task["kind"], task["current"], task["total"]) == ("done", 3, None)
    assert task["label"].startswith("x" * 190)


def test_a_track_in_another_may_have_a_long_text(publisher_redis, channel):
    with (
        Progress(publisher_redis, channel) as progress,
        progress.task("t" * 200) as task,
    ):
        for _ in task.track(range(2)):
            assert list(task.track(range(3), "x" * 300)) == [0, 1, 2]
    inner = {t["task"]: t["kind"] for t in replay(publisher_redis, channel)["state"]["tasks"]}
    assert set(inner.values()) == {"done"}
    assert len(inner) == 2


def test_tqdm_publishes_what_changes_and_outlives_the_run(publisher_redis, channel):
    from webdis_progress.bridges.tqdm import tqdm  # noqa: PLC0415

    terminal = io.StringIO()
    with contextlib.suppress(EndedError), Progress(publisher_redis, channel) as progress:
        with tqdm(total=3, desc="Import", file=terminal, mininterval=0, progress=progress) as bar:
            for _ in range(5):
                tqdm.write("a line", file=terminal)  # draws all bars again
            bar.set_description("Reading")
            bar.set_postfix(row=7)
            bar.update(3)
        rows = tqdm(range(3), file=terminal, mininterval=0, progress=progress)
        for row in rows:
            if row == 1:
                Progress(publisher_redis, channel).cancelled()
        assert rows.n == 3
        with tqdm(total=1, file=terminal, progress=progress) as bar:
            bar.update(1)
    seen = [e for e in events(publisher_redis, channel) if e["kind"] == "progress"]
    assert [(e["text"], e["current"]) for e in seen if e.get("label") == "Import"] == [
        ("Reading", 0),
        ("Reading: row=7", 0),
        ("Reading: row=7", 3),
    ]


def test_bridges_want_a_blocking_publisher(channel):
    from webdis_progress.bridges.logging import ProgressHandler  # noqa: PLC0415
    from webdis_progress.bridges.nornir import ProgressProcessor  # noqa: PLC0415
    from webdis_progress.bridges.tqdm import tqdm  # noqa: PLC0415

    progress = AsyncProgress(redis.asyncio.Redis(), channel)
    for make in (ProgressHandler, ProgressProcessor, lambda given: tqdm([], progress=given)):
        with pytest.raises(TypeError, match="is of the type AsyncProgress; a Progress"):
            make(progress)


def test_threads_of_a_pool_share_a_run(publisher_redis, channel):
    with Progress(publisher_redis, channel, count_tasks=True) as progress:

        def work(name):
            with progress.task(name, total=3) as task:
                for _ in task.track(range(3), per_second=1000):
                    pass

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, [f"device-{number}" for number in range(40)]))
    state = replay(publisher_redis, channel)["state"]
    assert {(t["kind"], t["current"]) for t in state["tasks"]} == {("done", 3)}
    assert (state["run"]["current"], state["run"]["total"]) == (40, 40)


def test_nornir_has_a_bar_a_host_and_one_that_fails_ends_itself_only(publisher_redis, channel):
    from nornir.core import Nornir  # noqa: PLC0415
    from nornir.core.inventory import Host, Hosts, Inventory  # noqa: PLC0415
    from nornir.plugins.runners import ThreadedRunner  # noqa: PLC0415

    from webdis_progress.bridges.nornir import ProgressProcessor  # noqa: PLC0415

    def read(task):
        if task.host.name == "core-2":
            raise ConnectionError("password is 1234")

    def backup(task):
        task.run(task=read)
        task.run(task=read, name="compare")

    hosts = Hosts({name: Host(name) for name in ("core-1", "core-2", "edge-1")})
    nornir = Nornir(inventory=Inventory(hosts), runner=ThreadedRunner(num_workers=3))
    with Progress(publisher_redis, channel, count_tasks=True) as progress:
        watched = nornir.with_processors([ProgressProcessor(progress, steps=2)])
        watched.run(task=read)
        watched.data.reset_failed_hosts()
        watched.run(task=backup)
    state = replay(publisher_redis, channel)["state"]
    assert {t["task"]: (t["kind"], t["current"], t["total"]) for t in state["tasks"]} == {
        "core-1": ("done", 2, 2),
        "core-2": ("failed", None, 2),
        "edge-1": ("done", 2, 2),
    }
    assert (state["run"]["kind"], state["run"]["current"], state["run"]["total"]) == ("done", 3, 3)
    assert "1234" not in str(events(publisher_redis, channel))


def test_nornir_goes_on_where_the_run_has_been_ended(publisher_redis, channel):
    from nornir.core import Nornir  # noqa: PLC0415
    from nornir.core.inventory import Host, Hosts, Inventory  # noqa: PLC0415
    from nornir.plugins.runners import SerialRunner  # noqa: PLC0415

    from webdis_progress.bridges.nornir import ProgressProcessor  # noqa: PLC0415

    def read(task):
        if task.host.name == "core-1":
            Progress(publisher_redis, channel).cancelled()

    hosts = Hosts({name: Host(name) for name in ("core-1", "core-2")})
    nornir = Nornir(inventory=Inventory(hosts), runner=SerialRunner())
    watched = nornir.with_processors([ProgressProcessor(Progress(publisher_redis, channel))])
    assert [one.failed for one in watched.run(task=read).values()] == [False, False]


# As inventories have them; a task has 1 to 200 characters.
HOSTS = ["x" * 300 + "1", "x" * 300 + "2", "7", "", "\udcff"]


def names_of_tasks(connection, channel):
    return [task["task"] for task in replay(connection, channel)["state"]["tasks"]]


def test_nornir_runs_on_hosts_whatever_they_are_called(publisher_redis, channel):
    from nornir.core import Nornir  # noqa: PLC0415
    from nornir.core.inventory import Host, Hosts, Inventory  # noqa: PLC0415
    from nornir.plugins.runners import SerialRunner  # noqa: PLC0415

    from webdis_progress.bridges.nornir import ProgressProcessor  # noqa: PLC0415

    inventory = Inventory(Hosts({name: Host(name) for name in HOSTS}))
    with Progress(publisher_redis, channel) as progress:
        watched = Nornir(inventory=inventory, runner=SerialRunner()).with_processors(
            [ProgressProcessor(progress)]
        )
        assert len(watched.run(task=lambda _: None, name="Read")) == len(HOSTS)
    assert len(set(names_of_tasks(publisher_redis, channel))) == len(HOSTS)


def test_ansible_runs_on_hosts_whatever_they_are_called(channel):
    from webdis_progress.bridges.ansible import PlaybookProgress  # noqa: PLC0415

    with OwnRedis() as own:
        progress = PlaybookProgress(own.url, channel, whole_run=True)
        progress.begin()
        progress.wait(HOSTS, 1, "waits")
        progress.publish(HOSTS[0], "advance")
        progress.stop()
        progress.summarize = lambda host: {"ok": HOSTS.index(host), "failures": 0, "unreachable": 0}
        assert progress.end() == 0
        assert len(set(names_of_tasks(own.client, channel))) == len(HOSTS)


@pytest.fixture
def redis_of_ones_own(instance):
    """Return a Redis without passwords, for queues."""
    assert instance["address"]
    with OwnRedis() as own:
        yield own


CELERY = """
import os, time
from celery import Celery
from redis import Redis
from webdis_progress.bridges.celery import task_progress, watch

app = Celery("work", broker=os.environ["BROKER"])
redis = Redis.from_url(os.environ["BROKER"], socket_timeout=5)
watch(app, redis)

@app.task(bind=True)
def work(self, ending):
    if ending == "early":
        raise ValueError("password is 1234")
    with task_progress(self, redis, required=True) as progress:
        for step in progress.track(range(3), per_second=1000):
            if ending == "crash":
                os._exit(1)
            if ending == "wait":
                time.sleep(60)
            if ending == "again" and self.request.retries < 2:
                raise self.retry(exc=KeyError(), countdown=0)

@app.task(bind=True, autoretry_for=(KeyError,), max_retries=2, default_retry_delay=0)
def automatic(self, last):
    with task_progress(self, redis, required=True) as progress:
        if last == "failed" or self.request.retries < 2:
            raise KeyError
"""


ASK = """
import sys, work
if sys.argv[1] == "revoke":
    work.app.control.revoke(sys.argv[2], terminate=True)
else:
    print(getattr(work, sys.argv[2]).delay(sys.argv[1]).id)
"""


@pytest.fixture
def celery(redis_of_ones_own, tmp_path):
    """Start a worker, and return its module and a connection."""
    (tmp_path / "work.py").write_text(CELERY)
    environment = {
        **os.environ,
        "BROKER": redis_of_ones_own.url,
        "PYTHONPATH": str(tmp_path),
    }
    command = [sys.executable, "-m", "celery", "-A", "work", "worker", "--concurrency", "1"]
    with (tmp_path / "log").open("w") as log:
        worker = subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    ask = [sys.executable, "-c", ASK]

    def run(*words):
        done = subprocess.run(
            [*ask, *words],
            cwd=tmp_path,
            env=environment,
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return f"progress:{done.stdout.strip()}"

    yield run, redis_of_ones_own.client
    os.killpg(worker.pid, signal.SIGKILL)
    worker.wait(timeout=30)


def test_celery_ends_every_stream(celery):
    run, connection = celery
    assert ending(connection, run("done", "work"))["current"] == 3
    early = ending(connection, run("early", "work"))
    assert (early["kind"], early["text"]) == ("failed", "Failed: ValueError")
    crashed = ending(connection, run("crash", "work"))
    assert (crashed["kind"], crashed["text"]) == ("failed", "Failed: WorkerLostError")
    channel = run("wait", "work")
    eventually(lambda: events(connection, channel), "it has not begun", DEADLINE_SECONDS)
    run("revoke", channel.removeprefix("progress:"))
    assert ending(connection, channel)["kind"] == "cancelled"


AGAIN = "Failed: KeyError; it will be tried again"


def test_celery_tries_again_in_the_same_stream(celery):
    run, connection = celery
    for words, end in (
        (("again", "work"), "Done"),
        (("done", "automatic"), "Done"),
        (("failed", "automatic"), "Failed: KeyError"),
    ):
        channel = run(*words)
        assert ending(connection, channel)["text"] == end
        texts = [event["text"] for event in events(connection, channel) if event["text"]]
        assert texts == ["Started", AGAIN, "Started", AGAIN, "Started", end]


def test_celery_waits_for_no_redis_that_is_away(publisher_redis, lossy_redis, lossy_proxy):
    from celery import Celery  # noqa: PLC0415

    from webdis_progress.bridges.celery import task_channel, watch  # noqa: PLC0415

    app = Celery("away", set_as_current=False)
    watch(app, lossy_redis)

    @app.task
    def fail():
        raise ValueError

    lossy_proxy.plan = ["drop"] * 100_000
    result = fail.apply()
    lossy_proxy.plan = []
    assert ending(publisher_redis, task_channel(result.id))["text"] == "Failed: ValueError"


RQ = """
import os, time
from redis import Redis
from rq import Retry
from webdis_progress.bridges.rq import job_progress

def work(ending):
    redis = Redis.from_url(os.environ["BROKER"], socket_timeout=5)
    with job_progress(redis, 3, required=True) as progress:
        for step in progress.track(range(3), per_second=1000):
            if ending == "failed":
                raise ValueError("password is 1234")
            if ending == "crash":
                os._exit(1)
            if ending == "again" and redis.incr("tries") < 3:
                raise KeyError
            if ending == "by hand" and redis.incr("runs") < 2:
                raise KeyError
        if ending == "returned" and redis.incr("returns") < 3:
            return Retry(max=2)
        if ending == "too often":
            return Retry(max=1)
"""


@pytest.fixture
def rq(redis_of_ones_own, tmp_path):
    """Return a queue, and a function that has a worker do all that is in it."""
    from rq import Queue  # noqa: PLC0415

    (tmp_path / "jobs.py").write_text(RQ)
    environment = {**os.environ, "BROKER": redis_of_ones_own.url, "PYTHONPATH": str(tmp_path)}

    def work():
        subprocess.run(
            [
                *(ROOT / ".venv/bin/rq", "worker", "--burst", "--url", redis_of_ones_own.url),
                *("--worker-class", "webdis_progress.bridges.rq.ProgressWorker"),
            ],
            cwd=tmp_path,
            env=environment,
            check=True,
            capture_output=True,
            timeout=120,
        )

    return Queue(connection=redis_of_ones_own.client), work


def test_rq_ends_every_stream(rq):
    from rq import Retry  # noqa: PLC0415

    from webdis_progress.bridges.rq import job_channel  # noqa: PLC0415

    queue, work = rq
    endings = ("done", "failed", "crash", "returned", "too often", "by hand")
    jobs = {word: queue.enqueue("jobs.work", word) for word in endings}
    jobs["again"] = queue.enqueue("jobs.work", "again", retry=Retry(max=2))
    work()

    def told(word):
        return events(queue.connection, job_channel(jobs[word]))

    assert {word: told(word)[-1]["kind"] for word in jobs} == {
        "done": "done",
        "failed": "failed",
        "crash": "failed",
        "returned": "done",
        "too often": "failed",
        "by hand": "failed",
        "again": "done",
    }
    assert [event["text"] for event in told("again")].count(AGAIN) == 2
    texts = [event["text"] for event in told("returned") if event["text"]]
    assert texts == [*["Started", "It will be tried again"] * 2, "Started", "Done"]
    epoch = told("by hand")[0]["epoch"]
    jobs["by hand"].requeue()
    work()
    seen = told("by hand")
    assert ([seen[0]["text"], seen[-1]["text"]], seen[0]["seq"]) == (["Started", "Done"], 1)
    assert {event["epoch"] for event in seen}.isdisjoint({epoch}), "pages have to notice"


def test_rq_does_not_begin_what_was_cancelled(rq):
    from webdis_progress.bridges.rq import job_channel  # noqa: PLC0415

    queue, work = rq
    job = queue.enqueue("jobs.work", "done")
    Progress(queue.connection, job_channel(job)).cancelled()
    work()
    assert [event["kind"] for event in events(queue.connection, job_channel(job))] == ["cancelled"]
