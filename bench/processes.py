"""Processes of one system: started on the server's core, and what they use."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

SERVER_CORE, CLIENT_CORE = 0, 1
_START_SECONDS = 20.0
_STOP_SECONDS = 3.0


class ServerError(Exception):
    """A system could not be started; the message says which and why."""


# Below the ports that systems give by themselves, for example to a program that connects: it
# could get one between the choice and the server's start. PROVIDER=local has others.
_PORT_BLOCKS = range(10_000, 16_000, 100)


def _free_ports() -> Iterator[int]:
    """Yield ports of a block that is this program's: it holds the block's first port."""
    for first in _PORT_BLOCKS:
        with contextlib.suppress(OSError), socket.socket() as claim:
            claim.bind(("127.0.0.1", first))
            for port in itertools.cycle(range(first + 1, first + _PORT_BLOCKS.step)):
                with contextlib.suppress(OSError):
                    with socket.socket() as probe:
                        probe.bind(("127.0.0.1", port))
                    yield port
    raise ServerError(
        f"All ports of 127.0.0.1 from {_PORT_BLOCKS.start} to {_PORT_BLOCKS.stop} are taken."
    )


_FREE_PORTS = _free_ports()


def free_port() -> int:
    """Return a port of the loopback that nobody has, and no other run of tests or bench gives."""
    return next(_FREE_PORTS)


STARTED: list[Program] = []  # in the order in which they were started


def stop_all() -> None:
    """End every program, the last one first."""
    while STARTED:
        STARTED.pop().stop()


class Program:
    """One program with all the processes that it starts, in a session of its own.

    Args:
        label: What it is, for the figures: ``redis``, ``front``, ``replay``.
        command: Program and arguments.
        port: Where it listens once it has started; ``None`` where it does not.
        log: File for its output.
        environment: Added to this process's environment.
        core: The processor that it runs on.
    """

    def __init__(  # noqa: PLR0913  # each says a different thing about one program
        self,
        label: str,
        command: Sequence[str],
        port: int | None,
        log: Path,
        *,
        environment: Mapping[str, str] | None = None,
        core: int = SERVER_CORE,
    ) -> None:
        self.label, self._command, self._port, self._log = label, command, port, log
        self._environment, self._core = environment, core
        STARTED.append(self)
        self.start()

    def start(self) -> None:
        """Start it and wait until it listens.

        Raises:
            ServerError: It ended, or does not listen in time.
        """
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                ["taskset", "--cpu-list", str(self._core), *self._command],
                env={**os.environ, **(self._environment or {})},
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + _START_SECONDS
        while self._port is not None:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self._port), 1).close()
                if self.process.poll() is None:
                    return
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                tail = self._log.read_text(errors="replace").splitlines()[-15:]
                raise ServerError(
                    f"{self.label} does not listen on port {self._port}; {self._log} ends with:\n"
                    + "\n".join(tail)
                )
            time.sleep(0.01)

    def stop(self) -> None:
        """End it and all that it has started."""
        for number, seconds in ((signal.SIGTERM, _STOP_SECONDS), (signal.SIGKILL, _STOP_SECONDS)):
            self._signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(seconds)
            deadline = time.monotonic() + seconds
            while self._pids() and time.monotonic() < deadline:
                time.sleep(0.01)
            if not self._pids():
                return

    def restart(self) -> None:
        """Kill it, as a crash would, and start it again at once."""
        self._signal(signal.SIGKILL)
        self.stop()
        self.start()

    def _signal(self, number: int) -> None:
        # Not by group: some programs give each process that they start one of its own.
        for pid in self._pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _pids(self) -> list[int]:
        session = str(self.process.pid)
        return [pid for pid, fields in _processes() if fields[3] == session and fields[0] != "Z"]

    def cpu_seconds(self) -> float:
        """Return the processor time that its living threads have used."""
        nanoseconds = 0
        for pid in self._pids():
            for thread in Path(f"/proc/{pid}/task").glob("*/schedstat"):
                with contextlib.suppress(OSError):
                    nanoseconds += int(thread.read_text().split()[0])
        return nanoseconds / 1e9

    def memory_bytes(self) -> int:
        """Return its proportional set size: shared pages count once."""
        total = 0
        for pid in self._pids():
            with contextlib.suppress(OSError):
                rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
                line = next(line for line in rollup.splitlines() if line.startswith("Pss:"))
                total += int(line.split()[1]) * 1024
        return total

    def descriptors(self) -> int:
        """Return how many file descriptors it has open."""
        total = 0
        for pid in self._pids():
            with contextlib.suppress(OSError):
                total += len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208  # thousands of names
        return total


def _processes() -> list[tuple[int, list[str]]]:
    """Return the fields of ``/proc/PID/stat`` from the state on, of every process."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                stat = (folder / "stat").read_text()
                found.append((int(folder.name), stat[stat.rindex(")") + 2 :].split()))
    return found
