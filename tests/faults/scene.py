"""One run: a publisher, the demo, a page that shows the messages, and what became of them."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from websockets.exceptions import WebSocketException

from kit.checkout import ROOT
from kit.errors import KitError
from kit.verify import CHECKS, publisher
from kit.websocket import Page as SubscribedPage
from kit.websocket import trust
from tests.faults.report import Row

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from playwright.sync_api import Page
    from testinfra.host import Host

    from tests.demo_server import Demo

CHANNEL = "progress:666"
DEADLINE_SECONDS = 90
# How old a message may be when it is shown, for the page to count as live.
LIVE_SECONDS = 1.0
MESSAGES_BEFORE = 50
MESSAGES_AFTER = 100

# Notes each message at the moment at which the page is told.
RECORDER = """
window.shown = [];
addEventListener("run-event", ({ detail: { text } }) => {
  const now = (performance.timeOrigin + performance.now()) / 1000;
  if (/^[0-9]+$/.test(text)) window.shown.push([Number(text), now]);
});
"""

# What may go wrong while a service is away.
AWAY = (KitError, redis.RedisError, WebSocketException, OSError, ValueError)


class Probe(threading.Thread):
    """Asks every 100 ms whether the whole way of a message works, independently of the page."""

    def __init__(self, instance: dict[str, Any], replay_url: str) -> None:
        super().__init__(daemon=True)
        self._instance, self._replay_url = instance, replay_url
        self._end = threading.Event()
        self._answers: list[tuple[float, bool]] = []

    def run(self) -> None:
        while not self._end.wait(0.1):
            works = self._way_works()
            self._answers.append((time.time(), works))

    def _way_works(self) -> bool:
        try:
            with publisher(
                self._instance,
                socket_timeout=1,
                socket_connect_timeout=1,
                retry=Retry(NoBackoff(), 0),
            ) as connection:
                connection.xadd("progress:probe:events", {"probe": ""}, maxlen=1)
            with SubscribedPage(self._instance, open_timeout=1) as client:
                client.send("SUBSCRIBE", "progress:probe")
                subscribed = "subscribe" in client.receive(1)
            urllib.request.urlopen(self._replay_url, timeout=1).close()  # noqa: S310  # loopback
        except AWAY:
            return False
        return subscribed

    def wait_until_it_works(self) -> None:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not (self._answers and self._answers[-1][1]):
            assert time.monotonic() < deadline, "the way of a message does not work again"
            time.sleep(0.05)

    def stop(self) -> None:
        self._end.set()
        self.join()

    def back_at(self, struck: float) -> float | None:
        """Return when the way worked again for good; ``struck`` where it never failed.

        None where it does not work yet.
        """
        failures = [at for at, works in self._answers if at > struck and not works]
        if not failures:
            return struck
        return next((at for at, works in self._answers if at > failures[-1] and works), None)


class Publisher:
    """The publishing process."""

    def __init__(self, channel: str, log: Path, environment: dict[str, str]) -> None:
        self._log, self._channel, self._environment = log, channel, environment
        log.write_text("")
        self._start(0)

    def _start(self, first: int) -> None:
        with self._log.open("a") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.publisher", self._channel, str(first)],
                cwd=ROOT,
                env={**os.environ, **self._environment},
                stdin=subprocess.PIPE,
                stdout=output,
            )

    def kill(self) -> None:
        """Kill the process, and let another one go on after the number that was on its way."""
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._start(self.outcomes()[-1][0] + 2)

    def outcomes(self) -> list[tuple[int, float, str]]:
        """Return number, time and outcome of each message so far."""
        found = []
        for line in self._log.read_text().splitlines(keepends=True):
            if line.endswith("\n"):
                number, at, outcome = line.split(maxsplit=2)
                found.append((int(number), float(at), outcome.strip()))
        return found

    def taken(self) -> dict[int, float]:
        """Return when Redis had taken each message that it has taken so far."""
        return {number: at for number, at, outcome in self.outcomes() if outcome == "taken"}

    def stop(self) -> None:
        self._process.stdin.close()
        assert self._process.wait(timeout=DEADLINE_SECONDS) == 0


def wait_until_shown(page: Page, number: int) -> None:
    """Wait until a page with `RECORDER` has shown a message, or a later one."""
    page.wait_for_function(
        "number => window.shown.some(([shown]) => shown >= number)",
        arg=number,
        timeout=DEADLINE_SECONDS * 1000,
    )


def count(sender: Publisher, shown: list[tuple[int, float]]) -> dict[str, int]:
    """Return what became of the messages, by the names that the tables' rows have for it.

    Args:
        sender: Which has ended.
        shown: Each message that the page has shown, with its time.
    """
    outcomes = sender.outcomes()
    taken = sender.taken()
    for number, _, outcome in outcomes:
        if outcome != "taken":
            print(f"message {number}: {outcome}")
    times = Counter(number for number, _ in shown)
    return {
        "refused": len(outcomes) - len(taken),
        "lost": len(taken.keys() - times.keys()),
        "doubled": sum(count - 1 for count in times.values()),
        "out_of_order": sum(after < before for (before, _), (after, _) in pairwise(shown)),
    }


class Scene:
    """What a fault can strike at."""

    def __init__(
        self,
        instance: dict[str, Any],
        server: Host,
        start_demo: Callable[..., Demo],
        page: Page,
        folder: Path,
    ) -> None:
        self.instance, self.page, self.folder = instance, page, folder
        self._server, self._start_demo = server, start_demo
        # Of the publisher; a fault may set it before it strikes.
        self.environment: dict[str, str] = {}
        self.demo: Demo | None = None
        # What is looked at: lesson "shared", or the page of a job that runs meanwhile.
        self.job = False
        self.channel = ""
        # Until when a strike kept the page from being live, where nothing else tells.
        self.held_until = 0.0
        self._before_reload: list[list[float]] = []

    def command(self, command: str) -> str:
        """Run ``command`` on the server; it must succeed."""
        answer = self._server.run(command)
        assert answer.rc == 0, f"{command}: {answer.stderr}"
        return answer.stdout

    def main_pid(self, unit: str) -> str:
        """Return the process id of a unit."""
        return self.command(f"systemctl show --property=MainPID --value {unit}").strip()

    def restarts(self, unit: str) -> int:
        """Return how often a unit was started again after its process had ended."""
        return int(self.command(f"systemctl show --property=NRestarts --value {unit}"))

    def memory_mib(self, unit: str) -> int:
        """Return how much memory the process of a unit has at the moment."""
        status = self.command(
            f"grep VmRSS /proc/$(systemctl show --property=MainPID --value {unit})/status || true"
        )
        return int(status.split()[1]) // 1024 if status else 0

    def used(self, unit: str, since: str) -> str:
        """Return how much of everything a unit has needed, for the table.

        Args:
            unit: Of the server.
            since: A time as journalctl takes it.
        """
        lines = self.command(f"journalctl -u {unit} --since {since} -o cat | wc -l").strip()
        ticks = self.command(f"cut -d' ' -f14,15 /proc/{self.main_pid(unit)}/stat").split()
        seconds = sum(map(int, ticks)) / int(self.command("getconf CLK_TCK"))
        return (
            f"{self.memory_mib(unit)} MiB, {seconds:.1f} s of processor time since its start, "
            f"{lines} lines in the journal"
        )

    def connection(self, receive_bytes: int = 0) -> socket.socket:
        """Return a connection to what pages connect to, on which nothing has been said.

        Args:
            receive_bytes: Size of its receive buffer; 0 leaves that to the system.
        """
        address = urlsplit(self.instance["webdis"]["url"])
        connection = socket.socket()
        if receive_bytes:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        connection.settimeout(5)
        try:
            connection.connect((address.hostname, address.port or 443))
            if self.instance["tls"]:
                context = trust(self.instance)
                return context.wrap_socket(connection, server_hostname=address.hostname)
        except OSError:
            connection.close()
            raise
        return connection

    def wait_until_well(self) -> None:
        """Wait until everything that `make verify` checks holds."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while complaint := self._complaint():
            assert time.monotonic() < deadline, f"the instance is not well: {complaint}"
            time.sleep(0.2)

    def _complaint(self) -> Exception | None:
        try:
            for _, check in CHECKS:
                check(self.instance)
        except AWAY as error:
            return error
        return None

    def _open_page(self) -> None:
        """Start the demo and look at its page."""
        self.demo = self._start_demo(DEMO_JOB_STEPS=1000, DEMO_JOB_STEP_SECONDS=0.1)
        if self.job:
            self.page.goto(f"{self.demo.url}/job/")
            self.page.get_by_role("button", name="Start").click()
        else:
            self.page.goto(f"{self.demo.url}/shared/")
        self.page.locator("#state", has_text=re.compile("^connected$")).wait_for()
        self.channel = self.page.locator("run-progress").get_attribute("channel")

    def reload(self) -> None:
        """Load the page again, and remember what it had shown."""
        self._before_reload = self.page.evaluate("window.shown")
        self.page.reload()

    def _shown(self) -> list[tuple[int, float]]:
        """Return each message that was shown, with its time; a reload shows many again."""
        shown = self.page.evaluate("window.shown")
        again = {number for number, _ in shown}
        before = [entry for entry in self._before_reload if entry[0] not in again]
        return [(int(number), at) for number, at in before + shown]

    def play(self, fault: str, strike: Callable[[], str | None]) -> Row:
        """Publish, strike, publish on until the page is live again, and count.

        Args:
            fault: What is done, for the table.
            strike: Does it; returns a note for the table.
        """
        self._open_page()
        sender = Publisher(self.channel, self.folder / "publisher.log", self.environment)
        probe = Probe(self.instance, f"{self.demo.url}/progress/{CHANNEL}/events?after=999999999")
        probe.start()
        try:
            wait_until_shown(self.page, MESSAGES_BEFORE)
            struck = time.time()
            note = strike() or ""
            wait_until_shown(self.page, len(sender.outcomes()) + MESSAGES_AFTER)
            # The page may not have noticed that something else was away.
            probe.wait_until_it_works()
            wait_until_shown(self.page, len(sender.outcomes()) + MESSAGES_AFTER)
            back, live = self._wait_until_live(sender, probe, struck)
        finally:
            sender.stop()
            probe.stop()
        row = self._count(fault, sender, note)
        return replace(
            row, away_seconds=back - struck, live_seconds=live - max(back, self.held_until)
        )

    def _wait_until_live(
        self, sender: Publisher, probe: Probe, struck: float
    ) -> tuple[float, float]:
        """Wait until the page, however far it was behind, shows a message as it is published.

        Returns:
            When the way of a message worked again for good, and when that message was shown.
        """
        deadline = time.monotonic() + DEADLINE_SECONDS
        while True:
            if (back := probe.back_at(struck)) is not None:
                free = max(back, self.held_until)
                taken = sender.taken()
                for number, at in self._shown():
                    if taken.get(number, 0) >= free and at - taken[number] < LIVE_SECONDS:
                        return back, at
            assert time.monotonic() < deadline, "the page does not get live again"
            time.sleep(0.2)

    def play_to_the_end(self, fault: str, strike: Callable[[], None]) -> Row:
        """Publish until a strike that ends the job, and count."""
        self._open_page()
        sender = Publisher(self.channel, self.folder / "publisher.log", self.environment)
        try:
            wait_until_shown(self.page, MESSAGES_BEFORE)
            struck = time.time()
            strike()
            failed = self.page.locator("#status", has_text="failed")
            failed.wait_for(timeout=DEADLINE_SECONDS * 1000)
            shown_seconds = time.time() - struck
        finally:
            sender.stop()
        note = "the page says that the job has failed"
        return replace(self._count(fault, sender, note), live_seconds=shown_seconds)

    def _count(self, fault: str, sender: Publisher, note: str) -> Row:
        """Return what became of the messages that were taken."""
        taken = sender.taken()
        wait_until_shown(self.page, max(taken))
        return Row(
            fault=fault,
            published=len(taken),
            **count(sender, self._shown()),
            away_seconds=0.0,
            live_seconds=0.0,
            note=note,
        )

    def end(self) -> None:
        """Stop what was started; the instance must be well again."""
        if self.demo:
            self.demo.stop()
        self.wait_until_well()
