"""``python -m bench.instructions REDIS_SERVER``: what a message costs Redis, in instructions.

Redis runs under Valgrind's callgrind, which counts its own instructions exactly, those of the
kernel left out: the figure does not depend on what else the machine does.
"""

from __future__ import annotations

import argparse
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import redis

from webdis_progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable

CALLS = 1000
START_SECONDS = 30.0
TEXT = "Importing row 1234 of 99999"
# As the kit's: a user that may do more costs less to check.
USER = "user publisher on nopass resetkeys ~progress:* resetchannels &progress:* +@all"


class Counted:
    """A Redis under callgrind.

    Args:
        server: The program.
        folder: For its data and for callgrind's files.
    """

    def __init__(self, server: Path, folder: Path) -> None:
        self._folder = folder
        self._dumps = 0
        self._socket = folder / "redis.sock"
        (folder / "users.acl").write_text(f"user default off\n{USER}\n")
        self._process = subprocess.Popen(
            [
                *("valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/calls"),
                *(str(server), "--port", "0", "--unixsocket", str(self._socket)),
                *("--aclfile", str(folder / "users.acl"), "--dir", str(folder), "--hz", "1"),
                *("--save", "", "--appendonly", "yes"),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.client = redis.Redis(
            unix_socket_path=str(self._socket), username="publisher", password="", socket_timeout=60
        )
        deadline = time.monotonic() + START_SECONDS
        while not self._socket.exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise SystemExit(f"Error: {server} does not start under valgrind.")
            time.sleep(0.05)

    def instructions(self, call: Callable[[], object], calls: int = CALLS) -> float:
        """Return how many instructions one call takes Redis."""
        for _ in range(10):  # the script is known, the connection is there
            call()
        self._dump()
        for _ in range(calls):
            call()
        return self._dump() / calls

    def _dump(self) -> int:
        """Return the instructions since the last time."""
        subprocess.run(
            ["callgrind_control", "--dump", str(self._process.pid)], check=True, capture_output=True
        )
        self._dumps += 1
        file = self._folder / f"calls.{self._dumps}"
        totals = [line for line in file.read_text().splitlines() if line.startswith("totals:")]
        return int(totals[-1].split()[1])

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()


def measure(counted: Counted) -> dict[str, float]:
    """Return the instructions of each kind of call, a message each."""
    client = counted.client
    channel = f"progress:{secrets.token_hex(16)}"
    floor = client.register_script(
        "redis.call('XADD', KEYS[1], '*', 'message', ARGV[2])"
        " return redis.call('PUBLISH', ARGV[1], ARGV[2])"
    )
    text = TEXT * 6  # as long as an event's JSON
    floor_key = f"progress:{secrets.token_hex(16)}:events"
    progress = Progress(client, channel, total=99_999)
    task = progress.task("core-1", total=4)
    other = Progress(client, channel, total=99_999)

    def batch() -> None:
        with progress.batch():
            for _ in range(10):
                progress.message(TEXT)

    def in_turn() -> None:
        progress.message(TEXT)
        other.message(TEXT)

    return {
        "bare PUBLISH": counted.instructions(lambda: client.publish(channel, text)),
        "XADD and PUBLISH in a script": counted.instructions(
            lambda: floor(keys=[floor_key], args=[channel, text])
        ),
        "message": counted.instructions(lambda: progress.message(TEXT)),
        "event of a task": counted.instructions(lambda: task.message(TEXT)),
        "message, two writers in turn": counted.instructions(in_turn, CALLS // 2) / 2,
        "message, ten in a batch": counted.instructions(batch, CALLS // 10) / 10,
    }


def main() -> int:
    """Measure, print and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("server", type=Path, help="redis-server")
    server = parser.parse_args().server
    for program in ("valgrind", "callgrind_control"):
        if not shutil.which(program):
            print(f"Error: {program} is missing: apt-get install valgrind.", file=sys.stderr)
            return 1
    with tempfile.TemporaryDirectory() as folder:
        counted = Counted(server, Path(folder))
        try:
            found = measure(counted)
        finally:
            counted.stop()
    for name, count in found.items():
        print(f"{name:30} {count:9,.0f} instructions")
    return 0


if __name__ == "__main__":
    sys.exit(main())
