"""The page of a run: how far it is, also for a browser without JavaScript."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask import abort, render_template

from demo_app import connections, ownership
from demo_app.jobs import queue
from webdis_progress import TERMINAL, last_events

# Earlier ones are left out of the page as it is first shown.
MESSAGES_SHOWN = 200
RUNS_LISTED = 20


@dataclass(frozen=True)
class Run:
    """How far a run is.

    Args:
        token: Its token.
        events: Its last messages.
        epoch: Of its channel.
        state: ``waiting``, ``running``, or how it ended: ``done``, ``failed``, ``cancelled``.
        percent: Of its steps; nothing while their number is not known.
        changed_at: When it last said something; nothing while it waits.
    """

    token: str
    events: list[dict[str, Any]]
    epoch: str
    state: str
    percent: int | None
    changed_at: datetime | None

    @property
    def channel(self) -> str:
        """Name of its channel."""
        return ownership.channel_of(self.token)

    @property
    def ended(self) -> bool:
        """Nothing will follow."""
        return self.state in TERMINAL


def look_up(token: str, messages: int = MESSAGES_SHOWN) -> Run:
    """Return how far a run is, with its last ``messages``."""
    channel = ownership.channel_of(token)
    events = last_events(connections.publisher(), channel, messages)
    if not events:
        return Run(token, [], "", "waiting", None, None)
    # A task that ends does not end the run.
    last = next((event for event in reversed(events) if "task" not in event), events[-1])
    state = last["kind"] if last["kind"] in TERMINAL and "task" not in last else "running"
    current, total = last["current"], last["total"]
    percent = min(100, 100 * current // total) if current is not None and total else None
    if "task" in last:
        percent = None  # the task's
    changed_at = datetime.fromisoformat(events[-1]["ts"])
    return Run(token, events, last["epoch"], state, percent, changed_at)


def own_runs(endpoint: str) -> list[tuple[ownership.OwnRun, Run]]:
    """Return the last runs of this session that a page shows, the newest first.

    Args:
        endpoint: Of the page.
    """
    own = [run for run in ownership.own_runs() if run.endpoint == endpoint]
    return [(run, look_up(run.token, messages=1)) for run in own[:RUNS_LISTED]]


def last_runs() -> dict[str, tuple[ownership.OwnRun, Run]]:
    """Return the last run of this session of each page, by the page's endpoint."""
    newest = {run.endpoint: run for run in reversed(ownership.own_runs())}
    return {endpoint: (run, look_up(run.token, messages=1)) for endpoint, run in newest.items()}


def render(token: str, endpoint: str, template: str, **context: object) -> str:
    """Return the page of a run, for its owner.

    Args:
        token: Of the run.
        endpoint: Of this page: a run of another kind is not shown by it.
        template: Extends ``run.html``.
        context: More for the template.
    """
    if ownership.page_of(token) != endpoint:
        abort(404, "There is no such run, or it is somebody else's.")
    run = look_up(token)
    if run.state == "waiting" and queue.find(token) is None:
        abort(404, "This run was too long ago: nothing is known of it any more.")
    return render_template(template, run=run, own=ownership.own_run(token), **context)
