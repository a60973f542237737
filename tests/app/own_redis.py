"""A Redis of a test's own, without passwords: the instance's program, here or through SSH."""

from __future__ import annotations

import contextlib
import secrets
import shlex
import subprocess
from typing import TYPE_CHECKING, Self

import redis

from bench.processes import free_port
from kit.checkout import SSH_CONFIG
from kit.local.configuration import LOCAL_DIR
from tests.demo_server import eventually

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType


class OwnRedis:
    """Runs until its block ends.

    Args:
        settings: More words for redis-server's command line.
        program: Another redis-server than the instance's, on this host.
    """

    def __init__(self, *settings: str, program: Path | None = None) -> None:
        port = free_port()
        folder = f"/tmp/own-redis-{secrets.token_hex(6)}"  # noqa: S108  # here or on the instance
        socket = f"{folder}/socket"
        if program is None and LOCAL_DIR.exists():
            (program,) = LOCAL_DIR.glob("opt/redis-*/bin/redis-server")
        if program:
            words = [str(program), "--port", str(port)]
        else:
            words = ["/opt/redis/current/bin/redis-server", "--port", "0", "--unixsocket", socket]
        # It ends with its input, however this process ends, and a line of it is a crash.
        script = f"""
            start() {{
                {shlex.join(words)} --dir {folder} --save '' {" ".join(settings)} >/dev/null &
            }}
            mkdir {folder} && start
            while read -r line; do kill -KILL $!; wait $!; start; done
            kill $!; wait; rm -r {folder}
        """
        command = ["sh", "-c", script]
        if program is None:
            forward = ["-S", "none", "-L", f"{port}:{socket}"]
            command = ["ssh", "-F", str(SSH_CONFIG), *forward, "server", script]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.url = f"redis://127.0.0.1:{port}/0"
        self.client = redis.Redis(port=port, socket_timeout=10)

    def crash(self) -> None:
        """Kill it, so that it can do nothing more, and start it again; waits for neither."""
        assert self._process.stdin
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()

    def __enter__(self) -> Self:
        try:
            eventually(self._answers, "Redis did not start")
        except AssertionError:
            self.__exit__(None, None, None)
            raise
        return self

    def _answers(self) -> bool:
        with contextlib.suppress(redis.RedisError):
            return self.client.ping()
        return False

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.client.close()
        assert self._process.stdin
        self._process.stdin.close()
        try:
            self._process.wait(timeout=3)
        except subprocess.TimeoutExpired:  # somebody's connection is still open
            self._process.terminate()
            self._process.wait(timeout=30)
