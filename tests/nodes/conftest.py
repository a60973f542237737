"""A scene for all faults, and the table of them when the run has ended."""

from __future__ import annotations

import pytest

from kit.checkout import read_instance
from tests.faults.rows import record, summarize  # noqa: F401  # a fixture
from tests.nodes import report
from tests.nodes.scene import Scene


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


def pytest_terminal_summary(terminalreporter) -> None:
    summarize(terminalreporter, "nodes", report.markdown, report.write)
