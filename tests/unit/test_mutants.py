"""The mutants of `make mutants` fit to the files as they are; who moves a file moves them too."""

from __future__ import annotations

import re

import pytest

from kit.checkout import ROOT
from tests.mutants.run import PROVISIONING, load

MUTANTS = load()
# How a test of that name begins; Node.js has names that are put together.
DEFINITIONS = {"py": r"^def {}\(", "rb": r"^  def {}$", "js": r"test\("}


def test_there_are_enough_and_each_has_its_name():
    assert len({mutant.fault for mutant in MUTANTS}) == len(MUTANTS) >= 100


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.fault)
def test_what_is_searched_for_stands_there_once(mutant):
    assert (ROOT / mutant.file).read_text("utf-8").count(mutant.search) == 1, mutant.file
    assert mutant.replace != mutant.search


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.fault)
def test_its_tests_are_there(mutant):
    for test in mutant.red:
        if test == PROVISIONING:
            assert mutant.provision
            continue
        file, _, name = test.partition("::")
        definition = DEFINITIONS[file.rpartition(".")[2]].format(re.escape(name))
        assert re.search(definition, (ROOT / file).read_text("utf-8"), re.MULTILINE), test
