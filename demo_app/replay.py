"""What a page missed: the messages after the last one that it has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Blueprint, abort, jsonify, request

from demo_app import connections, metrics, ownership
from webdis_progress import INTEGER_LIMIT, replay

if TYPE_CHECKING:
    from flask import Response

    from webdis_progress import Replay

blueprint = Blueprint("replay", __name__)


@blueprint.get("/progress/<channel>/events")
def events(channel: str) -> Response:
    """Return where the channel stands and what the page has missed (clients/PROTOCOL.md, "Replay").

    Without ``after`` a page joins. Without ``epoch`` it is of the older form, and gets the list
    of events only.
    """
    if not ownership.may_replay(channel):
        abort(404, "There is no such channel, or it is somebody else's.")
    epoch = request.args.get("epoch")
    after = request.args.get("after", "0" if epoch is None else None)
    found = missed(channel, after, epoch)
    metrics.replayed(len(found if isinstance(found, list) else found["events"]))
    answer = jsonify(found)
    # Each answer is asked for once, with another number: a tag would never match.
    answer.headers["Cache-Control"] = "no-store"
    return answer


def missed(channel: str, after: str | None, epoch: str | None) -> Replay | list[dict[str, Any]]:
    """Return what a page asks for, or answer 400.

    Args:
        channel: That the page may replay.
        after: The number of the last message that it has, as it says; None: it joins.
        epoch: Which it had that from; None: it gets the list of events only.
    """
    if after is None:
        return replay(connections.publisher(), channel)
    digits = after.isascii() and after.isdecimal() and len(after) <= len(str(INTEGER_LIMIT))
    if not digits or int(after) >= INTEGER_LIMIT:
        abort(400, "after has to be a whole number from 0 to 2^53 - 1.")
    answer = replay(connections.publisher(), channel, int(after), epoch or "")
    return answer["events"] if epoch is None else answer
