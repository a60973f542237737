"""Lesson "job": work that outlives its request, with percent, ETA and cancel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Blueprint, abort, current_app, redirect, render_template, request, url_for

from demo_app import ownership
from demo_app.jobs import page, queue, tasks

if TYPE_CHECKING:
    from werkzeug.wrappers import Response

blueprint = Blueprint("job", __name__, url_prefix="/job")

PAGE = "job.show"
TIMEOUT_SHOWN_SECONDS = 3
ENDINGS = {
    "done": "succeeds",
    "failed": "fails in the middle",
    "timeout": f"takes longer than its {TIMEOUT_SHOWN_SECONDS} seconds",
}


@blueprint.get("/")
def new() -> str:
    """Show the form, and the jobs of this session."""
    return render_template("job/new.html", endings=ENDINGS, runs=page.own_runs(PAGE))


@blueprint.post("/")
def start() -> Response:
    """Put a job into the queue and lead to its page."""
    ending = request.form.get("ending", "done")
    if ending not in ENDINGS:
        abort(400, f"ending has to be one of: {', '.join(ENDINGS)}.")
    seconds = current_app.config["JOB_TIMEOUT_SECONDS"]
    token = queue.enqueue(
        tasks.count,
        PAGE,
        f"A job that {ENDINGS[ending]}",
        timeout_seconds=TIMEOUT_SHOWN_SECONDS if ending == "timeout" else seconds,
        steps=current_app.config["JOB_STEPS"],
        ending=ending,
    )
    return redirect(url_for(".show", token=token), 303)


@blueprint.get("/<token>")
def show(token: str) -> str:
    """Show how far a job is."""
    return page.render(token, PAGE, "job/show.html")


@blueprint.post("/<token>/cancel")
def cancel(token: str) -> Response:
    """Stop a run of this session, of whatever kind."""
    endpoint = ownership.page_of(token)
    if endpoint is None:
        abort(404, "There is no such run, or it is somebody else's.")
    queue.cancel(token)
    return redirect(url_for(endpoint, token=token), 303)
