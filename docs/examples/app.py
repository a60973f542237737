"""A Flask application with one slow function, and the page that watches it.

Beside it: static/progress.js, copied from webdis-kit. Installed: the publisher, clients/python.
Run it with REDIS_URL, WEBDIS_URL and SECRET_KEY set: flask --app app run
"""

import os
import secrets
import threading
import time

from flask import (
    Flask,
    Response,
    abort,
    jsonify,
    redirect,
    render_template_string,
    request,
    session,
)
from redis import Redis
from werkzeug import Response as BaseResponse

from webdis_progress import Progress, replay

app = Flask(__name__)
app.secret_key = os.environ["SECRET_KEY"]
redis = Redis.from_url(os.environ["REDIS_URL"], socket_timeout=5, socket_connect_timeout=5)

PAGE = """
<!doctype html>
<title>Devices</title>
<main>
  <form method="post" action="/run"><button>Run</button></form>
  <ol id="messages" data-url="{{ url }}" data-channel="{{ channel }}"></ol>
</main>
<script type="module" src="/static/page.js"></script>
"""


@app.get("/")
def page() -> str:
    """Show what the function that this user started says."""
    channel = session.get("channel", "")
    return render_template_string(PAGE, url=os.environ["WEBDIS_URL"], channel=channel)


@app.get("/events")
def events() -> Response:
    """Return what the page has missed: only its own."""
    if "channel" not in session:
        abort(403)
    after = request.args.get("after", "0")
    if not (after.isascii() and after.isdecimal() and len(after) <= 16):  # noqa: PLR2004  # digits of 2^53
        abort(400)
    return jsonify(replay(redis, session["channel"], int(after), request.args.get("epoch", "")))


@app.post("/run")
def run() -> BaseResponse:
    """Start the slow function on a channel that nobody can guess, and answer at once."""
    session["channel"] = f"progress:{secrets.token_hex(16)}"
    threading.Thread(target=walk_devices, args=[session["channel"]]).start()
    return redirect("/")


def walk_devices(channel: str) -> None:
    """Do the slow work: read three devices."""
    devices = ["core-1", "core-2", "edge-1"]
    with Progress(redis, channel) as progress:
        for device in progress.track(devices):
            progress.message(f"Reading {device}")
            time.sleep(0.5)
