"""Webdis as the distribution's package, unpacked without root: no release archive can be had."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

from kit.errors import KitError
from kit.system import ask

if TYPE_CHECKING:
    from pathlib import Path

PREFIX = "webdis-package"
NAMES_ITS_USER = (0, 1, 13)  # Webdis's issue 182; Debian 12 has 0.1.9


def available() -> bool:
    """Tell whether this is a system whose packages can be taken: Debian or Ubuntu."""
    return all(map(shutil.which, ("apt-get", "dpkg-deb")))


def webdis(opt_dir: Path) -> tuple[Path, dict[str, Any]]:
    """Return the folder that the package is unpacked to, and where it came from.

    Args:
        opt_dir: Folder of programs.

    Raises:
        KitError: It cannot be downloaded.
    """
    prefix = opt_dir / PREFIX
    if not prefix.exists():
        partial = prefix.with_name(f"{PREFIX}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        (partial / "archives").mkdir(parents=True)
        _download(partial / "archives", partial / "apt")
        for file in sorted((partial / "archives").glob("*.deb")):
            subprocess.run(["dpkg-deb", "-x", file, partial], check=True)
        (partial / "bin").symlink_to("usr/bin")
        partial.replace(prefix)
    (file,) = (prefix / "archives").glob("webdis_*.deb")
    version = re.search(r"_(?:\d+%3a)?([0-9.]+)", file.name)
    return prefix, {"version": version[1] if version else "", "origin": "package"}


def user(version: str) -> str:
    """Return whom a Webdis can log in as: an old one gives a password and no name."""
    known = tuple(map(int, version.split("."))) >= NAMES_ITS_USER
    return "webdis" if known else "default"


def libraries(prefix: Path) -> list[Path]:
    """Return the folders of libraries that came with the package."""
    return sorted({file.parent for file in (prefix / "usr/lib").glob("**/*.so.*")})


def _download(folder: Path, state: Path) -> None:
    """Write the package and what it needs beyond this system into ``folder``.

    With this system's own lists of packages, or where they are missing or old, with new ones.
    """
    options = [
        f"Dir::State::Lists={state / 'lists'}",
        f"Dir::Cache={state / 'cache'}",
    ]
    own_lists = [f"--option={option}" for option in options]
    for folders in ("lists/partial", "cache/archives/partial"):
        (state / folders).mkdir(parents=True)
    problem = ""
    for update, more in ((False, []), (True, own_lists)):
        if update and (problem := _apt([*more, "update"], folder)[1]):
            continue
        listed, problem = _apt(
            [*more, "install", "--simulate", "--no-install-recommends", "webdis"], folder
        )
        if not problem:
            missing = re.findall(r"^Inst (\S+)", listed, re.MULTILINE)
            _, problem = _apt([*more, "download", *sorted({"webdis", *missing})], folder)
        if not problem:
            shutil.rmtree(state)
            return
    raise KitError(
        f"No release archive of Webdis can be had, nor its package ({problem}). "
        "See docs/troubleshooting.md#air-gap."
    )


def _apt(arguments: list[str], folder: Path) -> tuple[str, str]:
    """Run apt-get in ``folder``; return its output, and its last complaint where it fails."""
    run = ask(["apt-get", "--quiet", "--assume-yes", *arguments], cwd=folder)
    complaint = run.stderr.strip().splitlines() or [f"apt-get {arguments[0]} failed"]
    return run.stdout, complaint[-1] if run.returncode else ""
