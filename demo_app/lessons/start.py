"""The start page, and a command that publishes from the shell as the lessons do."""

from __future__ import annotations

import click
from flask import Blueprint, render_template

from demo_app import connections
from webdis_progress import Progress

blueprint = Blueprint("start", __name__, cli_group=None)


@blueprint.get("/")
def show() -> str:
    """Explain the lessons and link to them."""
    return render_template("index.html")


@blueprint.cli.command("publish")
@click.argument("channel")
@click.argument("text")
def publish(channel: str, text: str) -> None:
    """Publish TEXT to CHANNEL, as the lessons do, and print its number."""
    seq = Progress(connections.publisher(), channel).message(text)
    click.echo(f"{channel} {seq}")
