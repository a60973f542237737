"""Put one small fault after another into a copy of the checkout: each must turn its tests red.

``python -m tests.mutants.run [WORD]``: all of ``mutants.yml``, or those whose fault or file
has the word. There are four copies below ``.kit``, which work side by side: one with a server, two
with an instance of ``PROVIDER=local``, one for what needs neither. They go in the end. What the
tests printed is in ``.kit/mutants-*.log``.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import yaml

from kit.checkout import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MUTANTS = ROOT / "tests/mutants/mutants.yml"
KIT_DIR = ROOT / ".kit"
PYTHON = ".venv/bin/python"
COLLECTIONS = ".collections"
PROVISIONING = "provisioning"
# Runs the playbook as the tests do, with the copy's own files.
PROVISION = """
import sys
from tests.provisioning import provision
run = provision(*sys.argv[1:])
print(run.stdout, run.stderr)
sys.exit(run.returncode)
"""
# The provider of each kind's instance, how many copies of a kind share its mutants, and where
# a test runs, by its folder.
PROVIDERS = {"server": "container", "local": "local", "host": ""}
COPIES = {"server": 1, "local": 2, "host": 1}
FOLDERS = {
    "host": ("tests/unit/", "tests/js/", "tests/ruby/"),
    "local": ("tests/app/", "tests/e2e/"),
}
# A fault may make a test wait for ever, or never even look at the clock.
TEST_SECONDS = 180
NODE_SECONDS = 10
COMMAND_SECONDS = 300
PREPARE_SECONDS = 1200
ROW = "{:6.1f}  {:8}  {}"
FAILED = 1  # what each of the runners exits with when a test has failed


@dataclass(frozen=True)
class Mutant:
    """One fault, as ``mutants.yml`` describes it."""

    fault: str
    file: str
    search: str
    replace: str
    red: tuple[str, ...]
    provision: str = ""
    server: bool = False

    @property
    def kind(self) -> str:
        """Return the kind of copy that it is tried in."""
        if not self.provision and not self.server:
            for name, folders in FOLDERS.items():
                if all(test.startswith(folders) for test in self.red):
                    return name
        return "server"


def load() -> list[Mutant]:
    """Return all mutants in their order."""
    return [
        Mutant(**{**entry, "red": (red,) if isinstance(red := entry["red"], str) else tuple(red)})
        for entry in yaml.safe_load(MUTANTS.read_text(encoding="utf-8"))
    ]


class NotTriedError(Exception):
    """Something else than a mutant is wrong; one sentence."""


def end(process: subprocess.Popen[bytes]) -> None:
    """End a command and all that it has started, at first so that they can clean up."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=20)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def proven(green: str, *command: str) -> list[str]:
    """Return ``command`` so that it fails where no line of its output matches ``green``."""
    script = 'green=$1; shift; "$@" 2>&1 | tee /dev/stderr | grep -e "$green" >/dev/null'
    return ["sh", "-c", script, "sh", green, *command]


def commands(tests: Iterable[str]) -> list[list[str]]:
    """Return the commands that run these tests: one for all of pytest's, one for each other."""
    found, of_pytest = [], []
    for test in dict.fromkeys(tests):
        file, _, name = test.partition("::")
        if file.endswith(".js"):
            # Without a test of that name, Node.js would be content.
            words = ("node", "--test", f"--test-timeout={NODE_SECONDS}000", "--test-force-exit")
            pattern = f"--test-name-pattern=^{re.escape(name)}$"
            found.append(proven(r"pass 1$", *words, pattern, file))
        elif file.endswith(".rb"):
            words = ("ruby", "-I", "vagrant/lib", "-I", "tests/ruby", file, "--name", name)
            found.append(proven("^1 runs.* 0 failures, 0 errors", *words))
        else:
            of_pytest.append(test)
    if of_pytest:
        words = (PYTHON, "-m", "pytest", "-x", "-q", f"--timeout={TEST_SECONDS}")
        # By folder: asyncio's tests do not run after a browser's in one process.
        found.append([*words, *sorted(of_pytest)])
    return found


class Copy:
    """A copy of the checkout, in which commands run one after the other.

    Args:
        name: No other copy has it.
        mutants: What is tried in it, all of one kind.
    """

    def __init__(self, name: str, mutants: list[Mutant]) -> None:
        self._mutants = mutants
        self._provider = PROVIDERS[mutants[0].kind]
        self._folder = KIT_DIR / f"mutants-{name}"
        self.log = KIT_DIR / f"mutants-{name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = threading.Event()

    def make(self) -> None:
        """Copy the checkout as it is, what is not committed included."""
        self.log.unlink(missing_ok=True)
        self.remove()  # a run that was killed may have left one
        listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for name in names.split("\0"):
            if name and (ROOT / name).is_file():
                (self._folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, self._folder / name)
        for name in (".venv", "node_modules"):
            (self._folder / name).symlink_to(ROOT / name)
        collection = self._folder / COLLECTIONS / "ansible_collections/webdis_kit/server"
        collection.parent.mkdir(parents=True)
        collection.symlink_to(self._folder / "ansible")

    def remove(self) -> None:
        """Remove the copy and its instance."""
        self._stopped.clear()
        if (self._folder / "kit").is_dir():
            self._run([PYTHON, "-m", "kit", "destroy"], "destroy")
        shutil.rmtree(self._folder, ignore_errors=True)

    def stop(self) -> None:
        """End what runs in it, from another thread."""
        self._stopped.set()
        if self._process:
            end(self._process)

    def try_all(self) -> int:
        """See all tests green, then print a row for each mutant; return how many were caught.

        Raises:
            NotTriedError: Not all were green.
        """
        self._prepare()
        caught, before = 0, ""
        for mutant in self._mutants:
            start = time.monotonic()
            verdict, why = "yes", ""
            try:
                if green := self._attempt(mutant, before):
                    verdict, why = "SURVIVED", f"; green: {', '.join(green)}"
            except NotTriedError as error:
                verdict, why = "NO", f"; {error}"
            if self._stopped.is_set():
                break
            before = mutant.provision
            caught += verdict == "yes"
            print(ROW.format(time.monotonic() - start, verdict, mutant.fault) + why, flush=True)
        return caught

    def _prepare(self) -> None:
        """Bring up its instance where one is needed, and see all the tests green."""
        start = time.monotonic()
        if self._provider and self._run([PYTHON, "-m", "kit", "up"], "up", PREPARE_SECONDS):
            raise NotTriedError(f"The copy's instance did not come up: {self.log}.")
        tests = [test for mutant in self._mutants for test in mutant.red if test != PROVISIONING]
        for command in commands(tests):
            if self._run(command, "unchanged", PREPARE_SECONDS):
                raise NotTriedError(f"Not all tests are green without a fault: {self.log}.")
        print(ROW.format(time.monotonic() - start, "", "(all tests green without a fault)"))

    def _attempt(self, mutant: Mutant, before: str) -> list[str]:
        """Put a fault in, run its tests, take it out; return the tests that stayed green.

        Args:
            mutant: What is tried.
            before: The role that the one before was provisioned with: put back with this one.

        Raises:
            NotTriedError: Something other than its tests went wrong.
        """
        file = self._folder / mutant.file
        content = file.read_text(encoding="utf-8")
        file.write_text(content.replace(mutant.search, mutant.replace), encoding="utf-8")
        try:
            if mutant.provision or before:
                refused = self._provision(before, mutant.provision) != 0
                if PROVISIONING in mutant.red:
                    return [] if refused else [PROVISIONING]
                if refused:
                    raise NotTriedError("provisioning failed")
            return [test for test in mutant.red if not self._fails(test, mutant.fault)]
        finally:
            file.write_text(content, encoding="utf-8")

    def _fails(self, test: str, title: str) -> bool:
        (command,) = commands([test])
        seconds = COMMAND_SECONDS if command[0] == PYTHON else 3 * NODE_SECONDS
        start = self.log.stat().st_size
        if (code := self._run(command, title, seconds)) not in (0, FAILED):
            raise NotTriedError(f"exit code {code} of {' '.join(command)}")
        # A test that was never reached has noticed nothing.
        errors = re.search(rb"^\d+ error", self.log.read_bytes()[start:], re.MULTILINE)
        if errors and command[0] == PYTHON:
            raise NotTriedError(f"{test} was not run: its set-up failed")
        return code == FAILED

    def _provision(self, *roles: str) -> int:
        tags = f"--tags={','.join(filter(None, roles))}"
        return self._run([PYTHON, "-c", PROVISION, tags], "provision")

    def _run(self, command: Sequence[str], title: str, seconds: float = COMMAND_SECONDS) -> int:
        """Run a command with its output in the log.

        Returns:
            Its exit code; that of a failure where it was not done after ``seconds``.

        Raises:
            NotTriedError: All is to end.
        """
        if self._stopped.is_set():
            raise NotTriedError("stopped")
        # Without files of bytecode, which would outlive a change within the same second.
        environment = {
            **os.environ,
            "PATH": f"{ROOT / '.venv/bin'}:{os.environ['PATH']}",
            "PYTHONDONTWRITEBYTECODE": "1",
            # The environment has the package and the collection of the checkout itself; those
            # of the copy come before them.
            "PYTHONPATH": str(self._folder / "clients/python/src"),
            "ANSIBLE_COLLECTIONS_PATH": str(self._folder / COLLECTIONS),
            "KIT_TESTS_WAIT_SECONDS": "20",
            "PROVIDER": self._provider,
            "TLS": "",
        }
        with self.log.open("a", encoding="utf-8") as log:
            print(f"\n===== {title}\n$ {' '.join(command)}", file=log, flush=True)
            self._process = subprocess.Popen(
                command,
                cwd=self._folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                return self._process.wait(timeout=seconds)
            except subprocess.TimeoutExpired:
                print(f"Not done after {seconds} s.", file=log)
                end(self._process)
                return FAILED


def main() -> int:
    """Try the mutants; return the exit code."""
    word = (sys.argv[1:] or [""])[0]
    mutants = [mutant for mutant in load() if word in f"{mutant.fault} {mutant.file}"]
    if not mutants:
        print(f"No fault and no file in {MUTANTS.relative_to(ROOT)} has {word!r}.", file=sys.stderr)
        return 2
    start = time.monotonic()
    KIT_DIR.mkdir(mode=0o700, exist_ok=True)
    copies = []
    for kind, number in COPIES.items():
        if chosen := [mutant for mutant in mutants if mutant.kind == kind]:
            size = math.ceil(len(chosen) / number)
            copies += [  # neighbours in the list have tests in common
                Copy(f"{kind}-{first // size + 1}", chosen[first : first + size])
                for first in range(0, len(chosen), size)
            ]
    with concurrent.futures.ThreadPoolExecutor() as pool:
        try:
            for one in copies:
                one.make()
            print(f"{'s':>6}  {'caught':8}  fault")
            caught = sum(pool.map(Copy.try_all, copies))
        except (NotTriedError, KeyboardInterrupt) as error:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)  # it ends already
            for one in copies:
                one.stop()
            print(error or "Interrupted.", file=sys.stderr)
            return 1
        finally:
            pool.shutdown()
            for one in copies:
                one.remove()
    seconds = time.monotonic() - start
    print(f"{caught} of {len(mutants)} mutants were caught, in {seconds:.0f} s.")
    return 0 if caught == len(mutants) else 1


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
