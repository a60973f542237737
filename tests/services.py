"""Stop and start an instance's Redis, however it is kept running."""

from __future__ import annotations

import contextlib
import os
import re
import signal
from typing import TYPE_CHECKING, Any, Protocol

import redis
import yaml

from kit.checkout import ROOT
from kit.local.configuration import LOCAL_DIR
from kit.local.provider import Local
from kit.run_logged import Phases
from kit.verify import publisher
from tests.demo_server import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from testinfra.host import Host


class Redis(Protocol):
    """The instance's Redis; Webdis goes and comes back with it."""

    def stop(self) -> None:
        """Stop it; it stays away."""

    def start(self) -> None:
        """Return when it answers again."""

    def restart(self) -> None:
        """Return when another process of it answers."""


# What a fault of systemd's says after which the same works; the role tells of it.
ROLE = ROOT / "ansible/roles/systemd_service/vars/main.yml"
AGAIN = yaml.safe_load(ROLE.read_text("utf-8"))["_systemd_service_again"]
LAST_STEP = re.compile(r"systemctl (?:start|restart|reload) [^;&|]+$")


def insist(run: Callable[..., Any], command: str, *arguments: str) -> Any:
    """Run a shell command; its last step once more, where systemd is at fault for it.

    Args:
        run: Runs a command on the server, and returns what it said.
        command: Of one step or more.
        arguments: What takes the place of each ``%s``.
    """
    answer = run(command, *arguments)
    if AGAIN in str(answer.stderr) and (last := LAST_STEP.search(command)):
        answer = run(last[0], *arguments)
    return answer


def restart(server: Host, *units: str) -> None:
    """Restart units of systemd, and return once all are active."""
    server.run(f"systemctl restart {' '.join(units)}")
    eventually(lambda: all(server.service(one).is_running for one in units), f"{units} stay away")


class Unit:
    """A unit of systemd, which waits for it."""

    def __init__(self, server: Host) -> None:
        self._server = server

    def stop(self) -> None:
        self._server.check_output("systemctl stop redis")

    def start(self) -> None:
        self._server.check_output("systemctl start redis")

    def restart(self) -> None:
        restart(self._server, "redis")


class Supervised:
    """A program of PROVIDER=local."""

    def __init__(self, instance: dict[str, Any]) -> None:
        self._client = publisher(instance)

    def _run_id(self) -> str:
        """Return which process answers; empty while none does, or it still reads its data."""
        with contextlib.suppress(redis.RedisError):
            found = self._client.info()
            return "" if found["loading"] else found["run_id"]
        return ""

    def stop(self) -> None:
        assert Local().down()

    def start(self) -> None:
        assert Local().up(os.environ.get("SOURCES") or "auto", Phases())
        eventually(self._run_id, "Redis does not start")

    def restart(self) -> None:
        before = self._run_id()
        os.kill(int((LOCAL_DIR / "redis.pid").read_text()), signal.SIGTERM)
        eventually(lambda: self._run_id() not in ("", before), "Redis stays away")

    def close(self) -> None:
        self._client.close()
