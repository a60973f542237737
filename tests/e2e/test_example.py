"""The example application runs, with the subscriber copied beside it as a reader would."""

from __future__ import annotations

import re
from urllib.parse import quote, urlsplit

import pytest
from playwright.sync_api import expect

from kit.checkout import KIT_DIR, secret
from tests.example_app import DEVICES, copy_examples, running
from webdis_progress import events_after


@pytest.fixture
def application(tmp_path, instance):
    """Start the example on a free port and return its address."""
    copy_examples(tmp_path)
    entry = instance["redis"]
    password = quote(secret("redis_publisher"))
    scheme, options = "redis", ""
    if instance["tls"]:
        scheme, options = "rediss", f"?ssl_ca_certs={KIT_DIR / 'tls/ca.pem'}"
    address = f"{entry['username']}:{password}@{entry['host']}:{entry['port']}{options}"
    environment = {"REDIS_URL": f"{scheme}://{address}", "WEBDIS_URL": instance["webdis"]["url"]}
    with running(tmp_path, "app", **environment) as url:
        yield url


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
    """Start the function; return the path of the run that the page then shows."""
    page.goto("/")
    page.get_by_role("button", name="Run").click()
    page.wait_for_url("**/runs/*")
    return urlsplit(page.url).path


def expect_one_run(page):
    """Expect all messages of one run, once, in order, and each as text."""
    expected = ["Started", *(f"Reading {device}" for device in DEVICES), "Done"]
    expect(page.locator("#run p")).to_have_text(expected, timeout=30_000)
    assert page.locator("#run *:not(p)").count() == 0


def test_example_shows_what_its_function_says_in_each_tab_also_later(visitor):
    context = visitor()
    page = context.new_page()
    path = start(page)
    tab = context.new_page()
    tab.goto(path)
    for one in (page, tab):
        expect_one_run(one)
    tab.reload()
    expect_one_run(tab)


def test_each_tab_has_the_run_that_it_started(visitor, publisher_redis):
    context = visitor()
    tabs = [context.new_page() for _ in range(2)]
    paths = [start(tab) for tab in tabs]
    assert len(set(paths)) == len(paths)
    for tab, path in zip(tabs, paths, strict=True):
        expect_one_run(tab)
        tab.reload()
        expect_one_run(tab)
        run = path.removeprefix("/runs/")
        assert re.fullmatch(r"[0-9a-f]{32}\.[\w-]+", run)
        found = context.request.get(f"{path}/events").json()["events"]
        assert found == events_after(publisher_redis, f"progress:{run}", 0)


def test_a_run_is_for_who_started_it(visitor):
    page = visitor().new_page()
    path = start(page)
    stranger = visitor().request
    for address in (path, f"{path}/events", "/runs/nonsense", f"/runs/{'0' * 32}.x/events"):
        assert stranger.get(address).status == 404, address
    for after in ("-5", "x", "9" * 16, "9" * 5000, "²", ""):
        assert page.request.get(f"{path}/events", params={"after": after}).status == 400, after


def test_a_strangers_page_does_not_press_the_button(visitor):
    assert visitor().request.post("/runs").status == 400


def test_runs_that_are_started_at_the_same_time_are_all_their_users(visitor):
    page = visitor().new_page()
    page.goto("/")
    statuses = page.evaluate(
        """async () => {
          const body = () => new FormData(document.querySelector("form"));
          const start = () => fetch("/runs", { method: "POST", body: body() });
          const started = await Promise.all([...Array(6)].map(start));
          return Promise.all(started.map(async ({ url }) => (await fetch(url)).status));
        }"""
    )
    assert statuses == [200] * 6
