"""What the tests of more than one page do with a tab."""

from __future__ import annotations

import json
from contextlib import contextmanager

from playwright.sync_api import expect

LONGEST_TASK_MILLISECONDS = 50  # of processor time: above that a person feels a page halt


@contextmanager
def run_in_another_tab(page, path):
    """Open a lesson once more, press Run there, and give that tab at once: the function runs."""
    tab = page.context.new_page()
    tab.goto(path)
    tab.get_by_role("button", name="Run").click(no_wait_after=True)
    yield tab
    expect(tab.locator("h1")).to_have_text("The function has finished")
    tab.close()


@contextmanager
def longest_tasks(page):
    """Yield a list that gets, at the end, the tasks of the page's main thread, longest first.

    In milliseconds of processor time: on an idle machine that is what they last, and other
    work on the machine does not count. What its host takes from it does, now and then.
    """
    browser = page.context.browser
    browser.start_tracing(page=page, categories=["toplevel"])
    longest = []
    yield longest
    events = json.loads(browser.stop_tracing())["traceEvents"]
    threads = {
        (event["pid"], event["tid"])
        for event in events
        if event["name"] == "thread_name" and event["args"]["name"] == "CrRendererMain"
    }
    longest += sorted(
        (
            event["tdur"] / 1000
            for event in events
            # The one that runs when the trace ends has no duration.
            if "RunTask" in event["name"]
            and "tdur" in event
            and (event["pid"], event["tid"]) in threads
        ),
        reverse=True,
    )
