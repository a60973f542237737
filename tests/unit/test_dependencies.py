"""What is installed is what was locked, byte for byte, and the bill of materials names it all."""

from __future__ import annotations

import importlib.metadata
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kit.checkout import KIT_DIR, ROOT

LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
OF_PYTHON_ITSELF = {"pip", "setuptools"}  # as ensurepip brings them


def plain(name):
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.fixture(scope="module")
def locked():
    """Return the versions of each package by name: Python's version may choose among them."""
    found = {}
    for lock in LOCKS:
        for name, version in re.findall(
            r"^([A-Za-z0-9._-]+)==(\S+)", lock.read_text(), re.MULTILINE
        ):
            found.setdefault(plain(name), set()).add(version)
    return found


@pytest.fixture(scope="module")
def installed():
    """Return the version of each package in this environment by name."""
    return {plain(one.metadata["Name"]): one.version for one in importlib.metadata.distributions()}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_every_package_is_pinned_by_digest(lock):
    entries = re.split(r"\n(?=[A-Za-z0-9])", lock.read_text().split("\n", 2)[2].lstrip("#\n "))
    assert entries
    for entry in entries:
        assert re.match(r"[A-Za-z0-9._-]+==\S+", entry), entry
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry


def test_installed_is_what_is_locked(locked, installed):
    strangers = {
        name: version
        for name, version in installed.items()
        if version not in locked.get(name, ()) and name not in OF_PYTHON_ITSELF
    }
    assert strangers == {}


def test_archives_are_pinned_by_digest():
    for role in ("redis", "webdis"):
        text = (ROOT / f"ansible/roles/{role}/vars/main.yml").read_text()
        assert text.count("url:") == len(re.findall(r"sha256: [0-9a-f]{64}\b", text)) > 0


def test_bill_of_materials_names_every_package(installed):
    subprocess.run(["make", "sbom"], cwd=ROOT, check=True, capture_output=True)
    bill = json.loads((KIT_DIR / "sbom.json").read_text())
    named = {plain(one["name"]): one["version"] for one in bill["components"]}
    assert named == installed


TOO_OLD = """#!/bin/sh
case $1 in
    --version) echo Python 3.10.12 ;;
    -m) exec {python} "$@" ;;
    *) exec {python} -c 'import sys; sys.version_info = (3, 10); exec(sys.argv[2])' "$@" ;;
esac
"""


@pytest.fixture
def install(tmp_path):
    """Return a function that installs a group without packages, where only this PATH is."""
    (tmp_path / "kit").mkdir()
    shutil.copy(ROOT / "kit/no_network.txt", tmp_path / "kit")
    shutil.copytree(ROOT / "requirements", tmp_path / "requirements")
    (tmp_path / "requirements/none.txt").touch()

    def run(path):
        return subprocess.run(
            ["/bin/sh", "requirements/install.sh", "none"],
            cwd=tmp_path,
            env={"PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_a_python_is_found_beside_one_that_is_too_old_and_followed(tmp_path, install):
    """With stand-ins: what is installed here is neither too old nor more than one."""
    python, programs = Path(sys.executable).resolve(), tmp_path / "programs"
    programs.mkdir()
    old = programs / "python3"
    old.write_text(TOO_OLD.format(python=python))
    old.chmod(0o755)
    (programs / "dirname").symlink_to("/usr/bin/dirname")
    answer = install(str(programs))
    assert answer.returncode == 1
    assert answer.stderr.startswith("Python 3.10.12 is too old: Python 3.11 or newer")

    (programs / "python3.14").symlink_to(python)
    environment = tmp_path / ".venv"
    for anew in (False, True):
        answer = install(f"{programs}:/usr/bin:/bin")
        assert answer.returncode == 0, answer.stdout + answer.stderr
        assert ("making it anew" in answer.stdout) is anew
        assert (environment / "none.stamp").exists()
        # As an upgrade of the host's Python leaves it.
        (environment / "bin/python").unlink()
        (environment / "bin/python").symlink_to("/nowhere/python3")
