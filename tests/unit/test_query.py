"""The action that asks a server by its shell, run as Ansible runs it, on this host."""

from __future__ import annotations

import pytest

from tests.provisioning import run_action

# `su` cannot be given a script on standard input: then it is an argument.
AS = {"by itself": [], "by su": ["--become", "--become-method=su", "--become-user=root"]}


def ask(tmp_path, cmd, *options):
    return run_action(tmp_path, "query", *options, cmd=cmd)


@pytest.fixture(params=AS)
def become(request):
    return AS[request.param]


def test_it_answers_in_check_mode_and_never_as_changed(tmp_path, become):
    """And no command reads what stands behind it as its own input."""
    cmd = "cat\nif [ -t 1 ]; then echo terminal; fi\nprintf '%s|' 'two  words' $LC_ALL $HOME/*.none"
    status, answer = ask(tmp_path, cmd, "--check", *become)
    assert status == 0, answer
    assert answer["stdout"].startswith("two  words|C.UTF-8|/"), answer
    assert (answer["changed"], answer["rc"]) == (False, 0)


def test_it_fails_with_the_status_and_the_words_of_the_command(tmp_path, become):
    status, answer = ask(tmp_path, "echo out; echo 'no such thing' >&2; exit 7", *become)
    assert status != 0
    assert (answer["rc"], answer["stdout"], answer["stdout_lines"]) == (7, "out", ["out"])
    assert answer["msg"] == "It ended with status 7: no such thing"


def test_a_word_that_it_does_not_know_is_named(tmp_path):
    status, answer = run_action(tmp_path, "query", cmd="true", chdir="/")
    assert status != 0
    assert "chdir" in str(answer)
