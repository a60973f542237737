"""The table of what several nodes survive: in the terminal, and in docs/faults.md."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from bench.documents import commit, fill

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

BEGIN = "<!-- The table nodes is written by `make test-nodes`. -->"
END = "<!-- End of the table nodes. -->"


@dataclass
class Row:
    """What one run of one fault did to the messages.

    Args:
        fault: What was done.
        taken: Messages that the publisher was told to be taken.
        refused: Messages that the publisher was told to be lost.
        lost: Messages of ``taken`` that the page has never shown, or that are gone for a page
            that is opened afterwards.
        doubled: Messages that the page has shown again.
        out_of_order: Messages that the page has shown after a later one.
        untaken_seconds: The longest time, from the fault on, in which none was taken.
        silent_seconds: The longest time, from the fault on, in which the page showed none.
        load_average: Of the host, over the run's last minute.
    """

    fault: str
    taken: int
    refused: int
    lost: int
    doubled: int
    out_of_order: int
    untaken_seconds: float
    silent_seconds: float
    load_average: float


COUNTS = [field.name for field in fields(Row) if field.type == "int"]
HEAD = """\
| fault | runs | taken | refused | lost | doubled | out of order | nothing taken for, s \
| page silent for, s | load average | measured |
|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|"""


def markdown(rows: list[Row]) -> str:
    """Return the table of these rows."""
    return "\n".join([HEAD, *_lines(rows).values()])


def _lines(rows: list[Row]) -> dict[str, str]:
    """Return the line of each fault: counts of all its runs, times and load of the worst."""
    measured = f"{datetime.now(UTC):%Y-%m-%d}, {commit()}"
    lines = {}
    for fault in dict.fromkeys(row.fault for row in rows):
        runs = [row for row in rows if row.fault == fault]
        counts = " | ".join(str(sum(getattr(row, name) for row in runs)) for name in COUNTS)
        untaken = max(row.untaken_seconds for row in runs)
        silent = max(row.silent_seconds for row in runs)
        load = max(row.load_average for row in runs)
        lines[fault] = (
            f"| {fault} | {len(runs)} | {counts} | {untaken:.1f} | {silent:.1f} "
            f"| {load:.0f} | {measured} |"
        )
    return lines


def write(page: Path, rows: list[Row], faults: Iterable[str]) -> None:
    """Put the lines of these rows into the table of a page; those of other faults stay.

    Args:
        page: Has a table, perhaps of an earlier run.
        rows: Of this run, so far.
        faults: All that there are, in the order of the table.
    """
    table = page.read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0]
    lines = {line.split(" | ")[0].removeprefix("| "): line for line in table.splitlines()}
    lines |= _lines(rows)
    fill(page, BEGIN, END, "\n".join([HEAD, *(lines[fault] for fault in faults if fault in lines)]))
