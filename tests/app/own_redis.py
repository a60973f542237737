"""A Redis of a test's own, without passwords: the instance's program, here or through SSH."""

from __future__ import annotations

import contextlib
import secrets
import subprocess
import tempfile
from typing import TYPE_CHECKING, Self

import redis

from kit.checkout import SSH_CONFIG
from kit.local.configuration import LOCAL_DIR
from tests.demo_server import eventually, free_port

if TYPE_CHECKING:
    from types import TracebackType


class OwnRedis:
    """Runs until its block ends.

    Args:
        settings: More words for redis-server's command line.
    """

    def __init__(self, *settings: str) -> None:
        port = free_port()
        # It ends with its input, however this process ends.
        until_then = f"--save '' {' '.join(settings)} >/dev/null & cat; kill $!; wait"
        if LOCAL_DIR.exists():
            (program,) = LOCAL_DIR.glob("opt/redis-*/bin/redis-server")
            script = f'"$1" --port {port} --dir "$2" {until_then}'
            command = ["sh", "-c", script, "sh", str(program), tempfile.gettempdir()]
        else:
            socket = f"/tmp/own-redis-{secrets.token_hex(6)}.sock"  # noqa: S108  # on the instance
            script = (
                f"/opt/redis/current/bin/redis-server --port 0 --unixsocket {socket} --dir /tmp "
                f"{until_then}; rm -f {socket}"
            )
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
