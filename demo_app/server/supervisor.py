"""``python -m demo_app``: the web server and its workers, each started again if it dies."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from demo_app import create_app, logs, metrics
from demo_app.config import ConfigurationError
from demo_app.jobs import worker
from webdis_progress import ProgressError

if TYPE_CHECKING:
    from flask import Config, Flask

_log = logging.getLogger(__name__)

WEB, WORKER = "demo_app.server.web", "demo_app.jobs.worker"
# What dies sooner after its start is not started again at once.
SHORT_LIFE_SECONDS = 5.0
RESTART_SECONDS = 2.0
# What finds no settings, since the instance is gone, waits twice as long each time, up to this.
LONGEST_WAIT_SECONDS = 60.0
# How long after Ctrl-C the current job may take, and then how long its end may take.
GRACE_SECONDS = 3.0
# What stands for all addresses, and one of them that can be opened.
LOOPBACK_OF_ALL = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # a key to look up


class Child:
    """A process of the demo.

    Args:
        module: Run by ``python -m`` with ``argument`` and this process's id.
        argument: Its first argument.
        descriptors: Files that it inherits.
        waited: Seconds for which it had to wait, since the one before found no settings.
    """

    def __init__(self, module: str, argument: str, *descriptors: int, waited: float = 0.0) -> None:
        self.module = module
        self.argument = argument
        self.waited = waited
        command = [sys.executable, "-m", module, argument, str(os.getpid())]
        # Ctrl-C is this process's to handle, also while that one still loads.
        self.process = subprocess.Popen(command, pass_fds=descriptors, process_group=0)
        self.started_at = time.monotonic()
        _log.info("%s: process %d", module, self.process.pid)

    @property
    def found_no_settings(self) -> bool:
        """Did it end since the instance is gone?"""
        return self.process.returncode == os.EX_CONFIG


class Supervisor:
    """Keeps a web server and workers running.

    Args:
        app: For what a worker that was killed leaves behind.
        listeners: The web server's sockets, which outlive it: for pages, and perhaps ``health``.
    """

    def __init__(self, app: Flask, listeners: list[socket.socket]) -> None:
        self._app = app
        self._listeners = listeners
        self._children: list[Child] = []
        self._dead: set[str] = set()  # names of workers whose jobs have to be ended
        self._due: list[tuple[float, str, float]] = []  # when to start what, after how long a wait

    def run(self) -> None:
        """Start everything; return only by an exception, such as Ctrl-C."""
        self._find_lost_jobs()
        self._start(WEB)
        for _ in range(self._app.config["WORKERS"]):
            self._start(WORKER)
        while True:
            self._end_lost_jobs()
            self._start_due()
            if self._dead or self._due:  # Redis is away, too, or somebody waits: look again soon
                time.sleep(RESTART_SECONDS if self._dead else RESTART_SECONDS / 4)
            self._take_ended(os.WNOHANG if self._dead or self._due else 0)

    def _start(self, module: str, waited: float = 0.0) -> None:
        if module == WEB:
            descriptors = [listener.fileno() for listener in self._listeners]
            child = Child(WEB, ",".join(map(str, descriptors)), *descriptors, waited=waited)
        else:
            child = Child(WORKER, worker.new_name(), waited=waited)
        self._children.append(child)

    def _start_due(self) -> None:
        now = time.monotonic()
        due = [entry for entry in self._due if entry[0] <= now]
        self._due = [entry for entry in self._due if entry[0] > now]
        for _, module, waited in due:
            self._start(module, waited)

    def _take_ended(self, options: int) -> None:
        """Note that a child has ended, and when to start the next."""
        with contextlib.suppress(ChildProcessError):  # all of them are due
            pid, status = os.waitpid(-1, options)
            for child in [child for child in self._children if child.process.pid == pid]:
                self._children.remove(child)
                child.process.returncode = os.waitstatus_to_exitcode(status)
                if child.module == WORKER:
                    self._dead.add(child.argument)
                seconds = _seconds_until_next(child)
                waited = seconds if child.found_no_settings else 0.0
                self._due.append((time.monotonic() + seconds, child.module, waited))
                _log.warning(
                    "%s has ended (%d); it starts again in %.0f s.",
                    *(child.module, child.process.returncode, seconds),
                )

    def _find_lost_jobs(self) -> None:
        # When this process was killed with all of its own, nobody has ended their jobs.
        with self._app.app_context(), contextlib.suppress(RedisError):
            self._dead.update(worker.dead_workers())

    def _end_lost_jobs(self) -> None:
        for name in list(self._dead):
            try:
                with self._app.app_context():
                    worker.fail_jobs_of(name)
            except (RedisError, ProgressError) as error:
                _log.warning("The jobs of worker %s wait for Redis: %s", name, error)
            else:
                self._dead.remove(name)

    def stop(self) -> None:
        """End everything; a job that takes too long for that has failed."""
        for _ in range(2):  # a worker lets its job finish first; asked again, it does not
            for child in self._children:
                child.process.terminate()
            deadline = time.monotonic() + GRACE_SECONDS
            for child in self._children:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.process.wait(max(0.0, deadline - time.monotonic()))
        for child in self._children:
            child.process.kill()
            child.process.wait()
            if child.module == WORKER:
                self._dead.add(child.argument)
        self._end_lost_jobs()


def _seconds_until_next(child: Child) -> float:
    if child.found_no_settings:
        return min(max(RESTART_SECONDS, 2 * child.waited), LONGEST_WAIT_SECONDS)
    lived = time.monotonic() - child.started_at
    return RESTART_SECONDS if lived < SHORT_LIFE_SECONDS else 0.0


class PortError(Exception):
    """A port cannot be used; the message says why, and what to do."""


def _listen(host: str, port: int, setting: str) -> socket.socket:
    """Return a socket that listens; on ``::`` for IPv4, too, where the system can.

    Args:
        host: Address.
        port: Port.
        setting: What chooses another.

    Raises:
        PortError: They cannot be used.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    both = host == "::" and socket.has_dualstack_ipv6()
    try:
        return socket.create_server((host, port), family=family, backlog=128, dualstack_ipv6=both)
    except OSError as error:
        raise PortError(
            f"{_netloc(host, port)} cannot be used: {error.strerror}{_owner(port)}. "
            f"Choose another with {setting}. See docs/troubleshooting.md#port-taken."
        ) from None


def _listen_for_health(config: Config) -> list[socket.socket]:
    """Return the socket for ``health``; none if it is switched off, or its usual port is taken.

    Raises:
        PortError: A person has chosen the port, and it cannot be used.
    """
    if not config["HEALTH_PORT"]:
        return []
    try:
        return [_listen(config["HEALTH_HOST"], config["HEALTH_PORT"], "DEMO_HEALTH_PORT=")]
    except PortError as error:
        if os.environ.get("DEMO_HEALTH_PORT"):
            raise
        _log.warning("Without health and metrics: %s", error)
        return []


def _netloc(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _where(host: str, port: int) -> str:
    """Return what can be opened in a browser of this host, in words."""
    loopback = LOOPBACK_OF_ALL.get(host)
    where = f"http://{_netloc(loopback or host, port)}/"
    return f"{where} and on every address of this host" if loopback else where


def _owner(port: int) -> str:
    """Return who listens on ``port``, in words, as far as ``ss`` may tell."""
    if not shutil.which("ss"):
        return ""
    command = ["ss", "-Hltnp", f"sport = :{port}"]
    listeners = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    found = re.search(r'users:\(\("([^"]+)",pid=(\d+)', listeners)
    return f" by {found[1]} (process {found[2]})" if found else ""


def _fail(sentence: object, exit_code: int = 1) -> int:
    print(sentence, file=sys.stderr)
    return exit_code


def main() -> int:
    """Run the demo until SIGTERM, Ctrl-C or the end of its terminal; return the exit code."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as `nohup` has it
        signal.signal(signal.SIGHUP, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="webdis-kit-demo-") as folder:
        os.environ[metrics.FOLDER] = folder
        with contextlib.suppress(KeyboardInterrupt):  # while it begins
            return _run()
    return 0


def _run() -> int:
    try:
        app = create_app()
    except ConfigurationError as error:
        return _fail(error)
    logs.configure(app.config["LOG"])
    host, port = app.config["HOST"], app.config["PORT"]
    try:
        listeners = [_listen(host, port, "HOST= or PORT="), *_listen_for_health(app.config)]
    except PortError as error:
        return _fail(error)
    supervisor = Supervisor(app, listeners)
    try:
        _log.info("Demo on %s, stop with Ctrl-C", _where(host, port))
        if listeners[1:]:
            _log.info("Health on %s", _netloc(app.config["HEALTH_HOST"], app.config["HEALTH_PORT"]))
        supervisor.run()
    except KeyboardInterrupt:
        _log.info("Stopping.")
    finally:
        supervisor.stop()
    return 0
