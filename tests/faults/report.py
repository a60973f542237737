"""The table of faults: in the terminal, and in docs/faults.md."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.bars import picture
from bench.documents import fill

if TYPE_CHECKING:
    from pathlib import Path

BEGIN = "<!-- The table {name} is written by `make test-faults`. -->"
END = "<!-- End of the table {name}. -->"


@dataclass
class Row:
    """What one fault did to the messages.

    Args:
        fault: What was done.
        published: Messages that Redis has taken, as far as the publisher knows.
        refused: Messages that the publisher was told to be lost.
        lost: Messages of ``published`` that the page has never shown.
        doubled: Messages that the page has shown again.
        out_of_order: Messages that the page has shown after a later one.
        away_seconds: From the fault until the whole way of a message worked again.
        live_seconds: From then until the page showed a message as it was published.
        note: What else there is to know.
    """

    fault: str
    published: int
    refused: int
    lost: int
    doubled: int
    out_of_order: int
    away_seconds: float
    live_seconds: float
    note: str


def markdown(rows: list[Row]) -> str:
    """Return ``rows`` as a table."""
    lines = [
        (
            "| fault | published | refused | lost | doubled | out of order | service away, s "
            "| then page live after, s | |"
        ),
        "|---|--:|--:|--:|--:|--:|--:|--:|---|",
    ]
    lines += [
        f"| {row.fault} | {row.published} | {row.refused} | {row.lost} | {row.doubled} "
        f"| {row.out_of_order} | {row.away_seconds:.1f} | {row.live_seconds:.1f} | {row.note} |"
        for row in rows
    ]
    return "\n".join(lines)


def write(page: Path, name: str, rows: list[Row]) -> None:
    """Put a table in the place of the one of that name that ``page`` has."""
    begin, end = (marker.format(name=name) for marker in (BEGIN, END))
    plot = picture(
        f"faults-{name}",
        "Seconds from the fault until the page was live again",
        [(row.fault.replace("`", ""), True, row.away_seconds + row.live_seconds) for row in rows],
    )
    fill(page, begin, end, f"{plot}\n\n{markdown(rows)}")
