"""Rows of a table of faults: tests record them, and the end of the run shows and keeps them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from kit.checkout import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ROWS = pytest.StashKey[list[Any]]()


def chosen_page() -> Path | None:
    """Return the document whose table is to be written, if ``FAULTS_PAGE`` names one."""
    name = os.environ.get("FAULTS_PAGE")
    return ROOT / name if name else None


@pytest.fixture
def record(request):
    """Return what puts a row into the table."""
    return request.config.stash.setdefault(ROWS, []).append


def summarize(
    terminalreporter: pytest.TerminalReporter,
    title: str,
    markdown: Callable[[list[Any]], str],
    write: Callable[[Path, list[Any]], None] | None = None,
) -> None:
    """Show the rows of this run, and write them into the page that ``FAULTS_PAGE`` names.

    Args:
        terminalreporter: Of the run that has ended.
        title: Stands above the table.
        markdown: Makes the table of the rows.
        write: Puts it into a page, where nobody has done that yet.
    """
    rows = terminalreporter.config.stash.get(ROWS, [])
    if not rows:
        return
    terminalreporter.write_sep("=", title)
    terminalreporter.write_line(markdown(rows))
    if write and (page := chosen_page()):
        write(page, rows)
