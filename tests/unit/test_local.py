"""PROVIDER=local: what it makes of a host's compilers, limits and versions."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest

from kit.doctor import checks, install_commands
from kit.local import build, compiler, package, provider, start_webdis
from kit.local.configuration import FILES_KEPT, INPUTS, WEBDIS_CONFIG, subscribers
from tests.demo_server import eventually


@pytest.fixture
def tools(tmp_path, monkeypatch):
    """Return a function that makes a program with these lines the only one on PATH, too."""
    monkeypatch.setenv("PATH", str(tmp_path))

    def add(name, *lines):
        file = tmp_path / name
        file.write_text("\n".join(["#!/bin/sh", *lines, ""]))
        file.chmod(0o755)
        return str(file)

    return add


def test_a_compiler_counts_only_if_it_finds_its_library(tools):
    cc = tools("gcc", "exit 0")
    tools("c++", "exit 1")  # as g++ without libstdc++-dev
    assert compiler.found() == {"cc": cc}
    cxx = tools("clang++", "exit 0")
    assert compiler.found() == {"cc": cc, "c++": cxx}


def test_the_stub_of_a_mac_is_not_run_before_its_tools_are_there(tools, tmp_path, monkeypatch):
    monkeypatch.setattr(compiler.platform, "system", lambda: "Darwin")
    ran = tmp_path / "ran"
    for name in ("cc", "c++"):
        tools(name, f"echo >{ran}")
    tools("xcode-select", "exit 2")
    assert compiler.found() == {}
    assert not ran.exists()
    tools("xcode-select", "echo /Library/Developer/CommandLineTools")
    assert compiler.found().keys() == {"cc", "c++"}


def test_doctor_says_what_is_missing_and_that_only_make_has_to_be_there(tools):
    make, cc, libevent = checks.local()
    assert (make.ok, make.blocks) == (False, "tool")
    assert (cc.ok, cc.blocks, libevent.blocks) == (False, "", "")
    assert "PyPI" in cc.found
    assert cc.command == checks.how_to_get("C compiler")
    tools("make", "exit 0")
    assert not checks.obstacles("local", hardware=True)


@pytest.mark.parametrize("system", ["debian", "fedora", "macos", "other"])
@pytest.mark.parametrize("name", ["C compiler", "make"])
def test_each_system_has_its_own_command(name, system):
    assert install_commands.COMMANDS[name][system]


@pytest.mark.parametrize(
    ("open_files", "expected"),
    [(1024, 1), (4096, 1536), (17_024, 8000), (sys.maxsize, 8000)],
)
def test_pages_fit_into_the_limit_of_open_files(open_files, expected):
    assert subscribers(open_files) == expected
    assert 2 * expected + FILES_KEPT <= max(open_files, FILES_KEPT + 2)


def test_limits_are_read_as_systemd_reads_them():
    assert start_webdis.bytes_of("256M") == 256 * 1024**2
    assert start_webdis.bytes_of("1000") == 1000
    assert start_webdis.bytes_of("infinity") == resource.RLIM_INFINITY


def test_of_two_builds_the_second_says_that_it_waits(tmp_path, capsys):
    entered = threading.Event()

    def second():
        with build.only_builder(tmp_path):
            entered.set()

    with build.only_builder(tmp_path):
        thread = threading.Thread(target=second)
        thread.start()
        eventually(lambda: "Another checkout" in capsys.readouterr().out, "it says nothing")
        assert not entered.is_set()
    thread.join(60)
    assert entered.is_set()


def test_a_finished_build_that_a_disk_has_spoilt_is_built_again(tmp_path, monkeypatch, capsys):
    for folder in ("cache", "finished", "source"):
        (tmp_path / folder).mkdir()
    (tmp_path / "source/program").write_text("#!/bin/sh\necho well\n")
    archive = tmp_path / "program.tar"
    subprocess.run(["tar", "-C", tmp_path, "-cf", archive, "source"], check=True)
    found = dict.fromkeys(("url", "sha256", "origin"), "") | {"version": "1", "path": str(archive)}
    settings = {
        "source_build_binary_cache_dir": str(tmp_path / "finished"),
        "_source_build_jobs": 1,
    }
    monkeypatch.setattr(build, "CACHE_DIR", tmp_path / "cache")

    def install(checkout):
        """Return the build as a checkout that has none gets it, and what was said."""
        monkeypatch.setattr(build, "OPT_DIR", tmp_path / checkout)
        commands = ("chmod +x program", 'cp program "$PREFIX"')
        prefix, _ = build.installed(
            "program", found, *commands, SimpleNamespace(value=settings.get)
        )
        assert subprocess.check_output([prefix / "program"], text=True) == "well\n"
        return capsys.readouterr().out

    assert "Building program 1" in install("first")
    assert install("second") == "", "it is taken from the cache"
    (finished,) = (tmp_path / "finished").glob("*.tar.gz")
    os.truncate(finished, finished.stat().st_size - 20)
    said = install("third")
    assert f"{finished} is damaged: it is built again." in said
    assert "Building program 1" in said
    assert install("fourth") == "", "it is whole again"


@pytest.mark.parametrize(("version", "user"), [("0.1.9", "default"), ("0.1.13", "webdis")])
def test_an_old_webdis_logs_in_without_a_name(version, user):
    assert package.user(version) == user


def test_a_process_is_known_by_its_command_line_also_without_proc(monkeypatch):
    mark = f"mark-{os.getpid()}"
    command = [sys.executable, "-c", "input()", mark]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        eventually(lambda: mark in provider.command_line(process.pid), "it is not found")
        monkeypatch.setattr(provider, "PROC", provider.PROC / "self/none")  # as on macOS
        assert mark in provider.command_line(process.pid)
        process.kill()
        process.wait()
        assert mark not in provider.command_line(process.pid)


@pytest.mark.parametrize("path", [*INPUTS, WEBDIS_CONFIG], ids=str)
def test_what_it_takes_from_the_roles_is_there(path):
    assert path.exists()
