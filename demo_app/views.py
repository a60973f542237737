"""The pages of the demo."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import redis
from flask import Blueprint, current_app, jsonify, redirect, render_template, request, url_for

from demo_app.progress import Progress, events_after, position

if TYPE_CHECKING:
    from flask import Response
    from werkzeug.wrappers import Response as BaseResponse

blueprint = Blueprint("demo", __name__)

# The tutorial's first lesson: one identifier for everybody. Anyone who knows it
# can listen; a channel for each user is a later lesson.
LESSON_CHANNEL = "progress:666"
STEPS = (
    "You have started a server side function",
    "Function running, please wait......",
    "Function still running, almost done.......",
)


def connect() -> redis.Redis:
    """Return a connection to the instance's Redis."""
    return redis.Redis(**current_app.config["REDIS"])


@blueprint.get("/")
def index() -> BaseResponse:
    """Lead to the first lesson."""
    return redirect(url_for(".test_msg"))


@blueprint.get("/test_msg")
def test_msg() -> str:
    """Show the page with the Run button."""
    with connect() as connection:
        start = position(connection, LESSON_CHANNEL)
    return render_template(
        "test_msg.html",
        channel=LESSON_CHANNEL,
        start=start,
        webdis_url=current_app.config["WEBDIS_URL"],
    )


@blueprint.post("/test_msg")
def run_function() -> str:
    """Do the slow work within the request, and tell the page about each step."""
    with connect() as connection:
        progress = Progress(connection, LESSON_CHANNEL)
        for step in STEPS:
            progress.message(step)
            time.sleep(float(current_app.config["PAUSE_SECONDS"]))
    return render_template("func_finish.html")


@blueprint.get("/test_msg/events")
def events() -> Response:
    """Return the lesson's messages after a sequence number, for replay."""
    after = max(0, request.args.get("after", 0, type=int))
    with connect() as connection:
        answer = jsonify(events_after(connection, LESSON_CHANNEL, after))
    answer.headers["Cache-Control"] = "no-store"
    return answer


def add_security_headers(response: Response) -> Response:
    """Allow the page its own files and the message server, nothing else."""
    server = urlsplit(current_app.config["WEBDIS_URL"])
    response.headers["Content-Security-Policy"] = (
        f"default-src 'self'; connect-src 'self' {server.scheme}://{server.netloc}; "
        "img-src 'self' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response
