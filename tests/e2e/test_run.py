"""Lessons "shared" and "own" in a real browser: messages appear, in order, whatever is away."""

from __future__ import annotations

import queue
import re
import threading
from types import SimpleNamespace

import pytest
from playwright.sync_api import expect
from werkzeug.serving import make_server

from demo_app import create_app
from demo_app.lessons import function
from demo_app.lessons.function import STEPS
from tests.e2e.looks import look_at
from webdis_progress import Progress, events_after

PAGE = "/shared/"
PAUSE_SECONDS = 0.25
SHOWN_SECONDS = 30


@pytest.fixture
def served(instance):
    """Return the address of the application in this process, where a test can hold its work."""
    assert instance["address"]
    app = create_app({"PAUSE_SECONDS": PAUSE_SECONDS})
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.port}"
    server.shutdown()
    thread.join()
    server.server_close()
    for connection in app.extensions["redis"].values():
        connection.close()


@pytest.mark.parametrize("path", [PAGE, "/own/"])
def test_each_message_is_shown_before_the_function_goes_on(
    page, served, publisher_redis, monkeypatch, path
):
    page.goto(served + path)
    expect(page.locator("#state")).to_have_text("connected")
    element = page.locator("run-progress")
    channel, after = (element.get_attribute(name) for name in ("channel", "after"))
    shown, pauses = queue.Queue(), []

    def work(seconds):
        """Go on once the page has shown what was published last, however long that takes."""
        published = [e["text"] for e in events_after(publisher_redis, channel, int(after))]
        pauses.append((seconds, published, shown.get(timeout=SHOWN_SECONDS)))

    monkeypatch.setattr(function, "time", SimpleNamespace(sleep=work))
    # Playwright cannot ask a page that waits for the answer to its form: so the page tells.
    page.expose_function("tell", shown.put)
    page.evaluate(
        """new MutationObserver((records) => {
             for (const record of records) for (const node of record.addedNodes)
               window.tell(node.querySelector(".text").textContent);
           }).observe(document.querySelector("run-progress").shadowRoot.getElementById("messages"),
                      {childList: true})"""
    )
    page.get_by_role("button", name="Run").click(no_wait_after=True)
    expect(page.locator("h1")).not_to_have_text("Nothing is lost", timeout=2 * SHOWN_SECONDS * 1000)
    expect(page.locator("h1")).to_have_text("The function has finished")
    assert pauses == [(PAUSE_SECONDS, list(STEPS[: at + 1]), text) for at, text in enumerate(STEPS)]
    assert shown.empty()


def test_another_tab_shows_the_messages_too(page):
    page.goto(PAGE)
    expect(page.locator("#state")).to_have_text("connected")
    other = page.context.new_page()
    other.goto(PAGE)
    other.get_by_role("button", name="Run").click(no_wait_after=True)
    expect(page.locator("#messages .text")).to_have_text(list(STEPS), timeout=30_000)


def test_hostile_text_is_shown_as_text(page, publisher_redis):
    hostile = "</script><img src=x onerror=alert(1)>\N{RIGHT-TO-LEFT OVERRIDE}"
    page.goto(PAGE)
    expect(page.locator("#state")).to_have_text("connected")
    Progress(publisher_redis, "progress:666").message(hostile)
    expect(page.locator("#messages .text").last).to_have_text(hostile)
    assert page.locator("#messages img").count() == 0


def test_the_page_says_when_the_server_is_away_and_comes_back(page, redis_service):
    page.goto(PAGE)
    expect(page.locator("#state")).to_have_text("connected")
    redis_service.stop()
    try:
        expect(page.locator("#state")).to_have_text(re.compile("disconnected|connecting"))
        look_at(page, "server-away", "light", "dark")
        tab = page.context.new_page()
        tab.goto("/job/")
        expect(tab.locator("h1")).to_have_text("Message server away")
        look_at(tab, "server-away-form", "light", "dark")
    finally:
        redis_service.start()
    expect(page.locator("#state")).to_have_text("connected", timeout=30_000)


@pytest.mark.machine
def test_nothing_published_while_webdis_is_away_is_lost_or_doubled(page, server, publisher_redis):
    progress = Progress(publisher_redis, "progress:666")
    page.goto(PAGE)
    expect(page.locator("#state")).to_have_text("connected")
    progress.message("before")
    assert server.run("systemctl stop webdis").rc == 0
    try:
        expect(page.locator("#state")).not_to_have_text("connected")
        for number in range(50):
            progress.message(f"away {number}")
    finally:
        # Redis upholds Webdis, so it may be on its way already.
        assert server.run("systemctl start webdis").rc == 0
    expect(page.locator("#state")).to_have_text("connected", timeout=30_000)
    progress.message("after")
    expected = ["before", *(f"away {number}" for number in range(50)), "after"]
    expect(page.locator("#messages .text")).to_have_text(expected, timeout=30_000)
