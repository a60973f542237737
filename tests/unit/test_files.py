"""The action that writes a service's files, on this host."""

from __future__ import annotations

import base64
import grp
import os
import pwd

import pytest

from tests.provisioning import act, run_action
from tests.unit.test_query import AS

CONTENTS = {
    "text": "one\ntwo\n",
    "no line end": "$HOME `id` 'a' \"b\" \\n %s",
    "empty": "",
    "lines of its own": "end\n\nend\n",
    "Unicode": "Grüße \N{SNOWMAN}\n" * 1000,
}


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "etc" / "two words"
    folder.mkdir(parents=True)
    return folder


def ours(several):
    owner, group = pwd.getpwuid(os.getuid()).pw_name, grp.getgrgid(os.getgid()).gr_name
    return [{"owner": owner, "group": group} | one for one in several]


def write(folders=(), files=(), **options):
    return act("files", folders=ours(folders), files=ours(files), **options)


def test_what_is_otherwise_is_written_and_what_is_right_is_left_alone(folder):
    wanted = {
        "folders": [{"dest": f"{folder}/of it", "mode": "1750"}],
        "files": [{"dest": f"{folder}/{name}", "content": CONTENTS[name]} for name in CONTENTS],
    }
    dests = [one["dest"] for one in wanted["folders"] + wanted["files"]]
    answer = write(**wanted)
    assert (answer["changed"], answer["written"]) == (True, dests), answer
    for name, content in CONTENTS.items():
        assert (folder / name).read_bytes() == content.encode()
        assert (folder / name).stat().st_mode & 0o7777 == 0o644
    assert (folder / "of it").stat().st_mode & 0o7777 == 0o1750
    (folder / "text").chmod(0o600)
    (folder / "empty").write_text("by hand")
    os.utime(folder / "Unicode", (1, 1))
    answer = write(**wanted)
    assert answer["written"] == [f"{folder}/text", f"{folder}/empty"]
    assert (folder / "text").stat().st_mode & 0o7777 == 0o644
    assert (folder / "empty").read_text() == ""
    assert (folder / "Unicode").stat().st_mtime == 1
    answer = write(**wanted)
    assert (answer["changed"], answer["written"], answer["removed"]) == (False, [], [])
    assert len(names(folder)) == len(CONTENTS) + 1


def test_what_a_check_refuses_replaces_nothing_and_ends_it(folder):
    (folder / "bad").write_text("as it was")
    files = [
        {"dest": f"{folder}/good", "content": "a\n", "validate": "grep -q '^a$' %s"},
        {"dest": f"{folder}/bad", "content": "b", "validate": "echo 'no b' >&2; ! grep -q b %s"},
        {"dest": f"{folder}/late", "content": "c"},
    ]
    answer = write(files=files)
    assert answer["failed"]
    assert answer["msg"] == f"{folder}/bad was refused by its check and is as it was: no b"
    assert names(folder) == ["bad", "good"]
    assert (folder / "bad").read_text() == "as it was"


def test_what_cannot_be_written_is_named(folder):
    answer = write(files=[{"dest": f"{folder}/none/file", "content": "text"}])
    assert answer["failed"]
    assert answer["msg"].startswith(f"{folder}/none/file could not be written and is as it was: ")
    assert "No such file or directory" in answer["msg"]
    answer = write(files=[{"dest": f"{folder}/file", "content": "text", "owner": "nobody0"}])
    assert "nobody0" in answer["msg"]
    assert names(folder) == []


def test_nothing_of_a_secret_is_shown(folder):
    secret = {"dest": f"{folder}/secret", "content": "hunter2", "secret": True}
    answer = write(diff=True, files=[secret])
    assert "failed" not in answer, answer
    assert "hunter2" not in str(answer)
    refused = secret | {"content": "hunter3", "validate": "cat %s >&2; false"}
    answer = write(diff=True, files=[refused])
    assert answer["failed"]
    assert "hunter" not in str(answer)
    assert "may hold a secret" in answer["msg"]


def test_nothing_of_a_secret_is_in_a_command_line(tmp_path, folder):
    """By `su` the commands cannot come by standard input."""
    lines = "$(grep -lsx -e su -e sh /proc/[0-9]*/comm | sed s/comm$/cmdline/)"
    secret = {
        "dest": f"{folder}/secret",
        "content": "hunter2",
        "secret": True,
        # As it is in the command that writes it.
        "validate": f"! grep -qs {base64.b64encode(b'hunter2').decode()[:-2]} {lines}",
    }
    status, answer = run_action(tmp_path, "files", *AS["by su"], files=[secret])
    assert status == 0, answer
    assert answer["written"] == [f"{folder}/secret"]


def test_a_dry_run_writes_nothing_and_says_what_it_would(folder):
    (folder / "there").write_text("old\n")
    files = [
        {"dest": f"{folder}/there", "content": "new\n"},
        {"dest": f"{folder}/missing", "content": "text\n", "owner": "nobody0"},
    ]
    answer = write(check_mode=True, diff=True, files=files, absent=[f"{folder.parent}/t*/there"])
    assert "failed" not in answer, answer
    assert answer["written"] == [f"{folder}/there", f"{folder}/missing"]
    assert [(one["before"], one["after"]) for one in answer["diff"]] == [
        ("old\n", "new\n"),
        ("", "text\n"),
    ]
    assert names(folder) == ["there"]
    assert (folder / "there").read_text() == "old\n"


def test_a_link_is_replaced_and_not_what_it_points_to(folder):
    (folder / "other").write_text("text")
    (folder / "link").symlink_to("other")
    answer = write(files=[{"dest": f"{folder}/link", "content": "text"}])
    assert answer["changed"]
    assert not (folder / "link").is_symlink()
    (folder / "link").write_text("mine")
    assert (folder / "other").read_text() == "text"


def test_a_template_has_the_variables_and_those_beside_it(folder):
    text = "# {{ ansible_managed }}\n{% include 'part.j2' %}\n\n{% if ports %}\nlast\n{% endif %}\n"
    (folder / "whole.j2").write_text(text)
    (folder / "part.j2").write_text("port {{ ports | sum }}\n")
    files = [{"dest": f"{folder}/file", "template": f"{folder}/whole.j2"}]
    search = {"ansible_search_path": [str(folder)], "ports": [1, 2]}
    assert write(files=files, variables=search)["written"]
    assert (folder / "file").read_text() == "# Ansible managed\nport 3\nlast\n"
    search["ansible_managed"] = "by the owner"
    assert write(files=files, variables=search)["written"]
    assert (folder / "file").read_text() == "# by the owner\nport 3\nlast\n"
    assert not write(files=files, variables=search)["changed"]
    answer = write(files=[{"dest": f"{folder}/file", "template": f"{folder}/none.j2"}])
    assert answer["failed"]
    assert "none.j2" in answer["msg"]


def test_what_is_not_wanted_any_more_is_removed(tmp_path):
    for name in ("key.pem", "certificate.pem", "other"):
        (tmp_path / name).write_text("")
    absent = [f"{tmp_path}/*.pem", f"{tmp_path}/none"]
    answer = write(absent=absent)
    assert sorted(answer["removed"]) == [f"{tmp_path}/certificate.pem", f"{tmp_path}/key.pem"]
    assert not list(tmp_path.glob("*.pem"))
    assert (tmp_path / "other").exists()
    assert not write(absent=absent)["changed"]


def test_a_strict_umask_shuts_nobody_out_of_a_folder_above(tmp_path):
    before = os.umask(0o077)
    try:
        answer = write(folders=[{"dest": f"{tmp_path}/above/it", "mode": "0700"}])
    finally:
        os.umask(before)
    assert "failed" not in answer, answer
    assert (tmp_path / "above").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "above/it").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    "wrong",
    [
        {"dest": "/nowhere", "content": "", "moed": "0"},
        {"dest": "/nowhere"},
        {"dest": "/nowhere", "content": "", "template": "both.j2"},
    ],
)
def test_a_word_that_is_missing_or_unknown_is_named(wrong):
    answer = write(files=[wrong])
    assert answer["failed"]
    assert "moed" in str(answer) or "content" in str(answer)
