"""Three nodes, a publisher, the demo and its page: what a fault strikes at, and what it did."""

from __future__ import annotations

import contextlib
import os
import re
import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from kit import verify
from kit.errors import KitError
from kit.ssh import ssh
from tests.demo_server import eventually
from tests.faults.scene import (
    MESSAGES_AFTER,
    MESSAGES_BEFORE,
    RECORDER,
    Publisher,
    count,
    wait_until_shown,
)
from tests.nodes.report import Row
from tests.services import insist
from webdis_progress import events_after, position

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Browser

    from tests.demo_server import Demo

Node = dict[str, Any]

DEADLINE_SECONDS = 90
CUT = (
    "nft add table inet cut; "
    "nft add chain inet cut input '{ type filter hook input priority -10; }'; "
    "nft add chain inet cut output '{ type filter hook output priority -10; }'; "
    "nft add rule inet cut input ip saddr '{ %(others)s }' %(ports)s drop; "
    "nft add rule inet cut output ip daddr '{ %(others)s }' %(ports)s drop"
)


def on(node: Node, command: str) -> str:
    """Run a shell command on a node; return what it printed."""
    answer = insist(lambda it: ssh(node["name"], it, timeout_seconds=DEADLINE_SECONDS), command)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def passes(check: Callable[..., object], *arguments: object) -> bool:
    """Tell whether a check of `make verify` passes."""
    with contextlib.suppress(*verify.FAILURES):
        check(*arguments)
        return True
    return False


@contextlib.contextmanager
def cut_off(node: Node, *others: str, ports: str = "") -> Iterator[None]:
    """Let a node and some addresses not hear of each other within the block."""
    on(node, CUT % {"others": ", ".join(others), "ports": ports})
    try:
        yield
    finally:
        on(node, "nft delete table inet cut")


class Scene:
    """The demo's page of lesson "shared", on which all messages are shown.

    Args:
        instance: The content of ``.kit/instance.json``.
        demo: A running demo.
        browser: Chromium.
        folder: For the publisher's log.
    """

    def __init__(
        self, instance: dict[str, Any], demo: Demo, browser: Browser, folder: Path
    ) -> None:
        self.instance, self.demo, self.folder = instance, demo, folder
        self.nodes: list[Node] = instance["nodes"]
        context = browser.new_context()
        context.add_init_script(RECORDER)
        self.page = context.new_page()
        self._urls: list[str] = []  # of the sockets that the page has opened
        self.page.on("websocket", lambda socket: self._urls.append(socket.url))
        self.page.goto(f"{demo.url}/shared/")
        self._wait_until_connected()

    def _wait_until_connected(self) -> None:
        self.page.locator("#state", has_text=re.compile("^connected$")).wait_for()

    def reload(self) -> None:
        """Load the page again: it begins with any of the nodes."""
        self.page.reload()
        self._wait_until_connected()

    @property
    def primary(self) -> Node:
        """The node that the Sentinels name."""
        address = eventually(self._primary_address, "no Sentinel names one", DEADLINE_SECONDS)
        return next(node for node in self.nodes if node["address"] == address)

    def _primary_address(self) -> str | None:
        with contextlib.suppress(KitError):
            return verify.primary_address(self.instance)
        return None

    def others(self, *but: Node) -> list[Node]:
        """Return the nodes without some."""
        return [node for node in self.nodes if node not in but]

    def node_of_page(self) -> Node:
        """Return the node to which the page is connected."""
        self.page.evaluate("0")  # meanwhile Playwright tells of new sockets
        return next(node for node in self.nodes if node["webdis"] == self._urls[-1])

    def wait_until_well(self) -> None:
        """Wait until every check of `make verify` for several nodes passes."""
        for check in (verify.sentinels_agree, verify.all_webdis_deliver):
            eventually(
                lambda check=check: passes(check, self.instance),
                f"the instance is not well: {check.__doc__}",
                DEADLINE_SECONDS,
            )

    def wait_for_primary(self, *but: Node) -> None:
        """Wait until another node than these is the primary."""
        eventually(
            lambda: self.primary not in but,
            "no other node became the primary",
            DEADLINE_SECONDS,
        )

    def wait_until_healed(self, node: Node) -> None:
        """Wait until a node that was the primary is a replica, and all is well."""
        eventually(
            lambda: verify.role(self.instance, node).endswith("link to its primary up"),
            f"{node['name']} does not follow the new primary",
            DEADLINE_SECONDS,
        )
        self.wait_until_well()

    def bring_back(self, node: Node) -> None:
        """Start the Redis of a node that was the primary, as a replica.

        Sentinel would make it one after 10 to 20 s, which nothing that is measured here waits for.
        """
        primary = f"{self.primary['address']} {self.instance['redis']['port']}"
        follow = f"redis-admin REPLICAOF {primary} && redis-admin CONFIG REWRITE"
        on(node, f"systemctl start redis && {follow}")

    def journals(self, since: float) -> str:
        """Return what the nodes' services have said since a time."""
        command = f"journalctl --since @{since:.0f} -u redis -u sentinel -u redis-live -u webdis"
        said = [ssh(node["name"], f"{command} -o short-precise --no-pager") for node in self.nodes]
        return "\n".join(answer.stdout or answer.stderr for answer in said)

    def play(self, fault: str, strike: Callable[[], None]) -> Row:
        """Publish, strike, publish on until the page shows what is new, and count.

        Args:
            fault: What is done, for the table.
            strike: Does it, and mends it where that is part of it.
        """
        self.page.evaluate("window.shown = []")
        channel = self.page.locator("run-progress").get_attribute("channel")
        with verify.primary(self.instance) as client:
            start = position(client, channel).seq
        self.sender = Publisher(channel, self.folder / "publisher.log", {})
        try:
            wait_until_shown(self.page, MESSAGES_BEFORE)
            struck = time.time()
            strike()
            wait_until_shown(self.page, max(self.sender.taken()) + MESSAGES_AFTER)
        finally:
            self.sender.stop()
        taken = self.sender.taken()
        wait_until_shown(self.page, max(taken))
        shown = [(int(number), at) for number, at in self.page.evaluate("window.shown")]
        kept = self._kept(channel, start)
        gone = {number for number in taken if number > min(kept)} - kept
        lost = gone | taken.keys() - {number for number, _ in shown}
        return Row(
            fault=fault,
            taken=len(taken),
            **count(self.sender, shown) | {"lost": len(lost)},
            untaken_seconds=_longest_gap(struck, taken.values()),
            silent_seconds=_longest_gap(struck, [at for _, at in shown]),
            load_average=os.getloadavg()[0],
        )

    def _kept(self, channel: str, after: int) -> set[int]:
        """Return which numbers a page gets that is opened now; a stream keeps its last 10,000."""
        kept: set[int] = set()
        with verify.primary(self.instance) as client:
            while events := events_after(client, channel, after):
                kept |= {int(event["text"]) for event in events if event["text"].isdecimal()}
                after = events[-1]["seq"]
        return kept


def _longest_gap(since: float, times: Any) -> float:
    moments = [since, *(at for at in times if at > since)]
    return max((after - before for before, after in pairwise(moments)), default=0.0)
