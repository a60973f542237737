"""Lesson "own": the work of lesson "shared", on a channel that only this session knows."""

from __future__ import annotations

from flask import Blueprint

from demo_app import ownership
from demo_app.lessons import function

blueprint = Blueprint("own", __name__, url_prefix="/own")


@blueprint.get("/")
def show() -> str:
    """Show the page with the Run button."""
    return function.page(ownership.own_channel())


@blueprint.post("/")
def run() -> str:
    """Do the slow work for this session only."""
    return function.finished_page(ownership.own_channel())
