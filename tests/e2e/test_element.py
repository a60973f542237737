"""<run-progress> on a page whose policy allows no inline style, against a real Webdis."""

from __future__ import annotations

import json
import re
import secrets
import threading
import time
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.e2e.tabs import LONGEST_TASK_MILLISECONDS, longest_tasks

# What the machine stretches, of hundreds; what the page makes long is long with each message.
UNLUCKY_TASKS = 2
MESSAGES = 10_000
MESSAGES_A_SECOND = 200
SECONDS = 5
PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Runs</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="/element.css">
<main><h1>Runs</h1>{elements}</main>
<script type="module" src="/element.js"></script></html>"""
ELEMENT = """<run-progress label="{label}" url="{url}" channel="{channel}"
  replay="/events/{channel}">
  <p slot="result">The result of {label}</p></run-progress>"""
STYLE = """html { color-scheme: light dark; font: 16px sans-serif }
body { margin: 1rem; background: Canvas; color: CanvasText }"""
SCRIPT = """
import { defineRunProgress } from "/static/webdis-progress/element.js";
defineRunProgress();
"""


class Channel:
    """A channel as PROTOCOL.md has it, kept here; its messages go through Redis and Webdis."""

    def __init__(self, redis):
        self.name = f"progress:{secrets.token_hex(16)}"
        self.events = []
        self.status = 200  # what a page is answered that asks
        self.asked = 0
        self._redis = redis
        self._lock = threading.Lock()

    def store(self, text="", kind="message", **fields):
        with self._lock:
            event = {
                "seq": len(self.events) + 1,
                "epoch": "one",
                "ts": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                "kind": kind,
                "text": text,
                "current": None,
                "total": None,
                **fields,
            }
            self.events.append(event)
        return event

    def publish(self, text="", kind="message", **fields):
        self._redis.publish(self.name, json.dumps(self.store(text, kind, **fields)))

    def answer(self, after):
        """Answer a page that joins (``after`` is nothing) or goes on."""
        with self._lock:
            events = list(self.events)
        answer = {"epoch": "one" if events else "", "seq": len(events), "cancel": False}
        if after is not None:
            return {**answer, "events": events[after : after + 1000]}
        bars = {event.get("task"): event for event in events}
        run = bars.pop(None, None)
        tasks = sorted(bars.values(), key=lambda event: event["seq"])
        return {**answer, "events": events[-100:], "state": {"run": run, "tasks": tasks}}


@pytest.fixture
def channel(publisher_redis):
    return Channel(publisher_redis)


@pytest.fixture
def open_page(visitor, demo, instance):
    """Return a function that opens a page with an element for each channel."""
    server = urlsplit(instance["webdis"]["url"])
    policy = (
        "default-src 'none'; script-src 'self'; style-src 'self'; "
        f"connect-src 'self' {server.scheme}://{server.netloc}"
    )

    def open_(*channels, after=None, permissions=(), **options):
        # A page that a test answers counts as one from outside, and Webdis may be on loopback.
        context = visitor(permissions=["local-network-access", *permissions], **options)
        by_name = {channel.name: channel for channel in channels}
        elements = "".join(
            ELEMENT.format(label=f"Run {at}", url=instance["webdis"]["url"], channel=channel.name)
            for at, channel in enumerate(channels, 1)
        )
        if after is not None:
            elements = elements.replace("<run-progress", f'<run-progress after="{after}"')
        files = {
            "element": ("text/html", PAGE.format(elements=elements)),
            "element.css": ("text/css", STYLE),
            "element.js": ("text/javascript", SCRIPT),
        }

        def serve(route):
            kind, body = files[urlsplit(route.request.url).path.removeprefix("/")]
            headers = {"Content-Security-Policy": policy, "Content-Type": kind}
            route.fulfill(body=body, headers=headers)

        def replay(route):
            address = urlsplit(route.request.url)
            after = parse_qs(address.query).get("after")
            channel = by_name[address.path.removeprefix("/events/")]
            channel.asked += 1
            route.fulfill(status=channel.status, json=channel.answer(after and int(after[0])))

        context.route(re.compile(r"//[^/]+/element(\.\w+)?$"), serve)
        context.route("**/events/**", replay)
        page = context.new_page()
        page.goto(f"{demo.url}/element")
        return page

    return open_


def feed_tasks(channel):
    channel.store("Started", "started", current=0, total=4)
    for name, label in (("core-1", "Core router 1"), ("core-2", "Core router 2"), ("edge-1", "")):
        channel.store("Reading", "progress", task=name, label=label or name, current=1, total=4)
    channel.store("Nothing to do", "skipped", task="core-2", label="Core router 2")
    channel.store("Refused the login", "failed", task="edge-1", level="error", current=1, total=4)
    channel.store(
        "Slow answer", task="core-1", label="Core router 1", level="warning", current=1, total=4
    )
    channel.store("", "progress", current=2, total=4)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_tasks_are_shown_failures_first_and_all_is_accessible(open_page, channel, results, scheme):
    feed_tasks(channel)
    page = open_page(channel, color_scheme=scheme, reduced_motion="reduce")
    tasks = page.get_by_role("list", name="Tasks").get_by_role("listitem")
    expect(tasks).to_contain_text(["edge-1", "Core router 1", "Core router 2"])
    expect(tasks.first).to_contain_text("Refused the login")
    expect(page.locator(".counts")).to_have_text("1 failed, 1 running, 1 skipped")
    expect(page.get_by_role("progressbar", name="Run 1")).to_have_attribute("aria-valuenow", "50")
    bar = page.get_by_role("progressbar", name="Core router 1")
    expect(bar).to_have_attribute("aria-valuenow", "25")
    expect(page.get_by_text("The result of Run 1")).to_be_visible()
    found = Axe().run(page)
    assert [
        node["failureSummary"] for kind in found.response["violations"] for node in kind["nodes"]
    ] == []
    for name, size in (("wide", (1100, 900)), ("phone", (360, 900))):
        page.set_viewport_size({"width": size[0], "height": size[1]})
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
        page.screenshot(path=results / f"element-{scheme}-{name}.png")
    channel.publish("Again", "started", task="edge-1")
    expect(page.locator(".counts")).to_have_text("2 running, 1 skipped")
    channel.publish("Stopped", "cancelled")
    expect(page.locator(".counts")).to_have_text("2 cut off, 1 skipped")
    expect(page.locator("#eta")).to_contain_text("took")


@pytest.mark.parametrize(("motion", "moving"), [("no-preference", 1), ("reduce", 0)])
def test_who_wants_no_motion_sees_none(open_page, channel, motion, moving):
    channel.store("Started", "started")  # of how many steps is not known
    page = open_page(channel, reduced_motion=motion)
    expect(page.locator("run-progress .bar.unknown")).to_be_visible()
    animations = "document.querySelector('run-progress').shadowRoot.getAnimations().length"
    assert page.evaluate(animations) == moving
    page.evaluate("document.querySelector('run-progress').pause()")


def test_two_runs_share_one_socket(open_page, channel, publisher_redis):
    other = Channel(publisher_redis)
    page = open_page(channel, other)
    expect(page.locator("#state")).to_have_text(["connected", "connected"])
    sockets = []
    page.on("websocket", lambda socket: sockets.append(socket))  # noqa: PLW0108  # Playwright looks into functions
    page.reload()
    expect(page.locator("#state")).to_have_text(["connected", "connected"])
    other.publish("only here")
    expect(page.locator("#messages")).to_have_text(["", re.compile("only here")])
    assert len(sockets) == 1


def test_a_pause_outlasts_what_is_done_to_the_element(open_page, channel):
    page = open_page(channel)
    expect(page.locator("#state")).to_have_text("connected")
    paused = page.evaluate("""async () => {
      const element = document.querySelector("run-progress");
      element.pause();
      element.setAttribute("label", "Another");
      document.body.append(element);
      await null;
      return element.run.connection;
    }""")
    assert paused == "paused"
    channel.publish("meanwhile")
    page.evaluate("document.querySelector('run-progress').resume()")
    expect(page.locator("#messages")).to_contain_text("meanwhile")


def test_a_replay_that_is_set_before_the_element_is_defined_gives_way_to_the_next(
    open_page, channel
):
    channel.store("before")
    page = open_page(channel)
    page.evaluate("""async () => {
      const first = document.querySelector("run-progress");
      const late = document.createElement("late-progress");
      for (const name of ["url", "channel"]) late.setAttribute(name, first.getAttribute(name));
      window.ask = () => fetch(first.replay);
      late.replay = window.ask;
      first.replaceWith(late);
      const { RunProgress } = await import("/static/webdis-progress/element.js");
      customElements.define("late-progress", class extends RunProgress {});
    }""")
    expect(page.locator("late-progress #messages")).to_contain_text("before")
    page.evaluate("""() => {
      document.querySelector("late-progress").replay = () => ask((window.again = true));
    }""")
    page.wait_for_function("() => window.again")


def test_filter_copy_and_download_take_what_is_shown(open_page, channel):
    feed_tasks(channel)
    page = open_page(channel, permissions=["clipboard-read", "clipboard-write"])
    texts = page.locator("#messages .text")
    expect(texts).to_have_count(7)
    page.get_by_label("Level").select_option("warning")
    expect(texts).to_have_text(["Refused the login", "Slow answer"])
    page.get_by_label("Filter messages").fill("core ROUTER")
    expect(texts).to_have_text(["Slow answer"])
    channel.publish("Still slow", task="core-1", label="Core router 1", level="warning")
    channel.publish("of another", task="core-1", label="Core router 1")
    expect(texts).to_have_text(["Slow answer", "Still slow"])
    line = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d warning Core router 1: "
    expected = re.compile(f"{line}Slow answer\n{line}Still slow\n")
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert expected.fullmatch(page.evaluate("navigator.clipboard.readText()"))
    # A page over plain HTTP has no clipboard of that kind.
    page.evaluate(
        "navigator.clipboard.writeText('').then(() => { delete Navigator.prototype.clipboard })"
    )
    expect(page.get_by_role("button", name="Copy", exact=True)).to_be_visible()
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    page.get_by_label("Filter messages").fill("")
    page.get_by_label("Filter messages").focus()
    page.keyboard.press("Control+V")
    expect(page.get_by_label("Filter messages")).to_have_value(re.compile("Slow answer"))
    expect(page.locator("#messages")).to_have_attribute("data-empty", re.compile("filter"))
    page.get_by_label("Filter messages").fill("core router")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download").click()
    assert download.value.suggested_filename == "Run-1.log"
    assert expected.fullmatch(download.value.path().read_text())


def test_a_level_that_is_not_known_is_shown_as_info(open_page, channel):
    channel.store("Of another publisher", level="notice")
    channel.store("Of another one", level=None)
    channel.store("Detail", level="debug")
    page = open_page(channel)
    texts = page.locator("#messages .text")
    expect(texts).to_have_count(3)
    page.get_by_label("Level").select_option("info")
    expect(page.locator("#messages [data-level=info] .text")).to_have_text(
        ["Of another publisher", "Of another one"]
    )
    expect(texts).to_have_count(2)


def test_each_tenth_is_announced_and_not_each_step(open_page, channel):
    channel.store("Started", "started", current=0, total=1000)
    page = open_page(channel)
    expect(page.locator("#state")).to_have_text("connected")
    page.evaluate(
        """() => {
          const root = document.querySelector("run-progress").shadowRoot;
          window.announced = [];
          new MutationObserver(() => announced.push(root.getElementById("announcer").textContent))
            .observe(root.getElementById("announcer"), { childList: true });
        }"""
    )
    for step in range(1, 100):
        channel.publish(f"Step {step}", "progress", current=step, total=1000)
    expect(page.locator("#percent")).to_have_text("9 %")
    assert page.evaluate("announced") == []
    channel.publish("Step 100", "progress", current=100, total=1000)
    page.wait_for_function("() => announced.length")
    channel.publish("Ready", "done", current=1000, total=1000)
    page.wait_for_function("() => announced.length > 1")
    assert page.evaluate("announced") == ["10 %, Step 100", "done: Ready"]


def test_without_a_websocket_the_page_is_not_blank(open_page, channel):
    feed_tasks(channel)
    page = open_page(channel)
    expect(page.locator("#state")).to_have_text("connected")
    blocked = [True]

    def meet(socket):
        if blocked:
            socket.close()
        else:
            socket.connect_to_server()

    page.context.route_web_socket(re.compile(r"\.json$"), meet)
    page.reload()
    expect(page.locator("#state")).to_contain_text("asking every 1 to 2 seconds")
    channel.store("Not pushed", "progress", current=3, total=4)
    expect(page.locator("#text")).to_have_text("Not pushed")
    expect(page.locator("#percent")).to_have_text("75 %")
    blocked.clear()
    expect(page.locator("#state")).to_have_text("connected", timeout=10_000)


def test_an_answer_that_will_not_change_ends_it_and_says_why(open_page, publisher_redis):
    said = {
        401: "closed, you have to log in: do so and load this page again",
        403: "closed, you may not see this run",
        404: "closed, there is no such run",
        410: "closed, this run is no longer kept",
        400: "closed, this page may not listen any more: load it again",
        503: "disconnected, trying again",
    }
    channels = []
    for status in said:
        channels.append(Channel(publisher_redis))
        channels[-1].status = status
    page = open_page(*channels)
    states = page.locator("#state")
    expect(states).to_have_text([*said.values()], timeout=30_000)
    *refused, away = channels
    while away.asked < 4:
        page.wait_for_timeout(50)
    assert [channel.asked for channel in refused] == [1] * 5
    away.status = 200
    expect(states.last).to_have_text("connected", timeout=60_000)
    for channel in channels:
        channel.publish("One more")
    expect(page.locator("#text")).to_have_text(["", "", "", "", "", "One more"], timeout=30_000)


def test_a_run_without_a_beginning_says_the_time_that_is_left(open_page, channel):
    page = open_page(channel, after=0)
    expect(page.locator("#state")).to_have_text("connected")
    for step in (1, 2):
        channel.publish(
            kind="progress", current=step, total=9, ts=f"2026-01-31T00:00:0{step * 4}.000Z"
        )
    expect(page.locator("#eta")).to_have_text(re.compile("^about .* left$"))


def test_ten_thousand_messages_stay_smooth(open_page, channel, results):
    for number in range(MESSAGES):
        channel.store(
            f"Message {number} says something of an ordinary length", task=f"task-{number % 50}"
        )
    page = open_page(channel, after=0, reduced_motion="no-preference")
    page.wait_for_function(f"() => document.querySelector('run-progress').run.seq === {MESSAGES}")
    expect(page.locator("#state")).to_have_text("connected")

    def talk():
        start = time.monotonic()
        for number in range(MESSAGES_A_SECOND * SECONDS):
            time.sleep(max(0, start + number / MESSAGES_A_SECOND - time.monotonic()))
            channel.publish(
                f"Live message {number}", "progress", task=f"task-{number % 50}", current=1, total=2
            )

    talker = threading.Thread(target=talk)
    last = MESSAGES + MESSAGES_A_SECOND * SECONDS
    with longest_tasks(page) as found:
        talker.start()
        page.locator("#messages").hover()
        for _ in range(SECONDS):  # the reader reads meanwhile
            page.mouse.wheel(0, -4000)
            page.wait_for_timeout(500)
        talker.join()
        page.wait_for_function(f"() => document.querySelector('run-progress').run.seq === {last}")
    longest = found[UNLUCKY_TASKS]
    (results / "element.json").write_text(json.dumps({"longest_task_milliseconds": longest}))
    print(f"longest task: {longest} ms")
    nodes = page.evaluate(
        "document.querySelector('run-progress').shadowRoot.querySelectorAll('*').length"
    )
    assert nodes < 2000
    assert longest <= LONGEST_TASK_MILLISECONDS


def test_earlier_messages_are_a_scroll_away(open_page, channel):
    for number in range(1000):
        channel.store(f"Message {number}")
    page = open_page(channel, after=0)

    def shown(text):
        return page.locator("#messages").get_by_text(text, exact=True)

    expect(shown("Message 999")).to_be_in_viewport()
    page.locator("#messages").hover()
    deadline = time.monotonic() + 60
    while not shown("Message 0").count() or page.locator("#messages").evaluate("e => e.scrollTop"):
        assert time.monotonic() < deadline
        page.mouse.wheel(0, -2000)
        page.wait_for_timeout(50)
    expect(shown("Message 0")).to_be_in_viewport()
    channel.publish("One more")
    expect(shown("Message 0")).to_be_in_viewport()
    assert page.locator("#messages li").count() <= 200
    while not shown("One more").count():
        assert time.monotonic() < deadline
        page.mouse.wheel(0, 2000)
        page.wait_for_timeout(50)
    page.locator("#messages").press("End")
    expect(shown("One more")).to_be_in_viewport()
    channel.publish("And another")
    expect(shown("And another")).to_be_in_viewport()
