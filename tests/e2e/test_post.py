"""Lesson "post" in a real browser: it works, and it loses what nobody hears."""

from __future__ import annotations

from playwright.sync_api import expect

from demo_app.lessons.function import STEPS
from demo_app.lessons.post import CHANNEL
from tests.e2e.tabs import run_in_another_tab

HOSTILE = "<img src=x onerror=alert(1)> \N{SNOWMAN}"


def test_the_steps_come_while_the_function_runs(page):
    page.goto("/post/")
    expect(page.locator("#state")).to_have_text("connected")
    with run_in_another_tab(page, "/post/"):
        expect(page.locator("#messages li")).to_have_text([STEPS[0]])
        expect(page.locator("#messages li")).to_have_text(list(STEPS))


def test_what_is_published_while_nobody_listens_is_lost(page, publisher_redis):
    publisher_redis.publish(CHANNEL, "too early")
    page.goto("/post/")
    expect(page.locator("#state")).to_have_text("connected")
    publisher_redis.publish(CHANNEL, HOSTILE)
    expect(page.locator("#messages li")).to_have_text([HOSTILE])
    page.reload()
    expect(page.locator("#state")).to_have_text("connected")
    expect(page.locator("#messages li")).to_have_count(0)
