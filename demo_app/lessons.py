"""The start page, and the first two lessons: work within the request, shown as it goes."""

from __future__ import annotations

import time

import click
from flask import Blueprint, current_app, render_template, url_for

from demo_app import channels, connections
from demo_app.progress import Progress, position

blueprint = Blueprint("lessons", __name__, cli_group=None)

STEPS = (
    "You have started a server side function",
    "Function running, please wait......",
    "Function still running, almost done.......",
)


@blueprint.get("/")
def index() -> str:
    """Explain the lessons and link to them."""
    return render_template("index.html")


@blueprint.get("/test_msg")
def test_msg() -> str:
    """Show the page with the Run button, on the channel that everybody shares."""
    return _page(channels.LESSON_CHANNEL)


@blueprint.post("/test_msg")
def run_function() -> str:
    """Do the slow work within the request, and tell the page about each step."""
    return _run(channels.LESSON_CHANNEL, url_for(".test_msg"))


@blueprint.get("/own")
def own() -> str:
    """Show the same page, on a channel that this session alone knows."""
    return _page(channels.own_channel())


@blueprint.post("/own")
def run_own_function() -> str:
    """Do the same work for this session alone."""
    return _run(channels.own_channel(), url_for(".own"))


@blueprint.cli.command("publish")
@click.argument("channel")
@click.argument("text")
def publish(channel: str, text: str) -> None:
    """Publish TEXT to CHANNEL, as the lessons do, and print its number."""
    seq = Progress(connections.publisher(), channel).message(text)
    click.echo(f"{channel} {seq}")


def _page(channel: str) -> str:
    return render_template(
        "test_msg.html",
        channel=channel,
        shared=channel == channels.LESSON_CHANNEL,
        start=position(connections.publisher(), channel),
    )


def _run(channel: str, again: str) -> str:
    progress = Progress(connections.publisher(), channel)
    for step in STEPS:
        progress.message(step)
        time.sleep(float(current_app.config["PAUSE_SECONDS"]))
    return render_template("func_finish.html", again=again)
