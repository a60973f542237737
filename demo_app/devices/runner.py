"""A job on many devices at a time, by Nornir: one that fails never stops the others."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from netmiko.channel import SSHChannel
from netmiko.exceptions import ReadException
from nornir.core import Nornir
from nornir.core.configuration import Config, LoggingConfig, SSHConfig
from nornir.core.inventory import Defaults, Groups, Host, Hosts, Inventory
from nornir.core.plugins.connections import ConnectionPluginRegister
from nornir.core.task import Result
from nornir.plugins.runners import ThreadedRunner

from demo_app.devices.ssh_session import DeviceError, Session, Unreachable

if TYPE_CHECKING:
    from collections.abc import Callable

    from nornir.core.processor import Processor
    from nornir.core.task import Task

    from demo_app.devices.inventory import Device
    from demo_app.devices.jobs import Outcome

ATTEMPTS = 2
# What takes longer is named, though it succeeds.
SLOW_SECONDS = 3.0
# Nornir and Paramiko log errors with all that they know; what people need is in the rows.
for _name in ("nornir", "paramiko", "netmiko"):
    logging.getLogger(_name).addHandler(logging.NullHandler())
    logging.getLogger(_name).propagate = False


@dataclass
class Row:
    """What became of one device.

    Args:
        device: Its name.
        state: ``ok``, ``drift``, ``failed``, ``cancelled``.
        text: In a few words.
        seconds: How long it took, its logins included.
        attempts: How often somebody tried to log in.
        slow: It took much longer than devices do.
        log: What was done, step by step.
        diff: Of its configuration; empty where there is none.
        missing: Neighbours that it does not see; None where nobody has looked.
    """

    device: str
    state: str = "cancelled"
    text: str = "cancelled before it began"
    seconds: float = 0.0
    attempts: int = 0
    slow: bool = False
    log: list[str] = field(default_factory=list)
    diff: str = ""
    missing: list[str] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON can carry it."""
        return asdict(self)


class Limiter:
    """Lets so many pass a second, evenly.

    Args:
        per_second: How many.
    """

    def __init__(self, per_second: float) -> None:
        self._interval = 1 / per_second
        self._next = time.monotonic()
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Return when it is this caller's turn."""
        with self._lock:
            turn = max(self._next, time.monotonic())
            self._next = turn + self._interval
        time.sleep(max(0.0, turn - time.monotonic()))


class Channel(SSHChannel):
    """Says at once that it was closed; Netmiko would go on reading until its time is up."""

    def read_buffer(self) -> str:
        """Return what there is to read.

        Raises:
            ReadException: There is nothing any more, and nothing will come.
        """
        closed = self.remote_conn is None or self.remote_conn.closed  # asked first: it may end now
        if not (output := super().read_buffer()) and closed:
            raise ReadException("closed")
        return output


@dataclass(frozen=True)
class Settings:
    """How devices are visited.

    Args:
        login: Arguments of Netmiko's ``ConnectHandler``.
        workers: How many devices at a time.
        logins_per_second: How many logins may begin in a second, over all devices.
        connect_seconds: How long each step of a login may take.
        device_type: Netmiko's.
    """

    login: dict[str, Any]
    workers: int = 8
    logins_per_second: float = 20.0
    connect_seconds: float = 8.0
    device_type: str = "cisco_ios"  # FRRouting's vtysh speaks like it


class Run:
    """One job on some devices.

    Args:
        devices: Which.
        work: Does the job on one device that is logged in.
        settings: How they are visited.
        finished: Is told each row as soon as it is known, one at a time.
    """

    def __init__(
        self,
        devices: list[Device],
        work: Callable[[Session, Device], Outcome],
        settings: Settings,
        finished: Callable[[Row], None] = lambda _row: None,
    ) -> None:
        self._devices = {device.name: device for device in devices}
        self._work = work
        self._settings = settings
        self._finished = finished
        self._limiter = Limiter(settings.logins_per_second)
        self._cancelled = threading.Event()
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()

    def cancel(self) -> None:
        """Begin with no device any more, and end the sessions that run."""
        self._cancelled.set()
        with self._lock:
            for connection in self._sockets:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def start(self, *processors: Processor, name: str = "visit") -> list[Row]:
        """Visit every device; return a row for each, in the order of the devices.

        Args:
            processors: Nornir's, who are told of each step.
            name: What is done, for them.
        """
        ConnectionPluginRegister.auto_register()
        hosts = Hosts(
            {
                device.name: Host(
                    device.name,
                    hostname=device.address,
                    port=device.port,
                    platform=self._settings.device_type,
                )
                for device in self._devices.values()
            }
        )
        nornir = Nornir(
            Inventory(hosts, Groups(), Defaults()),
            Config(logging=LoggingConfig(enabled=False), ssh=SSHConfig(config_file=os.devnull)),
            runner=ThreadedRunner(self._settings.workers),
        ).with_processors(list(processors))
        results = nornir.run(self._visit, name=name)
        return [results[name][0].result for name in self._devices]

    def _visit(self, task: Task) -> Result:
        """Do the job on one device, and never raise for what is wrong with it."""
        device = self._devices[task.host.name]
        row = Row(device.name)
        began = time.monotonic()
        while not self._cancelled.is_set():
            row.attempts += 1
            session = Session(task)
            try:
                session.connect(lambda: self._open(task))
                outcome = self._work(session, device)
            except DeviceError as error:
                row.state, row.text = "failed", str(error)
                again = isinstance(error, Unreachable) and row.attempts < ATTEMPTS
            except Exception as error:  # noqa: BLE001  # the others go on, whatever it is
                row.state, row.text = "failed", f"an error of the program: {type(error).__name__}"
                again = False
            else:
                row.state, row.text, row.diff = outcome.state, outcome.text, outcome.diff
                row.missing = outcome.missing
                again = False
            finally:
                row.log += [f"attempt {row.attempts}", *session.log]
                self._close(task.host)
            if not again:
                break
        if self._cancelled.is_set() and row.state not in ("ok", "drift") and row.attempts:
            row.state, row.text = "cancelled", "cancelled while it was visited"
        row.seconds = round(time.monotonic() - began, 1)
        row.slow = row.state in ("ok", "drift") and row.seconds > SLOW_SECONDS
        with self._lock:
            self._finished(row)
        return Result(host=task.host, result=row, failed=row.state == "failed")

    def _open(self, task: Task) -> None:
        self._limiter.wait()
        host = task.host
        seconds = self._settings.connect_seconds
        connection = socket.create_connection((host.hostname, host.port), seconds)
        with self._lock:
            self._sockets.add(connection)
            if self._cancelled.is_set():
                connection.shutdown(socket.SHUT_RDWR)
        host.data["socket"] = connection
        host.open_connection(
            "netmiko",
            task.nornir.config,
            extras={
                **self._settings.login,
                "sock": connection,
                "conn_timeout": seconds,
                "banner_timeout": seconds,
                "auth_timeout": seconds,
                "auto_connect": False,
            },
        )
        netmiko = host.connections["netmiko"].connection
        establish = netmiko.establish_connection

        def establish_connection(*arguments: Any, **options: Any) -> None:  # noqa: ANN401  # Netmiko's
            establish(*arguments, **options)
            netmiko.channel = Channel(netmiko.remote_conn, netmiko.encoding)

        netmiko.establish_connection = establish_connection
        netmiko._open()  # noqa: SLF001  # what it does by itself with auto_connect

    def _close(self, host: Host) -> None:
        connection = host.data.pop("socket", None)
        if connection is None:
            return
        if "netmiko" in host.connections:
            # It would say good-bye, and wait for an answer: a device that hangs gives none.
            netmiko = host.connections.pop("netmiko").connection
            if client := getattr(netmiko, "remote_conn_pre", None):
                client.close()
        with self._lock:
            self._sockets.discard(connection)
        connection.close()
