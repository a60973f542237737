"""Run in a real browser: the three messages appear, in order, before the page changes."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect, sync_playwright

from demo_app.lessons import STEPS
from demo_app.progress import Progress
from kit.checkout import ROOT

if TYPE_CHECKING:
    from pathlib import Path

START_SECONDS = 30


@pytest.fixture(scope="module")
def demo_url(instance, tmp_path_factory):
    """Start the demo on a free port, as `make demo` does."""
    assert instance["webdis"]["url"]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path_factory.mktemp("demo") / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "demo_app"],
            cwd=ROOT,
            env={**os.environ, "DEMO_PORT": str(port), "DEMO_PAUSE_SECONDS": "1"},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    url = f"http://127.0.0.1:{port}/test_msg"
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()  # loopback
            break
        except OSError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
    yield url
    process.terminate()
    assert process.wait(timeout=20) == 0, log.read_text()


@pytest.fixture(scope="module")
def browser(browser_home):
    program = shutil.which("chromium")
    assert program, "chromium is missing; tests/install.sh installs it"
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=program,
            args=["--no-sandbox"],
            env={**os.environ, "HOME": str(browser_home)},
        )
        yield launched
        launched.close()


@pytest.fixture
def page(browser):
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(30_000)
    yield page
    context.close()


def test_three_messages_appear_in_order_before_the_page_changes(page, demo_url):
    page.goto(demo_url)
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
    page.screenshot(path=_artifact("func_finish.png"))
    assert [text for text, _ in seen] == list(STEPS)
    print(f"first message in the browser {seen[0][1]} ms after it was published")


def test_another_tab_shows_the_messages_too(page, demo_url):
    page.goto(demo_url)
    expect(page.locator("#state")).to_have_text("connected")
    other = page.context.new_page()
    other.goto(demo_url)
    other.get_by_role("button", name="Run").click(no_wait_after=True)
    expect(page.locator("#messages .alert.alert-info")).to_have_text(list(STEPS), timeout=30_000)
    page.screenshot(path=_artifact("test_msg.png"))


def test_hostile_text_is_shown_as_text(page, demo_url, publisher_redis):
    hostile = "</script><img src=x onerror=alert(1)>\N{RIGHT-TO-LEFT OVERRIDE}"
    page.goto(demo_url)
    expect(page.locator("#state")).to_have_text("connected")
    Progress(publisher_redis, "progress:666").message(hostile)
    expect(page.locator("#messages .alert").last).to_have_text(hostile)
    assert page.locator("#messages img").count() == 0


def test_the_page_says_when_the_server_is_away_and_comes_back(page, demo_url, server):
    page.goto(demo_url)
    expect(page.locator("#state")).to_have_text("connected")
    assert server.run("systemctl stop redis").rc == 0
    expect(page.locator("#state")).to_have_text(re.compile("disconnected|connecting"))
    assert server.run("systemctl start redis").rc == 0
    expect(page.locator("#state")).to_have_text("connected", timeout=30_000)


def test_nothing_published_while_webdis_is_away_is_lost_or_doubled(
    page, demo_url, server, publisher_redis
):
    progress = Progress(publisher_redis, "progress:666")
    page.goto(demo_url)
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


def _artifact(name: str) -> Path:
    folder = ROOT / "test-results"
    folder.mkdir(exist_ok=True)
    return folder / name
