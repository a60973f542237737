"""A scene for each fault, and the table of all of them when the run has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kit.checkout import read_instance
from tests.faults import report
from tests.faults.rows import record, summarize  # noqa: F401  # a fixture
from tests.faults.scene import RECORDER, Scene

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def scene(instance, server, browser, start_demo, tmp_path) -> Iterator[Scene]:
    """Return what a fault strikes at; the instance is well before and after."""
    context = browser.new_context()
    context.add_init_script(RECORDER)
    scene = Scene(instance, server, start_demo, context.new_page(), tmp_path)
    scene.wait_until_well()
    try:
        yield scene
    finally:
        context.close()
        scene.end()


def pytest_terminal_summary(terminalreporter) -> None:
    def write(page, rows):
        report.write(page, "tls" if read_instance()["tls"] else "plain", rows)

    summarize(terminalreporter, "faults", report.markdown, write)
