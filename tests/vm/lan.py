"""The LAN of the VM test, seen from another machine on it.

A bridge of its own with a DHCP server that has one address reserved for the VM, and a
watcher on it: it notes the VM's first frame and, the moment that SSH answers, tries every
way in that must be shut by then.
"""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pathlib import Path

ETH_P_ALL = 3
SOURCE_MAC = slice(6, 12)  # in an Ethernet frame
# What a stranger has: the private half of the key that Vagrant publishes.
USERS = ("vagrant", "ubuntu", "root")


def run(*command: str) -> None:
    """Run a command that must succeed."""
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


@dataclass
class Lan:
    """A bridge with a DHCP server.

    Args:
        bridge: Its name, at most 15 characters.
        number: Third byte of its subnet, 198.18.NUMBER.0/24.
        mac: The VM's hardware address there, with colons.
        directory: Where the DHCP server keeps its files.
    """

    bridge: str
    number: int
    mac: str
    directory: Path
    _server: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """The address that is reserved for the VM."""
        return f"198.18.{self.number}.50"

    @property
    def subnet(self) -> str:
        """The subnet."""
        return f"198.18.{self.number}.0/24"

    @property
    def stranger(self) -> str:
        """The watcher's address.

        Not the host's: sshd turns an address away for a while after logins that failed
        (PerSourcePenalties, since OpenSSH 9.8).
        """
        return f"198.18.{self.number}.2"

    def start(self) -> None:
        """Make the bridge and start the DHCP server."""
        self._remove_bridge()
        run("ip", "link", "add", self.bridge, "type", "bridge")
        for address in (f"198.18.{self.number}.1", self.stranger):
            run("ip", "address", "add", f"{address}/24", "dev", self.bridge)
        run("ip", "link", "set", self.bridge, "up")
        self._server = subprocess.Popen(
            [
                "dnsmasq",
                "--keep-in-foreground",
                "--conf-file=/dev/null",
                "--port=0",
                f"--interface={self.bridge}",
                "--bind-dynamic",
                f"--dhcp-range=198.18.{self.number}.100,198.18.{self.number}.150,1h",
                f"--dhcp-host={self.mac},{self.address}",
                "--dhcp-option=3",  # no router: the way out stays Vagrant's network
                f"--dhcp-leasefile={self.directory / 'leases'}",
                f"--log-facility={self.directory / 'dnsmasq.log'}",
            ],
            stdin=subprocess.DEVNULL,
        )

    def stop(self) -> None:
        """Stop the DHCP server and remove the bridge."""
        if self._server:
            self._server.terminate()
            self._server.wait(timeout=10)
        self._remove_bridge()

    def _remove_bridge(self) -> None:
        subprocess.run(["ip", "link", "delete", self.bridge], capture_output=True, check=False)


@dataclass
class Watcher:
    """Another machine on the LAN, which looks for ways into the VM.

    Args:
        lan: The LAN.
        public_key: File of the private key that Vagrant publishes.
        logs: Where the newest vm-up.log tells what Vagrant has done so far.
    """

    lan: Lan
    public_key: Path
    logs: Path
    log_at_first_frame: str | None = None
    ways_in: list[str] = field(default_factory=list)
    methods: dict[str, str] = field(default_factory=dict)
    _stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        """Start to watch."""
        self._threads = [
            threading.Thread(target=target, daemon=True)
            for target in (self._watch_frames, self._try_ssh)
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=60)

    def wait_until_tried(self, seconds: float) -> bool:
        """Wait until every way in has been tried; tell whether that came about."""
        deadline = time.monotonic() + seconds
        while len(self.methods) < len(USERS) and time.monotonic() < deadline:
            time.sleep(0.2)
        return len(self.methods) == len(USERS)

    def _watch_frames(self) -> None:
        wanted = bytes.fromhex(self.lan.mac.replace(":", ""))
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)) as tap:
            tap.bind((self.lan.bridge, 0))
            tap.settimeout(0.5)
            while not self._stop.is_set():
                try:
                    frame = tap.recv(2048)
                except TimeoutError:
                    continue
                if frame[SOURCE_MAC] == wanted:
                    newest = max(self.logs.glob("*-vm-up.log"))
                    self.log_at_first_frame = newest.read_text(errors="replace")
                    return

    def _try_ssh(self) -> None:
        while not self._stop.is_set():
            try:
                socket.create_connection(
                    (self.lan.address, 22), timeout=1, source_address=(self.lan.stranger, 0)
                ).close()
            except OSError:
                self._stop.wait(0.2)
                continue
            for user in USERS:
                answer = self._ssh(user, "-o", "PreferredAuthentications=none")
                self.methods[user] = answer.stderr.strip().splitlines()[-1]
                with_key = self._ssh(user, "-i", str(self.public_key), "-o", "IdentitiesOnly=yes")
                if with_key.returncode == 0:
                    self.ways_in.append(f"{user} with Vagrant's public key")
            return

    def _ssh(self, user: str, *options: str) -> subprocess.CompletedProcess[str]:
        known = ("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null")
        patient = ("-o", "BatchMode=yes", "-o", "ConnectTimeout=60", "-b", self.lan.stranger)
        return subprocess.run(
            ["ssh", "-F", "none", *known, *patient, *options, f"{user}@{self.lan.address}", "true"],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            check=False,
        )
