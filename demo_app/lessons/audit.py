"""Lesson "audit": do the instance's ports answer as the firewall's rules say?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Blueprint, abort, current_app, redirect, render_template, url_for

from demo_app import ownership
from demo_app.jobs import page, queue, tasks

if TYPE_CHECKING:
    from werkzeug.wrappers import Response

blueprint = Blueprint("audit", __name__, url_prefix="/audit")

PAGE = "audit.show"
TIMEOUT_SECONDS = 120
NO_FIREWALL = (
    "This instance has no firewall (PROVIDER=local): what answers at its address are the programs "
    "of this host. A virtual machine or a container has one."
)


@blueprint.get("/")
def new() -> str:
    """Show what would be checked, and the audits of this session."""
    return render_template(
        "audit/new.html",
        address=current_app.config["INSTANCE"]["address"],
        obstacle="" if current_app.config["INSTANCE"]["firewall"] else NO_FIREWALL,
        runs=page.own_runs(PAGE),
    )


@blueprint.post("/")
def start() -> Response:
    """Put an audit into the queue; it takes nothing from the request."""
    if not current_app.config["INSTANCE"]["firewall"]:
        abort(409, NO_FIREWALL)
    name = f"Audit of {current_app.config['INSTANCE']['address']}"
    token = queue.enqueue(tasks.audit, PAGE, name, timeout_seconds=TIMEOUT_SECONDS)
    return redirect(url_for(".show", token=token), 303)


@blueprint.get("/<token>")
def show(token: str) -> str:
    """Show how far an audit is, and its result once there is one."""
    return page.render(token, PAGE, "audit/show.html", rows=queue.result(token))


@blueprint.get("/<token>/result")
def result(token: str) -> str:
    """Return only the table, for the page that has seen the audit end."""
    if ownership.page_of(token) != PAGE:
        abort(404, "There is no such audit, or it is somebody else's.")
    return render_template("audit/result.html", rows=queue.result(token))
