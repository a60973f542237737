"""Runs the long commands: what is being done, for how long, and where the log is."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from kit.checkout import LOG_DIR, ROOT
from kit.errors import KitError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

REPORT_SECONDS = 10.0  # between two lines where the output is not a terminal
TAIL_LINES = 25
LOGS_KEPT = 40
# Ansible's own mistakes have no brackets.
_CAUSE = re.compile(r"^\[?ERROR\]?: (?:Task failed: )?(?:(?:Module|Action) failed: )?(.+)")
# What apt, pip and Python say where there is no network, or only one that does not answer.
_NO_NETWORK = (ROOT / "kit/no_network.txt").read_text(encoding="utf-8").lower().splitlines()
_TASK = re.compile(r"^(?:TASK|RUNNING HANDLER) \[(?:\S+ : )?(.+?)\] \*")


@dataclass
class Phases:
    """The phases of one run and the seconds that each took."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time what is done inside the block under ``name``."""
        start = time.monotonic()
        try:
            yield
        finally:
            elapsed = time.monotonic() - start
            self.seconds[name] = self.seconds.get(name, 0.0) + elapsed


class _Ticker:
    """One line that says what is running; rewritten on a terminal, repeated elsewhere."""

    def __init__(self, label: str, log: str) -> None:
        self._label, self._log, self._step = label, log, ""
        self._start = time.monotonic()
        self._stop = threading.Event()
        self._terminal = sys.stdout.isatty()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def step(self, name: str) -> None:
        self._step = name

    def _line(self) -> str:
        step = f": {self._step}" if self._step else ""
        return f"{self._label}{step} ({time.monotonic() - self._start:.0f} s, log: {self._log})"

    def _run(self) -> None:
        with contextlib.suppress(BrokenPipeError):  # the command says so with its next line
            while not self._stop.wait(0.5 if self._terminal else REPORT_SECONDS):
                if self._terminal:
                    print(f"\r\x1b[K... {self._line()}"[:160], end="", flush=True)
                else:
                    print(f"... {self._line()}", flush=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        if self._terminal:
            print("\r\x1b[K", end="", flush=True)


def run_logged(  # noqa: PLR0913  # each says a different thing about one command
    label: str,
    command: Sequence[str],
    *,
    log: str,
    environment: Mapping[str, str] | None = None,
    on_failure: Callable[[], str] | None = None,
    hint: str = "",
) -> list[str]:
    """Run ``command`` with its output in a log, and show progress meanwhile.

    Args:
        label: What is being done, for people.
        command: Program and arguments.
        log: Name of the log below ``.kit/logs``, without time or suffix.
        environment: Added to this process's environment.
        on_failure: Returns more for the log when the command fails.
        hint: A sentence that says what to do when the command fails.

    Returns:
        The lines of the output.

    Raises:
        KitError: The program is missing, or the command failed. CI, which keeps no logs,
            is shown the end of this one.
    """
    LOG_DIR.mkdir(parents=True, exist_ok=True)
    (ROOT / ".kit").chmod(0o700)
    for old in sorted(LOG_DIR.glob("*.log"))[:-LOGS_KEPT]:
        old.unlink(missing_ok=True)
    path = LOG_DIR / f"{time.strftime('%Y%m%d-%H%M%S')}-{log}.log"
    shown = str(path.relative_to(ROOT))
    lines: list[str] = []
    cause = ""
    start = time.monotonic()
    with path.open("w", encoding="utf-8") as file, _Ticker(label, shown) as ticker:
        try:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            )
        except FileNotFoundError:
            raise KitError(f"{label} failed: {command[0]} is missing. {hint}".strip()) from None
        assert process.stdout is not None  # noqa: S101  # for the type checker: it is a pipe
        try:
            for line in process.stdout:
                file.write(line)
                file.flush()
                lines.append(line.rstrip("\n"))
                if match := _TASK.match(line):
                    ticker.step(match[1])
                if match := _CAUSE.match(line):
                    cause = f": {match[1].rstrip('.')}"
            process.wait()
        except KeyboardInterrupt:
            # The terminal sent the signal to the command too, but `kill` did not.
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=20)
            process.kill()
            raise
        finally:
            process.stdout.close()
    if process.returncode:
        more = on_failure() if on_failure else ""
        with path.open("a", encoding="utf-8") as file:
            file.write(more)
        if os.environ.get("CI"):
            print("\n".join([*lines[-TAIL_LINES:], more]))
        if any(phrase in line.lower() for line in lines for phrase in _NO_NETWORK):
            cause += ". No answer came from the network"
        raise KitError(f"{label} failed{cause}. The whole log is {shown}. {hint}".strip())
    print(f"{label}: {time.monotonic() - start:.1f} s", flush=True)
    return lines
