"""Is the demo well, what does it count, and what does it log: asked of a demo that runs."""

from __future__ import annotations

import json
import os
import re
import signal
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from bench.processes import free_port
from demo_app.ownership import digest
from tests.demo_server import Visitor, eventually

TOKEN = "a token of twenty characters or more"


@pytest.fixture(scope="module")
def demo(start_demo):
    """Return a demo of its own: others' jobs would be counted, too."""
    return start_demo(DEMO_JOB_STEPS=4, DEMO_JOB_STEP_SECONDS=0.1, DEMO_PAUSE_SECONDS=0)


def ask(url, **headers):
    """Return status, headers and text of an answer."""
    try:
        request = urllib.request.Request(url, headers=headers)  # noqa: S310  # the demo's
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            return answer.status, answer.headers, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read().decode()


def ready(demo):
    status, _, text = ask(f"{demo.health_url}/readyz")
    return status, json.loads(text)["checks"]


class Numbers:
    """What has been counted since the last look."""

    def __init__(self, demo):
        self._demo = demo
        self._before = self._read()

    def _read(self):
        _, _, text = ask(f"{self._demo.health_url}/metrics")
        return {
            (sample.name, *sorted(sample.labels.values())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def of(self, *key):
        return self._read()[key] - self._before.get(key, 0)


@pytest.fixture
def numbers(demo):
    return Numbers(demo)


def test_a_demo_that_is_well_says_so(demo):
    status, _, text = ask(f"{demo.health_url}/healthz")
    assert (status, json.loads(text)) == (200, {"status": "ok"})
    assert ready(demo) == (200, {"redis": "ok", "worker": "ok", "webdis": "ok"})


def test_what_is_missing_is_named(demo, redis_service):
    redis_service.stop()
    try:
        status, checks = ready(demo)
        assert ask(f"{demo.health_url}/healthz")[0] == 200, "the process itself is well"
        metrics_status, _, metrics = ask(f"{demo.health_url}/metrics")
    finally:
        redis_service.start()
    assert status == 503
    assert "ok" not in checks.values()
    assert metrics_status == 200
    assert "demo_messages_published_total" in metrics
    assert "demo_queue_jobs" not in metrics, "nobody knows how many wait"
    eventually(lambda: ready(demo)[0] == 200, "not ready again")


def test_a_webdis_that_is_gone_is_named(start_demo, instance, kit_dir):
    nobody = f"ws://127.0.0.1:{free_port()}"
    nodes = [node | {"webdis": nobody} for node in instance["nodes"]]
    described = instance | {"nodes": nodes, "webdis": instance["webdis"] | {"url": nobody}}
    (kit_dir / "instance.json").write_text(json.dumps(described))
    demo = start_demo(DEMO_KIT_DIR=kit_dir)
    status, checks = ready(demo)
    assert status == 503
    assert checks["redis"] == checks["worker"] == "ok"
    assert "ok" not in checks["webdis"]
    demo.stop()


def test_a_demo_without_workers_is_not_ready(start_demo):
    demo = start_demo()
    demo.process.send_signal(signal.SIGSTOP)  # it would start another one
    demo_worker = demo.process_of("worker")
    try:
        os.kill(demo_worker, signal.SIGTERM)
        eventually(lambda: ready(demo)[0] == 503, "still ready")
        assert "no worker" in ready(demo)[1]["worker"]
    finally:
        demo.process.send_signal(signal.SIGCONT)
    demo.stop()


def test_messages_and_replay_are_counted(demo, numbers):
    visitor = demo.visitor()
    visitor.post("/shared/")
    replay = re.search(r'\breplay="([^"]+)"', visitor.get("/shared/"))[1]
    before = len(json.loads(visitor.get(f"{replay}?after=0")))
    assert numbers.of("demo_messages_published_total") == 3
    assert numbers.of("demo_publish_seconds_count") == 3
    assert numbers.of("demo_replay_requests_total") == 1
    assert numbers.of("demo_replay_messages_total") == before
    assert (
        numbers.of("demo_publish_retries_total") == numbers.of("demo_messages_dropped_total") == 0
    )


def test_jobs_are_counted_by_kind_and_end_over_all_their_processes(demo, numbers):
    visitor = demo.visitor()
    for ending in ("done", "failed", "done"):
        path = visitor.post("/job/", ending=ending)
        visitor.wait_for(path, "done", "failed")
    eventually(lambda: numbers.of("demo_job_seconds_count", "count") == 3, "not counted")
    assert numbers.of("demo_jobs_total", "count", "done") == 2
    assert numbers.of("demo_jobs_total", "count", "failed") == 1
    assert numbers.of("demo_jobs_total", "count", "lost") == 0
    assert numbers.of("demo_job_wait_seconds_count", "count") == 3
    assert numbers.of("demo_job_seconds_sum", "count") > 0.8
    assert numbers.of("demo_messages_published_total") >= 3 * 2


def test_jobs_that_wait_are_seen_and_one_that_is_killed_is_counted(demo, numbers):
    visitor = demo.visitor()
    first = visitor.post("/job/", ending="timeout")
    visitor.wait_for(first, "running")
    second = visitor.post("/job/", ending="done")
    eventually(lambda: numbers.of("demo_queue_oldest_wait_seconds") > 0.05, "nothing waits")
    assert numbers.of("demo_queue_jobs") == 1
    visitor.post(second, action=f"{second}/cancel")
    assert numbers.of("demo_jobs_total", "cancelled", "count") == 1
    os.kill(demo.horse(), signal.SIGKILL)
    visitor.wait_for(first, "failed")
    eventually(lambda: numbers.of("demo_jobs_total", "count", "lost") == 1, "not counted")


def test_many_jobs_leave_no_more_files_than_one(demo):
    def files():
        environment = Path(f"/proc/{demo.process_of('worker')}/environ").read_text()
        folder = re.search(r"PROMETHEUS_MULTIPROC_DIR=([^\0]+)", environment)[1]
        return sorted(path.name for path in Path(folder).iterdir())

    visitor = demo.visitor()
    visitor.wait_for(visitor.post("/job/"), "done")
    before = files()
    for _ in range(3):
        visitor.wait_for(visitor.post("/job/"), "done")
    assert files() == before


@pytest.fixture(scope="module")
def guarded(start_demo):
    """Return a demo whose health everybody may reach who has the token."""
    return start_demo(DEMO_HEALTH_HOST="0.0.0.0", DEMO_HEALTH_TOKEN=TOKEN, DEMO_LOG="json")  # noqa: S104  # what is tested


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/status/", "/status/events"])
@pytest.mark.parametrize("given", ["", "Bearer", "Bearer wrong", f"Basic {TOKEN}", "Bearer \xfc"])
def test_without_the_token_there_is_no_answer(guarded, path, given):
    status, headers, text = ask(guarded.health_url + path, Authorization=given)
    assert status == 401
    assert [value.split()[0] for value in headers.get_all("WWW-Authenticate")] == [
        "Bearer",
        "Basic",
    ]
    assert "DEMO_HEALTH_TOKEN" in text
    assert TOKEN not in text
    assert "demo_" not in text


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/status/"])
def test_with_the_token_there_is(guarded, path):
    assert ask(guarded.health_url + path, Authorization=f"Bearer {TOKEN}")[0] == 200


def test_the_pages_port_has_none_of_it(guarded):
    for path in ("/healthz", "/readyz", "/metrics", "/status/"):
        assert ask(guarded.url + path)[0] == 404


def test_an_address_for_others_wants_a_token(refusal):
    said = refusal(DEMO_HEALTH_HOST="0.0.0.0")  # noqa: S104  # what is tested
    assert "without a DEMO_HEALTH_TOKEN" in said
    assert "19 characters; 20 are needed" in refusal(DEMO_HEALTH_TOKEN="1" * 19)


def test_a_port_that_is_taken_is_named_where_a_person_chose_it(demo, refusal):
    port = demo.health_url.rpartition(":")[2]
    said = refusal(DEMO_HEALTH_PORT=port, DEMO_PORT=str(free_port()))
    assert f"127.0.0.1:{port} cannot be used" in said
    assert "DEMO_HEALTH_PORT=" in said


def test_each_line_of_the_log_is_json_with_the_run_and_without_its_key(guarded):
    visitor = Visitor(guarded.url)
    path = visitor.post("/job/", ending="failed")
    visitor.wait_for(path, "failed")
    guarded.wait_for_log("This job was started in order to fail.")
    entries = [json.loads(line) for line in guarded.log().splitlines()]
    token = path.rpartition("/")[2]
    assert token not in guarded.log()
    assert {"time", "level", "logger", "process", "message"} <= set(entries[0])
    (failure,) = [entry for entry in entries if "started in order to fail" in str(entry)]
    assert failure["run"] == digest(token)
    assert failure["level"] == "ERROR"
