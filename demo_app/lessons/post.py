"""Lesson "post": the bare post. What is published reaches those who listen, and is gone."""

from __future__ import annotations

import time

from flask import Blueprint, render_template

from demo_app import connections
from demo_app.lessons.function import STEPS, slow_request

blueprint = Blueprint("post", __name__, url_prefix="/post")

CHANNEL = "progress:post"


@blueprint.get("/")
def show() -> str:
    """Show the page with the Run button."""
    return render_template("post/show.html", channel=CHANNEL)


@blueprint.post("/")
def run() -> str:
    """Do the slow work within the request, and publish each step once."""
    with slow_request() as pause_seconds:
        for step in STEPS:
            connections.publisher().publish(CHANNEL, step)
            time.sleep(pause_seconds)
    return render_template("post/finished.html")
