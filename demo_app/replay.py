"""What a page missed: the messages after the last one that it has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Blueprint, abort, jsonify, request

from demo_app import channels, connections
from webdis_progress import INTEGER_LIMIT, events_after

if TYPE_CHECKING:
    from flask import Response

blueprint = Blueprint("replay", __name__)


@blueprint.get("/progress/<channel>/events")
def events(channel: str) -> Response:
    """Return at most 1,000 messages; the page asks again until there are none."""
    if not channels.may_replay(channel):
        abort(404, "There is no such channel, or it is somebody else's.")
    after = request.args.get("after", "0")
    digits = after.isascii() and after.isdecimal() and len(after) <= len(str(INTEGER_LIMIT))
    if not digits or int(after) >= INTEGER_LIMIT:
        abort(400, "after has to be a whole number from 0 to 2^53 - 1.")
    answer = jsonify(events_after(connections.publisher(), channel, int(after)))
    # Each answer is asked for once, with another number: a tag would never match.
    answer.headers["Cache-Control"] = "no-store"
    return answer
