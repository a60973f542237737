"""The demo as `make demo` runs it, and pages in a Chromium."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.looks import PICTURES

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def demo(start_demo):
    """Start the demo; its jobs are so long that much can happen to a page meanwhile."""
    return start_demo(
        DEMO_PAUSE_SECONDS=1, DEMO_JOB_STEPS=150, DEMO_JOB_STEP_SECONDS=0.1, DEMO_WORKERS=2
    )


@pytest.fixture
def visitor(browser, demo):
    """Return a function that makes a visitor with a session of their own.

    No page of theirs may break the content security policy or fail in a script.
    """
    contexts, complaints = [], []

    def visit(**options):
        context = browser.new_context(base_url=demo.url, **options)
        contexts.append(context)
        context.set_default_timeout(30_000)
        context.on("weberror", lambda error: complaints.append(str(error.error)))
        context.on(
            "console",
            lambda message: (
                "Content Security Policy" in message.text and complaints.append(message.text)
            ),
        )
        return context

    yield visit
    for context in contexts:
        context.close()
    assert not complaints


@pytest.fixture
def page(visitor):
    return visitor().new_page()


@pytest.fixture(scope="session")
def results() -> Path:
    """Return the folder for what tests leave to look at."""
    PICTURES.mkdir(exist_ok=True)
    return PICTURES
