"""The distribution's Webdis, under the kit's own unit."""

from __future__ import annotations

import os
import subprocess
import sys

from kit.checkout import ROOT


def test_runs_the_package(server, instance):
    pid = server.run("systemctl show -P MainPID webdis").stdout.strip()
    assert server.run(f"readlink /proc/{pid}/exe").stdout.strip() == "/usr/bin/webdis"
    assert instance["webdis"]["origin"] == "package"
    assert server.package("webdis").version.startswith(instance["webdis"]["version"])


def test_is_said_loudly():
    answer = subprocess.run(
        [sys.executable, "-m", "kit", "status"],
        cwd=ROOT,
        env=os.environ,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "THE DISTRIBUTION'S PACKAGE" in answer.stdout


def test_its_own_unit_is_out_of_the_way(server):
    path = server.run("systemctl show -P FragmentPath webdis").stdout.strip()
    assert path == "/etc/systemd/system/webdis.service"
