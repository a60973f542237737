"""Somebody who may nothing on this host, and checkouts that are theirs."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest

from bench.processes import free_port
from kit.checkout import CACHE_DIR, ROOT
from kit.system import as_root
from tests.demo_server import eventually

USER = 54321  # of no account: so has a container that gives each of its users a number
# A home and a checkout with characters that a shell, Make, and Python's formats take for theirs.
PREFIX = "kit 100%d "
# All of it compiled, beside other work.
COLD_SECONDS = 600
# Where everybody may write.
OPEN_FOLDERS = ("/var/tmp", "/dev/shm", "/run", "/tmp")  # noqa: S108  # nothing is written


class Guest:
    """A user without an account, rights or a temporary folder that programs may run in.

    Attributes:
        folder: Holds their home and checkouts, and nothing else of theirs is anywhere.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.tmp = folder / "tmp"
        archives = self.home / ".cache/webdis-kit"
        archives.mkdir(parents=True)
        self.tmp.mkdir()
        for name in ("archives", "builds"):
            if (CACHE_DIR / name).exists():
                shutil.copytree(CACHE_DIR / name, archives / name)
        noexec = ["mount", "-t", "tmpfs", "-o", "noexec,mode=1777", "tmpfs", self.tmp]
        subprocess.run(as_root([*map(str, noexec)]), check=True)

    def checkout(self, name: str) -> Path:
        """Return a folder with all that git has of this checkout, as a clone is."""
        folder = self.folder / name
        folder.mkdir()
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            check=True,
        ).stdout
        # What somebody has removed and not yet told git of is not there to copy.
        files = b"\0".join(
            file for file in listed.split(b"\0") if (ROOT / os.fsdecode(file)).exists()
        )
        packed = subprocess.run(
            ["tar", "-c", "--null", "-T", "-"],
            cwd=ROOT,
            input=files,
            capture_output=True,
            check=True,
        ).stdout
        subprocess.run(["tar", "-x", "--no-same-owner"], cwd=folder, input=packed, check=True)
        self.own()
        return folder

    def own(self) -> None:
        """Give them all that is in their folder."""
        for entry in (self.home, *self.folder.glob("checkout*")):
            subprocess.run(as_root(["chown", "-R", f"{USER}:{USER}", str(entry)]), check=True)

    def command(self, *words: str, **environment: str) -> list[str]:
        """Return the command line that runs ``words`` as them."""
        settings = {
            "HOME": str(self.home),
            "PATH": "/usr/bin:/bin",
            **{name: value for name, value in os.environ.items() if name.startswith("PIP_")},
            **environment,
        }
        script = 'mount --bind "$1" /tmp; shift; umask 077; exec "$@"'
        return as_root(
            [
                *("unshare", "--mount", "sh", "-ec", script, "sh", str(self.tmp)),
                *("setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"),
                *("--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"),
                *("env", "-i", *(f"{name}={value}" for name, value in settings.items())),
                *words,
            ]
        )

    def run(
        self, folder: Path, *words: str, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as them, in a folder, and return what came of it."""
        return subprocess.run(
            self.command(*words, **environment),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )

    def make(self, folder: Path, *words: str, **environment: str) -> str:
        """Run make as them; return what it printed.

        Raises:
            AssertionError: It failed, or complained.
        """
        answer = self.run(folder, "make", "--no-print-directory", *words, **environment)
        assert answer.returncode == 0, answer.stdout + answer.stderr
        assert not answer.stderr, answer.stderr
        return answer.stdout

    def processes(self) -> list[str]:
        """Return the command lines of all that runs as them."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                if process.stat().st_uid == USER:
                    found.append((process / "cmdline").read_text().replace("\0", " "))
        return [command for command in found if command]  # without those that have ended

    def files_elsewhere(self) -> list[str]:
        """Return the files that are theirs and not in a checkout or in their cache."""
        places = (str(self.home / ".cache"), *map(str, self.folder.glob("checkout*")))
        skipped = [word for place in places for word in ("-path", place, "-o")]
        answer = subprocess.run(
            as_root(
                [
                    *("find", *OPEN_FOLDERS, str(self.tmp), "(", *skipped[:-1], ")", "-prune"),
                    *("-o", "-uid", str(USER), "-print"),
                ]
            ),
            capture_output=True,
            text=True,
            check=False,  # what others remove meanwhile is not there to look at
        )
        return sorted(set(answer.stdout.splitlines()) - {str(self.home)})

    def leave(self) -> None:
        """End all that is left of them."""
        with contextlib.suppress(FileNotFoundError):
            for process in Path("/proc").glob("[0-9]*"):
                if process.exists() and process.stat().st_uid == USER:
                    subprocess.run(as_root(["kill", "-KILL", process.name]), check=False)
        subprocess.run(as_root(["umount", str(self.tmp)]), check=True)
        subprocess.run(as_root(["rm", "-rf", str(self.folder)]), check=True)


@pytest.fixture(scope="module")
def guest():
    # Where such a user may look, as they may not below pytest's own folders.
    made = Guest(Path(tempfile.mkdtemp(prefix=PREFIX, dir="/var/tmp")))
    made.folder.chmod(0o755)
    yield made
    made.leave()


@pytest.fixture(scope="module")
def checkout(guest):
    return guest.checkout("checkout 1%s")


class MakeDemo:
    """`make demo` as the guest runs it, in a checkout where nothing has been made.

    Args:
        guest: Who runs it.
        checkout: Where.
        steps: How many a job has, of a tenth of a second each.

    Attributes:
        url: Where it is.
    """

    def __init__(self, guest: Guest, checkout: Path, steps: int) -> None:
        self._guest = guest
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._log = log = guest.folder / "demo.log"
        settings = {"DEMO_JOB_STEPS": str(steps), "DEMO_JOB_STEP_SECONDS": "0.1"}
        with log.open("w") as output:
            self._process = subprocess.Popen(
                guest.command("make", "demo", f"PORT={port}", **settings),
                cwd=checkout,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

        def is_up() -> bool:
            assert self._process.poll() is None, log.read_text()
            return "Listening on" in log.read_text()

        eventually(is_up, "the demo does not come up", COLD_SECONDS)

    def stop(self) -> None:
        """Stop it with Ctrl-C, which a terminal tells all that runs in it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGINT)
        self._process.wait(timeout=60)
        eventually(
            lambda: not any("demo_app" in command for command in self._guest.processes()),
            "the demo does not end",
        )
        assert not re.search("^make", self._log.read_text(), re.MULTILINE)


@pytest.fixture(scope="module")
def demo(request, guest, checkout):
    made = MakeDemo(guest, checkout, steps=getattr(request.module, "JOB_STEPS", 30))
    # What has been built now is built once for all runs of this test.
    for file in (guest.home / ".cache/webdis-kit/builds").glob("*.tar.gz"):
        if not (CACHE_DIR / "builds" / file.name).exists():
            shutil.copy(file, CACHE_DIR / "builds" / file.name)
    yield made
    made.stop()
