"""Lesson "job" in a real browser: whatever happens to page, link or process, the page tells."""

from __future__ import annotations

import contextlib
import re
import subprocess
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from kit.system import as_root
from webdis_progress import Progress

HOSTILE = "</script><img src=x onerror=alert(1)> \N{RIGHT-TO-LEFT OVERRIDE}evil \N{SNOWMAN}"
END_MILLISECONDS = 60_000
# Notes each number that the page is told.
WATCH = """
const told = [];
addEventListener("run-event", ({ detail }) => told.push(detail.seq));
window.numbers = () => told;
"""


@pytest.fixture
def context(visitor):
    made = visitor()
    made.add_init_script(WATCH)
    return made


@pytest.fixture
def page(context):
    return context.new_page()


def start(page, ending="succeeds"):
    page.goto("/job/")
    page.get_by_label(ending).check()
    page.get_by_role("button", name="Start").click()
    expect(page.locator("h1")).to_have_text("A job in the background")


def percent(page):
    return int(page.locator("#percent").inner_text().removesuffix("%").strip() or 0)


def expect_percent_above(page, least):
    page.wait_for_function(
        "least => document.querySelector('run-progress').run?.percent > least",
        arg=least,
        timeout=END_MILLISECONDS,  # a worker may have to be started
    )


def expect_end(page, state):
    expect(page.locator("#status")).to_have_text(state, timeout=END_MILLISECONDS)
    expect(page.locator("#state")).to_have_text("closed, nothing more will come")
    expect(page.get_by_role("button", name="Cancel")).to_have_count(0)


def expect_each_number_once(page):
    numbers = page.evaluate("numbers()")
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    return numbers


@contextlib.contextmanager
def link_cut(instance):
    """Drop every packet between this host and the message server's WebSocket."""
    port = urlsplit(instance["webdis"]["url"]).port or 443
    table = f"inet {instance['name']}-cut"
    rules = "".join(
        f"add chain {table} {hook} {{ type filter hook {hook} priority 0; }}\n"
        f"add rule {table} {hook} ip {address} {instance['address']} tcp {which} {port} drop\n"
        for hook, address, which in (("input", "saddr", "sport"), ("output", "daddr", "dport"))
    )
    subprocess.run(
        as_root(["nft", "-f", "-"]), input=f"add table {table}\n{rules}", text=True, check=True
    )
    try:
        yield
    finally:
        subprocess.run(as_root(["nft", "delete", "table", *table.split()]), check=True)


def test_five_reloads_and_a_second_tab_that_goes_back_and_forward(page, context):
    start(page)
    other = context.new_page()
    other.goto(page.url)
    for _ in range(5):
        expect_percent_above(page, percent(page))
        before = percent(page)
        page.reload()
        expect(page.locator("#state")).to_have_text("connected")
        assert percent(page) >= before
    for _ in range(2):
        other.get_by_role("link", name="webdis-kit").click()
        expect(other.locator("#run")).to_have_count(0)
        other.go_back()
        expect(other.locator("#state")).to_have_text("connected")
    for tab in (page, other):
        expect_end(tab, "done")
        expect(tab.locator("#percent")).to_have_text("100 %")
        expect(tab.locator("#eta")).to_contain_text("took")
        expect_each_number_once(tab)
    page.reload()
    expect_end(page, "done")
    assert page.locator("#messages li").all_inner_texts() == (
        other.locator("#messages li").all_inner_texts()
    )


def test_page_kept_by_the_browser_goes_on_when_it_comes_back(launch, demo):
    # Playwright switches this cache off, as it does not see a load when a page comes out of it.
    browser = launch(whole=True, ignore_default_args=["--disable-back-forward-cache"])
    context = browser.new_context(base_url=demo.url)
    context.add_init_script(WATCH)
    page = context.new_page()
    start(page)
    expect_percent_above(page, 0)
    page.evaluate("addEventListener('pageshow', ({ persisted }) => (window.kept = persisted))")
    page.get_by_role("link", name="webdis-kit").click()
    expect(page.get_by_role("heading", name="Show the progress")).to_be_visible()
    page.go_back(wait_until="commit")
    page.wait_for_function("() => window.kept")
    expect(page.locator("#state")).to_have_text("connected")
    expect_end(page, "done")
    expect_each_number_once(page)
    browser.close()


def test_ten_seconds_offline(page, context, instance):
    start(page)
    expect_percent_above(page, 0)
    with link_cut(instance):
        context.set_offline(True)
        page.wait_for_timeout(10_000)  # the length of the loss is what is tested
        expect(page.locator("#state")).to_have_text(re.compile("disconnected"))
        lost_at = page.evaluate("numbers()")[-1]
        context.set_offline(False)
    expect(page.locator("#state")).to_have_text(re.compile("^(connected|closed)"))
    expect_end(page, "done")
    assert expect_each_number_once(page)[-1] > lost_at


def test_time_left_is_told_while_the_job_runs(page):
    start(page)
    expect(page.locator("#eta")).to_have_text(re.compile(r"about \d+ s left"))
    page.get_by_role("button", name="Cancel").click()
    expect_end(page, "cancelled")
    expect(page.locator("#eta")).not_to_contain_text("left")


def test_cancel_by_keyboard_keeps_the_place(page):
    start(page)
    other = page.context.new_page()
    other.goto(page.url)
    expect_percent_above(page, 0)
    page.get_by_role("button", name="Cancel").focus()
    page.keyboard.press("Enter")
    expect_end(page, "cancelled")
    expect(page.locator("h1")).to_be_focused()
    expect_end(other, "cancelled")
    assert percent(page) < 100


def test_failure_on_demand_is_told_for_people(page):
    page.goto("/job/")
    page.get_by_label("succeeds").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect_end(page, "failed")
    expect(page.locator("#text")).to_contain_text("It failed because of an error in its program")
    expect(page.locator("body")).not_to_contain_text("Traceback")
    page.reload()
    expect_end(page, "failed")
    expect(page.locator("#text")).to_contain_text("It failed because of an error in its program")


def test_killed_worker_is_a_failure_and_not_silence(page, demo):
    start(page)
    expect_percent_above(page, 0)
    demo.kill("demo_app.jobs.worker")
    expect_end(page, "failed")
    expect(page.locator("#text")).to_have_text(
        "It failed because its worker was stopped. Start it again."
    )
    start(page)  # and the next job has a worker
    expect_percent_above(page, 0)
    page.get_by_role("button", name="Cancel").click()
    expect_end(page, "cancelled")


def test_killed_web_server_changes_nothing_for_job_and_page(page, demo):
    start(page)
    expect_percent_above(page, 0)
    demo.kill("demo_app.server.web")
    before = percent(page)
    expect_percent_above(page, before)
    page.reload()
    expect(page.locator("#state")).to_have_text("connected")
    page.get_by_role("button", name="Cancel").click()
    expect_end(page, "cancelled")


def test_cancel_that_does_not_get_through_says_so_and_can_be_repeated(page, context):
    start(page)
    # Before its script runs, the button posts the form, and the browser shows its own error.
    expect(page.locator("#state")).to_have_text("connected")
    context.route("**/cancel", lambda route: route.abort())
    page.get_by_role("button", name="Cancel").click()
    again = page.get_by_role("button", name="Cancel did not get through: try again")
    expect(again).to_be_focused()
    context.unroute("**/cancel")
    again.click()
    expect_end(page, "cancelled")


def test_messages_from_before_the_page_are_shown(page, context):
    answer = context.request.get("/job/")
    token = re.search(r'name="csrf_token" value="([^"]+)"', answer.text())[1]
    answer = context.request.post(
        "/job/", form={"csrf_token": token, "ending": "done"}, headers={"Referer": answer.url}
    )
    cancel = re.search(r'id="cancel"[^>]*action="([^"]+)"', answer.text(), re.DOTALL)[1]
    page.wait_for_timeout(1000)  # nobody looks while the job begins
    page.goto(answer.url)
    expect(page.locator("#messages .text").first).to_have_text("Started")
    context.request.post(cancel, form={"csrf_token": token}, headers={"Referer": answer.url})
    expect_end(page, "cancelled")


def test_hostile_text_is_text_wherever_it_is_shown(page, publisher_redis):
    start(page)
    progress = Progress(publisher_redis, page.locator("#run").get_attribute("channel"))
    progress.message(HOSTILE)
    item = page.locator("#messages .text", has_text="onerror")
    expect(item).to_have_text(HOSTILE)
    page.reload()
    expect(item).to_have_text(HOSTILE)
    progress.failed(HOSTILE)
    expect_end(page, "failed")
    expect(page.locator("#text")).to_have_text(HOSTILE)
    assert page.locator("img").count() == 0
    assert page.locator("#text").evaluate("e => getComputedStyle(e).unicodeBidi") == "isolate"


def test_without_javascript_the_job_runs_and_its_page_tells(visitor):
    page = visitor(java_script_enabled=False).new_page()
    start(page)
    expect(page.locator("#state")).to_contain_text("not connected")
    expect(page.locator("#percent")).to_have_text(re.compile(r"[1-9]\d* %"))  # by itself
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#status")).to_have_text("cancelled", timeout=END_MILLISECONDS)
    expect(page.get_by_role("button", name="Cancel")).to_have_count(0)


@pytest.mark.parametrize(
    ("path", "button"),
    [
        ("/job/", "Start"),
        pytest.param("/audit/", "Start", marks=pytest.mark.machine),
        ("/own/", "Run"),
    ],
)
def test_one_press_is_one_start(page, path, button):
    posts = []

    def hold_back(route):
        if route.request.method != "POST":
            route.continue_()
            return
        posts.append(route.request)
        route.fulfill(status=204)  # the browser stays on the page

    page.route(f"**{path}", hold_back)
    page.goto(path)
    press = page.get_by_role("button", name=button)
    press.click()
    expect(press).to_be_disabled()
    press.click(force=True)
    press.dispatch_event("click")
    assert len(posts) == 1
    page.unroute(f"**{path}")
    page.reload()
    press.click()
    expect(press).to_have_count(0)
    page.go_back()
    expect(press).to_be_enabled()


@pytest.mark.machine
def test_a_result_that_does_not_come_is_said(page):
    page.route("**/result", lambda route: route.abort())
    page.goto("/audit/")
    page.get_by_role("button", name="Start").click()
    expect_end(page, "done")
    expect(page.locator("#result")).to_have_text(
        "The result could not be loaded. Load the page again."
    )
    page.reload()
    expect(page.get_by_role("table")).to_be_hidden()
    page.get_by_text("ports as they should be").click()
    expect(page.get_by_role("table")).to_be_visible()


def test_messages_keep_their_numbers_across_a_reload(page, publisher_redis):
    start(page)
    expect_percent_above(page, 0)
    progress = Progress(publisher_redis, page.locator("#run").get_attribute("channel"))
    for number in range(250):
        progress.message(f"message {number}")

    def numbers():
        expect(page.locator("#messages li", has_text="message 249")).to_be_visible()
        return dict(
            page.locator("#messages li").evaluate_all(
                "items => items.map((e) => [e.querySelector('.text').textContent, e.value])"
            )
        )

    before = numbers()
    page.reload()
    after = numbers()
    shown = before.keys() & {f"message {number}" for number in range(250)} & after.keys()
    assert len(shown) > 100
    assert {text: before[text] for text in shown} == {text: after[text] for text in shown}
    assert after["message 249"] - after["message 248"] >= 1
    page.get_by_role("button", name="Cancel").click()
    expect_end(page, "cancelled")
