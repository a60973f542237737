"""A scene for all faults, and the table of them when the run has ended."""

from __future__ import annotations

import time

import pytest

from kit.checkout import read_instance
from tests.faults.rows import ROWS, chosen_page, summarize
from tests.nodes import report
from tests.nodes.faults import FAULTS
from tests.nodes.scene import Scene


@pytest.fixture(scope="session")
def nodes_demo(start_demo):
    return start_demo(DEMO_JOB_STEPS=100, DEMO_JOB_STEP_SECONDS=0.1)


@pytest.fixture
def scene(nodes_demo, browser, tmp_path, request):
    """Return what a fault strikes at; all nodes are well before and after."""
    instance = read_instance()
    assert len(instance["nodes"]) == 3, "make up NODES=3"
    began, failed = time.time(), request.session.testsfailed
    made = Scene(instance, nodes_demo, browser, tmp_path)
    made.wait_until_well()
    yield made
    made.page.context.close()
    if request.session.testsfailed > failed:
        print(made.journals(began))
    made.wait_until_well()


@pytest.fixture
def record(request):
    """Return what puts a row into the table, and into the document at once: a run may be ended."""
    rows = request.config.stash.setdefault(ROWS, [])

    def keep(row):
        rows.append(row)
        if page := chosen_page():
            report.write(page, rows, FAULTS)

    return keep


def pytest_terminal_summary(terminalreporter) -> None:
    summarize(terminalreporter, "nodes", report.markdown)
