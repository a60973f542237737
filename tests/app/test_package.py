"""The publisher as a stranger has it: built, installed outside of the checkout, and used."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kit.checkout import ROOT
from tests.app.own_redis import OwnRedis
from webdis_progress import events_after

SCRIPT = """
import os
from pathlib import Path
from redis import Redis
import webdis_progress
from webdis_progress import Progress

assert Path(webdis_progress.__file__).is_relative_to(os.environ["ENVIRONMENT"])
assert Path(webdis_progress.__file__).with_name("py.typed").exists()
with Progress(Redis.from_url(os.environ["BROKER"], socket_timeout=5), "progress:x") as progress:
    with progress.task("core-1", total=3) as task:
        for _ in task.track(range(3)):
            pass
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "--directory", str(folder)]
    subprocess.run(command, cwd=ROOT / "clients/python", check=True, capture_output=True)
    return folder


def test_the_source_archive_has_the_protocol(built, tmp_path):
    (archive,) = built.glob("*.tar.gz")
    shutil.unpack_archive(archive, tmp_path, filter="data")
    (copy,) = tmp_path.glob("*/PROTOCOL.md")
    assert copy.read_text() == (ROOT / "clients/PROTOCOL.md").read_text()


@pytest.mark.parametrize("pattern", ["*.whl", "*.tar.gz"])
def test_what_is_built_works_in_an_empty_project(built, tmp_path, instance, pattern):
    assert instance["address"]
    (archive,) = built.glob(pattern)
    options = ["--quiet", "--no-index", "--no-deps", "--disable-pip-version-check"]
    if archive.suffix == ".gz":
        # The build backend is this environment's.
        pip = [sys.executable, "-m", "pip", "wheel", "--no-build-isolation", *options]
        subprocess.run([*pip, "--wheel-dir", str(tmp_path), str(archive)], check=True)
        (archive,) = tmp_path.glob("*.whl")
    environment = tmp_path / "environment"
    # To bring a pip along would take as long as all the rest.
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    python = str(environment / "bin/python")
    pip = [sys.executable, "-m", "pip", "--python", python, "install", *options]
    subprocess.run([*pip, str(archive)], check=True)
    # What it depends on, as it is here.
    (site,) = environment.glob("lib/python*/site-packages")
    for name in ("redis", "async_timeout"):
        if spec := importlib.util.find_spec(name):
            shutil.copytree(Path(spec.origin).parent, site / name)
    with OwnRedis() as own:
        subprocess.run(
            [python, "-W", "error", "-c", SCRIPT],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "BROKER": own.url, "ENVIRONMENT": str(environment)},
            check=True,
            timeout=60,
        )
        last = events_after(own.client, "progress:x", 0)[-1]
    assert last["kind"] == "done"
