"""Lesson "own": the work of lesson "shared", on a channel that only this session knows."""

from __future__ import annotations

from flask import Blueprint, render_template, url_for

from demo_app import channels
from demo_app.lessons.shared import function_page, run_function

blueprint = Blueprint("own", __name__, url_prefix="/own")


@blueprint.get("/")
def show() -> str:
    """Show the page with the Run button."""
    return function_page(channels.own_channel())


@blueprint.post("/")
def run() -> str:
    """Do the slow work for this session only."""
    run_function(channels.own_channel())
    return render_template("finished.html", again=url_for(".show"))
