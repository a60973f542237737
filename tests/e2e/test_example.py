"""The example application runs, with the subscriber copied beside it as a reader would."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from urllib.parse import quote

import pytest
from playwright.sync_api import expect

from kit.checkout import KIT_DIR, ROOT
from tests.demo_server import free_port
from webdis_progress import events_after

DEVICES = ["core-1", "<img src=x onerror=alert(1)>", "edge-1"]


@pytest.fixture
def application(tmp_path, instance):
    """Start the example on a free port and return its address."""
    shutil.copytree(ROOT / "docs/examples", tmp_path, dirs_exist_ok=True)
    # A reader puts names of their own there; one of them is hostile.
    program = tmp_path / "app.py"
    before, devices, after = re.split(
        r"^(    devices = .*)$", program.read_text(), flags=re.MULTILINE
    )
    assert "core-1" in devices
    program.write_text(f"{before}    devices = {DEVICES!r}{after}")
    shutil.copy(ROOT / "clients/javascript/src/progress.js", tmp_path / "static")
    port = free_port()
    entry = instance["redis"]
    password = quote((KIT_DIR / "secrets/redis_publisher").read_text().strip())
    scheme, options = "redis", ""
    if instance["tls"]:
        scheme, options = "rediss", f"?ssl_ca_certs={KIT_DIR / 'tls/ca.pem'}"
    process = subprocess.Popen(
        [sys.executable, "-m", "flask", "--app", "app", "run", "--port", str(port)],
        cwd=tmp_path,
        env={
            **os.environ,
            "REDIS_URL": f"{scheme}://{entry['username']}:{password}@{entry['host']}:{entry['port']}{options}",
            "WEBDIS_URL": instance["webdis"]["url"],
            "SECRET_KEY": "of this test",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    for line in process.stdout:
        if "Running on" in line:
            break
    assert process.poll() is None
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    process.communicate(timeout=30)


@pytest.fixture
def visitor(browser, application):
    """Return a function that makes a visitor with a session of their own."""
    contexts = []

    def visit():
        contexts.append(browser.new_context(base_url=application))
        return contexts[-1]

    yield visit
    for context in contexts:
        context.close()


def start(page):
    """Start the function; return the channel that the page is then on."""
    page.goto("/")
    before = page.locator("#messages").get_attribute("data-channel")
    page.get_by_role("button", name="Run").click()
    expect(page.locator("#messages")).not_to_have_attribute("data-channel", before)
    return page.locator("#messages").get_attribute("data-channel")


def expect_one_run(page):
    """Expect all messages of one run, once, in order, and each as text."""
    expected = ["Started", *(f"Reading {device}" for device in DEVICES), "Done"]
    expect(page.locator("#messages li")).to_have_text(expected, timeout=30_000)
    assert page.locator("#messages *:not(li)").count() == 0


def test_example_shows_what_its_function_says_in_each_tab_also_later(visitor):
    context = visitor()
    page = context.new_page()
    start(page)
    tab = context.new_page()
    tab.goto("/")
    for one in (page, tab):
        expect_one_run(one)
    tab.reload()
    expect_one_run(tab)


def test_each_visitor_and_each_run_has_messages_of_its_own(visitor, publisher_redis):
    one, two = visitor(), visitor()
    page, other = one.new_page(), two.new_page()
    channels = [start(page), start(other)]
    for shown in (page, other):
        expect_one_run(shown)
    channels.append(start(page))
    expect_one_run(page)
    assert len(set(channels)) == len(channels)
    assert all(re.fullmatch(r"progress:[0-9a-f]{32}", channel) for channel in channels)
    for who, channel in ((one, channels[2]), (two, channels[1])):
        assert who.request.get("/events").json()["events"] == events_after(
            publisher_redis, channel, 0
        )
    assert visitor().request.get("/events").status == 403
