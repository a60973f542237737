"""What a session owns, and what that survives: many starts, several tabs, restarts."""

from __future__ import annotations

import concurrent.futures
import re

import pytest

from demo_app import ownership
from tests.app.conftest import form
from webdis_progress import Progress

RUNS_LISTED = 20


def start(client, page="/job/"):
    answer = client.post(page, data=form(client, page))
    assert answer.status_code == 303
    return answer.location


def listed(client, page="/job/"):
    """Return the paths of the runs that a page lists."""
    return re.findall(rf'href="({page}\w+)"', client.get(page).text)


def replay_of(client, path):
    return re.search(r'\breplay="([^"]+)"', client.get(path).text)[1]


def test_a_session_of_many_starts_lists_the_newest_and_keeps_all(client):
    paths = [start(client) for _ in range(35)]
    assert listed(client) == paths[: -RUNS_LISTED - 1 : -1]
    assert {client.get(path).status_code for path in paths} == {200}


def test_a_session_of_more_starts_than_it_keeps_forgets_the_oldest(client, monkeypatch):
    monkeypatch.setattr(ownership, "MOST_RUNS", 3)
    paths = [start(client) for _ in range(5)]
    assert [client.get(path).status_code for path in paths] == [404, 404, 200, 200, 200]


def test_starts_at_once_are_all_the_sessions_own(app, client):
    fields = form(client)
    name = app.config["SESSION_COOKIE_NAME"]
    cookie = client.get_cookie(name).value

    def press(_):
        # A tab's request; its answer may set the cookie in any order with the others'.
        tab = app.test_client()
        tab.set_cookie(name, cookie)
        return tab.post("/job/", data=fields).location, tab.get_cookie(name).value

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        started = list(pool.map(press, range(20)))
    for kept in {cookie for _, cookie in started}:
        client.set_cookie(name, kept)
        assert {client.get(path).status_code for path, _ in started} == {200}


@pytest.mark.machine
def test_runs_and_tabs_of_one_session_are_each_replayed_to_it_only(app, publisher_redis):
    alice, bob = app.test_client(), app.test_client()
    replays = [replay_of(alice, start(alice, page)) for page in ("/job/", "/audit/", "/job/")]
    replays.append(replay_of(alice, "/own/"))
    for number, replay in enumerate(replays):
        channel = re.search("progress:[0-9a-f]{32}", replay)[0]
        Progress(publisher_redis, channel).message(f"run {number}")
    start(bob)
    for number, replay in enumerate(replays):
        assert [event["text"] for event in alice.get(replay).json] == [f"run {number}"]
        assert bob.get(replay).status_code == 404


@pytest.mark.machine
def test_a_full_queue_leaves_no_run_behind(client, monkeypatch):
    monkeypatch.setattr("demo_app.jobs.queue.MOST_WAITING", 1)
    path = start(client)
    for page in ("/job/", "/audit/"):
        assert client.post(page, data=form(client, page)).status_code == 503
    assert listed(client, "/job/") == [path]
    assert listed(client, "/audit/") == []


def test_runs_are_listed_with_the_time_and_the_state(client, publisher_redis):
    running, waiting = start(client), start(client)
    channel = re.search("progress:[0-9a-f]{32}", replay_of(client, running))[0]
    Progress(publisher_redis, channel).started()
    lines = re.findall(r"<li>(.*?)</li>", client.get("/job/").text, re.DOTALL)
    states = {re.search(r'href="(\S+)"', line)[1]: line for line in lines}
    assert "waiting" in states[waiting]
    assert "running" in states[running]
    for line in lines:
        assert re.search(r'<time datetime="\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00">', line)
    for path in states:
        token = path.rpartition("/")[2]
        assert token[:8] not in re.sub(r'href="\S+"', "", "".join(lines))


def test_a_restart_of_redis_and_web_server_loses_no_run(start_demo, redis_service):
    demo = start_demo()
    visitor = demo.visitor()
    path = visitor.post("/job/")
    redis_service.restart()
    demo.eventually(lambda: visitor.status_of("/job/") == 200, "Redis is not back")
    demo.kill("demo_app.server.web")
    assert visitor.status_of(path) == 200
    assert path in visitor.get("/job/")
    assert demo.visitor().status_of(path) == 404
    demo.stop()
