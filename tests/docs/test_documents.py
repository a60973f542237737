"""A reader follows README.md and the tutorial, block by block, and sees what they promise."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tarfile
from itertools import groupby
from pathlib import Path

import pytest

from bench.processes import free_port
from kit import container
from kit.checkout import CACHE_DIR, ENV_FILE, INSTANCES_DIR, KIT_DIR, ROOT
from tests.docs.blocks import Block, blocks
from tests.docs.reader import Reader

# One test a section, so that a run shows how far the reader is.
SECTIONS = [
    pytest.param(name, list(section), id=f"{name}: {heading}")
    for name in ("README.md", "docs/tutorial.md", "docs/demo.md", "docs/devices.md")
    for heading, section in groupby(blocks(ROOT / name), key=lambda block: block.heading)
]
# What these say holds for every provider; this one takes seconds, and the tutorial makes a machine.
ON_THIS_HOST = ("README.md",)
DOCUMENTED_PORTS = range(5000, 5016)
# What the tutorial builds by hand; the test takes what the cache has of it.
BUILT_BY_HAND = {"redis-8.8.1": "redis_*.orig.tar.gz", "webdis-0.1.25": "webdis-*.tar.gz"}


def documented_names(name: str) -> dict[str, str]:
    """Return what a document writes, by what it is called here."""
    free: set[int] = set()
    while len(free) < len(DOCUMENTED_PORTS):
        free.add(free_port())
    ports = dict(zip(DOCUMENTED_PORTS, free, strict=True))
    names = {
        **{f"127.0.0.1:{port}": f"127.0.0.1:{documented}" for documented, port in ports.items()},
        **{f"--port {port}": f"--port {documented}" for documented, port in ports.items()},
    }
    if name not in ON_THIS_HOST:
        address = container.claim_record("trixie")["subnet"].replace(".0/24", ".2")
        names |= {container.NAME: "kit-a1b2c3", address: "198.18.66.2"}
    if (folder := KIT_DIR.relative_to(ROOT)) != Path(".kit"):  # this instance has a name
        names[f"{folder}/"] = ".kit/"
    return names


def environment_file() -> str:
    """Return what a shell is told of this instance; nothing while there is none."""
    return ENV_FILE.read_text("utf-8") if ENV_FILE.exists() else ""


@pytest.fixture(scope="session")
def archives() -> dict[str, str]:
    """Return the archive in the cache for each that the tutorial builds by hand."""
    found = {}
    for documented, glob in BUILT_BY_HAND.items():
        if files := sorted((CACHE_DIR / "archives").glob(glob)):
            found[documented] = str(files[-1])
    return found


@pytest.fixture(scope="session")
def browser_home(tmp_path_factory) -> Path:
    """Return a home folder for a Chromium that is there before there is an instance."""
    return tmp_path_factory.mktemp("browser_home")


@pytest.fixture(scope="session")
def browser(launch):
    """Return a whole Chromium: documents say what it shows where a page does not come."""
    with launch(whole=True) as launched:
        yield launched


@pytest.fixture(scope="module")
def bare_machine(archives):
    """Yield the ssh command of a machine with nothing on it but what an installation has."""
    environment = {**os.environ, "KIT_INSTANCE": "bare"}

    def kit(command: str) -> None:
        subprocess.run(
            [sys.executable, "-m", "kit", command], cwd=ROOT, env=environment, check=True
        )

    kit("destroy")  # a run that was cut off may have left one
    kit("create")
    config = ["-F", str(INSTANCES_DIR / "bare/ssh_config")]
    login = ["ssh", *config, "server"]
    for documented, archive in archives.items():
        target = f"server:{documented}.tar.gz"
        subprocess.run(["scp", "-q", *config, archive, target], check=True)
        # It may be of another release than the document's, in a folder of that name.
        with tarfile.open(archive) as file:
            folder = file.next().name.split("/")[0]
        if folder != documented:
            subprocess.run([*login, f"ln -s {folder} {documented}"], check=True)
    yield [*login, "bash"]
    kit("destroy")


@pytest.fixture(scope="module")
def reader_of(request, browser, archives, tmp_path_factory):
    """Return a function that gives a document's reader, who stays until its end."""
    with contextlib.ExitStack() as ends:
        current: dict[str, Reader] = {}

        def reader_of(name: str, section: list[Block]) -> Reader:
            if name not in current:
                ends.close()
                current.clear()
                page = browser.new_page()
                ends.callback(page.close)
                names = documented_names(name)
                current[name] = Reader(
                    page,
                    tmp_path_factory.mktemp("reader"),
                    environment={
                        "PORT": next(iter(names)).split(":")[1],
                        **({"PROVIDER": "local"} if name in ON_THIS_HOST else {}),
                    },
                    documented=names,
                    things={
                        thing
                        for thing, there in {
                            "a Webdis archive": "webdis-0.1.25" in archives,
                            "a lab": (KIT_DIR / "lab" / "ssh_config").exists(),
                            "three nodes": "SENTINEL_HOSTS" in environment_file(),
                        }.items()
                        if there
                    },
                )
                ends.callback(current[name].close)
            if any("spare$" in block.content for block in section):
                current[name].machines["spare"] = request.getfixturevalue("bare_machine")
            return current[name]

        yield reader_of


@pytest.mark.parametrize(("name", "section"), SECTIONS)
@pytest.mark.timeout(1800)
def test_section_holds(reader_of, name, section):
    reader = reader_of(name, section)
    for block in section:
        reader.follow(block)
