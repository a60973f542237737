"""Ansible: a bar for each host of a playbook, for the plugin webdis_kit.server.progress."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from redis import Redis

from webdis_progress._errors import EndedError
from webdis_progress._event import short_name
from webdis_progress._progress import Progress, Task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


class PlaybookProgress:
    """Publishes a task for each host. Nothing here raises because a run or a task has ended.

    Args:
        redis_url: As redis-py's ``from_url`` takes it.
        channel: As `Progress` takes it.
        whole_run: Whether the playbook is the whole run, and begins and ends it.

    Raises:
        ValueError: One of them is not allowed; the message shows no password.
    """

    def __init__(self, redis_url: str, channel: str, *, whole_run: bool) -> None:
        try:
            client = Redis.from_url(redis_url, socket_timeout=5)
        except ValueError:
            text = "redis_url has to be like redis://USER:PASSWORD@HOST:PORT; rediss:// is TLS."
            raise ValueError(text) from None
        options: dict[str, Any] = {"required": False, "patience_seconds": 5}
        self._progress = Progress(client, channel, count_tasks=whole_run, **options)
        self._whole = whole_run
        self._bars: dict[str, Task] = {}
        self._stopped: set[str] = set()  # names of hosts that others have stopped
        # Returns a host's numbers by their names; none: the playbook was interrupted.
        self.summarize: Callable[[str], Mapping[str, int]] | None = None

    def begin(self) -> None:
        """Begin the run, unless this is the second of several playbooks."""
        self.summarize = None
        if self._whole and not self._bars:
            with contextlib.suppress(EndedError):
                self._progress.started()

    def wait(self, hosts: Iterable[str], steps: int, text: str) -> None:
        """Show hosts of a play, and how many steps more they have, before it is their turn."""
        with contextlib.suppress(EndedError), self._progress.batch():
            for host in hosts:
                bar = self._bar(host)
                bar.total = (bar.total or 0) + steps
                bar.message(text)

    def publish(self, host: str, method: str, *values: Any, **options: Any) -> None:  # noqa: ANN401  # as `Task` takes them
        """Publish by a host's bar; nothing where it has ended: Ansible brings hosts back."""
        with contextlib.suppress(EndedError):
            getattr(self._bar(host), method)(*values, **options)

    def stop(self) -> None:
        """Take note that hosts which have not ended will not go on."""
        self._stopped.update(host for host, bar in self._bars.items() if not bar.ended)

    def end(self) -> int:
        """End all that has not ended, in one call; return how many events were not sent."""
        with contextlib.suppress(EndedError), self._progress.batch():
            if self.summarize:
                for host in self._bars:
                    self._end_host(host, self.summarize(host))
            others = [name for name, bar in self._bars.items() if bar.ended != "done"]
            words = f"{len(self._bars) - len(others)} of {len(self._bars)} hosts are done"
            if self._whole and not self.summarize:
                self._progress.cancelled(f"Interrupted; {words}")
            elif self._whole:
                publish = self._progress.failed if others else self._progress.done
                publish("; not ".join([words, *others]))
        with contextlib.suppress(EndedError):
            self._progress.flush()
        return self._progress.unsent

    def _end_host(self, host: str, found: Mapping[str, int]) -> None:
        words = ", ".join(f"{number} {word}" for word, number in found.items() if number)
        if (bar := self._bars[host]).ended:
            return
        if found["failures"] or found["unreachable"]:
            bar.failed(words)
        elif host in self._stopped:
            bar.cancelled("Stopped, since another host has failed")
        else:
            bar.total = bar.current  # what turned out not to be needed is not waited for
            bar.done(words)

    def _bar(self, host: str) -> Task:
        if host not in self._bars:  # one that several plays have in common has one
            self._bars[host] = self._progress.task(short_name(host), 0)
        return self._bars[host]
