"""Lesson "shared": work within the request, on one channel that everybody shares."""

from __future__ import annotations

import time

from flask import Blueprint, current_app, render_template, url_for

from demo_app import channels, connections
from webdis_progress import Progress, position

blueprint = Blueprint("shared", __name__, url_prefix="/shared")

STEPS = (
    "You have started a server side function",
    "Function running, please wait......",
    "Function still running, almost done.......",
)


@blueprint.get("/")
def show() -> str:
    """Show the page with the Run button."""
    return function_page(channels.SHARED_CHANNEL)


@blueprint.post("/")
def run() -> str:
    """Do the slow work within the request, and tell the page about each step."""
    run_function(channels.SHARED_CHANNEL)
    return render_template("finished.html", again=url_for(".show"))


def function_page(channel: str) -> str:
    """Return the page with the Run button, which listens to a channel."""
    return render_template(
        "function.html",
        channel=channel,
        shared=channel == channels.SHARED_CHANNEL,
        start=position(connections.publisher(), channel),
    )


def run_function(channel: str) -> None:
    """Do the slow work, and publish each step."""
    progress = Progress(connections.publisher(), channel)
    for step in STEPS:
        progress.message(step)
        time.sleep(float(current_app.config["PAUSE_SECONDS"]))
