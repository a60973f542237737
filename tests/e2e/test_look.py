"""What people see of the pages: nothing jumps, little is loaded, and the start page is alive."""

from __future__ import annotations

import json
import re

import pytest
from playwright.sync_api import expect

from demo_app.jobs.tasks import SAMPLE_STEPS
from kit.checkout import ROOT
from tests.demo_server import eventually
from tests.e2e.looks import PHONE
from tests.e2e.tabs import LONGEST_TASK_MILLISECONDS, longest_tasks, run_in_another_tab

# Bytes and requests of the start page, with its live run and all scripts.
MOST_KIBIBYTES = 110
MOST_REQUESTS = 12
MOST_CSS_BYTES = 15 * 1024
SIZES = {"wide": {"width": 1280, "height": 800}, "phone": PHONE}
# Whatever moves though nobody has pressed anything.
WATCH = """
window.shifts = [];
new PerformanceObserver((list) => {
  for (const { value, hadRecentInput, sources } of list.getEntries())
    if (!hadRecentInput)
      shifts.push(`${value}: ${sources.map(({ node, previousRect: { x, y }, currentRect }) =>
        `${node?.nodeName} ${node?.id} ${x},${y} to ${currentRect.x},${currentRect.y}`)}`);
}).observe({ type: "layout-shift", buffered: true });
"""

# Write a page as a slow line or a busy machine shows it: tag by tag, and drawn after each.
IN_PIECES = """async (html) => {
  const drawn = () => new Promise(requestAnimationFrame);
  const start = html.indexOf("<body>");
  shifts.length = 0;
  document.open();
  document.write(html.slice(0, start));
  for (const piece of html.slice(start).split(/(?<=>)(?=[^])/)) {
    document.write(piece);
    await drawn();
  }
  document.close();
  await drawn();
  return shifts;
}"""


@pytest.fixture
def open_page(visitor):
    def open_(path, **options):
        context = visitor(reduced_motion="no-preference", **options)
        context.add_init_script(WATCH)
        page = context.new_page()
        page.goto(path)
        return page

    return open_


@pytest.mark.appearance
def test_the_style_of_all_pages_is_small():
    files = list((ROOT / "demo_app/static").glob("*.css"))
    assert files
    assert sum(file.stat().st_size for file in files) <= MOST_CSS_BYTES


def test_the_start_page_shows_a_run_by_itself(open_page):
    page = open_page("/")
    expect(page.locator("#sample #percent")).to_have_text(re.compile("[1-9]"))
    expect(page.get_by_role("progressbar", name="core-1")).to_be_visible()
    expect(page.locator("#sample")).to_have_attribute("state", "done", timeout=60_000)
    numbers = page.locator("#numbers li").all_inner_texts()
    assert numbers == [str(number) for number in range(1, len(numbers) + 1)]
    assert page.locator("#numbers [data-way=pushed]").count()
    said = page.locator("#sample").evaluate(
        "({ run }) => run.messages.map(({ task, text }) => task ? `${task} ${text}` : text)"
    )
    for device in SAMPLE_STEPS:
        assert f"Reading {device}" not in said[said.index(f"{device} Read") :]
    # It starts by itself once a session, and then when it is told to.
    page.reload()
    expect(page.locator("#sample")).to_have_attribute("state", "done")
    expect(page.locator("#numbers [data-way=asked]")).to_have_count(len(numbers))
    page.get_by_role("button", name="Run it again").click()
    expect(page.locator("#sample")).to_have_attribute("state", "running")


def test_what_was_said_while_the_plug_was_pulled_is_asked_for(open_page):
    page = open_page("/")
    expect(page.locator("#numbers [data-way=pushed]")).not_to_have_count(0)
    page.get_by_role("button", name="Disconnect this page").click()
    expect(page.locator("#sample #state")).to_contain_text("paused")
    before = page.locator("#numbers li").count()
    replay = page.locator("#sample").get_attribute("replay")
    eventually(
        lambda: len(page.request.get(f"{replay}?after={before}").json()) >= 4, "it says no more"
    )
    assert page.locator("#numbers li").count() == before
    page.get_by_role("button", name="Connect it again").click()
    asked = page.locator(f"#numbers li:nth-child(n + {before + 1}):nth-child(-n + {before + 4})")
    expect(asked).to_have_count(4)
    assert asked.evaluate_all("cells => cells.map((cell) => cell.dataset.way)") == ["asked"] * 4
    expect(page.locator("#sample")).to_have_attribute("state", "done", timeout=60_000)
    numbers = page.locator("#numbers li").all_inner_texts()
    assert numbers == [str(number) for number in range(1, len(numbers) + 1)]


def test_a_start_that_does_not_get_through_says_so_and_can_be_repeated(open_page):
    page = open_page("/")
    expect(page.locator("#sample")).to_have_attribute("state", "done", timeout=60_000)
    page.route("**/", lambda route: route.abort())
    page.get_by_role("button", name="Run it again").click()
    again = page.get_by_role("button", name="It did not start: try again")
    expect(again).to_be_visible()
    page.unroute("**/")
    again.click()
    expect(page.locator("#sample")).to_have_attribute("state", "running")


def test_without_javascript_the_start_page_runs_too(visitor):
    page = visitor(java_script_enabled=False).new_page()
    page.goto("/")
    page.get_by_role("button", name="Start it").click()
    expect(page.locator("#live .state")).to_be_visible()
    expect(page.get_by_role("button", name="Run it again")).to_be_visible()


@pytest.mark.appearance
@pytest.mark.parametrize("size", SIZES)
def test_nothing_moves_while_messages_come(open_page, size):
    page = open_page("/", viewport=SIZES[size])
    expect(page.locator("#sample")).to_have_attribute("state", "done", timeout=60_000)
    assert page.evaluate("shifts") == []
    for path in ("/shared/", "/post/"):
        page.goto(path)
        expect(page.locator("#state")).to_have_text("connected")
        with run_in_another_tab(page, path) as tab:
            expect(tab.locator("h1")).to_have_text("The function has finished")
            expect(page.locator("#messages li")).to_have_count(3)
            assert (path, page.evaluate("shifts")) == (path, [])
            assert (f"{path}, finished", tab.evaluate("shifts")) == (f"{path}, finished", [])
    page.goto("/job/")
    page.get_by_label("fails").check()
    page.get_by_role("button", name="Start").click()
    expect(page.locator("#status")).to_have_text("failed", timeout=60_000)
    assert page.evaluate("shifts") == []


@pytest.mark.appearance
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("path", ["/", "/shared/", "/no-such-page"])
def test_nothing_moves_while_a_page_comes_in_pieces(open_page, size, path):
    page = open_page("/", viewport=SIZES[size])
    html = page.request.get(path).text()
    assert page.evaluate(IN_PIECES, html) == []


@pytest.mark.appearance
def test_the_start_page_is_light(visitor, results):
    def look():
        context = visitor(reduced_motion="no-preference")
        page = context.new_page()
        network = context.new_cdp_session(page)
        network.send("Network.enable")
        sizes = []
        network.on(
            "Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"])
        )
        with longest_tasks(page) as longest:
            page.goto("/")
            expect(page.locator("#sample #percent")).to_have_text(re.compile("[1-9]"))
        return sizes, longest[0]

    looks = [look() for _ in range(3)]
    # What the machine stretches, it does not stretch each time: a page that waits for its
    # WebSocket asks for what it misses meanwhile.
    found = {
        "kibibytes": min(round(sum(sizes) / 1024, 1) for sizes, _ in looks),
        "requests": min(len(sizes) for sizes, _ in looks),
        "longest_task_milliseconds": min(longest for _, longest in looks),
    }
    (results / "start-page.json").write_text(json.dumps(found))
    print(found)
    assert found["kibibytes"] <= MOST_KIBIBYTES
    assert found["requests"] <= MOST_REQUESTS
    assert found["longest_task_milliseconds"] <= LONGEST_TASK_MILLISECONDS
