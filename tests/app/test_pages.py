"""Pages, forms and replay of the web application: what they hold and whom they refuse."""

from __future__ import annotations

import re

import pytest

from demo_app import ownership
from demo_app.lessons.function import STEPS
from tests.app.conftest import form
from webdis_progress import Progress, events_after

LESSONS = ("post", "shared", "own", "job", "audit", "devices")
POSTS = {f"/{lesson}/" for lesson in LESSONS} | {"/", "/job/<token>/cancel"}
POSTS |= {f"/devices/<token>/{action}" for action in ("retry", "confirm")}


def attribute(page, name):
    return re.search(rf'\s{name}="([^"]*)"', page)[1]


def test_start_page_leads_to_each_lesson(client):
    page = client.get("/").text
    for path in ("/post/", "/shared/", "/own/", "/job/", "/audit/"):
        assert f'href="{path}"' in page
        assert client.get(path).status_code == 200


@pytest.mark.parametrize("path", sorted(POSTS))
def test_each_post_needs_its_token(client, path):
    answer = client.post(path)
    assert answer.status_code == 400
    assert "This form is too old" in answer.text


def post_rules(app):
    return {rule.rule for rule in app.url_map.iter_rules() if "POST" in rule.methods}


def test_there_are_no_other_posts(app):
    assert post_rules(app) == POSTS


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        ("/", "private, no-cache"),
        ("/shared/", "private, no-cache"),
        ("/nowhere", "private, no-cache"),
        ("/static/webdis-progress/progress.js", "no-cache"),
    ],
)
def test_every_answer_is_strict(app, client, path, kept):
    with client.get(path) as answer:
        headers = answer.headers
    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == "'self'"
    server = app.config["WEBDIS_URL"].removesuffix("/.json")
    assert policy["connect-src"] == f"'self' {server}"
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Cache-Control"] == kept


def test_no_page_has_inline_scripts_or_styles(client):
    for path in ("/", "/post/", "/shared/", "/own/", "/job/", "/audit/", "/nowhere"):
        page = client.get(path).text
        assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", page)


def test_lesson_shared_is_everybodys(app, publisher_redis):
    pages = [app.test_client().get("/shared/").text for _ in range(2)]
    assert {attribute(page, "channel") for page in pages} == {"progress:666"}
    after = int(attribute(pages[0], "after"))
    client = app.test_client()
    answer = client.post("/shared/", data=form(client, "/shared/"))
    assert "The function has finished" in answer.text
    texts = [e["text"] for e in events_after(publisher_redis, ownership.SHARED_CHANNEL, after)]
    assert texts == list(STEPS)
    replayed = app.test_client().get(f"/progress/progress:666/events?after={after}").json
    assert [event["text"] for event in replayed] == list(STEPS)


def test_each_session_has_a_channel_that_the_other_may_not_replay(app):
    alice, bob = app.test_client(), app.test_client()
    channel_of = {client: attribute(client.get("/own/").text, "channel") for client in (alice, bob)}
    assert channel_of[alice] != channel_of[bob]
    assert re.fullmatch(r"progress:[0-9a-f]{32}", channel_of[alice])
    assert attribute(alice.get("/own/").text, "channel") == channel_of[alice]
    alice.post("/own/", data=form(alice, "/own/"))
    replay = f"/progress/{channel_of[alice]}/events"
    assert [event["text"] for event in alice.get(replay).json] == list(STEPS)
    assert bob.get(replay).status_code == 404
    # The same answer as for a channel that does not exist.
    nobody = app.test_client().get(f"/progress/progress:{'0' * 32}/events")
    assert nobody.status_code == 404
    assert bob.get(replay).text == nobody.text


def test_a_forged_session_owns_nothing(app):
    alice, mallory = app.test_client(), app.test_client()
    channel = attribute(alice.get("/own/").text, "channel")
    name = app.config["SESSION_COOKIE_NAME"]
    body = alice.get_cookie(name).value.rpartition(".")[0]
    mallory.set_cookie(name, f"{body}.AAAAAAAAAAAAAAAAAAAAAAAAAAA")
    assert mallory.get(f"/progress/{channel}/events").status_code == 404


@pytest.mark.machine
def test_a_run_is_its_sessions_alone(app):
    alice, bob = app.test_client(), app.test_client()
    for page in ("/job/", "/audit/"):
        path = alice.post(page, data=form(alice, page)).location
        assert alice.get(path).status_code == 200
        assert bob.get(path).status_code == 404
        replay = attribute(alice.get(path).text, "replay")
        assert alice.get(replay).json == []
        assert bob.get(replay).status_code == 404
        token = path.rpartition("/")[2]
        cancel = f"/job/{token}/cancel"
        assert bob.post(cancel, data=form(bob, "/job/")).status_code == 404
        assert bob.get(f"/audit/{token}/result").status_code == 404
        assert "waiting" in alice.get(path).text
        assert token[:8] in alice.get(page).text
        assert token[:8] not in bob.get(page).text
        alice.post(cancel, data=form(alice, "/job/"))
        assert "cancelled" in alice.get(path).text


@pytest.mark.machine
def test_an_audit_is_no_job_and_takes_no_target(app):
    client = app.test_client()
    fields = form(client, "/audit/", address="192.0.2.1", port="1")
    path = client.post("/audit/?address=192.0.2.1", data=fields).location
    assert client.get(path.replace("audit", "job")).status_code == 404
    assert app.config["INSTANCE"]["address"] in client.get(path).text
    assert "192.0.2.1" not in client.get(path).text


@pytest.mark.parametrize("after", ["-1", "x", "1.5", "9007199254740992", "0" * 30, "²", "1e3"])
def test_replay_takes_whole_numbers_alone(client, after):
    answer = client.get("/progress/progress:666/events", query_string={"after": after})
    assert answer.status_code == 400
    assert "whole number" in answer.text


def test_replay_is_bounded_and_kept_nowhere(app, publisher_redis):
    client = app.test_client()
    channel = attribute(client.get("/own/").text, "channel")
    progress = Progress(publisher_redis, channel)
    for number in range(1, 1202):
        progress.message(str(number))
    first = client.get(f"/progress/{channel}/events?after=1")
    assert [event["seq"] for event in first.json] == list(range(2, 1002))
    assert first.headers["Cache-Control"] == "no-store"
    rest = client.get(f"/progress/{channel}/events?after=1001").json
    assert [event["seq"] for event in rest] == list(range(1002, 1202))


def test_hostile_text_stays_text_on_the_plain_page(app, publisher_redis):
    client = app.test_client()
    path = client.post("/job/", data=form(client, "/job/")).location
    hostile = "</script><img src=x onerror=alert(1)>"
    Progress(publisher_redis, attribute(client.get(path).text, "channel")).message(hostile)
    page = client.get(path).text
    assert "<img" not in page
    assert "&lt;/script&gt;&lt;img" in page
    assert client.get(attribute(page, "replay")).content_type == "application/json"


def test_an_unknown_ending_is_refused_with_the_known(client):
    answer = client.post("/job/", data=form(client, "/job/", ending="explode"))
    assert answer.status_code == 400
    assert "done, failed, timeout" in answer.text


def test_a_full_queue_says_so(app, monkeypatch):
    monkeypatch.setattr("demo_app.jobs.queue.MOST_WAITING", 2)
    client = app.test_client()
    codes = [client.post("/job/", data=form(client, "/job/")).status_code for _ in range(3)]
    assert codes == [303, 303, 503]


def test_redis_away_is_a_page_with_one_sentence(app):
    for connection in app.extensions["redis"].values():
        connection.connection_pool.connection_kwargs["port"] = 1
        connection.set_retry(None)
    answer = app.test_client().get("/own/")
    assert answer.status_code == 503
    assert "does not answer" in answer.text
    assert "Traceback" not in answer.text


@pytest.mark.parametrize(
    ("path", "method", "allowed"),
    [
        ("/job/x/cancel", "GET", {"POST", "OPTIONS"}),
        ("/progress/progress:666/events", "DELETE", {"GET", "HEAD", "OPTIONS"}),
        ("/", "PUT", {"GET", "HEAD", "OPTIONS", "POST"}),
    ],
)
def test_a_wrong_method_is_answered_by_those_that_are_allowed(client, path, method, allowed):
    answer = client.open(path, method=method)
    assert answer.status_code == 405
    assert set(answer.allow) == allowed
    assert answer.content_type == "text/html; charset=utf-8"
    assert "This is not a page" in answer.text


def test_replay_answers_each_form_of_reader(app):
    client = app.test_client()
    client.get("/shared/")
    progress = Progress(app.extensions["redis"]["publisher"], "progress:666")
    progress.message("x")
    joined = client.get("/progress/progress:666/events?epoch=").json
    assert joined["state"]["run"]["text"] == joined["events"][-1]["text"] == "x"
    seq, epoch = joined["seq"], joined["epoch"]
    on = client.get(f"/progress/progress:666/events?after={seq - 1}&epoch={epoch}").json
    assert ([event["seq"] for event in on["events"]], "state" in on) == ([seq], False)
    old = client.get(f"/progress/progress:666/events?after={seq - 1}").json
    assert [event["seq"] for event in old] == [seq]
