"""The program that keeps Webdis from starting on a file that would open everything."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from kit.checkout import ROOT

PROGRAM = ROOT / "ansible/roles/webdis/files/webdis_config.py"
GOOD = {
    "redis_host": "127.0.0.1",
    "redis_port": 6379,
    "redis_auth": ["webdis"],
    "http_host": "127.0.0.1",
    "http_port": 7379,
    "websockets": True,
    "acl": [{"disabled": ["*"]}, {"enabled": ["SUBSCRIBE"]}],
}


def run(*arguments):
    return subprocess.run(
        [sys.executable, PROGRAM, *arguments], capture_output=True, text=True, check=False
    )


def test_password_is_put_in(tmp_path):
    source, password, target = (tmp_path / name for name in ("source", "password", "target"))
    source.write_text(json.dumps(GOOD))
    password.write_text("secret")
    assert run(source, password, target).returncode == 0
    assert json.loads(target.read_text()) == GOOD | {"redis_auth": ["webdis", "secret"]}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "cannot be read"),
        ("{", "cannot be read"),
        ("[]", "is not a JSON object"),
        ("{}", "has no redis_host of type str"),
        (json.dumps(GOOD | {"http_port": "7379"}), "has no http_port of type int"),
        (json.dumps(GOOD | {"acl": []}), "does not start with"),
        (json.dumps(GOOD | {"acl": [{"disabled": ["DEBUG"]}]}), "does not start with"),
        (json.dumps(GOOD | {"acl": [*GOOD["acl"], {"enabled": ["*"]}]}), "no commands by name"),
        (json.dumps(GOOD | {"acl": [*GOOD["acl"], {"enabled": "GET"}]}), "no commands by name"),
    ],
)
def test_what_would_open_everything_is_refused(tmp_path, content, said):
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_text(content)
    answer = run(source, tmp_path / "password", target)
    assert answer.returncode == 1
    assert said in answer.stderr
    assert "Traceback" not in answer.stderr
    assert not target.exists()
