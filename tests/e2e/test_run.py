"""Lessons "shared" and "own" in a real browser: messages appear, in order, whatever is away."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from demo_app.lessons.shared import STEPS
from demo_app.progress import Progress

PAGE = "/shared/"


def test_three_messages_appear_in_order_before_the_page_changes(page):
    page.goto(PAGE)
    expect(page.locator("#state")).to_have_text("connected")
    seen = []
    page.expose_function("seen", lambda text, delay: seen.append((text, int(delay))))
    page.evaluate(
        """new MutationObserver((records) => {
             for (const record of records) for (const node of record.addedNodes)
               window.seen(node.textContent, node.dataset.delayMilliseconds);
           }).observe(document.getElementById("messages"), {childList: true})"""
    )
    page.get_by_role("button", name="Run").click(no_wait_after=True)
    # Playwright looks at a page only between navigations; what it showed before
    # the change is known from the observer.
    expect(page.locator("h1")).to_have_text("The function has finished", timeout=30_000)
    assert [text for text, _ in seen] == list(STEPS)
    print(f"first message in the browser {seen[0][1]} ms after it was published")


def test_another_tab_shows_the_messages_too(page):
    page.goto(PAGE)
    expect(page.locator("#state")).to_have_text("connected")
    other = page.context.new_page()
    other.goto(PAGE)
    other.get_by_role("button", name="Run").click(no_wait_after=True)
    expect(page.locator("#messages .alert.alert-info")).to_have_text(list(STEPS), timeout=30_000)


def test_hostile_text_is_shown_as_text(page, publisher_redis):
    hostile = "</script><img src=x onerror=alert(1)>\N{RIGHT-TO-LEFT OVERRIDE}"
    page.goto(PAGE)
    expect(page.locator("#state")).to_have_text("connected")
    Progress(publisher_redis, "progress:666").message(hostile)
    expect(page.locator("#messages .alert").last).to_have_text(hostile)
    assert page.locator("#messages img").count() == 0


def test_the_page_says_when_the_server_is_away_and_comes_back(page, server):
    page.goto(PAGE)
    expect(page.locator("#state")).to_have_text("connected")
    assert server.run("systemctl stop redis").rc == 0
    expect(page.locator("#state")).to_have_text(re.compile("disconnected|connecting"))
    assert server.run("systemctl start redis").rc == 0
    expect(page.locator("#state")).to_have_text("connected", timeout=30_000)


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
    expect(page.locator("#messages .alert")).to_have_text(expected, timeout=30_000)
