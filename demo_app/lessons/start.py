"""The start page with its live run, and a command that publishes from the shell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from flask import Blueprint, current_app, redirect, render_template, url_for

from demo_app import connections
from demo_app.jobs import page, queue, tasks
from demo_app.lessons.catalogue import LESSONS
from webdis_progress import Progress

if TYPE_CHECKING:
    from werkzeug.wrappers import Response

blueprint = Blueprint("start", __name__, cli_group=None)

PAGE = "start.show"
TIMEOUT_SECONDS = 120


@blueprint.get("/")
def show() -> str:
    """Show a run, and the lessons with what this session has done in each."""
    last = page.last_runs()
    instance = current_app.config["INSTANCE"]
    wanting = {}
    if not instance["firewall"]:
        wanting["audit"] = "needs a firewall: a virtual machine or a container"
    if not instance.get("lab"):
        wanting["devices"] = "needs routers: make up LAB=6"
    return render_template(
        "start/show.html",
        run=last[PAGE][1] if PAGE in last else None,
        states={lesson.name: last.get(f"{lesson.name}.show") for lesson in LESSONS},
        wanting=wanting,
    )


@blueprint.post("/")
def start() -> Response:
    """Put a run for the start page into the queue."""
    queue.enqueue(tasks.sample, PAGE, "A sample", timeout_seconds=TIMEOUT_SECONDS)
    return redirect(url_for(".show"), 303)


@blueprint.cli.command("publish")
@click.argument("channel")
@click.argument("text")
def publish(channel: str, text: str) -> None:
    """Publish TEXT to CHANNEL, as the lessons do, and print its number."""
    progress = Progress(connections.publisher(), channel, durability=connections.durability())
    seq = progress.message(text)
    click.echo(f"{channel} {seq}")
