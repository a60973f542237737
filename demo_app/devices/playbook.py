"""The check over Ansible: a playbook as a process of its own, seen by the collection's callback."""

from __future__ import annotations

import configparser
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections import defaultdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from demo_app import connections, metrics
from demo_app.devices.redact import redact
from demo_app.devices.runner import Row
from webdis_progress import TERMINAL, replay

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from demo_app.devices.inventory import Device
    from webdis_progress import Progress

PLAYBOOK = Path(__file__).with_suffix(".yml")
POLL_SECONDS = 0.2
STOP_SECONDS = 10.0
# Of ansible-playbook: all went well, a host has failed, a host could not be reached, Ctrl-C.
KNOWN_EXIT_CODES = (0, 2, 4, 99)
CANCELLED = "cancelled while it was visited"
STATES = {"done": "ok", "failed": "failed"}


class PlaybookError(Exception):
    """Ansible did not begin, or broke off, and no device is to blame."""


class Playbook:
    """The playbook of the check, on some devices.

    Args:
        devices: Which.
        config: Of the application.
        progress: The run, which begins and ends elsewhere; Ansible publishes to its channel.
        finished: Is told each row as soon as it is known.
    """

    def __init__(
        self,
        devices: list[Device],
        config: Mapping[str, Any],
        progress: Progress,
        finished: Callable[[Row], None],
    ) -> None:
        self._devices = devices
        self._config = config
        self._progress = progress
        self._finished = finished
        self._told: set[str] = set()
        self._events: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        self._seq, self._epoch = 0, ""
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        """Begin with no task any more, and end the sessions that run."""
        self._cancelled.set()

    def start(self) -> None:
        """Run it, and tell each device's row.

        Raises:
            PlaybookError: Ansible itself failed; what it said is in the log.
        """
        # In the demo's own, which goes when it ends: this process may be killed.
        place = os.environ.get(metrics.FOLDER)
        with tempfile.TemporaryDirectory(prefix="playbook-", dir=place) as folder:
            self._write(Path(folder))
            with (Path(folder) / "log").open("w+", encoding="utf-8") as log:
                code = self._run(Path(folder), log.fileno())
                log.seek(0)
                said = log.read()
        self.tell()
        if self._cancelled.is_set():
            for device in self._devices:
                if device.name not in self._told:
                    self._progress.task(device.name).cancelled(CANCELLED)
            self.tell()
        if code not in KNOWN_EXIT_CODES and not self._cancelled.is_set():
            print(redact(said), file=sys.stderr)
            raise PlaybookError(f"ansible-playbook ended with {code}.")

    def tell(self) -> None:
        """Tell the rows of devices that have ended since."""
        for event in self._new_events():
            name = event["task"]
            self._events[name].append(event)
            if event["kind"] not in TERMINAL or name in self._told:
                continue
            self._told.add(name)
            log, seconds = _log(self._events[name])
            row = Row(
                name, STATES.get(event["kind"], "cancelled"), event["text"], seconds, 1, log=log
            )
            if self._cancelled.is_set() and row.state == "failed":
                row.state, row.text = "cancelled", CANCELLED
            self._finished(row)
            self._progress.advance(1)

    def _write(self, folder: Path) -> None:
        """Write inventory and configuration; Ansible reads no other."""
        lab = self._config["INSTANCE"]["lab"]
        hosts = {
            device.name: {"links": device.links, "routes": device.routes}
            for device in self._devices
        }
        inventory = {"all": {"hosts": hosts, "vars": {"version": lab["version"]}}}
        (folder / "inventory.json").write_text(json.dumps(inventory), encoding="utf-8")
        ssh_config = Path(str(self._config["KIT_DIR"])).resolve() / "lab" / "ssh_config"
        # A session for each task: one that is shared would outlive a cancel.
        ssh = f"-F {ssh_config} -o ControlMaster=no -o ServerAliveInterval=5 -o BatchMode=yes"
        settings = configparser.RawConfigParser()
        settings.read_dict(
            {
                "defaults": {
                    "home": str(folder),
                    "forks": str(self._config["DEVICES_WORKERS"]),
                    "timeout": f"{self._config['DEVICES_CONNECT_SECONDS']:.0f}",
                    "callbacks_enabled": "webdis_kit.server.progress",
                },
                "ssh_connection": {"ssh_args": ssh, "usetty": "false"},
            }
        )
        with (folder / "ansible.cfg").open("w", encoding="utf-8") as file:
            settings.write(file)

    def _run(self, folder: Path, log: int) -> int:
        ansible = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "inventory.json"]
        # Killed with this process, whatever becomes of it.
        bound = ["setpriv", "--pdeathsig", "TERM"] if shutil.which("setpriv") else []
        environment = {
            **{
                name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")
            },
            "ANSIBLE_CONFIG": str(folder / "ansible.cfg"),
            # Nothing of these is in a file, that a process which is killed would leave.
            "WEBDIS_PROGRESS_CHANNEL": self._progress.channel,
            "WEBDIS_PROGRESS_REDIS_URL": redis_url(self._config["REDIS_PUBLISHER"]),
            "WEBDIS_PROGRESS_WHOLE_RUN": "false",
        }
        with subprocess.Popen(
            [*bound, *ansible, str(PLAYBOOK)],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        ) as process:
            try:
                while not _ended(process):
                    self.tell()
                    if self._cancelled.is_set():
                        process.send_signal(signal.SIGINT)
                        break
                return process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                return 99
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)

    def _new_events(self) -> Iterator[dict[str, Any]]:
        """Yield what devices have said since; one answer has a part of it."""
        client, channel = connections.publisher(), self._progress.channel
        while events := (answer := replay(client, channel, self._seq, self._epoch))["events"]:
            self._seq, self._epoch = events[-1]["seq"], answer["epoch"]
            yield from (event for event in events if "task" in event)


def _log(events: list[dict[str, Any]]) -> tuple[list[str], float]:
    """Return what a device's bar has said, and the seconds from its first task to its last."""
    said = events[1:]  # not that it waits
    if not said:
        return [], 0.0
    times = [datetime.fromisoformat(event["ts"]) for event in (said[0], said[-1])]
    seconds = round((times[1] - times[0]).total_seconds(), 1)
    return [event["text"] for event in said if event["text"]], seconds


def redis_url(arguments: Mapping[str, Any]) -> str:
    """Return the address that redis-py makes the same connection of.

    Args:
        arguments: Of ``redis.Redis``: host, port, username, password, and for TLS
            ``ssl_ca_certs``.
    """
    login = ":".join(quote(arguments[part], safe="") for part in ("username", "password"))
    place = f"{login}@{arguments['host']}:{arguments['port']}"
    if arguments.get("ssl"):
        return f"rediss://{place}?ssl_ca_certs={quote(arguments['ssl_ca_certs'], safe='')}"
    return f"redis://{place}"


def _ended(process: subprocess.Popen[bytes]) -> bool:
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(POLL_SECONDS)
    return process.returncode is not None
