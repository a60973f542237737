"""The lesson "devices" in a Chromium: live rows, reload, a second and a late page, pictures."""

from __future__ import annotations

import itertools
import json
import math
import re

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import visitor  # noqa: F401  # a fixture
from tests.e2e.looks import PHONE, PICTURES, look_at

ENDED = re.compile("done|failed|cancelled")


@pytest.fixture(scope="module")
def demo(start_demo):
    """Start a demo that waits for a router until the test has seen it wait."""
    return start_demo(DEMO_DEVICES_CONNECT_SECONDS=60)


@pytest.fixture
def context(visitor):  # noqa: F811  # the fixture
    return visitor(viewport={"width": 960, "height": 900})


def start(context, job="Check:"):
    page = context.new_page()
    page.goto("/devices/")
    page.get_by_role("radio", name=job).check()
    page.get_by_role("button", name="Start").click()
    page.wait_for_url(re.compile("/devices/[0-9a-f]{32}$"))
    return page


def bar(page, name):
    """Return the bar of a device while the run goes on."""
    return page.locator("run-progress li[part=task]", has=page.get_by_text(name, exact=True))


def row(page, name):
    """Return what became of a device."""
    return page.locator(f'tbody[data-device="{name}"]')


def rows(page):
    """Return state and text of each device, as the page shows them at the end."""
    expect(page.get_by_role("link", name="JSON")).to_be_visible()  # the page has asked for them
    return page.locator("tbody[data-device]").evaluate_all(
        "rows => Object.fromEntries(rows.map(row => [row.dataset.device,"
        " [row.dataset.state, row.querySelector('.text').textContent.trim()]]))"
    )


def test_rows_and_picture_follow_a_run_to_its_end_on_each_page(context, lab):
    lab.fault("r2", "hang")
    page = start(context)
    expect(bar(page, "r1")).to_have_attribute("data-state", "done", timeout=30_000)
    expect(page.locator('g[data-device="r1"]')).to_have_attribute("data-state", "done")
    two = bar(page, "r2")
    expect(two).to_have_attribute("data-state", "running")
    expect(two.locator(".text")).to_have_text("connecting")
    expect(page.locator('g[data-device="r2"]')).to_have_attribute("data-state", "running")
    tab, reloaded = context.new_page(), context.new_page()
    tab.goto(page.url)
    reloaded.goto(page.url)
    reloaded.reload()
    for one in (tab, reloaded):
        expect(bar(one, "r1")).to_have_attribute("data-state", "done")
        expect(bar(one, "r2")).to_have_attribute("data-state", "running")
    lab.fault("r2", "refuse")  # ends the connection, and the next one is refused
    for one in (page, tab, reloaded):
        expect(one.locator("#status")).to_have_text("failed", timeout=40_000)
    late = context.new_page()
    late.goto(page.url)
    # The server has drawn it `ok`; the run's own word for it comes with the last messages.
    expect(late.locator('g[data-device="r1"]')).to_have_attribute("data-state", "done")
    assert rows(late) == rows(page) == rows(tab) == rows(reloaded)

    assert next(iter(rows(page))) == "r2", "failures come first"
    assert set(rows(page)) == set(lab.routers)
    # The last attempt may have come while its SSH started again.
    ended = re.compile("^(it refuses the key|the connection was lost while connecting)$")
    expect(row(page, "r2").locator(".text")).to_have_text(ended)
    expect(page.locator('g[data-device="r2"]')).to_have_attribute("data-state", "failed")
    row(page, "r2").get_by_text("Log").click()
    expect(row(page, "r2").locator(".log li").first).to_have_text("attempt 1")
    lab.fault("r2", "none")
    page.get_by_role("button", name="Retry r2").click()
    expect(page.locator("#status")).to_have_text("done", timeout=40_000)


def test_links_have_the_colour_of_what_both_ends_see(context, lab):
    other = lab.routers["r1"]["interfaces"][0]["neighbor"]
    lab.fault("r1", "link-down")
    lab.eventually(lambda: "to-r1" not in up_links(lab, other), f"{other} sees r1", 15)
    page = start(context)
    down = page.locator(f'line[data-ends="{" ".join(sorted(("r1", other)))}"]')
    for one in (page, page):
        expect(one.locator("#status")).to_have_text("done", timeout=40_000)
        expect(down).to_have_attribute("data-state", "failed")
        states = page.locator("line").evaluate_all("lines => lines.map(e => e.dataset.state)")
        assert sorted(set(states)) == ["failed", "ok"]
        assert states.count("failed") == 1
        page.reload()  # then the server has drawn it


def up_links(lab, router):
    answer = json.loads(lab.show(router, "show ip ospf neighbor json"))["neighbors"]
    return {entry["ifaceName"].split(":")[0] for entries in answer.values() for entry in entries}


def test_a_playbook_has_a_bar_for_each_device_and_a_row_at_the_end(context, lab):
    lab.fault("r2", "refuse")
    page = start(context, "Check by Ansible")
    expect(bar(page, "r1").locator(".text")).to_have_text(
        re.compile("Read the|Compare the"), timeout=40_000
    )
    expect(page.locator("#status")).to_have_text("failed", timeout=90_000)
    expect(page.locator('g[data-device="r2"]')).to_have_attribute("data-state", "failed")
    found = rows(page)
    assert set(found) == set(lab.routers)
    assert found.pop("r2") == ["failed", "Read the neighbours: unreachable"]
    assert {state for state, _ in found.values()} == {"ok"}


def test_a_page_without_javascript_shows_all(visitor, lab):  # noqa: F811  # the fixture
    page = visitor(java_script_enabled=False).new_page()
    page.goto("/devices/")
    page.get_by_role("button", name="Start").click()
    expect(page.locator("#status")).to_have_text(ENDED, timeout=60_000)
    assert set(rows(page)) == set(lab.routers)


def test_pages_are_readable_by_everybody(context, lab):
    for router, kind in (("r2", "refuse"), ("r3", "truncate")):
        lab.fault(router, kind)
    page = start(context, "Change:")
    expect(page.locator("#status")).to_have_text("failed", timeout=60_000)
    row(page, "r1").get_by_text("Log").click()
    expect(row(page, "r1").locator(".added").last).to_contain_text("203.0.113.0/24")
    look_at(page, "devices-run", "light", "dark")
    code = page.locator(".code").bounding_box()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.screenshot(
            path=PICTURES / f"lesson-devices-{scheme}.png",
            full_page=True,
            clip={"x": 0, "y": 0, "width": 960, "height": code["y"]},
        )
    page.goto("/devices/")
    look_at(page, "devices-form", "light", "dark")
    page.set_viewport_size(PHONE)
    names, circles = (
        page.locator(f".topology {part}").evaluate_all(
            "parts => parts.map(part => part.getBoundingClientRect().toJSON())"
        )
        for part in ("text", "circle")
    )
    assert len(names) == len(circles) == len(lab.routers)
    for name, circle in zip(names, circles, strict=True):
        assert name["height"] >= 14, "too small to be read"
        assert name["width"] <= circle["width"]
    for one, other in itertools.combinations(circles, 2):
        apart = math.dist((one["x"], one["y"]), (other["x"], other["y"]))
        assert apart > one["width"], "one is on top of the other"
