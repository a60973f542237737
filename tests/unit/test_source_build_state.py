"""The module that tells whole builds from halves, run as Ansible runs it."""

from __future__ import annotations

import json
import subprocess
import sys

from kit.checkout import ROOT

MODULE = ROOT / "ansible/plugins/modules/source_build_state.py"
RECORD = dict.fromkeys(("version", "url", "sha256", "origin", "make", "install", "libc"), "x")


def run_module(root):
    answer = subprocess.run(
        [sys.executable, str(MODULE)],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": {"root": str(root)}}),
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(answer.stdout)


def build(folder, record):
    folder.mkdir(parents=True)
    (folder / ".source_build.json").write_text(json.dumps(record))


def test_nothing_is_there(tmp_path):
    state = run_module(tmp_path / "root")
    assert state["libc"].startswith("glibc ")
    assert (state["current"], state["choice"], state["builds"]) == ("", {}, [])
    assert (state["folders"], state["leftovers"]) == ([], [])


def test_half_a_build_is_a_leftover_and_never_a_build(tmp_path):
    root = tmp_path / "root"
    build(root / "1.0", RECORD)
    build(root / "2.0.partial", RECORD)
    (root / "work.partial").mkdir()
    build(root / "0.9", {"version": "0.9"})
    (root / "current").symlink_to("1.0")
    (root / "current.new").symlink_to("2.0")
    (root / ".choice.json").write_text("{half")
    state = run_module(root)
    assert state["builds"] == [RECORD | {"folder": "1.0"}]
    assert state["folders"] == ["0.9", "1.0"]
    assert (state["current"], state["choice"]) == ("1.0", {})
    assert set(state["leftovers"]) == {
        str(root / "2.0.partial"),
        str(root / "work.partial"),
        str(root / "current.new"),
    }
