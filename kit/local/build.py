"""Redis and Webdis from their release archives, with what compiler this host has."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit.checkout import CACHE_DIR, CHECKOUT_ID, ROOT
from kit.doctor.checks import how_to_get
from kit.errors import KitError
from kit.local import compiler, package
from kit.local.configuration import LOCAL_DIR, SOURCE_ARCHIVE
from kit.run_logged import run_logged
from kit.system import ask

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from kit.local.configuration import Variables

OPT_DIR = LOCAL_DIR / "opt"
RECORD = ".build.json"

# For hosts without its headers; the same archive in both places.
LIBEVENT = [
    {
        "version": "2.1.13",
        "url": url,
        "filename": "libevent-2.1.13-stable.tar.gz",
        "sha256": "f7e9383b8c0baa81b687e5b5eecc01beefaf1b19b64151d95ed61647fe7a315c",
    }
    for url in (
        "https://github.com/libevent/libevent/releases/download/release-2.1.13-stable/libevent-2.1.13-stable.tar.gz",
        "debian-pool:main/libe/libevent/libevent_2.1.13-stable.orig.tar.gz",
    )
]
# Static, and no more of it than Webdis takes.
LIBEVENT_MAKE = (
    "./configure --disable-shared --disable-openssl --disable-samples --disable-libevent-regress "
    "--disable-debug-mode --disable-dependency-tracking "
    "&& make include/event2/event-config.h && make libevent.la"
)
LIBEVENT_INSTALL = (
    'mkdir -p "$PREFIX/lib" && cp .libs/libevent.a "$PREFIX/lib" && cp -R include "$PREFIX"'
)


@dataclass(frozen=True)
class Toolchain:
    """What builds run with.

    Args:
        commands: What stands behind each name that a Makefile calls.
        jobs: How many of them run at a time.
        has_libevent: Whether its compilers find libevent.
    """

    commands: Mapping[str, Sequence[str]]
    jobs: int
    has_libevent: bool

    def with_libevent(self, folder: Path) -> Toolchain:
        """Return one whose compilers look into ``folder`` for headers and libraries."""
        options = [f"-I{folder / 'include'}", f"-L{folder / 'lib'}"]
        compilers = {"cc", "gcc", "c++", "g++"}
        commands = {
            name: [*command, *options] if name in compilers else command
            for name, command in self.commands.items()
        }
        return Toolchain(commands, self.jobs, has_libevent=True)


def toolchain(jobs: int) -> Toolchain:
    """Return this host's compilers, or Zig's, which are installed into ``.venv`` for that.

    Args:
        jobs: How many are to run at a time.

    Raises:
        KitError: There are none, and Zig's cannot be had.
    """
    own = compiler.found()
    if own.keys() == compiler.NAMES.keys():
        cc, cxx = [own["cc"]], [own["c++"]]
        commands = {"cc": cc, "gcc": cc, "c++": cxx, "g++": cxx}
        return Toolchain(commands, jobs, compiler.has_libevent(own["cc"]))
    if re.search(r"[^\w/.,+@-]", str(CACHE_DIR)):
        raise KitError(
            f"This host has no C compiler, and Zig's, from PyPI, does not link below {CACHE_DIR}: "
            f"set XDG_CACHE_HOME to a folder without a space or sign in its path. To have a "
            f"compiler: {how_to_get('C compiler')}. "
            f"See docs/troubleshooting.md#no-compiler."
        )
    print(
        "This host has no C and C++ compiler: Zig's is taken, from PyPI (100 MB). "
        f"To have one: {how_to_get('C compiler')}",
        flush=True,
    )
    installed = subprocess.run([ROOT / "requirements/install.sh", "compiler"], check=False)
    importlib.invalidate_caches()
    found = importlib.util.find_spec("ziglang")
    if installed.returncode or found is None or found.origin is None:
        raise KitError(
            f"There is no C compiler: {how_to_get('C compiler')}. "
            "See docs/troubleshooting.md#no-compiler."
        )
    zig = str(Path(found.origin).with_name("zig"))
    # Any processor of this kind: a finished build is kept, and the cache may be shared.
    cc, cxx = [zig, "cc", "-mcpu=baseline"], [zig, "c++", "-mcpu=baseline"]
    others = {name: [zig, name] for name in ("ar", "ranlib")} | {"ld": [zig, "ld.lld"]}
    commands = {"cc": cc, "gcc": cc, "c++": cxx, "g++": cxx, **others}
    return Toolchain(commands, jobs, has_libevent=False)


def archive(
    name: str, candidates: list[dict[str, str]], cache_dir: str, *, optional: bool = False
) -> dict[str, Any] | None:
    """Return the first candidate that can be had, as the role's module does.

    Args:
        name: What it is of.
        candidates: ``version``, ``url``, ``filename`` and ``sha256`` of each.
        cache_dir: Folder of archives.
        optional: Return None instead of failing.

    Raises:
        KitError: None can be had, or one does not have its digest.
    """
    arguments = {
        "name": name,
        "candidates": candidates,
        "cache_dir": cache_dir,
        "optional": optional,
    }
    run = ask(
        [sys.executable, SOURCE_ARCHIVE], input=json.dumps({"ANSIBLE_MODULE_ARGS": arguments})
    )
    try:
        answer: dict[str, Any] = json.loads(run.stdout)
    except ValueError:
        raise KitError(f"The archive of {name} cannot be looked for: {run.stderr[-500:]}") from None
    if answer.get("failed"):
        raise KitError(answer["msg"])
    return answer if answer["sha256"] else None


def redis(variables: Variables) -> tuple[Path, dict[str, Any]]:
    """Return the folder of Redis and where it came from; build it where it is missing.

    Raises:
        KitError: No archive can be had, or the build failed.
    """
    found = archive("redis", variables.value("redis_candidates"), _archives(variables))
    assert found is not None  # noqa: S101  # for the type checker: it is not optional
    make, install = variables.value("_redis_make"), variables.value("_redis_make_install")
    return installed("redis", found, make, install, variables)


def webdis(variables: Variables) -> tuple[Path, dict[str, Any]]:
    """Return the folder of Webdis and where it came from; build it where it is missing.

    Raises:
        KitError: No archive can be had and this system has no package, or the build failed.
    """
    candidates = variables.value("webdis_candidates")
    optional = variables.value("webdis_sources") == "auto" and package.available()
    found = archive("webdis", candidates, _archives(variables), optional=optional)
    if found is None:
        return package.webdis(OPT_DIR)
    make, install = variables.value("_webdis_make"), variables.value("_webdis_make_install")
    return installed("webdis", found, make, install, variables)


def _archives(variables: Variables) -> str:
    return str(variables.value("source_build_cache_dir"))


def _system() -> list[str]:
    """Return what a build depends on besides its source: processor, C library, distribution."""
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        release = {"ID": platform.system(), "VERSION_ID": platform.mac_ver()[0]}
    names = (release.get(key, "") for key in ("ID", "VERSION_ID"))
    return [platform.machine(), *platform.libc_ver(), *names]


def installed(
    name: str, found: dict[str, Any], make: str, install: str, variables: Variables
) -> tuple[Path, dict[str, Any]]:
    """Install a build from the cache, or make it.

    Args:
        name: What it is of.
        found: The archive, as `archive` returns it.
        make: The shell's commands that build it, in the archive's folder.
        install: Those that put it into ``PREFIX``.
        variables: Of this host.

    Returns:
        Its folder, and what it is made of.

    Raises:
        KitError: The build failed; the end of its log has been shown.
    """
    record = {key: found[key] for key in ("version", "url", "sha256", "origin")}
    record |= {"make": make, "install": install, "system": _system()}
    key = hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()[:16]
    prefix = OPT_DIR / f"{name}-{found['version']}-{key}"
    if prefix.exists():
        return prefix, record
    partial = prefix.with_name(prefix.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    finished = Path(variables.value("source_build_binary_cache_dir")) / f"{prefix.name}.tar.gz"
    with only_builder(finished.parent):
        if finished.exists() and _intact(finished):
            subprocess.run(["tar", "-C", partial, "-xzf", finished], check=True)
        else:
            tools = toolchain(variables.value("_source_build_jobs"))
            if name == "webdis" and not tools.has_libevent:
                tools = _libevent(tools, variables)
            _compile(name, found, f"{make} && {install}", tools, partial)
            (partial / RECORD).write_text(json.dumps(record), encoding="utf-8")
            packed = finished.with_name(f"{finished.name}.{CHECKOUT_ID}")
            subprocess.run(["tar", "-C", partial, "-czf", packed, "."], check=True)
            packed.replace(finished)
    partial.replace(prefix)
    return prefix, record


@contextlib.contextmanager
def only_builder(folder: Path) -> Iterator[None]:
    """Keep two checkouts from building the same at the same time: the second takes the first's.

    Args:
        folder: Where finished builds are kept.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("Another checkout is building: waiting until it has ended.", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError:
            pass  # a file system without locks: whoever is last keeps its build
        yield


def _intact(finished: Path) -> bool:
    """Tell whether a finished build can be unpacked: a disk may have spoilt it."""
    if ask(["gzip", "--test", finished]).returncode:
        print(f"{finished} is damaged: it is built again.", flush=True)
        return False
    return True


def _libevent(tools: Toolchain, variables: Variables) -> Toolchain:
    """Build libevent beside, and return a toolchain that finds it."""
    found = archive("libevent", LIBEVENT, _archives(variables))
    assert found is not None  # noqa: S101  # for the type checker: it is not optional
    prefix = OPT_DIR / f"libevent-{found['version']}"
    shutil.rmtree(prefix, ignore_errors=True)
    prefix.mkdir(parents=True)
    _compile("libevent", found, f"{LIBEVENT_MAKE} && {LIBEVENT_INSTALL}", tools, prefix)
    return tools.with_libevent(prefix)


def _compile(
    name: str, found: dict[str, Any], commands: str, tools: Toolchain, prefix: Path
) -> None:
    """Unpack an archive, and make and install what is in it.

    Args:
        name: What it is of.
        found: The archive, as `archive` returns it.
        commands: What a shell is to do in its folder; ``PREFIX`` is set there.
        tools: What they run with.
        prefix: Where they install to.

    Raises:
        KitError: It failed; the end of the log has been shown.
    """
    # In the cache: no configure script works below a path with a space in it, as a
    # checkout's may have, and a temporary folder may forbid to run what is in it.
    work = CACHE_DIR / "work" / f"{name}-{CHECKOUT_ID}"
    shutil.rmtree(work, ignore_errors=True)
    try:
        for folder in ("tree", "bin", "tmp"):
            (work / folder).mkdir(parents=True)
        for program, command in tools.commands.items():
            wrapper = work / "bin" / program
            wrapper.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n', encoding="utf-8")
            wrapper.chmod(0o755)
        # Nothing else of this shell: the variables of a make above, and of a user, are not meant.
        environment = {
            "PATH": f"{work / 'bin'}:{os.environ['PATH']}",
            "HOME": work,
            "TMPDIR": work / "tmp",
            "ZIG_GLOBAL_CACHE_DIR": work / "tmp",
            "ZIG_LOCAL_CACHE_DIR": work / "tmp",
            "LD": "ld",  # libtool would ask the compiler, whose path may have a space in it
            "MAKEFLAGS": f"-j{tools.jobs}",
            "PREFIX": prefix,
        }
        script = f'cd "$1" && tar -xf "$2" --strip-components=1 && {commands}'
        run_logged(
            f"Building {name} {found['version']}",
            [
                *("env", "-i", *(f"{key}={value}" for key, value in environment.items())),
                *("sh", "-c", script, "sh", str(work / "tree"), found["path"]),
            ],
            log=f"build-{name}",
            hint="See docs/troubleshooting.md#slow-build and the entries after it.",
        )
    finally:
        shutil.rmtree(work, ignore_errors=True)
