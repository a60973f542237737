"""Lesson "shared": work within the request, on one channel that everybody shares."""

from __future__ import annotations

from flask import Blueprint

from demo_app import ownership
from demo_app.lessons import function

blueprint = Blueprint("shared", __name__, url_prefix="/shared")


@blueprint.get("/")
def show() -> str:
    """Show the page with the Run button."""
    return function.page(ownership.SHARED_CHANNEL)


@blueprint.post("/")
def run() -> str:
    """Do the slow work within the request, and tell the page about each step."""
    return function.finished_page(ownership.SHARED_CHANNEL)
