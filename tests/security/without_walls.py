"""A Redis and a Webdis of the instance's own builds, with walls taken away on purpose."""

from __future__ import annotations

import contextlib
import json
import secrets
import socket
import subprocess
import time
from typing import TYPE_CHECKING, Any, Self

import redis

from bench.processes import free_port
from kit.checkout import SSH_CONFIG

if TYPE_CHECKING:
    from testinfra.host import Host

REDIS_PORT, WEBDIS_PORT = 17379, 17380
DEADLINE_SECONDS = 60.0


class WithoutWalls:
    """Throw-away services on loopback ports of the instance, reached through SSH.

    Args:
        server: The instance.
        walled_webdis: Whether Webdis has the instance's own list of commands, or none.
        walled_redis: Whether Webdis is the instance's own user in Redis, or one that
            may do everything.
    """

    def __init__(self, server: Host, *, walled_webdis: bool, walled_redis: bool) -> None:
        self._server = server
        self.folder = f"/run/lab-{secrets.token_hex(4)}"
        self._password = secrets.token_hex(32)
        self._closing = contextlib.ExitStack()
        users = server.file("/etc/redis/users.acl").content_string
        for name in ("lab", "anybody"):
            users += f"user {name} on >{self._password} ~* &* +@all\n"
        settings: dict[str, Any] = json.loads(server.file("/etc/webdis/webdis.json").content_string)
        settings |= {
            "redis_host": "127.0.0.1",
            "redis_port": REDIS_PORT,
            "redis_auth": ["anybody", self._password],
            "http_host": "127.0.0.1",
            "http_port": WEBDIS_PORT,
        }
        if walled_redis:
            password = server.file("/etc/webdis/redis_password").content_string
            settings["redis_auth"] = ["webdis", password]
        if not walled_webdis:
            del settings["acl"]
        configuration = (
            f"bind 127.0.0.1\nport {REDIS_PORT}\nprotected-mode no\nsave ''\n"
            f"dir {self.folder}\naclfile {self.folder}/users.acl\n"
        )
        self._files = {
            "users.acl": users,
            "redis.conf": configuration,
            "webdis.json": json.dumps(settings),
        }

    def __enter__(self) -> Self:
        """Start both."""
        with contextlib.ExitStack() as closing:
            closing.callback(self._stop)
            self._command("umask 077 && mkdir", self.folder)
            for name, content in self._files.items():
                self._command(f"cat > {self.folder}/{name}", stdin=content)
            self._start("redis", f"/opt/redis/current/bin/redis-server {self.folder}/redis.conf")
            program = self._server.run(
                "systemctl show -P ExecStart webdis | sed 's/.*argv\\[\\]=\\([^ ]*\\) .*/\\1/'"
            ).stdout.strip()
            self.redis_port, self.webdis_port = self._forward(closing)
            self.redis = closing.enter_context(self.redis_as("lab", self._password))
            self._wait(self.redis.ping)
            self._start("webdis", f"{program} {self.folder}/webdis.json")
            self._wait(lambda: self.webdis_socket().close())
            self._closing = closing.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop both and remove their files."""
        self._closing.close()

    def redis_as(self, username: str, password: str) -> redis.Redis:
        """Return a connection that sends nothing at connect but its name and password."""
        return redis.Redis(
            port=self.redis_port,
            username=username,
            password=password,
            lib_name=None,
            lib_version=None,
            socket_timeout=20,
        )

    def webdis_socket(self) -> socket.socket:
        """Return a TCP connection to Webdis, once there is one to be had."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while True:
            connection = socket.create_connection(("127.0.0.1", self.webdis_port), timeout=20)
            # The tunnel takes connections even where Webdis does not.
            connection.sendall(b"OPTIONS / HTTP/1.1\r\nHost: lab\r\n\r\n")
            with contextlib.suppress(OSError):
                if connection.recv(65536).startswith(b"HTTP/1.1 200"):
                    return connection
            connection.close()
            assert time.monotonic() < deadline, "Webdis does not come back"
            time.sleep(0.05)

    def stop_webdis(self) -> None:
        """End Webdis, and with it its connections to Redis."""
        self._server.run("systemctl stop lab-webdis")

    def _command(self, *command: str, stdin: str = "") -> None:
        subprocess.run(
            ["ssh", "-F", SSH_CONFIG, "server", " ".join(command)],
            input=stdin,
            text=True,
            check=True,
        )

    def _start(self, name: str, command: str) -> None:
        # A run that was cut off may have left one.
        self._server.run(f"systemctl stop lab-{name}")
        # As root: what holds is to be the wall under test, not a file mode.
        answer = self._server.run(
            f"systemd-run --quiet --collect --unit=lab-{name} -p Restart=always "
            f"-p RestartSec=50ms -p StartLimitIntervalSec=0 -p LimitNOFILE=10000 {command}"
        )
        assert answer.rc == 0, answer.stderr

    def _stop(self) -> None:
        self._server.run(f"systemctl stop lab-webdis lab-redis; rm -rf {self.folder}")

    def _forward(self, closing: contextlib.ExitStack) -> tuple[int, int]:
        ports = free_port(), free_port()
        tunnels = [
            f"-L127.0.0.1:{port}:127.0.0.1:{there}"
            for port, there in zip(ports, (REDIS_PORT, WEBDIS_PORT), strict=True)
        ]
        process = subprocess.Popen(
            ["ssh", "-F", SSH_CONFIG, "-N", "-o", "ExitOnForwardFailure=yes", *tunnels, "server"],
            stderr=subprocess.DEVNULL,  # one line for each connection that Webdis refuses
        )
        closing.callback(process.wait)
        closing.callback(process.terminate)
        return ports

    def _wait(self, ready: Any) -> None:  # any function will do
        deadline = time.monotonic() + DEADLINE_SECONDS
        while True:
            try:
                ready()
            except (redis.RedisError, OSError):
                assert time.monotonic() < deadline, self._server.run(
                    "journalctl -u 'lab-*' -n 30 --no-pager"
                ).stdout
                time.sleep(0.1)
            else:
                return
