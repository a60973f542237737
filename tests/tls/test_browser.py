"""Chromium and the instance's CA, with pictures of both for the tutorial."""

from __future__ import annotations

import re
from contextlib import ExitStack

import pytest
from playwright.sync_api import Error, expect

from kit.checkout import ROOT

PICTURES = ROOT / "test-results"
PICTURES.mkdir(exist_ok=True)
SIZE = {"width": 800, "height": 420}


@pytest.fixture
def page_of(launch):
    """Return a function that opens a page of a Chromium with a home folder, whose CAs it trusts."""
    with ExitStack() as stack:
        yield lambda home: stack.enter_context(launch(home=home, whole=True)).new_page(
            viewport=SIZE
        )


def go(page, url):
    """Go there, and again where an instance that came or went has changed this host's network."""
    while True:
        try:
            return page.goto(url)
        except Error as error:
            if "ERR_NETWORK_CHANGED" not in str(error):
                raise


@pytest.fixture(scope="module")
def demo(start_demo):
    return start_demo()


def test_a_browser_that_trusts_the_ca_gets_through(instance, browser_home, demo, page_of):
    page = page_of(browser_home)
    answer = go(page, f"https://{instance['address']}/")
    assert answer.status == 404
    go(page, f"{demo.url}/post/")
    expect(page.locator("#state")).to_have_text("connected")
    page.screenshot(path=PICTURES / "ca-known.png")


def test_a_browser_that_does_not_refuses(instance, tmp_path, demo, page_of):
    page = page_of(tmp_path)
    with pytest.raises(Error, match="ERR_CERT_AUTHORITY_INVALID"):
        go(page, f"https://{instance['address']}/")
    expect(page.get_by_text("Your connection is not private")).to_be_visible()
    page.screenshot(path=PICTURES / "ca-unknown.png")
    go(page, f"{demo.url}/post/")
    expect(page.locator("#state")).to_have_text(re.compile("^disconnected"))
    go(page, f"{demo.url}/shared/")
    expect(page.locator("#state")).to_have_text(re.compile("^asking every 1 to 2 seconds"))
