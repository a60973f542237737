"""What the tests of more than one lesson do in a second tab."""

from __future__ import annotations

from contextlib import contextmanager

from playwright.sync_api import expect


@contextmanager
def run_in_another_tab(page, path):
    """Open a lesson once more, press Run there, and give that tab at once: the function runs."""
    tab = page.context.new_page()
    tab.goto(path)
    tab.get_by_role("button", name="Run").click(no_wait_after=True)
    yield tab
    expect(tab.locator("h1")).to_have_text("The function has finished")
    tab.close()
