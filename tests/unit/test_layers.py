"""Each test is in a layer, so that `make test-all` forgets none."""

from __future__ import annotations

import pytest

from kit.checkout import ROOT
from tests.layers import LANES
from tests.run import Row, counts, fill_in

ARGUMENTS = {word for lane in LANES for layer in lane.layers for word in layer.command}
FILES = sorted(str(file.relative_to(ROOT)) for file in ROOT.glob("tests/*/test_*.py"))
REPORT = """<testsuites><testsuite name="outer">
  <testcase classname="a" name="good"/>
  <testcase classname="a" name="bad"><failure message="AssertionError: it is&#10;more"/></testcase>
  <testcase classname="a" name="left out"><skipped message="no such device"/></testcase>
  <testcase classname="a" name="unclean"><error message="tear-down"/></testcase>
  <testsuite name="inner"><testcase classname="b" name="good"/></testsuite>
</testsuite></testsuites>"""


@pytest.mark.parametrize("file", FILES)
def test_every_file_is_in_a_layer(file):
    assert {file, file.rpartition("/")[0]} & ARGUMENTS


def test_names_of_layers_are_told_apart():
    names = [layer.name for lane in LANES for layer in lane.layers]
    assert len(names) == len(set(names))


@pytest.fixture
def row():
    return Row("a layer", "pyproject.toml")  # any file will do for a log


def test_a_report_is_counted(row, tmp_path):
    (tmp_path / "report.xml").write_text(REPORT)
    fill_in(row, tmp_path, 1)
    assert counts([row]) == "2 passed, 2 failed, 1 skipped"
    assert row.failures == ["a bad: AssertionError: it is more", "a unclean: tear-down"]
    assert row.skips == ["a left out: no such device"]


def test_a_command_that_fails_without_a_failed_test_has_failed(row, tmp_path):
    (tmp_path / "report.xml").write_text("<testsuites/>")
    fill_in(row, tmp_path, 4)
    assert row.failed == 1
    assert row.failures[0].startswith("exit code 4")


def test_a_command_that_runs_no_test_has_failed(row, tmp_path):
    fill_in(row, tmp_path, 0)
    assert (row.failed, row.failures) == (1, ["no test was run"])


@pytest.mark.parametrize(("code", "expected"), [(0, (1, 0)), (1, (0, 1))])
def test_a_command_without_reports_is_one_test(row, code, expected):
    fill_in(row, None, code)
    assert (row.passed, row.failed) == expected
