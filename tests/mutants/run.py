"""Put one small fault after another into a copy of the checkout: each must turn its tests red.

``python -m tests.mutants.run [WORD]``: all of ``mutants.yml``, or those whose fault or file
has the word. The copy is below ``.kit``, with an instance of its own; both go in the end. What
the tests printed is in ``.kit/mutants.log``.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import yaml

from kit.checkout import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

MUTANTS = ROOT / "tests/mutants/mutants.yml"
COPY = ROOT / ".kit/mutants"
LOG = ROOT / ".kit/mutants.log"
PYTHON = ".venv/bin/python"
PROVISIONING = "provisioning"
# Runs the playbook as the tests do, with the copy's own files.
PROVISION = """
import sys
from tests.provisioning import provision
run = provision(*sys.argv[1:])
print(run.stdout, run.stderr)
sys.exit(run.returncode)
"""
WITHOUT_SERVER = ("tests/unit/", "tests/js/", "tests/ruby/")
# A fault may make a test wait for ever, or never even look at the clock.
TEST_SECONDS = 180
NODE_SECONDS = 10
COMMAND_SECONDS = 300
PREPARE_SECONDS = 1200
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

    @property
    def needs_server(self) -> bool:
        return bool(self.provision) or not all(t.startswith(WITHOUT_SERVER) for t in self.red)


def load() -> list[Mutant]:
    """Return all mutants in their order."""
    return [
        Mutant(**{**entry, "red": (red,) if isinstance(red := entry["red"], str) else tuple(red)})
        for entry in yaml.safe_load(MUTANTS.read_text(encoding="utf-8"))
    ]


class NotTriedError(Exception):
    """Something else than a mutant is wrong; one sentence."""


def run(command: Sequence[str], title: str, seconds: float = COMMAND_SECONDS) -> int:
    """Run a command in the copy, with its output in the log.

    Returns:
        Its exit code; that of a failure where it was not done after ``seconds``.
    """
    # Without files of bytecode, which would outlive a change within the same second.
    environment = {
        **os.environ,
        "PATH": f"{ROOT / '.venv/bin'}:{os.environ['PATH']}",
        "PYTHONDONTWRITEBYTECODE": "1",
        # The environment has the packages of the checkout itself, and these come before them.
        "PYTHONPATH": str(COPY / "clients/python/src"),
        "PROVIDER": "container",
        "TLS": "",
    }
    with LOG.open("a", encoding="utf-8") as log:
        print(f"\n===== {title}\n$ {' '.join(command)}", file=log, flush=True)
        process = subprocess.Popen(
            command,
            cwd=COPY,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            return process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            print(f"Not done after {seconds} s.", file=log)
            end(process)
            return FAILED
        except BaseException:
            end(process)
            raise


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
        found.append([*words, *of_pytest])
    return found


def copy() -> None:
    """Copy the checkout as it is, what is not committed included."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in names.split("\0"):
        if name and (ROOT / name).is_file():
            (COPY / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, COPY / name)
    for name in (".venv", "node_modules"):
        (COPY / name).symlink_to(ROOT / name)


def remove() -> None:
    """Remove the copy and its instance."""
    if (COPY / "kit").is_dir():
        run([PYTHON, "-m", "kit", "destroy"], "destroy")
    shutil.rmtree(COPY, ignore_errors=True)


def provision(*tags: str) -> int:
    return run([PYTHON, "-c", PROVISION, f"--tags={','.join(filter(None, tags))}"], "provision")


def prepare(mutants: list[Mutant]) -> None:
    """Bring up the copy's instance where it is needed, and see all the tests green.

    Raises:
        NotTriedError: They are not.
    """
    if any(mutant.needs_server for mutant in mutants) and run(
        [PYTHON, "-m", "kit", "up"], "up", PREPARE_SECONDS
    ):
        raise NotTriedError("The copy's instance did not come up.")
    tests = [test for mutant in mutants for test in mutant.red if test != PROVISIONING]
    for command in commands(tests):
        if run(command, "unchanged", PREPARE_SECONDS):
            raise NotTriedError(f"Without any fault this is not green: {' '.join(command)}")


def survived(mutant: Mutant, before: str) -> list[str]:
    """Try one mutant; return those of its tests that stayed green.

    Args:
        mutant: What is tried.
        before: The role that the one before was provisioned with, which is put back with it.

    Raises:
        NotTriedError: Something other than its tests went wrong.
    """
    if mutant.provision or before:
        refused = provision(before, mutant.provision) != 0
        if PROVISIONING in mutant.red:
            return [] if refused else [PROVISIONING]
        if refused:
            raise NotTriedError("provisioning failed")
    green = []
    for test in mutant.red:
        (command,) = commands([test])
        seconds = COMMAND_SECONDS if test.partition("::")[0].endswith(".py") else 3 * NODE_SECONDS
        if (code := run(command, mutant.fault, seconds)) not in (0, FAILED):
            raise NotTriedError(f"exit code {code} of {' '.join(command)}")
        if not code:
            green.append(test)
    return green


def attempt(mutant: Mutant, before: str) -> list[str]:
    """Put the fault in, try it, take it out."""
    file: Path = COPY / mutant.file
    content = file.read_text(encoding="utf-8")
    if content.count(mutant.search) != 1:
        raise NotTriedError(f"{mutant.file} has it {content.count(mutant.search)} times")
    file.write_text(content.replace(mutant.search, mutant.replace), encoding="utf-8")
    try:
        return survived(mutant, before)
    finally:
        file.write_text(content, encoding="utf-8")


def try_all(mutants: list[Mutant]) -> int:
    """Print a row for each; return how many were not caught."""
    missed, before = 0, ""
    print(f"{'':>9}  {'s':>5}  {'caught':8}  fault")
    for number, mutant in enumerate(mutants, start=1):
        start = time.monotonic()
        verdict, why = "yes", ""
        try:
            if green := attempt(mutant, before):
                verdict, why = "SURVIVED", f"; green: {', '.join(green)}"
        except NotTriedError as error:
            verdict, why = "NO", f"; {error}"
        before = mutant.provision
        missed += verdict != "yes"
        row = (f"{number}/{len(mutants)}", time.monotonic() - start, verdict, mutant.fault)
        print("{:>9}  {:5.1f}  {:8}  {}".format(*row) + why, flush=True)
    return missed


def main() -> int:
    """Try the mutants; return the exit code."""
    word = (sys.argv[1:] or [""])[0]
    mutants = [mutant for mutant in load() if word in f"{mutant.fault} {mutant.file}"]
    if not mutants:
        print(f"No fault and no file in {MUTANTS.relative_to(ROOT)} has {word!r}.", file=sys.stderr)
        return 2
    start = time.monotonic()
    LOG.parent.mkdir(mode=0o700, exist_ok=True)
    LOG.unlink(missing_ok=True)
    COPY.exists() and remove()
    try:
        copy()
        prepare(mutants)
        print(f"All their tests are green without a fault: {time.monotonic() - start:.0f} s")
        missed = try_all(mutants)
    except NotTriedError as error:
        print(f"{error} What was printed is in {LOG.relative_to(ROOT)}.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        remove()
    seconds = time.monotonic() - start
    print(f"{len(mutants) - missed} of {len(mutants)} mutants were caught, in {seconds:.0f} s.")
    return 1 if missed else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
