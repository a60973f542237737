"""The table of what several nodes survive, in docs/faults.md."""

from __future__ import annotations

from tests.nodes.report import BEGIN, END, Row, markdown, write

FAULTS = ["first", "second", "third"]


def row(fault, silent_seconds):
    return Row(fault, 100, 0, 0, 0, 0, 1.0, silent_seconds, 2.0)


def test_a_run_of_some_faults_leaves_the_rows_of_the_others(tmp_path):
    page = tmp_path / "faults.md"
    page.write_text(f"before\n{BEGIN}\n\n{markdown([row('third', 3.0)])}\n\n{END}\nafter\n")
    write(page, [row("third", 5.0), row("first", 6.0), row("first", 7.0)], FAULTS)
    write(page, [row("second", 4.0)], FAULTS)
    lines = page.read_text().splitlines()
    assert [lines[0], lines[-1]] == ["before", "after"]
    rows = [line.split(" | ") for line in lines if line.split(" | ")[0][2:] in FAULTS]
    assert [(cells[0], cells[1], cells[2], cells[8]) for cells in rows] == [
        ("| first", "2", "200", "7.0"),
        ("| second", "1", "100", "4.0"),
        ("| third", "1", "100", "5.0"),
    ]
