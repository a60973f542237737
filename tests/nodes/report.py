"""The table of what several nodes survive: in the terminal, and in docs/faults.md."""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import groupby
from typing import TYPE_CHECKING

from bench.documents import fill

if TYPE_CHECKING:
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
        lost: Messages of ``taken`` that the page has never shown.
        doubled: Messages that the page has shown again.
        out_of_order: Messages that the page has shown after a later one.
        untaken_seconds: The longest time, from the fault on, in which none was taken.
        silent_seconds: The longest time, from the fault on, in which the page showed none.
    """

    fault: str
    taken: int
    refused: int
    lost: int
    doubled: int
    out_of_order: int
    untaken_seconds: float
    silent_seconds: float


COUNTS = [field.name for field in fields(Row) if field.type == "int"]


def markdown(rows: list[Row]) -> str:
    """Return a line for each fault: counts of all its runs, times of the worst."""
    lines = [
        (
            "| fault | runs | taken | refused | lost | doubled | out of order "
            "| nothing taken for, s | page silent for, s |"
        ),
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for fault, group in groupby(rows, lambda row: row.fault):
        runs = list(group)
        counts = " | ".join(str(sum(getattr(row, name) for row in runs)) for name in COUNTS)
        untaken = max(row.untaken_seconds for row in runs)
        silent = max(row.silent_seconds for row in runs)
        lines.append(f"| {fault} | {len(runs)} | {counts} | {untaken:.1f} | {silent:.1f} |")
    return "\n".join(lines)


def write(page: Path, rows: list[Row]) -> None:
    """Put the table in the place of the one that ``page`` has."""
    fill(page, BEGIN, END, markdown(rows))
