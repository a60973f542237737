"""A scene for all faults, and the table of them when the run has ended."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kit.checkout import ROOT, read_instance
from tests.nodes import report
from tests.nodes.scene import Scene

ROWS = pytest.StashKey[list[report.Row]]()


@pytest.fixture(scope="session")
def nodes_demo(start_demo):
    return start_demo(DEMO_JOB_STEPS=100, DEMO_JOB_STEP_SECONDS=0.1)


@pytest.fixture
def scene(nodes_demo, browser, tmp_path):
    """Return what a fault strikes at; all nodes are well before and after."""
    instance = read_instance()
    assert len(instance["nodes"]) == 3, "make up NODES=3"
    made = Scene(instance, nodes_demo, browser, tmp_path)
    made.wait_until_well()
    yield made
    made.page.context.close()
    made.wait_until_well()


@pytest.fixture
def record(request):
    """Return what puts a row into the table."""
    return request.config.stash.setdefault(ROWS, []).append


def pytest_terminal_summary(terminalreporter, config) -> None:
    rows = config.stash.get(ROWS, [])
    if not rows:
        return
    terminalreporter.write_sep("=", "nodes")
    terminalreporter.write_line(report.markdown(rows))
    page = os.environ.get("FAULTS_PAGE")
    if page:
        report.write(ROOT / Path(page), rows)
