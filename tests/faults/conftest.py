"""A scene for each fault, and the table of all of them when the run has ended."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kit.checkout import ROOT, read_instance
from tests.faults import report
from tests.faults.scene import RECORDER, Scene

if TYPE_CHECKING:
    from collections.abc import Iterator

ROWS = pytest.StashKey[list[report.Row]]()


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


@pytest.fixture
def record(request):
    """Return what puts a row into the table."""
    return request.config.stash.setdefault(ROWS, []).append


def pytest_terminal_summary(terminalreporter, config) -> None:
    rows = config.stash.get(ROWS, [])
    if not rows:
        return
    lines = report.markdown(rows)
    terminalreporter.write_sep("=", "faults")
    terminalreporter.write_line(lines)
    page = os.environ.get("FAULTS_PAGE")
    if page:
        report.write(ROOT / Path(page), "tls" if read_instance()["tls"] else "plain", rows)
