"""The module that finds archives, run as Ansible runs it, against a real HTTP server."""

from __future__ import annotations

import functools
import hashlib
import http.server
import importlib.util
import json
import subprocess
import sys
import threading

import pytest

from kit.checkout import ROOT

MODULE = ROOT / "ansible/plugins/modules/source_archive.py"
CONTENT = b"an archive"
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Handler(http.server.SimpleHTTPRequestHandler):
    def send_header(self, keyword, value):
        # The end of this one never comes.
        if keyword == "Content-Length" and "cut-off" in self.path:
            value = str(int(value) + 1)
        super().send_header(keyword, value)

    def log_message(self, *args):
        """Keep the test's output clean."""


@pytest.fixture
def origin(tmp_path):
    folder = tmp_path / "origin"
    folder.mkdir()
    (folder / "a.tar.gz").write_bytes(CONTENT)
    (folder / "cut-off.tar.gz").write_bytes(CONTENT)
    handler = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def run_module(cache, candidates, **options):
    arguments = {"name": "a", "candidates": candidates, "cache_dir": str(cache), **options}
    answer = subprocess.run(
        [sys.executable, str(MODULE)],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": arguments}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return json.loads(answer.stdout)


def candidate(url, sha256=DIGEST, version="1.0"):
    return {"version": version, "url": url, "sha256": sha256, "filename": f"a-{version}.tar.gz"}


def test_downloads_once_and_then_uses_the_cache(tmp_path, origin):
    first = run_module(tmp_path / "cache", [candidate(f"{origin}/a.tar.gz")])
    again = run_module(tmp_path / "cache", [candidate("http://127.0.0.1:1/gone")])
    assert (first["changed"], again["changed"]) == (True, False)
    assert first["path"] == again["path"]


def test_takes_the_first_that_can_be_had(tmp_path, origin):
    candidates = [
        candidate("http://127.0.0.1:1/a.tar.gz", version="2.0"),
        candidate(f"{origin}/a.tar.gz"),
    ]
    assert run_module(tmp_path, candidates)["version"] == "1.0"


def test_wrong_digest_is_an_error_with_both_digests(tmp_path, origin):
    answer = run_module(tmp_path, [candidate(f"{origin}/a.tar.gz", sha256="0" * 64)])
    assert answer["failed"]
    assert DIGEST in answer["msg"]
    assert "0" * 64 in answer["msg"]
    assert not (tmp_path / "a-1.0.tar.gz").exists()


def test_nothing_to_be_had_says_where_to_put_it(tmp_path):
    answer = run_module(tmp_path, [candidate("http://127.0.0.1:1/a.tar.gz")])
    assert str(tmp_path) in answer["msg"]
    assert "a-1.0.tar.gz" in answer["msg"]
    optional = run_module(tmp_path, [candidate("http://127.0.0.1:1/a.tar.gz")], optional=True)
    assert optional["path"] is None


def test_what_is_built_needs_no_archive(tmp_path):
    answer = run_module(tmp_path, [candidate("http://127.0.0.1:1/a.tar.gz")], built=[DIGEST])
    assert (answer["built"], answer["path"], answer["changed"]) == (True, None, False)


def test_a_release_that_is_gone_does_not_hide_others_of_that_host(tmp_path, origin):
    candidates = [
        candidate(f"{origin}/gone.tar.gz", version="2.0"),
        candidate(f"{origin}/a.tar.gz"),
    ]
    assert run_module(tmp_path, candidates)["version"] == "1.0"


def test_check_mode_downloads_nothing(tmp_path, origin):
    answer = run_module(
        tmp_path, [candidate(f"{origin}/a.tar.gz")], optional=True, _ansible_check_mode=True
    )
    assert answer["sha256"] is None
    assert not (tmp_path / "a-1.0.tar.gz").exists()


def test_a_dry_run_with_nothing_cached_names_what_a_run_would_take(tmp_path):
    answer = run_module(tmp_path, [candidate("http://127.0.0.1:1/gone")], _ansible_check_mode=True)
    assert (answer["changed"], answer["version"], answer["path"]) == (True, "1.0", None)


def test_an_answer_that_is_cut_off_is_nobody_s_digest(tmp_path, origin):
    cut_off = candidate(f"{origin}/cut-off.tar.gz", version="2.0")
    answer = run_module(tmp_path / "cache", [cut_off])
    assert "No source archive of a is in the cache or can be downloaded" in answer["msg"]


MIRROR = "http://mirror.example.org/debian/"


@pytest.mark.parametrize(
    ("sources", "host"),
    [
        (f"deb {MIRROR} trixie main\ndeb {MIRROR}-security trixie-security main", MIRROR),
        ("deb http://archive.ubuntu.com/ubuntu/ noble main", "https://deb.debian.org/debian/"),
        (None, "https://deb.debian.org/debian/"),
    ],
    ids=["Debian", "Ubuntu", "no apt"],
)
def test_debians_pool_is_at_apts_mirror_or_else_at_debians_own_host(
    monkeypatch, tmp_path, sources, host
):
    if sources is None:
        monkeypatch.setenv("PATH", str(tmp_path))
    else:  # the real apt-get, which has not fetched any lists of these
        (tmp_path / "parts").mkdir()
        (tmp_path / "sources.list").write_text(f"{sources}\n")
        (tmp_path / "apt.conf").write_text(
            f'Dir::Etc::SourceList "{tmp_path}/sources.list";\n'
            f'Dir::Etc::SourceParts "{tmp_path}/parts";\n'
        )
        monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    spec = importlib.util.spec_from_file_location("source_archive", MODULE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.resolve("debian-pool:main/a/a.tar.gz") == [f"{host}pool/main/a/a.tar.gz"]
    assert module.resolve("https://example.org/a.tar.gz") == ["https://example.org/a.tar.gz"]
