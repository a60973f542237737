"""The action that tells whole builds from halves, on this host."""

from __future__ import annotations

import json

from tests.provisioning import act

RECORD = dict.fromkeys(("version", "url", "sha256", "origin", "make", "install", "libc"), 'x\n\\"y')


def read(root):
    state = act("source_build_state", root=str(root))
    assert "failed" not in state, state
    return state


def build(folder, record, **how):
    folder.mkdir(parents=True)
    (folder / ".source_build.json").write_text(json.dumps(record, **how))


def test_nothing_is_there(tmp_path):
    state = read(tmp_path / "root")
    assert state["libc"].startswith("glibc ")
    assert (state["current"], state["choice"], state["builds"]) == ("", {}, [])
    assert (state["folders"], state["leftovers"]) == ([], [])


def test_half_a_build_is_a_leftover_and_never_a_build(tmp_path):
    root = tmp_path / "the root"
    build(root / "1.0", RECORD, indent=2)
    build(root / "2.0.partial", RECORD)
    (root / "work.partial").mkdir()
    build(root / "0.9", {"version": "0.9"})
    (root / "current").symlink_to("1.0")
    (root / "current.new").symlink_to("2.0")
    (root / ".choice.json").write_text("{half")
    state = read(root)
    assert state["builds"] == [RECORD | {"folder": "1.0"}]
    assert state["folders"] == ["0.9", "1.0"]
    assert (state["current"], state["choice"]) == ("1.0", {})
    assert set(state["leftovers"]) == {
        str(root / "2.0.partial"),
        str(root / "work.partial"),
        str(root / "current.new"),
    }
