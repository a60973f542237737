"""Lesson "own" in a real browser: a channel for each user, and every message of it."""

from __future__ import annotations

import subprocess
import sys

from playwright.sync_api import expect

from demo_app.lessons.function import STEPS
from kit.checkout import ROOT
from webdis_progress import Progress

PAGE = "/own/"
# What one of two processes does.
PUBLISH = """
import sys
from webdis_progress import Progress
from kit.checkout import read_instance
from kit.verify import publisher

channel, name = sys.argv[1:]
progress = Progress(publisher(read_instance()), channel)
for number in range(1000):
    progress.message(f"{name} {number}")
"""


def messages(page):
    return page.locator("run-progress").evaluate(
        "e => e.run.messages.map(({ seq, text }) => [seq, text])"
    )


def attribute(page, name):
    return page.locator("run-progress").get_attribute(name)


def open_own(context):
    page = context.new_page()
    page.goto(PAGE)
    expect(page.locator("#state")).to_have_text("connected")
    return page


def test_two_users_never_see_each_others_messages(visitor):
    one, two = visitor(), visitor()
    page, stranger = open_own(one), open_own(two)
    assert attribute(page, "channel") != attribute(stranger, "channel")
    tab = open_own(one)
    assert attribute(tab, "channel") == attribute(page, "channel")
    replay = attribute(page, "replay")
    page.get_by_role("button", name="Run").click(no_wait_after=True)
    expect(tab.locator("#messages .text")).to_have_text(list(STEPS))
    assert messages(stranger) == []
    assert one.request.get(replay).ok
    assert two.request.get(replay).status == 404
    assert two.request.get(attribute(stranger, "replay")).json() == []


def test_two_thousand_messages_of_two_processes_come_once_and_in_order(visitor):
    page = open_own(visitor())
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PUBLISH, attribute(page, "channel"), name], cwd=ROOT
        )
        for name in ("one", "two")
    ]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    page.wait_for_function("() => document.querySelector('run-progress').run.seq === 2000")
    seen = messages(page)
    assert [number for number, _ in seen] == list(range(1, 2001))
    for name in ("one", "two"):
        texts = [text for _, text in seen if text.startswith(name)]
        assert texts == [f"{name} {number}" for number in range(1000)]


def test_what_is_published_before_the_page_listens_is_shown(visitor, publisher_redis):
    context = visitor()
    held = []
    context.route(
        "**/progress.js",
        lambda route: held.append(route),  # noqa: PLW0108  # Playwright looks into functions
    )
    page = context.new_page()
    page.goto(PAGE, wait_until="commit")
    progress = Progress(publisher_redis, attribute(page, "channel"))
    progress.message("before the page has a script")
    while not held:
        page.wait_for_timeout(50)
    held[0].continue_()
    expect(page.locator("#state")).to_have_text("connected")
    progress.message("after")
    expect(page.locator("#messages .text")).to_have_text(["before the page has a script", "after"])
