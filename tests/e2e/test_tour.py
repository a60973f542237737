"""Every page as people meet it: light, dark, small, read aloud. Leaves the README's pictures."""

from __future__ import annotations

import io
import itertools
import re
import time
from urllib.parse import urlsplit

import pytest
from PIL import Image
from playwright.sync_api import expect

from demo_app import create_app
from demo_app.lessons.function import STEPS
from tests.e2e.looks import LAPTOP, look_at
from tests.e2e.tabs import run_in_another_tab
from webdis_progress import Progress

MOST_MOVING_BYTES = 1024 * 1024
ANNOUNCEMENT_SECONDS = 4  # a message takes about that long to be read aloud
# What answers GET and is no page: files, data, and parts of pages.
NO_PAGES = {
    "static",
    "webdis_progress.static",
    "replay.events",
    "audit.result",
    "devices.result",
    "devices.result_json",
    "devices.result_csv",
}
# `audit` below goes there, and tests/devices.
ELSEWHERE = {"audit.show", "devices.show"}


def pages_of(app):
    """Return the names of all pages that the demo has."""
    return {rule.endpoint for rule in app.url_map.iter_rules() if "GET" in rule.methods} - NO_PAGES


def lessons(page, demo):
    """Go to each page, name by name, as it looks with something on it."""
    page.goto("/")
    yield "start"
    for name, path in (
        ("lesson-post", "/post/"),
        ("lesson-shared", "/shared/"),
        ("lesson-own", "/own/"),
    ):
        page.goto(path)
        expect(page.locator("#state")).to_have_text("connected")
        with run_in_another_tab(page, path):
            expect(page.locator("#messages li")).to_have_count(len(STEPS))
        yield name
    page.get_by_role("button", name="Run").click()
    expect(page.locator("h1")).to_have_text("The function has finished")
    yield "finished"
    page.goto("/job/")
    yield "job-form"
    page.get_by_role("button", name="Start").click()
    expect(page.locator("#eta")).to_have_text(re.compile("left"))
    expect(page.locator("#percent")).to_have_text(re.compile("[3-9]. %"))
    yield "lesson-job"
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#status")).to_have_text("cancelled")
    yield "job-cancelled"
    page.goto("/job/")
    page.get_by_label("fails").check()
    page.get_by_role("button", name="Start").click()
    expect(page.locator("#status")).to_have_text("failed", timeout=60_000)
    yield "job-failed"
    for name in ("audit", "devices"):
        page.goto(f"/{name}/")
        yield f"{name}-form"
    page.goto("/job/0123")
    expect(page.locator("h1")).to_have_text("Nothing is here")
    yield "not-found"
    page.goto("/job/0123/cancel")
    expect(page.locator("h1")).to_have_text("This is not a page")
    yield "not-a-page"
    page.goto(f"{demo.health_url}/status/")
    expect(page.locator("#state")).to_have_text("connected")
    yield "status"


def audit(page, demo):
    """Go to the pages of the lesson that needs a server with a firewall."""
    page.goto(f"{demo.url}/audit/")
    page.get_by_role("button", name="Start").click()
    expect(page.locator("#status")).to_have_text("done", timeout=60_000)
    expect(page.get_by_text("ports as they should be")).to_be_visible()
    yield "lesson-audit"


@pytest.mark.appearance
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("tour", [lessons, pytest.param(audit, marks=pytest.mark.machine)])
def test_each_page_is_accessible_and_fits(visitor, demo, tour, scheme):
    page = visitor(color_scheme=scheme, viewport=LAPTOP).new_page()
    app = create_app()
    addresses = app.url_map.bind("localhost")
    seen = set()

    def remember(frame):
        url = urlsplit(frame.url)
        if f"{url.scheme}://{url.netloc}" == demo.url and addresses.test(url.path, "GET"):
            seen.add(addresses.match(url.path, "GET")[0])

    page.on("framenavigated", remember)
    for name in tour(page, demo):
        look_at(page, name, scheme)
    expected = pages_of(app) - ELSEWHERE if tour is lessons else {"audit.new", "audit.show"}
    assert seen >= expected, "pages that the tour forgets"


@pytest.mark.appearance
def test_the_start_page_as_a_moving_picture(visitor, start_demo, results):
    """Leave what README.md begins with: a run, the plug pulled, and nothing lost."""
    demo = start_demo()  # at the pace of `make demo`
    size = {"width": 1120, "height": 700}
    page = visitor(reduced_motion="no-preference", color_scheme="light", viewport=size).new_page()
    page.goto(demo.url)
    live = page.locator("#live")
    expect(page.locator("#numbers li")).not_to_have_count(0)
    replay = page.locator("#sample").get_attribute("replay")
    frames, times, plugged, missed = [], [], True, 0
    start = time.monotonic()
    while page.locator("#sample").get_attribute("state") != "done":
        count = page.locator("#numbers li").count()
        if plugged and count >= 15:
            page.get_by_role("button", name="Disconnect this page").click()
            plugged = False
        elif not plugged and missed <= 3:
            missed = len(page.request.get(f"{demo.url}{replay}?after={count}").json())
            if missed > 3:
                page.get_by_role("button", name="Connect it again").click()
        times.append(time.monotonic() - start)
        frames.append(Image.open(io.BytesIO(live.screenshot())).convert("RGB"))
        assert times[-1] < 60
    expect(page.get_by_role("button", name="Disconnect this page")).to_be_hidden()
    page.wait_for_timeout(300)  # the bar is drawn to its end within 200 ms
    frames.append(Image.open(io.BytesIO(live.screenshot())).convert("RGB"))
    durations = [round(1000 * (after - at)) for at, after in itertools.pairwise(times)]
    assert page.locator("#numbers [data-way=asked]").count() > 3
    picture = results / "start.webp"
    frames[0].save(
        picture,
        save_all=True,
        append_images=frames[1:],
        duration=[*durations, 200, 4000],
        loop=0,
        quality=60,
    )
    assert picture.stat().st_size <= MOST_MOVING_BYTES
    demo.stop()


def test_the_theme_follows_the_system(page):
    page.emulate_media(color_scheme="light")
    page.goto("/")
    expect(page.locator("body")).to_have_css("background-color", "rgb(250, 248, 244)")
    page.emulate_media(color_scheme="dark")
    expect(page.locator("body")).to_have_css("background-color", "rgb(20, 21, 26)")


def test_a_screen_reader_is_not_flooded(page, publisher_redis):
    page.goto("/own/")
    expect(page.locator("#state")).to_have_text("connected")
    page.evaluate(
        """() => {
          window.announced = [];
          const { shadowRoot } = document.querySelector("run-progress");
          const announcer = shadowRoot.getElementById("announcer");
          new MutationObserver(() => announced.push(announcer.textContent))
            .observe(announcer, { childList: true });
        }"""
    )
    channel = page.locator("run-progress").get_attribute("channel")
    progress = Progress(publisher_redis, channel)
    start = time.monotonic()
    for number in range(40):
        progress.message(f"message {number}")
        # One by one: what comes within one frame is one change of the page in any case.
        expect(page.locator("#messages .text")).to_have_count(number + 1)
    expect(page.locator("#announcer")).to_have_text("message 39", timeout=30_000)
    announced = page.evaluate("announced")
    assert announced[0].startswith("message ")
    assert announced[-1] == "message 39"
    assert len(announced) <= (time.monotonic() - start) / ANNOUNCEMENT_SECONDS + 2
    assert page.locator("[aria-live]").count() == 1
    assert page.locator("[role=log]").count() == 0


def test_the_newest_message_is_in_view_unless_the_reader_has_scrolled(page, publisher_redis):
    page.goto("/own/")
    expect(page.locator("#state")).to_have_text("connected")
    messages = page.locator("#messages")
    progress = Progress(publisher_redis, page.locator("run-progress").get_attribute("channel"))
    for number in range(50):
        progress.message(f"message {number}")
    expect(messages.locator(".text")).to_have_count(50)
    expect(messages.locator(".text").last).to_be_in_viewport()
    messages.focus()
    page.keyboard.press("Home")
    expect(messages.locator(".text").first).to_be_in_viewport()
    progress.message("one more")
    expect(messages.locator(".text")).to_have_count(51)
    expect(messages.locator(".text").first).to_be_in_viewport()
